//! What a service hands to the binary, and what it is handed.

use std::sync::Arc;

use axum::{Json, Router, routing::get};
use shared_middleware::{
    access::{Access, Rule},
    clock::{Clock, Ids},
    error::PROBLEM_JSON,
    identity::Part,
    tls::MeshTls,
};
use utoipa::{
    PartialSchema as _, ToSchema,
    openapi::{
        Content, OpenApi, Ref, RefOr,
        path::{Operation, PathItem},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
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

/// A failure (RFC 9457).
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only described: shared_middleware::error writes it")]
struct Problem {
    /// `urn:medisync:problem:` and the code.
    #[schema(example = "urn:medisync:problem:invalid")]
    r#type: String,
    /// The status in words.
    #[schema(example = "Bad Request")]
    title: String,
    #[schema(example = 400)]
    status: u16,
    /// What went wrong this time.
    #[schema(example = "one or more fields are invalid")]
    detail: String,
    /// What went wrong, for programs.
    #[schema(example = "invalid")]
    code: String,
    /// By which we find it in our logs.
    #[schema(example = "0af7651916cd43dd8448eb211c80319c")]
    trace_id: Option<String>,
    /// Every field that is not what it must be.
    errors: Option<Vec<FieldProblem>>,
}

/// A field that is not what it must be.
#[derive(ToSchema)]
#[schema(as = FieldError)]
#[expect(dead_code, reason = "only described: shared_middleware::error writes it")]
struct FieldProblem {
    #[schema(example = "email")]
    field: String,
    #[schema(example = "must be a valid email address")]
    message: String,
}

/// Says of every failure in a document that it comes as a [`Problem`], so that no operation has to.
pub fn with_problems(mut openapi: OpenApi) -> OpenApi {
    let responses = openapi
        .paths
        .paths
        .values_mut()
        .flat_map(operations)
        .flat_map(|operation| &mut operation.responses.responses);
    for (status, response) in responses {
        let RefOr::T(response) = response else { continue };
        if status.starts_with(['4', '5']) && response.content.is_empty() {
            let problem = Content::new(Some(Ref::from_schema_name(Problem::name())));
            response.content.insert(PROBLEM_JSON.to_owned(), problem.into());
        }
    }
    let schemas = &mut openapi.components.get_or_insert_default().schemas;
    schemas.insert(Problem::name().into_owned(), Problem::schema());
    schemas.insert(FieldProblem::name().into_owned(), FieldProblem::schema());
    openapi
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, head, options, .. } = path;
    [get, put, post, delete, patch, head, options].into_iter().flatten()
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared_middleware::error::{Failure, FieldError};
    use utoipa::openapi::{PathsBuilder, Response, path::HttpMethod, path::OperationBuilder};

    use super::*;

    fn described() -> Value {
        let operation = OperationBuilder::new()
            .response("200", Response::new("fine"))
            .response("404", Response::new("not there"))
            .build();
        let paths = PathsBuilder::new().path("/x", PathItem::new(HttpMethod::Get, operation));
        let mut openapi = OpenApi::default();
        openapi.paths = paths.build();
        serde_json::to_value(with_problems(openapi)).unwrap()
    }

    #[test]
    fn every_failure_of_a_document_is_a_problem_and_no_success_is() {
        let responses = &described()["paths"]["/x"]["get"]["responses"];
        let schema = json!({"schema": {"$ref": "#/components/schemas/Problem"}});
        assert_eq!(responses["404"]["content"], json!({ PROBLEM_JSON: schema }));
        assert_eq!(responses["200"]["content"], Value::Null);
    }

    #[test]
    fn the_schema_has_the_fields_that_are_written() {
        let schemas = &described()["components"]["schemas"];
        let names = |value: &Value| {
            let mut names: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
            names.sort();
            names
        };
        let failure = Failure::invalid_fields(vec![FieldError::new("a", "b")]);
        let written: Value = serde_json::from_slice(&failure.body(Some("t".to_owned()))).unwrap();
        assert_eq!(names(&schemas["Problem"]["properties"]), names(&written));
        assert_eq!(names(&schemas["FieldError"]["properties"]), names(&written["errors"][0]));
    }
}
