//! Copies of every part's audit log: taken in order, searched.

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use kit::{
    audit::{
        AuditKey, COLUMN_COUNT, COLUMNS, Closing, HEADS_TOLD_MAX, Head, Kept, REGISTRY, closing,
        head, heads,
        replication::{AuditReplica, CopyError, Page, Taken},
        start_of,
        verify::Links,
    },
    db::{Db, DbError, Engine, Row, Tx, Value},
    params,
};
use shared_middleware::{audit::Entry, identity::Part};
use uuid::Uuid;

use super::Store;

/// A text of an entry is an id, an address or a name: of another issuer's user, the issuer and the
/// subject, which tokens bound.
const TEXT_MAX: usize = 4096;
/// How far a chain has come takes no more, as a text: two numbers and a link.
const HEAD_CHARS_MAX: usize = 110;
/// An entry shows a page of patients at most.
const PATIENTS_MAX: usize = 1000;

/// What is looked for in the audit logs; all of it must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) actor: Option<String>,
    pub(crate) patient: Option<Uuid>,
    pub(crate) action: Option<String>,
    pub(crate) outcome: Option<&'static str>,
    pub(crate) writer: Option<Part>,
    pub(crate) from: Option<Timestamp>,
    pub(crate) to: Option<Timestamp>,
    /// Only what comes after this, newest first.
    pub(crate) before: Option<Place>,
}

/// Where an entry stands in a list of all audit logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) at: Timestamp,
    pub(crate) writer: String,
    pub(crate) chain: i64,
    pub(crate) seq: i64,
}

/// An entry of some part's audit log.
#[derive(Clone, Debug)]
pub(crate) struct Copied {
    pub(crate) writer: String,
    pub(crate) chain: i64,
    pub(crate) seq: i64,
    pub(crate) entry: Entry,
}

// === impl Store ===

impl Store {
    /// Entries of all audit logs, newest first.
    pub(crate) async fn audit_entries(
        &self,
        wanted: Wanted,
        count: u32,
    ) -> Result<Vec<Copied>, DbError> {
        self.0.search(move |tx| Box::pin(search(tx, wanted, count))).await
    }
}

impl Store {
    /// Whether some entry is of this actor.
    pub(crate) async fn is_in_trail(&self, actor: String) -> Result<bool, DbError> {
        let wanted = Wanted { actor: Some(actor), ..Wanted::default() };
        Ok(!self.audit_entries(wanted, 1).await?.is_empty())
    }
}

/// Who keeps copies of every part's audit log, and knows by their links whether they are of that
/// part and in their order.
#[derive(Clone)]
pub(crate) struct CopyKeeper {
    store: Store,
    key: AuditKey,
}

impl CopyKeeper {
    pub(crate) const fn new(store: Store, key: AuditKey) -> Self {
        Self { store, key }
    }
}

impl AuditReplica for CopyKeeper {
    /// Takes a page of a part's audit log: what follows on what is there.
    fn take(&self, writer: Part, page: Page) -> BoxFuture<'_, Result<Taken, CopyError>> {
        Box::pin(async move {
            if !page.entries.iter().all(is_bounded) {
                return Err(CopyError::Differs);
            }
            let links = Links::of(writer, &self.key);
            let taken = self.store.0.write(move |tx| Box::pin(take(tx, writer, page, links)));
            taken.await?.ok_or(CopyError::Differs)
        })
    }
}

/// Whether an entry is no longer than one that a part writes.
fn is_bounded(kept: &Kept) -> bool {
    let Entry { actor, role, action, record, patients, source, trace, changed, .. } = &kept.entry;
    // An opening tells how far other chains had come.
    let changed_max =
        if kept.chain == REGISTRY { HEADS_TOLD_MAX * HEAD_CHARS_MAX } else { TEXT_MAX };
    let short = |text: &Option<String>| text.as_ref().is_none_or(|text| text.len() <= TEXT_MAX);
    actor.len() <= TEXT_MAX
        && action.len() <= TEXT_MAX
        && [role, record, source, trace].into_iter().all(short)
        && patients.len() <= PATIENTS_MAX
        && changed.iter().map(String::len).sum::<usize>() <= changed_max
        && changed.iter().all(|field| !field.is_empty() && !field.contains(' '))
}

