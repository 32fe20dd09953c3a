//! Users: decodes, calls a verb, encodes.

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, header::LOCATION};
use kit::http::{JsonFields, PathId, QueryFields};
use secrecy::SecretString;
use shared_middleware::{error::Failure, identity::Caller};
use uuid::Uuid;

use super::{
    Api,
    dto::{ChangeBody, NewUserBody, PageQuery, UserBody, UsersBody},
    pages,
};
use crate::domain::{Change, NewUser};

/// Which list a cursor is of.
const USERS_LIST: &str = "users createdAt asc";

/// List users
///
/// In the order in which they were added.
#[utoipa::path(
    get, path = "/users", operation_id = "listUsers", tag = "users",
    security(("bearer" = [])),
    params(PageQuery),
    responses(
        (status = 200, description = "A page of users", body = UsersBody),
        (status = 400, description = "The size or the cursor is not valid"),
    ),
)]
pub(super) async fn list_users(
    State(api): State<Api>,
    QueryFields(query): QueryFields,
) -> Result<Json<UsersBody>, Failure> {
    let (size, after) = pages::asked(&api, query, USERS_LIST)?;
    let (users, more) = api.app.page(after, size).await?;
    let last = users.last().filter(|_| more).map(|last| (last.created_at, last.id));
    let next_cursor = last.map(|last| pages::next(&api, USERS_LIST, last)).transpose()?;
    Ok(Json(UsersBody { users: users.into_iter().map(UserBody::from).collect(), next_cursor }))
}

/// Add a user
#[utoipa::path(
    post, path = "/users", operation_id = "createUser", tag = "users",
    security(("bearer" = [])),
    request_body = NewUserBody,
    responses(
        (status = 201, description = "The user", body = UserBody,
            headers(("Location" = String, description = "Where the user is"))),
        (status = 400, description = "One or more fields are invalid"),
        (status = 409, description = "The email is taken"),
    ),
)]
pub(super) async fn create_user(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    JsonFields(mut body): JsonFields,
) -> Result<Response, Failure> {
    let (email, password) = (body.text("email"), body.text("password").map(SecretString::from));
    let new = NewUser::parse(email.as_deref(), password, body.text("role").as_deref());
    let user = UserBody::from(api.app.create(body.all(new)?).await?);
    told(&caller, user.id, "user added");
    let location = [(LOCATION, format!("/api/users/{}", user.id))];
    Ok((StatusCode::CREATED, location, Json(user)).into_response())
}

/// Get a user
#[utoipa::path(
    get, path = "/users/{id}", operation_id = "getUser", tag = "users",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The user's id")),
    responses(
        (status = 200, description = "The user", body = UserBody),
        (status = 404, description = "No such user"),
    ),
)]
pub(super) async fn get_user(
    State(api): State<Api>,
    PathId(id): PathId,
) -> Result<Json<UserBody>, Failure> {
    Ok(Json(api.app.user(id).await?.into()))
}

/// Change a user
///
/// Another role, another password, or the user disabled: each ends the user's sign-ins.
#[utoipa::path(
    patch, path = "/users/{id}", operation_id = "changeUser", tag = "users",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The user's id")),
    request_body = ChangeBody,
    responses(
        (status = 200, description = "The user, changed", body = UserBody),
        (status = 400, description = "One or more fields are invalid"),
        (status = 404, description = "No such user"),
        (status = 409, description = "The last enabled ADMIN must stay one"),
    ),
)]
pub(super) async fn change_user(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    PathId(id): PathId,
    JsonFields(mut body): JsonFields,
) -> Result<Json<UserBody>, Failure> {
    let (role, password) = (body.text("role"), body.text("password").map(SecretString::from));
    let change = Change::parse(role.as_deref(), password, body.flag("disabled"));
    let user = api.app.change(id, body.all(change)?).await?;
    told(&caller, id, "user changed");
    Ok(Json(user.into()))
}

/// Delete a user
///
/// Ends the user's sign-ins.
#[utoipa::path(
    delete, path = "/users/{id}", operation_id = "deleteUser", tag = "users",
    security(("bearer" = [])),
    params(("id" = Uuid, Path, description = "The user's id")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "No such user"),
        (status = 409, description = "The last enabled ADMIN must stay"),
    ),
)]
pub(super) async fn delete_user(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    PathId(id): PathId,
) -> Result<StatusCode, Failure> {
    api.app.delete(id).await?;
    told(&caller, id, "user deleted");
    Ok(StatusCode::NO_CONTENT)
}

/// Who did what to whom, by ids.
fn told(caller: &Caller, user: Uuid, what: &'static str) {
    tracing::info!(actor.id = %caller.log_id(), user.id = %user, "{what}");
}
