//! Sign-ins, keys and the feed: decodes, calls a verb, encodes.

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderName, StatusCode, header::CACHE_CONTROL};
use kit::{
    fields::{FieldErrors, RequestFields},
    http::{JsonFields, QueryFields},
};
use secrecy::SecretString;
use serde::Serialize;
use shared_middleware::{
    client_address::ClientAddress, error::Failure, identity::Caller, token::RevocationPage,
};

use super::{
    Api,
    dto::{
        KeyBody, KeySetBody, LoginBody, MeBody, OwnPasswordBody, RefreshBody, ServiceTokenBody,
        TokensBody,
    },
};
use crate::domain::{Login, OwnPassword};

/// Sign in
///
/// Unknown email, wrong password and disabled user get the same answer after the same time. An
/// account, there or not, takes this many failures a minute (`auth.rate_limit.account`); addresses
/// from where its user signed in within 30 days have an allowance each. Those who are right are not
/// limited.
#[utoipa::path(
    post, path = "/login", operation_id = "login", tag = "sign-in",
    request_body = LoginBody,
    responses(
        (status = 200, description = "A new sign-in", body = TokensBody),
        (status = 400, description = "A field is missing or too long"),
        (status = 401, description = "Email or password is wrong"),
        (status = 429, description = "Too many failures from this address, or for this account"),
        (status = 503, description = "Too many logins at once"),
    ),
)]
pub(super) async fn login(
    State(api): State<Api>,
    ClientAddress(from): ClientAddress,
    JsonFields(mut body): JsonFields,
) -> Result<Response, Failure> {
    let (email, password) = (body.text("email"), secret(&mut body, "password"));
    let login = body.all(Login::parse(email.as_deref(), password))?;
    Ok(not_kept(TokensBody::from(api.sign_in.login(login, from).await?)))
}

/// Refresh a sign-in
///
/// Spends the refresh token and gives a new pair, with the user's role of today. Used again within
/// `auth.refresh_reuse_seconds` (two tabs at once, a lost answer), it gives the same pair again; a
/// token that was spent before that ends its sign-in: both pairs are refused from then on.
#[utoipa::path(
    post, path = "/refresh", operation_id = "refresh", tag = "sign-in",
    request_body = RefreshBody,
    responses(
        (status = 200, description = "A new pair", body = TokensBody),
        (status = 400, description = "The token is missing"),
        (status = 401, description = "The token is spent, expired or revoked"),
    ),
)]
pub(super) async fn refresh(
    State(api): State<Api>,
    JsonFields(body): JsonFields,
) -> Result<Response, Failure> {
    let token = one_secret(body, "refreshToken")?;
    Ok(not_kept(TokensBody::from(api.sign_in.refresh(token).await?)))
}

/// Get a token for an API key
///
/// Begins a sign-in of the service account, which is not refreshed: the key gives the next token.
/// An unknown, wrong, expired or deleted key gets the same answer.
#[utoipa::path(
    post, path = "/token", operation_id = "token", tag = "sign-in",
    request_body = KeyBody,
    responses(
        (status = 200, description = "A token", body = ServiceTokenBody),
        (status = 400, description = "The key is missing"),
        (status = 401, description = "The key is not valid"),
        (status = 429, description = "Too many sign-ins from this address"),
    ),
)]
pub(super) async fn token(
    State(api): State<Api>,
    JsonFields(body): JsonFields,
) -> Result<Response, Failure> {
    let key = one_secret(body, "apiKey")?;
    Ok(not_kept(ServiceTokenBody::from(api.sign_in.by_key(key).await?)))
}

