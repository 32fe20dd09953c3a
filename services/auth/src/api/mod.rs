//! The service's HTTP interface: routes, who may call them, and their OpenAPI document.
//!
//! Routes are as the gateway calls them, without its prefix; the document shows them as clients see
//! them. Both come from the same list, so none is undocumented but what is for the mesh alone.

mod sign_in;
mod users;
mod words;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{Router, routing::get};
use kit::{
    page::Cursors,
    service::{BearerAuth, DOCUMENT_RULE, document, with_problems},
};
use shared_middleware::{
    access::{Access, Rule},
    peers,
    permission::Permission,
};
use utoipa::{
    Modify as _,
    openapi::{OpenApi, Paths},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::{App, SignIn},
    feed::Feed,
    keys::Keys,
};

/// What handlers call.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) app: Arc<App>,
    pub(crate) sign_in: Arc<SignIn>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) cursors: Arc<Cursors>,
}

/// The feed: for the mesh alone, and so not in the document.
const REVOCATIONS: &str = "/.well-known/revocations";

const SIGN_IN: Access = Access::Parts(peers::SIGN_IN);
const ADMIN: Access = Access::User(Permission::ManageUsers);

/// Who may call what.
#[rustfmt::skip]
pub(crate) const RULES: &[Rule] = &[
    Rule::new("POST",   "/login",                 SIGN_IN),
    Rule::new("POST",   "/refresh",               SIGN_IN),
    Rule::new("POST",   "/logout",                Access::AnyUser),
    Rule::new("GET",    "/validate",              Access::AnyUser),
    Rule::new("GET",    "/me",                    Access::AnyUser),
    Rule::new("GET",    "/.well-known/jwks.json", Access::Open),
    Rule::new("GET",    REVOCATIONS,              Access::Parts(peers::REVOCATIONS)),
    Rule::new("GET",    "/users",                 ADMIN),
    Rule::new("POST",   "/users",                 ADMIN),
    Rule::new("GET",    "/users/{id}",            ADMIN),
    Rule::new("PATCH",  "/users/{id}",            ADMIN),
    Rule::new("DELETE", "/users/{id}",            ADMIN),
    DOCUMENT_RULE,
];

/// The routes. The binary wraps them in the mesh's layers.
pub(crate) fn routes(api: Api) -> Router {
    let (routes, _) = documented().split_for_parts();
    routes.route(REVOCATIONS, get(sign_in::revocations)).with_state(api).merge(document(openapi()))
}

/// The OpenAPI document, with paths as seen through the gateway.
pub fn openapi() -> OpenApi {
    let (_, mut openapi) = documented().split_for_parts();
    let mut paths = Paths::new();
    for (path, item) in openapi.paths.paths {
        let prefix = if path.starts_with("/users") { "/api" } else { "/auth" };
        paths.paths.insert(format!("{prefix}{path}"), item);
    }
    openapi.paths = paths;
    BearerAuth.modify(&mut openapi);
    with_problems(openapi)
}

/// The routes that clients see, with what the document says of each.
fn documented() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(words::title())
        .routes(routes!(sign_in::login))
        .routes(routes!(sign_in::refresh))
        .routes(routes!(sign_in::logout))
        .routes(routes!(sign_in::validate))
        .routes(routes!(sign_in::me))
        .routes(routes!(sign_in::jwks))
        .routes(routes!(users::list_users, users::create_user))
        .routes(routes!(users::get_user, users::change_user, users::delete_user))
}
