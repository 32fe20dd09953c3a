//! The audit trail: searched by those who may, and handed in by the mesh's parts.

use axum::{
    Extension, Json,
    body::{Body, to_bytes},
    extract::State,
};
use jiff::Timestamp;
use kit::{
    audit::copies::{Copies as _, CopyError, Page, Taken},
    http::QueryParams,
    page::{self, Cursor},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shared_middleware::{
    audit::{Entry, Outcome, refusals},
    error::{ErrorCode, Failure, FieldError, causes},
    identity::{Part, Peer},
    listen::Connection,
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::Api;
use crate::{
    error::Error,
    store::audit::{Copied, Place, Wanted},
};

const LIST: &str = "audit at desc";
/// A page of a trail is shorter, whatever it tells of.
const BODY_BYTES_MAX: usize = 4 << 20;
/// A longer text names no actor and no action.
const TEXT_CHARS_MAX: usize = 300;

/// Which entries: all conditions must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Who: a user's or service account's id, a part's SPIFFE id, `anonymous`, `shell`, `system`.
    user: Option<String>,
    /// Whose data were read or changed.
    #[param(value_type = Option<Uuid>)]
    patient_id: Option<String>,
    /// What, such as `patient.read`.
    action: Option<String>,
    /// `allowed`, `refused` or `failed`.
    #[param(value_type = Option<String>, pattern = "^(allowed|refused|failed)$")]
    outcome: Option<String>,
    /// Which part's trail.
    #[param(value_type = Option<String>,
        pattern = "^(auth|patient|billing|analytics|notification)$")]
    part: Option<String>,
    /// Not before (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Before (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// Entries in a page.
    #[param(minimum = 1, maximum = 200, default = 20)]
    size: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Something that was done, or refused.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EntryBody {
    /// Which part recorded it.
    #[schema(example = "patient")]
    part: String,
    /// Its number in that part's trail: 1, 2, 3 and so on without a gap.
    #[schema(example = 42)]
    seq: i64,
    /// When (RFC 3339, UTC).
    #[schema(value_type = String, format = DateTime, example = "2026-03-02T09:00:00Z")]
    at: Timestamp,
    /// Who: a user's id, a part's SPIFFE id, `anonymous`, `shell` or `system`.
    #[schema(example = "0198f0c4-8a3e-7c1d-9a63-5d0c0f6b1e11")]
    user: String,
    /// The user's role then.
    role: Option<String>,
    /// What.
    #[schema(example = "patient.read")]
    action: String,
    /// `allowed`, `refused` or `failed`.
    #[schema(example = "allowed")]
    outcome: &'static str,
    /// The id of what it was done to.
    record: Option<String>,
    /// Whose data were read or changed.
    patients: Vec<Uuid>,
    /// From which address.
    #[schema(example = "192.0.2.7")]
    source: Option<String>,
    /// The request's trace, by which logs are found.
    trace_id: Option<String>,
}

/// A page of entries, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EntriesBody {
    entries: Vec<EntryBody>,
    /// Ask for the next page with this; null on the last one.
    next_cursor: Option<String>,
}

/// Search the audit trail
///
/// Who did what to which record, when, from where, and what came of it; reads and searches
/// included. An entry appears within about a second.
#[utoipa::path(
    get, path = "/audit", operation_id = "searchAudit", tag = "audit",
    security(("bearer" = [])),
    params(AuditQuery),
    responses(
        (status = 200, description = "A page of entries", body = EntriesBody),
        (status = 400, description = "A parameter is not of its form"),
    ),
)]
pub(super) async fn search(
    State(api): State<Api>,
    QueryParams(query): QueryParams<AuditQuery>,
) -> Result<Json<EntriesBody>, Failure> {
    let size = page::size(query.size)?;
    let before = query.cursor.as_deref().map(|text| place(&api, text)).transpose()?;
    let wanted = Wanted { before, ..wanted(query)? };
    let mut found = api.app.audit_entries(wanted, size + 1).await?;
    let more = found.len() > size as usize;
    found.truncate(size as usize);
    let last = found.last().filter(|_| more);
    let next_cursor = last.map(|last| api.cursors.seal(&after(last))).transpose()?;
    let entries = found.into_iter().map(EntryBody::from).collect();
    Ok(Json(EntriesBody { entries, next_cursor }))
}

