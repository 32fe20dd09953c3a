//! Sign-ins, keys and the feed: decodes, calls a verb, encodes.

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderName, StatusCode, header::CACHE_CONTROL};
use kit::http::{JsonBody, QueryParams};
use shared_middleware::{
    error::{Failure, FieldError},
    identity::Caller,
    token::RevocationPage,
};

use super::{
    Api,
    words::{FeedQuery, KeySetBody, LoginBody, MeBody, RefreshBody, TokensBody},
};
use crate::{app::TokenPair, domain::Login, error::Error};

/// Sign in
///
/// Unknown email, wrong password and disabled user get the same answer after the same time.
#[utoipa::path(
    post, path = "/login", operation_id = "login", tag = "sign-in",
    request_body = LoginBody,
    responses(
        (status = 200, description = "A new sign-in", body = TokensBody),
        (status = 400, description = "A field is missing or too long"),
        (status = 401, description = "Email or password is wrong"),
        (status = 429, description = "Too many logins from this address"),
        (status = 503, description = "Too many logins at once"),
    ),
)]
pub(super) async fn login(
    State(api): State<Api>,
    JsonBody(body): JsonBody<LoginBody>,
) -> Result<Response, Failure> {
    let login = Login::parse(body.email.as_deref(), body.password).map_err(Error::Invalid)?;
    Ok(tokens(api.sign_in.login(login).await?))
}

/// Refresh a sign-in
///
/// Spends the refresh token and gives a new pair, with the user's role of today. A token that was
/// spent before ends its sign-in: both pairs are refused from then on.
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
    JsonBody(body): JsonBody<RefreshBody>,
) -> Result<Response, Failure> {
    let required = || Error::Invalid(vec![FieldError::new("refreshToken", "is required")]);
    let token = body.refresh_token.ok_or_else(required)?;
    Ok(tokens(api.sign_in.refresh(token).await?))
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
/// The user behind the token, as of now. Of a token that another issuer signed there is none here.
#[utoipa::path(
    get, path = "/me", operation_id = "me", tag = "sign-in",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The user", body = MeBody),
        (status = 404, description = "The token is another issuer's"),
    ),
)]
pub(super) async fn me(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<MeBody>, Failure> {
    Ok(Json(api.sign_in.me(&caller).await?.into()))
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
    QueryParams(query): QueryParams<FeedQuery>,
) -> Result<Json<RevocationPage>, Failure> {
    Ok(Json(api.feed.poll(query.after, &query.keys).await?))
}

/// Tokens are for one client: nothing between us may keep them (RFC 6749, 5.1).
fn tokens(pair: TokenPair) -> Response {
    const NO_STORE: [(HeaderName, &str); 1] = [(CACHE_CONTROL, "no-store")];
    (NO_STORE, Json(TokensBody::from(pair))).into_response()
}
