//! The calls to billing. An account that is wanted alone has a call of its own, in the trace of the
//! request that wants it. Those that are wanted while calls are under way share the next one, which
//! is made in the trace of the first of them; billing gets the traces of all.

use async_trait::async_trait;
use futures_util::{FutureExt as _, future::join_all};
use kit::{
    batch::Batch,
    client::{Call, call},
};
use proto::billing::v1::{
    CreateBillingAccountRequest, CreateBillingAccountResponse, CreateBillingAccountsRequest,
    billing_service_client::BillingServiceClient, create_billing_accounts_request::Account,
};
use shared_middleware::{
    identity::Part,
    trace_context::{self, TraceContext},
};
use tokio::time::{Duration, Instant, timeout_at};
use tonic::{Status, transport::Channel};

use super::{CallBilling, is_transient};
use crate::domain::Patient;

/// Billing opens no more by one call.
const ACCOUNTS_MAX: usize = 32;
/// This many calls are under way at once: enough that those who wait for one that is slow are not
/// many, and few enough that calls are shared.
const CALLS_AT_ONCE: usize = 4;

type Client = BillingServiceClient<Channel>;
type Answer = Result<CreateBillingAccountResponse, Status>;

/// Billing as it is reached over the mesh.
pub(crate) struct GrpcBilling(Batch<Wanted, Answer>);

/// An account that is wanted.
struct Wanted {
    request: CreateBillingAccountRequest,
    trace: Option<TraceContext>,
    /// Nobody waits for it longer.
    until: Instant,
}

// === impl GrpcBilling ===

impl GrpcBilling {
    pub(super) fn new(client: Client) -> Self {
        let calls = move |wanted| answers(client.clone(), wanted).boxed();
        Self(Batch::new(ACCOUNTS_MAX, CALLS_AT_ONCE, calls))
    }
}

#[async_trait]
impl CallBilling for GrpcBilling {
    async fn create_account(&self, patient: &Patient, deadline: Duration) -> Answer {
        let until = Instant::now() + deadline;
        let request = CreateBillingAccountRequest {
            patient_id: patient.id.to_string(),
            name: patient.details.name.as_str().to_owned(),
            email: patient.details.email.as_str().to_owned(),
        };
        let wanted = Wanted { request, trace: trace_context::current(), until };
        match timeout_at(until, self.0.try_add(wanted)).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(Status::internal("the call panicked")),
            Err(_) => Err(Status::deadline_exceeded("the answer took too long")),
        }
    }
}

/// The answers to all of them, in their order.
async fn answers(client: Client, wanted: Vec<Wanted>) -> Vec<Answer> {
    if let [alone] = &*wanted {
        return vec![one(&client, alone).await];
    }
    match together(&client, &wanted).await {
        Ok(accounts) if accounts.len() == wanted.len() => accounts.into_iter().map(Ok).collect(),
        Err(status) if is_transient(status.code()) => {
            wanted.iter().map(|_| Err(status.clone())).collect()
        }
        // One that billing refuses must not take the others along; and a billing of an earlier
        // version does not know this call.
        _ => join_all(wanted.iter().map(|alone| one(&client, alone))).await,
    }
}

async fn one(client: &Client, wanted: &Wanted) -> Answer {
    let about = about("CreateBillingAccount", wanted.until);
    let mut client = client.clone();
    let calling = call(about, wanted.request.clone(), async move |request| {
        client.create_billing_account(request).await
    });
    trace_context::scope(wanted.trace, calling).await
}

async fn together(
    client: &Client,
    wanted: &[Wanted],
) -> Result<Vec<CreateBillingAccountResponse>, Status> {
    let accounts = wanted.iter().map(|Wanted { request, trace, .. }| Account {
        request: Some(request.clone()),
        traceparent: trace.map(|trace| trace.traceparent()).unwrap_or_default(),
    });
    let request = CreateBillingAccountsRequest { accounts: accounts.collect() };
    // Anyone who does not wait so long has gone before.
    let until = wanted.iter().map(|wanted| wanted.until).max().unwrap_or_else(Instant::now);
    let mut client = client.clone();
    let calling = call(about("CreateBillingAccounts", until), request, async move |request| {
        client.create_billing_accounts(request).await
    });
    let trace = wanted.iter().find_map(|wanted| wanted.trace);
    trace_context::scope(trace, calling).await.map(|answer| answer.accounts)
}

fn about(method: &'static str, until: Instant) -> Call {
    let deadline = until.saturating_duration_since(Instant::now());
    Call { service: Part::Patient, peer: Part::Billing, method, deadline }
}

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;
