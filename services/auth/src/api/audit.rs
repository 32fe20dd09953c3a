//! The audit log: searched by those who may, and handed in by the mesh's parts.

use axum::{
    Extension, Json,
    body::{Body, to_bytes},
    extract::State,
};
use jiff::Timestamp;
use kit::{
    audit::replication::{AuditReplica as _, CopyError, Page, Taken},
    fields::{FieldErrors, RequestFields},
    http::QueryFields,
    page::{self, Cursor, NOT_OURS},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shared_middleware::{
    audit::{ACTIONS, ANONYMOUS, Entry, Outcome, SHELL, SYSTEM, Shown, denials},
    error::{ErrorCode, Failure, causes},
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
/// A page of an audit log is shorter, whatever it contains.
const BODY_BYTES_MAX: usize = 4 << 20;
/// A longer text names no actor and no action.
const TEXT_CHARS_MAX: usize = 300;

/// Which entries: all conditions must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a document of what `search` reads")]
pub(super) struct AuditQuery {
    /// Who: a user's or service account's id, a part's SPIFFE id, `anonymous`, `shell`, `system`;
    /// or the email address of a user who is there now. The id keeps addresses out of URLs, and
    /// finds those who were deleted.
    user: Option<String>,
    /// Whose data were read or changed.
    #[param(value_type = Option<Uuid>)]
    patient_id: Option<String>,
    /// What, such as `patient.read`.
    action: Option<String>,
    /// `allowed`, `refused` or `failed`.
    #[param(value_type = Option<String>, pattern = "^(allowed|refused|failed)$")]
    outcome: Option<String>,
    /// Which part's audit log.
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
    /// Which of that part's chains it is in: each process that writes has one of its own.
    #[schema(example = 1)]
    chain: i64,
    /// Its number in that chain: 1, 2, 3 and so on without a gap.
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
    /// Which fields of a user were set: names; of role and `disabled` the new value as well.
    #[schema(example = json!(["role=ADMIN", "disabled=false", "password"]))]
    changed: Vec<String>,
}

/// A page of entries, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EntriesBody {
    entries: Vec<EntryBody>,
    /// Ask for the next page with this; null on the last one.
    next_cursor: Option<String>,
}

/// Search the audit log
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
    QueryFields(query): QueryFields,
) -> Result<(Extension<Shown>, Json<EntriesBody>), Failure> {
    let (wanted, size) = asked(&api, query).await?;
    // Who looks up who treats whom is in the audit log, too.
    let about = Shown(wanted.patient.into_iter().collect());
    let mut found = api.app.audit_entries(wanted, size + 1).await?;
    let more = found.len() > size as usize;
    found.truncate(size as usize);
    let last = found.last().filter(|_| more);
    let next_cursor = last.map(|last| api.cursors.seal(&after(last))).transpose()?;
    let entries = found.into_iter().map(EntryBody::from).collect();
    Ok((Extension(about), Json(EntriesBody { entries, next_cursor })))
}

/// Takes a page of a part's audit log. Which part's is said by its certificate alone.
pub(super) async fn take(
    State(api): State<Api>,
    Extension(connection): Extension<Connection>,
    body: Body,
) -> Result<Json<Taken>, Failure> {
    let page: Page = from_part(body).await?;
    let Some(Peer::Part(writer)) = connection.peer else {
        return Err(Failure::new(ErrorCode::Forbidden, "a part's certificate is needed"));
    };
    api.copies.take(writer, page).await.map(Json).map_err(|error| match error {
        CopyError::Db(error) => Error::from(error).into(),
        error => {
            let error = causes(&error);
            tracing::error!(part = %writer, error, "cannot store replicated audit entries");
            Failure::new(ErrorCode::Conflict, "other entries are there under these numbers")
        }
    })
}

/// Records what the gateway forwards: above all its denials.
pub(super) async fn refused(
    State(api): State<Api>,
    body: Body,
) -> Result<Json<serde_json::Value>, Failure> {
    let entries: Vec<Entry> = from_part(body).await?;
    let fits = entries.len() <= denials::BATCH_MAX && entries.iter().all(denials::is_told);
    if !fits {
        return Err(Failure::new(ErrorCode::Invalid, "not refusals, or too many at once"));
    }
    api.audit_log.keep_all(entries).await.map_err(Error::from)?;
    Ok(Json(serde_json::json!({})))
}

