//! Copies of every part's audit trail: taken in order, searched.

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use kit::{
    audit::{
        AuditKey, COLUMNS, Kept,
        copies::{Copies, CopyError, Page, Taken},
        verify::{Known, Links},
    },
    db::{Db, DbError, Row, Tx, Value},
    params,
};
use shared_middleware::{audit::Entry, identity::Part};
use uuid::Uuid;

use super::Store;

/// A text of an entry is an id, an address or a name: of another issuer's user, the issuer and the
/// subject, which tokens bound.
const TEXT_MAX: usize = 4096;
/// An entry shows a page of patients at most.
const PATIENTS_MAX: usize = 1000;

/// What is looked for in the trails; all of it must hold.
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

/// Where an entry stands in a list of all trails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) at: Timestamp,
    pub(crate) writer: String,
    pub(crate) seq: i64,
}

/// An entry of some part's trail.
#[derive(Clone, Debug)]
pub(crate) struct Copied {
    pub(crate) writer: String,
    pub(crate) seq: i64,
    pub(crate) entry: Entry,
}

// === impl Store ===

impl Store {
    /// Entries of all trails, newest first.
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

/// Who keeps copies of every part's trail, and knows by their links whether they are of that part
/// and in their order.
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

impl Copies for CopyKeeper {
    /// Takes a page of a part's trail: what follows on what is there.
    fn take(&self, writer: Part, page: Page) -> BoxFuture<'_, Result<Taken, CopyError>> {
        Box::pin(async move {
            if !page.entries.iter().all(|kept| is_bounded(&kept.entry)) {
                return Err(CopyError::Differs);
            }
            let links = Links::of(writer, &self.key);
            let taken =
                self.store.0.write(move |tx| Box::pin(take(tx, writer, page.entries, links)));
            taken.await?.ok_or(CopyError::Differs)
        })
    }
}

/// Whether an entry is no longer than one that a part writes.
fn is_bounded(entry: &Entry) -> bool {
    let Entry { actor, role, action, record, patients, source, trace, changed, .. } = entry;
    let short = |text: &Option<String>| text.as_ref().is_none_or(|text| text.len() <= TEXT_MAX);
    actor.len() <= TEXT_MAX
        && action.len() <= TEXT_MAX
        && [role, record, source, trace].into_iter().all(short)
        && patients.len() <= PATIENTS_MAX
        && changed.iter().map(String::len).sum::<usize>() <= TEXT_MAX
        && changed.iter().all(|field| !field.is_empty() && !field.contains(' '))
}

/// How far each part's copy has come.
pub async fn copies(db: &Db) -> Result<Vec<(Part, Known)>, DbError> {
    let read = db.read(|tx| {
        Box::pin(async move {
            let mut found = Vec::new();
            for part in Part::ALL {
                found.extend(last(tx, part).await?.map(|known| (part, known)));
            }
            Ok(found)
        })
    });
    read.await
}

async fn last(tx: &mut Tx<'_>, writer: Part) -> Result<Option<Known>, DbError> {
    let sql = "select seq, link from audit_copy where writer = $1 order by seq desc limit 1";
    let row = tx.query_opt(sql, params![writer.as_str()]).await?;
    row.map(|row| Ok(Known { seq: row.get(0)?, link: row.get(1)? })).transpose()
}

/// None when what is there is not what the part now says was there.
async fn take(
    tx: &mut Tx<'_>,
    writer: Part,
    entries: Vec<Kept>,
    links: Links,
) -> Result<Option<Taken>, DbError> {
    let known = last(tx, writer).await?;
    let (up_to, link) = known.map_or((0, Vec::new()), |known| (known.seq, known.link));
    let is_known = |kept: &Kept| kept.seq <= up_to;
    let (again, new): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_known);
    // We were not heard.
    if !are_there(tx, writer, &again).await? {
        return Ok(None);
    }
    let new: Vec<_> = (up_to + 1..)
        .zip(new)
        .take_while(|(seq, kept)| kept.seq == *seq)
        .map(|(_, new)| new)
        .collect();
    if !links.follow(&link, &new) {
        return Ok(None);
    }
    // When a replica was faster, it must be the same.
    if !insert(tx, writer, &new).await? && !are_there(tx, writer, &new).await? {
        return Ok(None);
    }
    let taken = new.into_iter().next_back();
    let (up_to, link) = taken.map_or((up_to, link), |kept| (kept.seq, kept.link));
    Ok(Some(Taken { up_to, link }))
}

/// Whether these very entries are there.
async fn are_there(tx: &mut Tx<'_>, writer: Part, entries: &[Kept]) -> Result<bool, DbError> {
    let sql = "select link from audit_copy where writer = $1 and seq = $2";
    for Kept { seq, link, .. } in entries {
        let row = tx.query_opt(sql, params![writer.as_str(), *seq]).await?;
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
    for kept in entries {
        rows.push(writer.as_str().into());
        rows.extend(kept.values());
        for patient in &kept.entry.patients {
            concerned.extend_from_slice(params![
                *patient,
                kept.entry.at,
                writer.as_str(),
                kept.seq
            ]);
        }
    }
    let inserted =
        tx.insert_all("audit_copy", &format!("writer, {COLUMNS}"), &rows, OR_NOT).await?;
    let columns = "patient, at, writer, seq";
    tx.insert_all("audit_copy_patient", columns, &concerned, OR_NOT).await?;
    Ok(inserted == entries.len() as u64)
}

async fn search(tx: &mut Tx<'_>, wanted: Wanted, count: u32) -> Result<Vec<Copied>, DbError> {
    let mut values: Vec<Value> = Vec::new();
    let mut conditions = Vec::new();
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
    if let Some(patient) = wanted.patient {
        tables.push_str(" join audit_copy_patient p on p.writer = c.writer and p.seq = c.seq");
        holds("p.patient = ?", patient.into());
    }
    if let Some(Place { at, writer, seq }) = wanted.before {
        let first = values.len() + 1;
        conditions.push(format!(
            "(c.at, c.writer, c.seq) < (${first}, ${}, ${})",
            first + 1,
            first + 2
        ));
        values.extend([at.into(), writer.into(), seq.into()]);
    }
    let columns = COLUMNS.split(", ").map(|name| format!("c.{name}")).collect::<Vec<_>>();
    let filter = match conditions.is_empty() {
        true => String::new(),
        false => format!("where {}", conditions.join(" and ")),
    };
    values.push(count.into());
    let sql = format!(
        "select {}, c.writer from {tables} {filter}
         order by c.at desc, c.writer desc, c.seq desc limit ${}",
        columns.join(", "),
        values.len(),
    );
    tx.query(&sql, &values).await?.iter().map(copied).collect()
}

fn copied(row: &Row) -> Result<Copied, DbError> {
    let Kept { seq, entry, .. } = Kept::read(row)?;
    Ok(Copied { writer: row.get(12)?, seq, entry })
}