/// Sign out
///
/// Ends the sign-in that the token belongs to: its access and refresh tokens are refused everywhere
/// within a second. It ends our own sign-ins only: a token that another issuer signed has none
/// here, so it gets the same answer and stays valid until it expires.
#[utoipa::path(
    post, path = "/logout", operation_id = "logout", tag = "sign-in",
    security(("bearer" = [])),
    responses(
        (status = 204, description = "Signed out, if the token is of a sign-in of ours"),
    ),
)]
pub(super) async fn logout(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
) -> Result<StatusCode, Failure> {
    api.sign_in.logout(&caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Change one's password
///
/// Ends all of the user's sign-ins, this one too. A wrong current password counts as a failed
/// sign-in; it is a field that is wrong, so 400: the caller stays signed in.
#[utoipa::path(
    post, path = "/password", operation_id = "changeOwnPassword", tag = "sign-in",
    security(("bearer" = [])),
    request_body = OwnPasswordBody,
    responses(
        (status = 204, description = "Changed; sign in again"),
        (status = 400, description = "The current password is wrong, or the new one not allowed"),
        (status = 403, description = "A service account has no password"),
        (status = 429, description = "Too many attempts on this account"),
    ),
)]
pub(super) async fn password(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    ClientAddress(from): ClientAddress,
    JsonFields(mut body): JsonFields,
) -> Result<StatusCode, Failure> {
    let (current, new) = (secret(&mut body, "currentPassword"), secret(&mut body, "newPassword"));
    let change = body.all(OwnPassword::parse(current, new))?;
    api.app.change_own_password(&caller, change, from).await?;
    tracing::info!(actor.id = %caller.log_id(), "own password changed");
    Ok(StatusCode::NO_CONTENT)
}

/// Check a token
///
/// Answers nothing but whether the token is valid.
#[utoipa::path(
    get, path = "/validate", operation_id = "validate", tag = "sign-in",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The token is valid"),
    ),
)]
pub(super) async fn validate(_caller: Extension<Caller>) -> StatusCode {
    StatusCode::OK
}

/// Who am I
///
/// The user or the service account behind the token, as of now. Of a token that another issuer
/// signed there is none here.
#[utoipa::path(
    get, path = "/me", operation_id = "me", tag = "sign-in",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The caller", body = MeBody),
        (status = 404, description = "The token is another issuer's"),
    ),
)]
pub(super) async fn me(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<MeBody>, Failure> {
    Ok(Json(api.sign_in.who(&caller).await?.into()))
}

/// Public keys
///
/// What access tokens are verified with. During a rotation there are several.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", operation_id = "keys", tag = "sign-in",
    responses((status = 200, description = "The key set", body = KeySetBody)),
)]
pub(super) async fn jwks(State(api): State<Api>) -> Json<KeySetBody> {
    Json(KeySetBody { keys: api.keys.published() })
}

/// The feed of ended sign-ins and of the keys' version: a long poll.
pub(super) async fn revocations(
    State(api): State<Api>,
    QueryFields(mut query): QueryFields,
) -> Result<Json<RevocationPage>, Failure> {
    let (after, keys) = (query.text("after"), query.text("keys").unwrap_or_default());
    let mut faults = FieldErrors::new(query.end());
    let after = after.map_or(Ok(0), |text| text.parse::<i64>());
    let after = faults.field("after", after.map_err(|_| "must be a whole number"));
    Ok(Json(api.feed.poll(faults.all(after)?, &keys).await?))
}

fn secret(body: &mut RequestFields, name: &'static str) -> Option<SecretString> {
    body.text(name).map(SecretString::from)
}

/// Of a body that has nothing else.
fn one_secret(mut body: RequestFields, name: &'static str) -> Result<SecretString, Failure> {
    let secret = secret(&mut body, name);
    let mut faults = FieldErrors::new(body.end());
    let secret = faults.field(name, secret.ok_or("is required"));
    faults.all(secret)
}

/// Tokens are for one client: nothing between us may keep them (RFC 6749, 5.1).
fn not_kept(body: impl Serialize) -> Response {
    const NO_STORE: [(HeaderName, &str); 1] = [(CACHE_CONTROL, "no-store")];
    (NO_STORE, Json(body)).into_response()
}
