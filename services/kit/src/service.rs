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
use tonic_health::server::HealthReporter;
use utoipa::{
    PartialSchema as _, ToSchema,
    openapi::{
        Content, OpenApi, Ref, RefOr, Response,
        path::{Operation, PathItem},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::{
    audit::{AuditKey, AuditLog},
    db::{Db, DbError},
    log::EventLog,
    task::Task,
};

/// The path of a service's OpenAPI document.
pub const DOCUMENT_PATH: &str = "/v3/api-docs";

/// What every service may use.
#[derive(Clone)]
pub struct Kit {
    /// What time it is; see [`Kit::clock`].
    pub machine_clock: MachineClock,
    /// Where ids come from.
    pub ids: Ids,
    /// Where events are published and read.
    pub log: Arc<dyn EventLog>,
    /// As whom it calls others.
    pub tls: Arc<MeshTls>,
    /// What audit logs are sealed with.
    pub audit_key: AuditKey,
    /// Whether data of the demo is served.
    pub demo: bool,
}

/// The clock of this machine, which may be wrong. What a service writes or compares, its replicas
/// do by the clock of the store that they share: there is no other way to it.
#[derive(Clone, Debug)]
pub struct MachineClock(Clock);

/// A service, built. The binary decides where to serve it.
pub struct Service {
    /// Which part it is.
    pub part: Part,
    /// Its REST routes.
    pub rest: Router,
    /// Its gRPC routes, for a listener of their own.
    pub grpc: Option<Grpc>,
    /// Who may call what, REST and gRPC.
    pub rules: &'static [Rule],
    /// What it does beside answering.
    pub tasks: Vec<Task>,
    /// Its store: ready when that answers.
    pub db: Db,
    /// Where it is recorded who asked it for what.
    pub audit_log: AuditLog,
}

/// A service's gRPC.
pub struct Grpc {
    /// Its methods, health and reflection.
    pub routes: Router,
    /// The reporter of `grpc.health.v1`, which the binary uses.
    pub health: HealthReporter,
    /// What health is asked about beside the whole: the service's full name.
    pub name: &'static str,
}

// === impl Kit ===

impl Kit {
    /// The clock of this store, on which its replicas agree.
    pub fn clock(&self, db: &Db) -> Clock {
        self.machine_clock.of_store(db)
    }

    /// The audit log of a service, in its store.
    pub async fn audit_log(&self, part: Part, db: &Db) -> Result<AuditLog, DbError> {
        AuditLog::open(part, db.clone(), &self.audit_key, self.clock(db)).await
    }
}

// === impl MachineClock ===

impl MachineClock {
    /// The clock of this store: PostgreSQL's, or the machine's where one process has the store for
    /// itself.
    pub fn of_store(&self, db: &Db) -> Clock {
        db.clock(&self.0)
    }
}

impl From<Clock> for MachineClock {
    fn from(clock: Clock) -> Self {
        Self(clock)
    }
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

/// How the gateway and the mesh's layers fail whatever is asked.
const OF_ANY: [(&str, &str); 4] = [
    ("400", "The request is not of its form"),
    ("429", "Too many requests: `Retry-After` says when to come back"),
    ("503", "Not available right now: `Retry-After` says when to come back"),
    ("504", "Not answered in time"),
];
/// How they fail what needs a token.
const OF_SECURED: [(&str, &str); 2] =
    [("401", "No valid token"), ("403", "Not for this caller's role")];
/// How they fail what has a body.
const OF_BODIES: [(&str, &str); 2] =
    [("413", "The body is too long"), ("415", "The body is not JSON")];

/// Adds the failures that all operations share, where one does not declare them itself, and says of
/// every failure that it comes as a [`Problem`]: so no operation has to.
pub fn with_problems(mut openapi: OpenApi) -> OpenApi {
    for operation in openapi.paths.paths.values_mut().flat_map(operations) {
        let secured = operation.security.as_ref().is_some_and(|schemes| !schemes.is_empty());
        let of_secured = OF_SECURED.into_iter().filter(|_| secured);
        let of_bodies = OF_BODIES.into_iter().filter(|_| operation.request_body.is_some());
        let responses = &mut operation.responses.responses;
        for (status, description) in OF_ANY.into_iter().chain(of_secured).chain(of_bodies) {
            let missing = || Response::new(description).into();
            responses.entry(status.to_owned()).or_insert_with(missing);
        }
        for (status, response) in responses {
            let RefOr::T(response) = response else { continue };
            if status.starts_with(['4', '5']) && response.content.is_empty() {
                let problem = Content::new(Some(Ref::from_schema_name(Problem::name())));
                response.content.insert(PROBLEM_JSON.to_owned(), problem.into());
            }
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

/// Adds to an OpenAPI document how callers sign in. Which operations need it is for each of them to
/// say: documents are merged, and what is said of all would then be said of the open ones, too.
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
    use utoipa::openapi::{
        PathsBuilder,
        path::{HttpMethod, OperationBuilder},
        request_body::RequestBody,
        security::SecurityRequirement,
    };

    use super::*;

    fn described() -> Value {
        let operation = OperationBuilder::new()
            .response("200", Response::new("fine"))
            .response("404", Response::new("not there"))
            .build();
        let secured = OperationBuilder::new()
            .security(SecurityRequirement::new("bearer", [""; 0]))
            .request_body(Some(RequestBody::new()))
            .response("403", Response::new("only on Sundays"))
            .build();
        let paths = PathsBuilder::new()
            .path("/x", PathItem::new(HttpMethod::Get, operation))
            .path("/y", PathItem::new(HttpMethod::Post, secured));
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
    fn an_operation_tells_of_the_failures_that_it_shares_with_all_and_of_no_others() {
        let described = described();
        let responses = |pointer| described.pointer(pointer).unwrap()["responses"].clone();
        let statuses = |responses: &Value| -> Vec<_> {
            responses.as_object().unwrap().keys().cloned().collect()
        };
        let open = responses("/paths/~1x/get");
        assert_eq!(statuses(&open), ["200", "400", "404", "429", "503", "504"]);
        let secured = responses("/paths/~1y/post");
        let expected = ["400", "401", "403", "413", "415", "429", "503", "504"];
        assert_eq!(statuses(&secured), expected);
        assert_eq!(secured["403"]["description"], "only on Sundays");
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
