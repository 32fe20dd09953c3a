//! gRPC: what the patient service asks, with health and reflection beside.

use std::sync::Arc;

use futures_util::future::try_join_all;
use kit::service::Grpc;
use proto::billing::v1::{
    CreateBillingAccountRequest, CreateBillingAccountResponse, CreateBillingAccountsRequest,
    CreateBillingAccountsResponse, GetBillingAccountRequest, GetBillingAccountResponse,
    billing_service_server::{BillingService, BillingServiceServer},
};
use shared_middleware::{
    audit::{self, AuditContext, Outcome},
    error::{ErrorCode, Failure},
    trace_context::TraceContext,
};
use tonic::{
    Code, Request, Response, Status,
    body::Body,
    server::NamedService,
    service::{LayerExt as _, Routes},
};
use tower::ServiceBuilder;
use uuid::Uuid;

use super::Api;
use crate::{error::Error, store::New};

/// A name or email longer than this is none.
const TEXT_CHARS_MAX: usize = 254;

/// This many accounts are opened by one call at most: such a message, with the longest of names, is
/// within [`MESSAGE_BYTES_MAX`].
pub(super) const ACCOUNTS_MAX: usize = 32;

/// A message longer than this is refused before it is read.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// The gRPC routes, as one router, and the reporter of their health.
pub(crate) fn grpc(api: Arc<Api>) -> Grpc {
    let (reporter, health) = tonic_health::server::health_reporter();
    let calls = BillingServiceServer::new(Calls(api)).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let calls = ServiceBuilder::new().map_response(too_large).named_layer(calls);
    let mut routes = Routes::new(calls).add_service(health);
    if let Ok(reflection) = reflection().build_v1() {
        routes = routes.add_service(reflection);
    }
    if let Ok(reflection) = reflection().build_v1alpha() {
        routes = routes.add_service(reflection);
    }
    let name = <BillingServiceServer<Calls> as NamedService>::NAME;
    Grpc { routes: routes.into_axum_router(), health: reporter, name }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

pub(super) struct Calls(pub(super) Arc<Api>);

#[tonic::async_trait]
impl BillingService for Calls {
    async fn create_billing_account(
        &self,
        request: Request<CreateBillingAccountRequest>,
    ) -> Result<Response<CreateBillingAccountResponse>, Status> {
        let new = self.requested(&request.into_inner())?;
        self.open(new, audit::current()).await.map(Response::new)
    }

    async fn create_billing_accounts(
        &self,
        request: Request<CreateBillingAccountsRequest>,
    ) -> Result<Response<CreateBillingAccountsResponse>, Status> {
        let group = request.into_inner().accounts;
        if group.len() > ACCOUNTS_MAX {
            return Err(invalid(&format!("there may be {ACCOUNTS_MAX} accounts at most")));
        }
        let asked = audit::current();
        // All are checked before the first is opened.
        let news = group.into_iter().map(|account| {
            let new = self.requested(&account.request.unwrap_or_default())?;
            let trace = TraceContext::parse(&account.traceparent);
            let asked = asked.as_ref().map(|asked| asked.in_trace(trace.as_ref()));
            Ok::<_, Status>((new, asked))
        });
        let news = news.collect::<Result<Vec<_>, _>>()?;
        let opened = try_join_all(news.into_iter().map(|(new, asked)| self.open(new, asked)));
        let accounts = opened.await?;
        // Each account has its entry in the audit log; the call needs none beside them.
        if let Some(asked) = asked.filter(|_| !accounts.is_empty()) {
            asked.note(Outcome::Allowed);
        }
        Ok(Response::new(CreateBillingAccountsResponse { accounts }))
    }

    async fn get_billing_account(
        &self,
        request: Request<GetBillingAccountRequest>,
    ) -> Result<Response<GetBillingAccountResponse>, Status> {
        let patient_id = patient_id(&request.get_ref().patient_id)?;
        let found = self.0.store.of_patient(patient_id).await.map_err(failure)?;
        let account = found.ok_or(Error::NotFound).map_err(failure)?;
        Ok(Response::new(GetBillingAccountResponse {
            account_id: account.id.to_string(),
            status: account.status,
        }))
    }
}

impl Calls {
    fn requested(&self, request: &CreateBillingAccountRequest) -> Result<New, Status> {
        let patient_id = patient_id(&request.patient_id)?;
        // Billing keeps neither: an account is known by its patient's id alone.
        required("name", &request.name)?;
        required("email", &request.email)?;
        let Self(api) = self;
        Ok(New { id: api.ids.next(), patient_id, now: api.clock.now() })
    }

    async fn open(
        &self,
        new: New,
        asked: Option<AuditContext>,
    ) -> Result<CreateBillingAccountResponse, Status> {
        let account = self.0.store.open(new, asked).await.map_err(failure)?;
        Ok(CreateBillingAccountResponse {
            account_id: account.id.to_string(),
            status: account.status,
        })
    }
}

/// Tonic says `OUT_OF_RANGE` of a message that is too long, and nothing else here does; the mesh
/// says `RESOURCE_EXHAUSTED`.
fn too_large(response: http::Response<Body>) -> http::Response<Body> {
    let status = Status::from_header_map(response.headers());
    if status.is_none_or(|status| status.code() != Code::OutOfRange) {
        return response;
    }
    Status::from(Failure::new(ErrorCode::TooLarge, "the message is too long")).into_http()
}

fn failure(error: impl Into<Error>) -> Status {
    Failure::from(error.into()).into()
}

fn patient_id(text: &str) -> Result<Uuid, Status> {
    text.parse().map_err(|_| invalid("patient_id must be a UUID"))
}

fn required(name: &str, text: &str) -> Result<(), Status> {
    let chars = text.trim().chars().count();
    if (1..=TEXT_CHARS_MAX).contains(&chars) {
        return Ok(());
    }
    Err(invalid(&format!("{name} must have 1 to {TEXT_CHARS_MAX} characters")))
}

fn invalid(detail: &str) -> Status {
    Failure::new(ErrorCode::Invalid, detail.to_owned()).into()
}
