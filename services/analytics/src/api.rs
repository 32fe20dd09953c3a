//! The summary over HTTP: decode, ask the store, encode.

use axum::{Json, Router, extract::State};
use jiff::{Timestamp, civil::Date};
use kit::{
    http::QueryFields,
    service::{BearerAuth, DOCUMENT_RULE, document, with_problems},
};
use serde::Serialize;
use shared_middleware::{
    access::{Access, Rule},
    clock::Clock,
    error::Failure,
    permission::Permission,
};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::{Band, bands},
    store::{Counts, Day, Store},
};

/// What the gateway puts before this service's paths.
const PREFIX: &str = "/api/analytics";

/// Who may call what.
pub const RULES: &[Rule] = &[
    Rule::new("GET", "/summary", Access::User(Permission::ReadAnalytics)).audited("analytics.read"),
    DOCUMENT_RULE,
];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "MediSync analytics",
        description = "How many patients there are, how old they are, how it came about.\n\n\
            Events carry the year of birth and nothing else of it, so an age is the one that is \
            reached in the calendar year of `asOf`.",
    ),
    servers((url = "/", description = "the gateway")),
    modifiers(&BearerAuth),
    tags((name = "analytics")),
)]
struct Document;

/// What handlers need.
#[derive(Clone)]
struct Api {
    store: Store,
    clock: Clock,
}

/// Patients and their events, counted.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Summary {
    /// Patients who are registered now: the sum over `byAgeBand`.
    #[schema(minimum = 0, example = 15)]
    patients: i64,
    /// Registrations, ever.
    #[schema(minimum = 0, example = 17)]
    created: i64,
    /// Changes, ever.
    #[schema(minimum = 0, example = 4)]
    updated: i64,
    /// Deletions, ever.
    #[schema(minimum = 0, example = 2)]
    deleted: i64,
    /// The last 90 days (in the clinic's time zone) on which a patient was registered or deleted,
    /// oldest first.
    #[schema(max_items = 90)]
    by_day: Vec<DaySummary>,
    /// Every band in order: `0-9`, `10-19`, … `80-89`, `90+`; then `unknown`, if any.
    #[schema(min_items = 10, max_items = 11)]
    by_age_band: Vec<BandSummary>,
    /// When this was true, and whose year the ages are of.
    #[schema(value_type = String, format = DateTime, example = "2026-03-02T09:00:00Z")]
    as_of: Timestamp,
}

/// One day's events.
#[derive(Serialize, ToSchema)]
struct DaySummary {
    /// The day, in the clinic's time zone.
    #[schema(value_type = String, format = Date, example = "2026-03-02")]
    date: Date,
    /// Registrations on it.
    #[schema(minimum = 0, example = 15)]
    created: i64,
    /// Deletions on it.
    #[schema(minimum = 0, example = 1)]
    deleted: i64,
}

/// Patients of an age.
#[derive(Serialize, ToSchema)]
struct BandSummary {
    /// Its name: the ages from and to.
    #[schema(example = "40-49")]
    band: String,
    /// Registered patients of that age.
    #[schema(minimum = 0, example = 3)]
    patients: i64,
}

/// The routes.
pub(crate) fn routes(store: Store, clock: Clock) -> Router {
    let (routes, _) = described().split_for_parts();
    routes.with_state(Api { store, clock }).merge(document(openapi()))
}

/// The document of this service, with the paths that the gateway shows.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let (_, paths) = described().split_for_parts();
    with_problems(Document::openapi().nest(PREFIX, paths))
}

fn described() -> OpenApiRouter<Api> {
    // Begun without an `info`: the nested document's is not looked at.
    OpenApiRouter::new().routes(routes!(summary))
}

/// Patients and their events, counted.
#[utoipa::path(
    get,
    path = "/summary",
    tag = "analytics",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "The summary", body = Summary),
        (status = 400, description = "There are no parameters"),
        (status = 401, description = "No valid token"),
        (status = 403, description = "The role may not read analytics"),
        (status = 503, description = "Not available right now"),
    ),
)]
async fn summary(
    State(api): State<Api>,
    QueryFields(query): QueryFields,
) -> Result<Json<Summary>, Failure> {
    query.none()?;
    let counts = api.store.counts().await?;
    let as_of = api.clock.now();
    let this_year = api.clock.day_of(as_of).year();
    Ok(Json(Summary::new(counts, as_of, this_year)))
}

// === impl Summary ===

impl Summary {
    fn new(counts: Counts, as_of: Timestamp, this_year: i16) -> Self {
        let by_age_band = bands(&counts.by_birth_year, this_year.into());
        Self {
            patients: by_age_band.iter().map(|band| band.patients).sum(),
            created: counts.created,
            updated: counts.updated,
            deleted: counts.deleted,
            by_day: counts.by_day.into_iter().map(Into::into).collect(),
            by_age_band: by_age_band.into_iter().map(Into::into).collect(),
            as_of,
        }
    }
}

impl From<Day> for DaySummary {
    fn from(day: Day) -> Self {
        Self { date: day.day, created: day.created, deleted: day.deleted }
    }
}

impl From<Band> for BandSummary {
    fn from(band: Band) -> Self {
        Self { band: band.name, patients: band.patients }
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
        assert_shown(&openapi(), "MediSync analytics", "/");
        let document = serde_json::to_value(openapi()).unwrap();
        let get = &document["paths"]["/api/analytics/summary"]["get"];
        for status in ["400", "401", "403", "503"] {
            assert!(get["responses"][status].is_object(), "{status}");
        }
        assert_eq!(get["security"][0]["bearer"], serde_json::json!([]));
    }
}