/// How far the copies of each part's chains have come.
pub async fn copies(db: &Db) -> Result<Vec<(Part, Vec<Head>)>, DbError> {
    let read = db.read(|tx| {
        Box::pin(async move {
            let mut found = Vec::new();
            for part in Part::ALL {
                found.push((part, heads(tx, Some(part)).await?));
            }
            found.retain(|(_, heads)| !heads.is_empty());
            Ok(found)
        })
    });
    read.await
}

/// None when what is there is not what the part now says was there.
async fn take(
    tx: &mut Tx<'_>,
    writer: Part,
    page: Page,
    links: Links,
) -> Result<Option<Taken>, DbError> {
    let mut taken = Vec::new();
    for chain in page.heads_of {
        taken.extend(head(tx, Some(writer), chain).await?);
    }
    for entries in page.entries.chunk_by(|one, next| one.chain == next.chain) {
        let Some(begun) = begun(tx, writer, &entries[0]).await? else { continue };
        match take_of_chain(tx, writer, begun, entries, &links).await? {
            Some(head) => taken.push(head),
            None => return Ok(None),
        }
    }
    Ok(Some(Taken { heads: taken }))
}

/// The head of a chain's copy, on which this entry should follow; none where the chain's opening is
/// not there yet.
async fn begun(tx: &mut Tx<'_>, writer: Part, next: &Kept) -> Result<Option<Head>, DbError> {
    let copied = match head(tx, Some(writer), next.chain).await? {
        Some(head) => Some(head),
        // A chain begins with its opening.
        None => start_of(tx, Some(writer), next.chain).await?,
    };
    let last = copied.as_ref().map_or(0, |head| head.seq);
    if next.seq <= last + 1 {
        return Ok(copied);
    }
    // Where the log was closed, what is missing does not come any more.
    if let Some(closing) = Closing::read(next) {
        return Ok(Some(closing.before()));
    }
    let closing = closing(tx, Some(writer)).await?;
    let from = closing.and_then(|(_, closing)| closing.from.get(&next.chain).cloned());
    Ok(from.filter(|from| from.seq > last).or(copied))
}

/// Takes entries of one chain, whose copy has come so far. None when what is there is not what the
/// part now says was there.
async fn take_of_chain(
    tx: &mut Tx<'_>,
    writer: Part,
    begun: Head,
    entries: &[Kept],
    links: &Links,
) -> Result<Option<Head>, DbError> {
    let (again, new): (Vec<_>, Vec<_>) =
        entries.iter().cloned().partition(|kept| kept.seq <= begun.seq);
    // We were not heard.
    if !are_there(tx, writer, &again).await? {
        return Ok(None);
    }
    let new: Vec<_> = (begun.seq + 1..)
        .zip(new)
        .take_while(|(seq, kept)| kept.seq == *seq)
        .map(|(_, new)| new)
        .collect();
    if !links.follow(&begun, &new) {
        return Ok(None);
    }
    // When a replica was faster, it must be the same.
    if !insert(tx, writer, &new).await? && !are_there(tx, writer, &new).await? {
        return Ok(None);
    }
    Ok(Some(new.last().map_or(begun, Kept::head)))
}

