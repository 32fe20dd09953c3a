//! What a service hands to the binary, and what it is handed.

use std::sync::Arc;

use axum::{Json, Router, routing::get};
use shared_middleware::{
    access::{Access, Rule},
    clock::{Clock, Ids},
    identity::Part,
    tls::MeshTls,
};
use utoipa::openapi::{
    OpenApi,
    security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use crate::{db::Db, log::EventLog, task::Task};

/// The path of a service's OpenAPI document.
pub const DOCUMENT_PATH: &str = "/v3/api-docs";

/// What every service may use.
#[derive(Clone)]
pub struct Kit {
    /// What time it is.
    pub clock: Clock,
    /// Where ids come from.
    pub ids: Ids,
    /// Where events are published and read.
    pub log: Arc<dyn EventLog>,
    /// As whom it calls others.
    pub tls: Arc<MeshTls>,
}

/// A service, built. The binary decides where to serve it.
pub struct Service {
    /// Which part it is.
    pub part: Part,
    /// Its REST routes.
    pub rest: Router,
    /// Its gRPC routes, for a listener of their own.
    pub grpc: Option<Router>,
    /// Who may call what, REST and gRPC.
    pub rules: &'static [Rule],
    /// What it does beside answering.
    pub tasks: Vec<Task>,
    /// Its store: ready when that answers.
    pub db: Db,
}

/// The rule of [`DOCUMENT_PATH`]: every service lists it.
pub const DOCUMENT_RULE: Rule = Rule::new("GET", DOCUMENT_PATH, Access::Open);

/// The route of a service's OpenAPI document.
pub fn document(openapi: OpenApi) -> Router {
    let openapi = Arc::new(openapi);
    Router::new().route(DOCUMENT_PATH, get(async move || Json(OpenApi::clone(&openapi))))
}

/// Tells an OpenAPI document how callers sign in.
pub struct BearerAuth;

impl utoipa::Modify for BearerAuth {
    fn modify(&self, openapi: &mut OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("The `token` of `POST /auth/login`."))
            .build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}
