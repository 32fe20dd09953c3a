//! Notifications over HTTP: decode, ask the store, encode.

use std::sync::Arc;

use axum::{Extension, Json, Router, extract::State};
use jiff::Timestamp;
use kit::{
    fields::FieldErrors,
    http::QueryFields,
    page::{self, Cursor, Cursors, NOT_OURS},
    service::{BearerAuth, DOCUMENT_RULE, document, with_problems},
};
use serde::{Deserialize, Serialize};
use shared_middleware::{
    access::{Access, Rule},
    audit::Shown,
    error::Failure,
    permission::Permission,
};
use utoipa::{IntoParams, OpenApi, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::store::{Listed, Store};

/// What the gateway puts before this service's paths.
const PREFIX: &str = "/api";

/// Who may call what.
pub const RULES: &[Rule] = &[
    Rule::new("GET", "/notifications", Access::User(Permission::ReadNotifications))
        .audited("notification.list"),
    DOCUMENT_RULE,
];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "MediSync notifications",
        description = "What patients were told, and what became of it. Names and addresses are \
            not among it: they are erased once a message is sent or given up.",
    ),
    servers((url = "/", description = "the gateway")),
    modifiers(&BearerAuth),
    tags((name = "notifications")),
)]
struct Document;

/// What handlers need.
#[derive(Clone)]
struct Api {
    store: Store,
    cursors: Arc<Cursors>,
}

/// Which notifications.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a document of what `list` reads")]
struct Params {
    /// Only this patient's.
    #[param(value_type = Option<Uuid>, example = "123e4567-e89b-12d3-a456-426614174000")]
    patient_id: Option<String>,
    /// This many at most.
    #[param(minimum = 1, maximum = 200, default = 20)]
    size: Option<u32>,
    /// Where the page before ended: its `nextCursor`.
    cursor: Option<String>,
}

/// A page of notifications, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Notifications {
    #[schema(max_items = 200)]
    notifications: Vec<Notification>,
    /// Where the next page begins; null when this is the last.
    #[schema(required, example = json!(null))]
    next_cursor: Option<String>,
}

/// A message to a patient.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Notification {
    /// Its id.
    #[schema(example = "0198f0c4-8a3e-7c1d-9a63-5d0c0f6b1e11")]
    id: Uuid,
    /// Whom it is for.
    #[schema(example = "123e4567-e89b-12d3-a456-426614174000")]
    patient_id: Uuid,
    /// `WELCOME`, `UPDATE` or `FAREWELL`.
    #[schema(example = "WELCOME")]
    r#type: &'static str,
    /// `file` or `smtp`.
    #[schema(example = "file")]
    channel: &'static str,
    /// `PENDING`, `SENT`, or `FAILED` for good.
    #[schema(example = "SENT")]
    status: &'static str,
    /// When it was sent; null unless it was.
    #[schema(
        required, value_type = Option<String>, format = DateTime, example = "2026-03-02T09:00:00Z"
    )]
    sent_at: Option<Timestamp>,
}

/// The routes.
pub(crate) fn routes(store: Store, cursors: Cursors) -> Router {
    let (routes, _) = described().split_for_parts();
    let api = Api { store, cursors: Arc::new(cursors) };
    routes.with_state(api).merge(document(openapi()))
}

/// The document of this service, with the paths that the gateway shows.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let (_, paths) = described().split_for_parts();
    with_problems(Document::openapi().nest(PREFIX, paths))
}

fn described() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Notifications, newest first.
#[utoipa::path(
    get,
    path = "/notifications",
    operation_id = "listNotifications",
    tag = "notifications",
    params(Params),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "A page", body = Notifications),
        (status = 400, description = "A parameter is wrong"),
        (status = 401, description = "No valid token"),
        (status = 403, description = "The role may not read notifications"),
        (status = 503, description = "Not available right now"),
    ),
)]
async fn list(
    State(api): State<Api>,
    QueryFields(mut query): QueryFields,
) -> Result<(Extension<Shown>, Json<Notifications>), Failure> {
    let (patient, size) = (query.text("patientId"), query.number("size"));
    let cursor = query.text("cursor");
    let mut faults = FieldErrors::new(query.end());
    let patient = patient.map(|text| text.parse::<Uuid>().map_err(|_| "must be a UUID"));
    let patient = faults.field("patientId", patient.transpose()).flatten();
    let size = faults.field("size", page::size_in_bounds(size));
    let list = patient.map_or("notifications".to_owned(), |id| format!("notifications {id}"));
    let before = cursor.map(|text| api.before(&text, &list)).transpose();
    let before = faults.field("cursor", before).flatten();
    let size = faults.all(size)?;

    // One more tells whether there is another page.
    let mut found = api.store.list(patient, before, size + 1).await?;
    let more = found.len() > size as usize;
    found.truncate(size as usize);
    let last = found.last().filter(|_| more);
    let next_cursor = last.map(|last| api.cursor_after(last, list)).transpose()?;
    let shown = Shown(patient.into_iter().chain(found.iter().map(|it| it.patient)).collect());
    let notifications = found.into_iter().map(Into::into).collect();
    Ok((Extension(shown.each_once()), Json(Notifications { notifications, next_cursor })))
}

// === impl Api ===

impl Api {
    fn before(&self, cursor: &str, list: &str) -> Result<i64, &'static str> {
        self.cursors.unseal(cursor, list)?.key.parse().map_err(|_| NOT_OURS)
    }

    fn cursor_after(&self, last: &Listed, list: String) -> Result<String, Failure> {
        self.cursors.seal(&Cursor { list, key: last.seq.to_string(), id: last.id })
    }
}

// === impl Notification ===

impl From<Listed> for Notification {
    fn from(listed: Listed) -> Self {
        Self {
            id: listed.id,
            patient_id: listed.patient,
            r#type: listed.kind.as_str(),
            channel: listed.medium.as_str(),
            status: listed.status.as_str(),
            sent_at: listed.sent_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use kit::testing::documents::{assert_shown, undocumented};

    use super::*;

    #[test]
    fn every_route_has_a_rule_and_every_rule_a_route() {
        let (_, described) = described().split_for_parts();
        assert_eq!(undocumented(&described, RULES), ["GET /v3/api-docs"]);
        assert!(RULES.iter().all(|rule| rule.method == "GET"));
    }

    #[test]
    fn the_document_shows_paths_as_the_gateway_does() {
        assert_shown(&openapi(), "MediSync notifications", "/");
        let document = serde_json::to_value(openapi()).unwrap();
        let get = &document["paths"]["/api/notifications"]["get"];
        for status in ["400", "401", "403", "503"] {
            assert!(get["responses"][status].is_object(), "{status}");
        }
        assert_eq!(get["security"][0]["bearer"], serde_json::json!([]));
        let names: Vec<_> =
            get["parameters"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
        assert_eq!(names, ["patientId", "size", "cursor"]);
    }
}