/// Whether these very entries are there.
async fn are_there(tx: &mut Tx<'_>, writer: Part, entries: &[Kept]) -> Result<bool, DbError> {
    let sql = "select link from audit_copy where writer = $1 and chain = $2 and seq = $3";
    for Kept { chain, seq, link, .. } in entries {
        let row = tx.query_opt(sql, params![writer.as_str(), *chain, *seq]).await?;
        if row.map(|row| row.get::<Vec<u8>>(0)).transpose()?.as_ref() != Some(link) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// False when some of their numbers were taken already.
async fn insert(tx: &mut Tx<'_>, writer: Part, entries: &[Kept]) -> Result<bool, DbError> {
    const OR_NOT: &str = "on conflict do nothing";
    let (mut rows, mut concerned) = (Vec::new(), Vec::new());
    let is_sqlite = tx.engine() == Engine::Sqlite;
    for kept in entries {
        rows.push(writer.as_str().into());
        rows.extend(kept.values());
        // PostgreSQL finds them by an index of the entries.
        for patient in kept.entry.patients.iter().filter(|_| is_sqlite) {
            concerned.extend_from_slice(params![
                *patient,
                kept.entry.at,
                writer.as_str(),
                kept.chain,
                kept.seq
            ]);
        }
    }
    let inserted =
        tx.insert_all("audit_copy", &format!("writer, {COLUMNS}"), &rows, OR_NOT).await?;
    let columns = "patient, at, writer, chain, seq";
    tx.insert_all("audit_copy_patient", columns, &concerned, OR_NOT).await?;
    Ok(inserted == entries.len() as u64)
}

async fn search(tx: &mut Tx<'_>, wanted: Wanted, count: u32) -> Result<Vec<Copied>, DbError> {
    let mut values: Vec<Value> = Vec::new();
    let engine = tx.engine();
    // The registry says nothing of what was done.
    let mut conditions = vec![format!("c.chain > {REGISTRY}")];
    let mut holds = |condition: &str, value: Value| {
        values.push(value);
        conditions.push(condition.replace('?', &format!("${}", values.len())));
    };
    if let Some(actor) = wanted.actor {
        holds("c.actor = ?", actor.into());
    }
    if let Some(action) = wanted.action {
        holds("c.action = ?", action.into());
    }
    if let Some(outcome) = wanted.outcome {
        holds("c.outcome = ?", outcome.into());
    }
    if let Some(writer) = wanted.writer {
        holds("c.writer = ?", writer.as_str().into());
    }
    if let Some(from) = wanted.from {
        holds("c.at >= ?", from.into());
    }
    if let Some(to) = wanted.to {
        holds("c.at < ?", to.into());
    }
    let mut tables = "audit_copy c".to_owned();
    match (wanted.patient, engine) {
        (Some(patient), Engine::Sqlite) => {
            tables.push_str(
                " join audit_copy_patient p
                  on p.writer = c.writer and p.chain = c.chain and p.seq = c.seq",
            );
            holds("p.patient = ?", patient.into());
        }
        (Some(patient), Engine::Postgres) => {
            let among = "string_to_array(c.patients, ' ') @> array[cast(? as text)]";
            holds(among, patient.to_string().into());
        }
        (None, _) => {}
    }
    if let Some(Place { at, writer, chain, seq }) = wanted.before {
        let [one, two, three, four] = [1, 2, 3, 4].map(|more| values.len() + more);
        conditions.push(format!(
            "(c.at, c.writer, c.chain, c.seq) < (${one}, ${two}, ${three}, ${four})"
        ));
        values.extend([at.into(), writer.into(), chain.into(), seq.into()]);
    }
    let columns = COLUMNS.split(", ").map(|name| format!("c.{name}")).collect::<Vec<_>>();
    let filter = conditions.join(" and ");
    values.push(count.into());
    let sql = format!(
        "select {}, c.writer from {tables} where {filter}
         order by c.at desc, c.writer desc, c.chain desc, c.seq desc limit ${}",
        columns.join(", "),
        values.len(),
    );
    tx.query(&sql, &values).await?.iter().map(copied).collect()
}

fn copied(row: &Row) -> Result<Copied, DbError> {
    let Kept { chain, seq, entry, .. } = Kept::read(row)?;
    Ok(Copied { writer: row.get(COLUMN_COUNT)?, chain, seq, entry })
}