/// What a part of the mesh sent: longer than what clients may.
async fn from_part<T: DeserializeOwned>(body: Body) -> Result<T, Failure> {
    let odd = || Failure::new(ErrorCode::Invalid, "the body is not what parts send");
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| odd())?;
    serde_json::from_slice(&bytes).map_err(|_| odd())
}

/// Which entries, and how many in a page. A condition that nothing can meet is refused: an empty
/// list would read as if nothing had been done.
async fn asked(api: &Api, mut query: RequestFields) -> Result<(Wanted, u32), Failure> {
    let names = ["user", "patientId", "action", "outcome", "part", "from", "to", "cursor"];
    let [user, patient, action, outcome, part, from, to, cursor] =
        names.map(|name| query.text(name));
    let size = query.number("size");
    let mut faults = FieldErrors::new(query.end());
    let actor = match user {
        Some(text) => actor(api, text).await?.map(Some),
        None => Ok(None),
    };
    let patient = patient.map(|text| text.parse::<Uuid>().map_err(|_| "must be a UUID"));
    let outcome = outcome.map(|text| {
        let named = Outcome::named(&text).map(Outcome::as_str);
        named.ok_or("must be allowed, refused or failed")
    });
    let part = part.map(|text| {
        let parts = "must be auth, patient, billing, analytics or notification";
        text.parse::<Part>().map_err(|_| parts)
    });
    let moment = |text: Option<String>| {
        let form = "must be a time such as 2026-03-02T09:00:00Z (RFC 3339)";
        text.map(|text| text.parse::<Timestamp>().map_err(|_| form)).transpose()
    };
    let wanted = Wanted {
        actor: faults.field("user", actor).flatten(),
        patient: faults.field("patientId", patient.transpose()).flatten(),
        action: faults.field("action", action.map(known_action).transpose()).flatten(),
        outcome: faults.field("outcome", outcome.transpose()).flatten(),
        writer: faults.field("part", part.transpose()).flatten(),
        from: faults.field("from", moment(from)).flatten(),
        to: faults.field("to", moment(to)).flatten(),
        before: faults.field("cursor", cursor.map(|text| place(api, &text)).transpose()).flatten(),
    };
    let size = faults.field("size", page::size_in_bounds(size));
    faults.all(size.map(|size| (wanted, size)))
}

fn known_action(text: String) -> Result<String, &'static str> {
    // Where a route has no name in the audit log, a refusal has its path.
    let known = ACTIONS.contains(&&*text) || text.starts_with('/');
    let known = known && text.chars().count() <= TEXT_CHARS_MAX;
    if known { Ok(text) } else { Err("must be an action of the audit log, such as patient.read") }
}

/// Who is meant, as the audit log names them.
async fn actor(api: &Api, text: String) -> Result<Result<String, &'static str>, Failure> {
    const NOBODY: &str = "names nobody whom the audit log knows: give an id, a part's SPIFFE id, \
                          anonymous, shell or system";
    let named = [ANONYMOUS, SHELL, SYSTEM].contains(&&*text)
        || text.strip_prefix("spiffe://medisync/").is_some_and(|part| part.parse::<Part>().is_ok());
    if named {
        return Ok(Ok(text));
    }
    if let Ok(id) = text.parse::<Uuid>() {
        return Ok(Ok(id.to_string()));
    }
    if text.chars().count() > TEXT_CHARS_MAX || text.chars().any(char::is_control) {
        return Ok(Err(NOBODY));
    }
    Ok(api.app.actor_named(text).await?.ok_or(NOBODY))
}

/// What a page's last entry was, as a cursor remembers it.
fn after(last: &Copied) -> Cursor {
    let Copied { writer, chain, seq, entry } = last;
    let key = format!("{} {chain} {seq} {writer}", entry.at.as_microsecond());
    Cursor { list: LIST.to_owned(), key, id: Uuid::nil() }
}

fn place(api: &Api, text: &str) -> Result<Place, &'static str> {
    let cursor = api.cursors.unseal(text, LIST)?;
    let read = || {
        let mut fields = cursor.key.splitn(4, ' ');
        let at = Timestamp::from_microsecond(fields.next()?.parse().ok()?).ok()?;
        let (chain, seq) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Place { at, writer: fields.next()?.to_owned(), chain, seq })
    };
    read().ok_or(NOT_OURS)
}

impl From<Copied> for EntryBody {
    fn from(copied: Copied) -> Self {
        let Copied { writer, chain, seq, entry } = copied;
        Self {
            part: writer,
            chain,
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
            changed: entry.changed,
        }
    }
}
