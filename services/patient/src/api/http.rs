//! The routes: decode, ask the app, encode; nothing else.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, ETAG, LINK, LOCATION},
};
use kit::{
    http::{JsonFields, PathId, QueryFields},
    page::Cursors,
    service::{BearerAuth, document, with_problems},
};
use shared_middleware::{
    audit::Shown,
    error::{Failure, FieldError},
    identity::Caller,
};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    etag,
    query::{ListQuery, ListRequest, Page, SearchIn},
    wire::{self, Known, NewPatientIn, OfVersion, PatientIn, PatientOut, PatientsOut, Repeatable},
};
use crate::{
    app::{App, Registered, RequestKey},
    domain::Patient,
    error::Error,
};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;
/// Where clients find patients: the gateway's path.
const PUBLIC_PATH: &str = "/api/patients";

/// What every handler needs.
struct Api {
    app: Arc<App>,
    cursors: Cursors,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "MediSync patients",
        description = "Who our patients are. Registering one opens a billing account and tells \
                       analytics and notification. Errors are RFC 9457 problem documents.",
    ),
    servers((url = "/api", description = "through the gateway")),
    modifiers(&BearerAuth),
)]
struct Document;

/// The OpenAPI document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    with_problems(documented().into_openapi())
}

pub(crate) fn rest(app: Arc<App>, cursors: Cursors) -> Router {
    let (routes, _) = documented().split_for_parts();
    routes.with_state(Arc::new(Api { app, cursors })).merge(document(openapi()))
}

fn documented() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(list_patients, register_patient))
        .routes(routes!(search_patients))
        .routes(routes!(get_patient, update_patient, delete_patient))
}

/// Lists patients.
#[utoipa::path(
    get,
    path = "/patients",
    security(("bearer" = [])),
    params(ListQuery),
    responses(
        (status = OK, description = "a page", body = PatientsOut, headers(
            ("Link", description = "`rel=\"next\"`"),
        )),
        (status = BAD_REQUEST, description = "a parameter is not of its form"),
        (status = UNAUTHORIZED, description = "no valid token"),
        (status = FORBIDDEN, description = "the role may not read patients"),
    ),
)]
async fn list_patients(
    State(api): State<Arc<Api>>,
    QueryFields(query): QueryFields,
) -> Result<Response, Failure> {
    page(&api, ListRequest::read(query, "search")).await
}

/// Searches patients by part of a name or email, without putting it into a URL.
#[utoipa::path(
    post,
    path = "/patients/search",
    security(("bearer" = [])),
    request_body = SearchIn,
    responses(
        (status = OK, description = "a page", body = PatientsOut, headers(
            ("Link", description = "`rel=\"next\"`"),
        )),
        (status = BAD_REQUEST, description = "a field is not of its form"),
        (status = UNAUTHORIZED, description = "no valid token"),
        (status = FORBIDDEN, description = "the role may not read patients"),
        (status = PAYLOAD_TOO_LARGE, description = "the body is too long"),
        (status = UNSUPPORTED_MEDIA_TYPE, description = "the body is not JSON"),
    ),
)]
async fn search_patients(
    State(api): State<Arc<Api>>,
    JsonFields(body): JsonFields,
) -> Result<Response, Failure> {
    page(&api, ListRequest::read(body, "query")).await
}

/// One patient.
#[utoipa::path(
    get,
    path = "/patients/{id}",
    security(("bearer" = [])),
    params(
        ("id" = uuid::Uuid, Path, description = "the patient's id"),
        Known,
    ),
    responses(
        (status = OK, description = "the patient", body = PatientOut, headers(
            ("ETag", description = "the version, quoted"),
        )),
        (status = NOT_MODIFIED, description = "the caller has this version", headers(
            ("ETag", description = "the version, quoted"),
        )),
        (status = NOT_FOUND, description = "there is no such patient"),
        (status = UNAUTHORIZED, description = "no valid token"),
        (status = FORBIDDEN, description = "the role may not read patients"),
    ),
)]
async fn get_patient(
    State(api): State<Arc<Api>>,
    PathId(id): PathId,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let patient = api.app.get(id).await?;
    if etag::is_known(&headers, patient.version) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag::of(patient.version))]).into_response());
    }
    Ok(one(patient))
}

/// Registers a patient.
///
/// With an `Idempotency-Key` (1 to 255 visible characters) it is safe to repeat for 24 hours: the
/// same key and body get the first answer again.
#[utoipa::path(
    post,
    path = "/patients",
    security(("bearer" = [])),
    request_body = NewPatientIn,
    params(Repeatable),
    responses(
        (status = CREATED, description = "the patient", body = PatientOut, headers(
            ("Location", description = "where the patient is"),
            ("ETag", description = "the version, quoted"),
        )),
        (status = BAD_REQUEST, description = "fields are not what they must be"),
        (status = CONFLICT, description = "the email is taken, or the key's request in progress"),
        (status = UNPROCESSABLE_ENTITY, description = "the key was used for another request"),
        (status = UNAUTHORIZED, description = "no valid token"),
        (status = FORBIDDEN, description = "the role may not register patients"),
        (status = PAYLOAD_TOO_LARGE, description = "the body is too long"),
        (status = UNSUPPORTED_MEDIA_TYPE, description = "the body is not JSON"),
    ),
)]
async fn register_patient(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    JsonFields(body): JsonFields,
) -> Result<Response, Failure> {
    let key = request_key(&headers, &caller)?;
    let registered = api.app.register(wire::input(body), key, json).await;
    let (id, answer) = match registered.map_err(refused)? {
        Registered::New(patient) => (patient.id, json(&patient)),
        Registered::Replayed { patient_id, answer } => (patient_id, answer),
    };
    let shown = Extension(Shown(vec![id]));
    let mut response = (StatusCode::CREATED, shown, answer).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ETAG, etag::of(1));
    let location = HeaderValue::from_str(&format!("{PUBLIC_PATH}/{id}"));
    headers.insert(LOCATION, location.expect("a UUID is a header value"));
    Ok(response)
}