/// Takes a page of a part's trail. Which part's is said by its certificate alone.
pub(super) async fn take(
    State(api): State<Api>,
    Extension(connection): Extension<Connection>,
    body: Body,
) -> Result<Json<Taken>, Failure> {
    let page: Page = from_part(body).await?;
    let Some(Peer::Part(writer)) = connection.peer else {
        return Err(Failure::new(ErrorCode::Forbidden, "a part's certificate is needed"));
    };
    api.app.copies().take(writer, page).await.map(Json).map_err(|error| match error {
        CopyError::Db(error) => Error::from(error).into(),
        error => {
            tracing::error!(part = %writer, error = causes(&error), "a trail was not taken");
            Failure::new(ErrorCode::Conflict, "other entries are there under these numbers")
        }
    })
}

/// Records what the gateway refused.
pub(super) async fn refused(
    State(api): State<Api>,
    body: Body,
) -> Result<Json<serde_json::Value>, Failure> {
    let entries: Vec<Entry> = from_part(body).await?;
    let fits = entries.len() <= refusals::BATCH_MAX
        && entries.iter().all(|entry| entry.outcome == Outcome::Refused);
    if !fits {
        return Err(Failure::new(ErrorCode::Invalid, "not refusals, or too many at once"));
    }
    api.trail.keep_all(entries).await.map_err(Error::from)?;
    Ok(Json(serde_json::json!({})))
}

/// What a part of the mesh sent: longer than what clients may.
async fn from_part<T: DeserializeOwned>(body: Body) -> Result<T, Failure> {
    let odd = || Failure::new(ErrorCode::Invalid, "the body is not what parts send");
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| odd())?;
    serde_json::from_slice(&bytes).map_err(|_| odd())
}

fn wanted(query: AuditQuery) -> Result<Wanted, Failure> {
    let mut faults = Vec::new();
    let mut odd = |field: &'static str, message: &'static str| {
        faults.push(FieldError::new(field, message));
    };
    let short = |text: &String| text.chars().count() <= TEXT_CHARS_MAX;
    for (field, text) in [("user", &query.user), ("action", &query.action)] {
        if !text.as_ref().is_none_or(short) {
            odd(field, "is too long");
        }
    }
    let patient = query.patient_id.map(|text| text.parse());
    let outcome = query.outcome.map(|text| Outcome::named(&text).map(Outcome::as_str));
    let writer = query.part.map(|text| text.parse());
    let (from, to) = (query.from.map(|text| text.parse()), query.to.map(|text| text.parse()));
    if matches!(patient, Some(Err(_))) {
        odd("patientId", "must be a UUID");
    }
    if matches!(outcome, Some(None)) {
        odd("outcome", "must be allowed, refused or failed");
    }
    if matches!(writer, Some(Err(_))) {
        odd("part", "must be auth, patient, billing, analytics or notification");
    }
    for (field, moment) in [("from", &from), ("to", &to)] {
        if matches!(moment, Some(Err(_))) {
            odd(field, "must be a time such as 2026-03-02T09:00:00Z (RFC 3339)");
        }
    }
    if !faults.is_empty() {
        return Err(Failure::invalid_fields(faults));
    }
    Ok(Wanted {
        actor: query.user,
        patient: patient.and_then(Result::ok),
        action: query.action,
        outcome: outcome.flatten(),
        writer: writer.and_then(|part: Result<Part, _>| part.ok()),
        from: from.and_then(Result::ok),
        to: to.and_then(Result::ok),
        before: None,
    })
}

/// What a page's last entry was, as a cursor remembers it.
fn after(last: &Copied) -> Cursor {
    let key = format!("{} {} {}", last.entry.at.as_microsecond(), last.seq, last.writer);
    Cursor { list: LIST.to_owned(), key, id: Uuid::nil() }
}

fn place(api: &Api, text: &str) -> Result<Place, Failure> {
    let cursor = api.cursors.unseal(text, LIST)?;
    let read = || {
        let mut fields = cursor.key.splitn(3, ' ');
        let at = Timestamp::from_microsecond(fields.next()?.parse().ok()?).ok()?;
        let seq = fields.next()?.parse().ok()?;
        Some(Place { at, seq, writer: fields.next()?.to_owned() })
    };
    read().ok_or_else(page::not_ours)
}

impl From<Copied> for EntryBody {
    fn from(copied: Copied) -> Self {
        let Copied { writer, seq, entry } = copied;
        Self {
            part: writer,
            seq,
            at: entry.at,
            user: entry.actor,
            role: entry.role,
            action: entry.action,
            outcome: entry.outcome.as_str(),
            record: entry.record,
            patients: entry.patients,
            source: entry.source,
            trace_id: entry.trace,
        }
    }
}
