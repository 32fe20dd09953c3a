//! The service's HTTP interface: routes, who may call them, and their OpenAPI document.
//!
//! Routes are as the gateway calls them, without its prefix; the document shows them as clients see
//! them. Both come from the same list, so none is undocumented but what is for the mesh alone.

mod audit;
mod dto;
mod pages;
mod service_accounts;
mod sign_in;
mod users;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};
use kit::{
    audit::{AuditLog, replication},
    page::Cursors,
    service::{BearerAuth, DOCUMENT_RULE, document, with_problems},
};
use shared_middleware::{
    access::{Access, Rule},
    audit::denials,
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
    store::audit::CopyKeeper,
};

/// What handlers call.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) app: Arc<App>,
    pub(crate) sign_in: Arc<SignIn>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) cursors: Arc<Cursors>,
    pub(crate) audit_log: AuditLog,
    pub(crate) copies: Arc<CopyKeeper>,
}

/// The feed: for the mesh alone, and so not in the document; as are the routes by which parts hand
/// in their audit logs.
const REVOCATIONS: &str = "/.well-known/revocations";

const SIGN_IN: Access = Access::Parts(peers::SIGN_IN);
const ADMIN: Access = Access::User(Permission::ManageUsers);
const AUDIT: Access = Access::User(Permission::ReadAudit);

/// Who may call what.
#[rustfmt::skip]
pub(crate) const RULES: &[Rule] = &[
    Rule::new("POST",   "/login",                 SIGN_IN).audited("session.begin"),
    Rule::new("POST",   "/refresh",               SIGN_IN).audited("session.refresh"),
    Rule::new("POST",   "/token",                 SIGN_IN).audited("session.begin_by_key"),
    Rule::new("POST",   "/logout",                Access::AnyUser).audited("session.end"),
    Rule::new("POST",   "/password",              Access::AnyUser).audited("user.change_password"),
    Rule::new("GET",    "/validate",              Access::AnyUser),
    Rule::new("GET",    "/me",                    Access::AnyUser),
    Rule::new("GET",    "/.well-known/jwks.json", Access::Open),
    Rule::new("GET",    REVOCATIONS,              Access::Parts(peers::REVOCATIONS)),
    Rule::new("POST",   replication::PATH,             Access::Parts(peers::AUDIT_COPIES)),
    Rule::new("POST",   denials::PATH,           Access::Parts(peers::AUDIT_REFUSALS)),
    Rule::new("GET",    "/users",                 ADMIN).audited("user.list"),
    Rule::new("POST",   "/users",                 ADMIN).audited("user.create"),
    Rule::new("GET",    "/users/{id}",            ADMIN).audited("user.read"),
    Rule::new("PATCH",  "/users/{id}",            ADMIN).audited("user.update"),
    Rule::new("DELETE", "/users/{id}",            ADMIN).audited("user.delete"),
    Rule::new("GET",    "/service-accounts",      ADMIN).audited("service_account.list"),
    Rule::new("POST",   "/service-accounts",      ADMIN).audited("service_account.create"),
    Rule::new("DELETE", "/service-accounts/{id}", ADMIN).audited("service_account.delete"),
    Rule::new("GET",    "/audit",                 AUDIT).audited("audit.read"),
    DOCUMENT_RULE,
];

/// The routes. The binary wraps them in the mesh's layers.
pub(crate) fn routes(api: Api) -> Router {
    let (routes, _) = documented().split_for_parts();
    routes
        .route(REVOCATIONS, get(sign_in::revocations))
        .route(replication::PATH, post(audit::take))
        .route(denials::PATH, post(audit::refused))
        .with_state(api)
        .merge(document(openapi()))
}

/// The OpenAPI document, with paths as seen through the gateway.
pub fn openapi() -> OpenApi {
    let (_, mut openapi) = documented().split_for_parts();
    let mut paths = Paths::new();
    for (path, item) in openapi.paths.paths {
        let managed = ["/users", "/service-accounts", "/audit"];
        let managed = managed.iter().any(|begin| path.starts_with(begin));
        let prefix = if managed { "/api" } else { "/auth" };
        paths.paths.insert(format!("{prefix}{path}"), item);
    }
    openapi.paths = paths;
    BearerAuth.modify(&mut openapi);
    with_problems(openapi)
}

/// The routes that clients see, with what the document says of each.
fn documented() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(dto::title())
        .routes(routes!(sign_in::login))
        .routes(routes!(sign_in::refresh))
        .routes(routes!(sign_in::token))
        .routes(routes!(sign_in::logout))
        .routes(routes!(sign_in::password))
        .routes(routes!(sign_in::validate))
        .routes(routes!(sign_in::me))
        .routes(routes!(sign_in::jwks))
        .routes(routes!(users::list_users, users::create_user))
        .routes(routes!(users::get_user, users::change_user, users::delete_user))
        .routes(routes!(
            service_accounts::list_service_accounts,
            service_accounts::create_service_account
        ))
        .routes(routes!(service_accounts::delete_service_account))
        .routes(routes!(audit::search))
}