/// Changes a patient's details: all of them at once.
///
/// What changes nothing leaves the version as it is, and no event is published.
#[utoipa::path(
    put,
    path = "/patients/{id}",
    security(("bearer" = [])),
    request_body = PatientIn,
    params(
        ("id" = uuid::Uuid, Path, description = "the patient's id"),
        OfVersion,
    ),
    responses(
        (status = OK, description = "the patient", body = PatientOut, headers(
            ("ETag", description = "the version, quoted"),
        )),
        (status = BAD_REQUEST, description = "fields are not what they must be"),
        (status = NOT_FOUND, description = "there is no such patient"),
        (status = CONFLICT, description = "another patient has this email"),
        (status = PRECONDITION_FAILED, description = "the patient was changed since"),
        (status = UNAUTHORIZED, description = "no valid token"),
        (status = FORBIDDEN, description = "the role may not change patients"),
        (status = PAYLOAD_TOO_LARGE, description = "the body is too long"),
        (status = UNSUPPORTED_MEDIA_TYPE, description = "the body is not JSON"),
    ),
)]
async fn update_patient(
    State(api): State<Arc<Api>>,
    PathId(id): PathId,
    headers: HeaderMap,
    JsonFields(body): JsonFields,
) -> Result<Response, Failure> {
    Ok(one(api.app.update(id, wire::input(body), etag::condition(&headers)).await?))
}

/// Removes a patient. The billing account stays.
#[utoipa::path(
    delete,
    path = "/patients/{id}",
    security(("bearer" = [])),
    params(
        ("id" = uuid::Uuid, Path, description = "the patient's id"),
        OfVersion,
    ),
    responses(
        (status = NO_CONTENT, description = "the patient was removed"),
        (status = NOT_FOUND, description = "there is no such patient"),
        (status = PRECONDITION_FAILED, description = "the patient was changed since"),
        (status = UNAUTHORIZED, description = "no valid token"),
        (status = FORBIDDEN, description = "the role may not remove patients"),
    ),
)]
async fn delete_patient(
    State(api): State<Arc<Api>>,
    PathId(id): PathId,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    api.app.remove(id, etag::condition(&headers)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn page(api: &Api, asked: ListRequest) -> Result<Response, Failure> {
    let page = Page::parse(asked, &api.cursors)?;
    let mut found = api.app.list(page.list.clone()).await?;
    let more = found.len() > page.size as usize;
    found.truncate(page.size as usize);
    let last = found.last().filter(|_| more);
    let next_cursor = last.map(|last| page.next(last, &api.cursors)).transpose()?;
    // The cursor remembers the search, so that the link names nobody.
    let link = next_cursor.as_ref().and_then(|cursor| {
        let url = format!("{PUBLIC_PATH}?size={}&cursor={cursor}", page.size);
        HeaderValue::from_str(&format!("<{url}>; rel=\"next\"")).ok()
    });
    let shown = Extension(Shown(found.iter().map(|patient| patient.id).collect()));
    let patients = found.into_iter().map(PatientOut::from).collect();
    let answer = Json(PatientsOut { patients, size: page.size, next_cursor });
    let mut response = (shown, answer).into_response();
    response.headers_mut().extend(link.map(|link| (LINK, link)));
    Ok(response)
}

fn one(patient: Patient) -> Response {
    let tag = etag::of(patient.version);
    let mut response = Json(PatientOut::from(patient)).into_response();
    response.headers_mut().insert(ETAG, tag);
    response
}

/// A request in progress is over soon: a repetition is asked to come back.
fn refused(error: Error) -> Failure {
    let soon = matches!(error, Error::InProgress);
    let failure = Failure::from(error);
    if soon { failure.retry_after_s(1) } else { failure }
}

/// The body that answers a registration: kept to be given again.
fn json(patient: &Patient) -> String {
    serde_json::to_string(&PatientOut::from(patient.clone())).expect("a patient is JSON")
}

fn request_key(headers: &HeaderMap, caller: &Caller) -> Result<Option<RequestKey>, Failure> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| {
        let visible = key.bytes().all(|b| b.is_ascii_graphic());
        visible && (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len())
    });
    match (key, values.next()) {
        (Some(key), None) => {
            Ok(Some(RequestKey { caller: caller.subject.to_string(), key: key.to_owned() }))
        }
        _ => {
            let message = "must be there once, with 1 to 255 visible ASCII characters";
            Err(Failure::invalid_fields(vec![FieldError::new("Idempotency-Key", message)]))
        }
    }
}
