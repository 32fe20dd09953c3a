//! Service accounts: decodes, calls a verb, encodes.

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use kit::http::{JsonFields, PathId, QueryFields};
use shared_middleware::{error::Failure, identity::Caller};
use uuid::Uuid;

use super::{
    Api,
    dto::{NewServiceAccountBody, PageQuery, ServiceAccountBody, ServiceAccountsBody},
    pages,
};
use crate::domain::NewServiceAccount;

/// Which list a cursor is of.
const LIST: &str = "service accounts createdAt asc";

/// List service accounts
///
/// In the order in which they were added, those whose key has expired among them. Keys are not
/// shown.
#[utoipa::path(
    get, path = "/service-accounts", operation_id = "listServiceAccounts",
    tag = "service accounts",
    security(("bearer" = [])),
    params(PageQuery),
    responses(
        (status = 200, description = "A page of service accounts", body = ServiceAccountsBody),
        (status = 400, description = "The size or the cursor is not valid"),
    ),
)]
pub(super) async fn list_service_accounts(
    State(api): State<Api>,
    QueryFields(query): QueryFields,
) -> Result<Json<ServiceAccountsBody>, Failure> {
    let (size, after) = pages::asked(&api, query, LIST)?;
    let (accounts, more) = api.app.service_accounts(after, size).await?;
    let last = accounts.last().filter(|_| more).map(|last| (last.created_at, last.id));
    let next_cursor = last.map(|last| pages::next(&api, LIST, last)).transpose()?;
    let service_accounts = accounts.into_iter().map(ServiceAccountBody::from).collect();
    Ok(Json(ServiceAccountsBody { service_accounts, next_cursor }))
}

/// Add a service account
///
/// For a program that calls the API. The answer shows its key, and nothing ever does again: only
/// SHA-256 of it is kept.
#[utoipa::path(
    post, path = "/service-accounts", operation_id = "createServiceAccount",
    tag = "service accounts",
    security(("bearer" = [])),
    request_body = NewServiceAccountBody,
    responses(
        (status = 201, description = "The service account and its key",
            body = ServiceAccountBody),
        (status = 400, description = "One or more fields are invalid; ADMIN is no role for one"),
        (status = 409, description = "The name is taken"),
    ),
)]
pub(super) async fn create_service_account(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    JsonFields(mut body): JsonFields,
) -> Result<Response, Failure> {
    let (name, role) = (body.text("name"), body.text("role"));
    let days = body.number("expiresInDays").map(i64::from);
    let new = NewServiceAccount::parse(name.as_deref(), role.as_deref(), days);
    let made = api.app.create_service_account(body.all(new)?).await?;
    told(&caller, made.0.id, "service account added");
    Ok((StatusCode::CREATED, Json(ServiceAccountBody::from(made))).into_response())
}

/// Delete a service account
///
/// Its key is refused at once, its tokens within a second.
#[utoipa::path(
    delete, path = "/service-accounts/{id}", operation_id = "deleteServiceAccount",
    tag = "service accounts",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The service account's id")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "No such service account"),
    ),
)]
pub(super) async fn delete_service_account(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    PathId(id): PathId,
) -> Result<StatusCode, Failure> {
    api.app.delete_service_account(id).await?;
    told(&caller, id, "service account deleted");
    Ok(StatusCode::NO_CONTENT)
}

/// Who did what to which, by ids.
fn told(caller: &Caller, account: Uuid, what: &'static str) {
    tracing::info!(actor.id = %caller.log_id(), service_account.id = %account, "{what}");
}
