//! REST: accounts, for people to read.

use std::sync::Arc;

use axum::{Extension, Json, Router, extract::State};
use jiff::Timestamp;
use kit::{
    fields::FieldErrors,
    http::{PathId, QueryFields},
    page::{self, Cursor, NOT_OURS},
    service::{BearerAuth, document, with_problems},
};
use serde::{Deserialize, Serialize};
use shared_middleware::{audit::Shown, error::Failure};
use utoipa::{IntoParams, OpenApi, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::Api;
use crate::{error::Error, store::Account};

/// What a cursor of the list is made for.
const LIST: &str = "accounts";

/// A billing account.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AccountOut {
    id: Uuid,
    patient_id: Uuid,
    /// `ACTIVE`.
    #[schema(example = "ACTIVE")]
    status: String,
    /// RFC 3339, UTC.
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T08:15:00Z")]
    opened_at: Timestamp,
}

/// A page of accounts.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AccountsOut {
    accounts: Vec<AccountOut>,
    /// Ask for the next page with this; null on the last one.
    next_cursor: Option<String>,
}

/// Which accounts.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a document of what `list_accounts` reads")]
struct AccountsQuery {
    /// Only this patient's account.
    #[param(value_type = Option<Uuid>)]
    patient_id: Option<String>,
    /// Accounts in a page.
    #[param(minimum = 1, maximum = 200, default = 20)]
    size: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "MediSync billing",
        description = "Billing accounts: one for each patient, opened when the patient is \
                       registered.",
    ),
    servers((url = "/api/billing", description = "through the gateway")),
    modifiers(&BearerAuth),
)]
struct Document;

/// The OpenAPI document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    with_problems(documented().into_openapi())
}

pub(crate) fn rest(api: Arc<Api>) -> Router {
    let (routes, _) = documented().split_for_parts();
    routes.with_state(api).merge(document(openapi()))
}

fn documented() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(list_accounts))
        .routes(routes!(get_account))
}

/// Lists accounts in the order in which they were opened.
#[utoipa::path(
    get,
    path = "/accounts",
    security(("bearer" = [])),
    params(AccountsQuery),
    responses(
        (status = OK, description = "a page", body = AccountsOut),
        (status = BAD_REQUEST, description = "a parameter is not of its form"),
        (status = UNAUTHORIZED, description = "no valid token"),
        (status = FORBIDDEN, description = "the role may not read billing"),
    ),
)]
async fn list_accounts(
    State(api): State<Arc<Api>>,
    QueryFields(mut query): QueryFields,
) -> Result<(Extension<Shown>, Json<AccountsOut>), Failure> {
    let (patient_id, size) = (query.text("patientId"), query.number("size"));
    let cursor = query.text("cursor");
    let mut faults = FieldErrors::new(query.end());
    let patient_id = patient_id.map(|text| text.parse::<Uuid>().map_err(|_| "must be a UUID"));
    let patient_id = faults.field("patientId", patient_id.transpose()).flatten();
    let size = faults.field("size", page::size_in_bounds(size));
    let after = cursor.map(|text| after(&api, &text)).transpose();
    let after = faults.field("cursor", after).flatten();
    let size = faults.all(size)?;
    if let Some(patient_id) = patient_id {
        let found = api.store.of_patient(patient_id).await.map_err(Error::from)?;
        let accounts = found.into_iter().map(AccountOut::from).collect();
        let shown = Extension(Shown(vec![patient_id]));
        return Ok((shown, Json(AccountsOut { accounts, next_cursor: None })));
    }
    let mut found = api.store.list(after, size + 1).await.map_err(Error::from)?;
    let more = found.len() > size as usize;
    found.truncate(size as usize);
    let next_cursor = match found.last() {
        Some(last) if more => Some(api.cursors.seal(&Cursor {
            list: LIST.to_owned(),
            key: last.opened_at.as_microsecond().to_string(),
            id: last.id,
        })?),
        _ => None,
    };
    let shown = Extension(Shown(found.iter().map(|account| account.patient_id).collect()));
    let accounts = found.into_iter().map(AccountOut::from).collect();
    Ok((shown, Json(AccountsOut { accounts, next_cursor })))
}

/// One account.
#[utoipa::path(
    get,
    path = "/accounts/{id}",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "the account's id")),
    responses(
        (status = OK, description = "the account", body = AccountOut),
        (status = NOT_FOUND, description = "there is no such account"),
        (status = UNAUTHORIZED, description = "no valid token"),
        (status = FORBIDDEN, description = "the role may not read billing"),
    ),
)]
async fn get_account(
    State(api): State<Arc<Api>>,
    PathId(id): PathId,
) -> Result<(Extension<Shown>, Json<AccountOut>), Failure> {
    let found = api.store.get(id).await.map_err(Error::from)?;
    let account = found.ok_or(Error::NotFound)?;
    Ok((Extension(Shown(vec![account.patient_id])), Json(account.into())))
}

fn after(api: &Api, text: &str) -> Result<(Timestamp, Uuid), &'static str> {
    let cursor = api.cursors.unseal(text, LIST)?;
    let opened_at = cursor.key.parse().ok().and_then(|us| Timestamp::from_microsecond(us).ok());
    Ok((opened_at.ok_or(NOT_OURS)?, cursor.id))
}

impl From<Account> for AccountOut {
    fn from(account: Account) -> Self {
        let Account { id, patient_id, status, opened_at } = account;
        Self { id, patient_id, status, opened_at }
    }
}
