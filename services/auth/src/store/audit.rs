//! Copies of every part's audit trail: taken in order, searched.

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use kit::{
    audit::{
        Kept,
        copies::{Copies, CopyError, Page, Taken},
        entry, joined,
        verify::Known,
    },
    db::{Db, DbError, Row, Tx, Value},
    params,
};
use shared_middleware::{audit::Entry, identity::Part};
use uuid::Uuid;

use super::Store;

const COLUMNS: &str =
    "writer, seq, at, actor, role, action, outcome, record, patients, source, trace";

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
    /// Takes a page of a part's trail: what follows on what is there.
    async fn take_copies(&self, writer: Part, entries: Vec<Kept>) -> Result<Taken, CopyError> {
        let taken = self.0.write(move |tx| Box::pin(take(tx, writer, entries))).await?;
        taken.ok_or(CopyError::Differs)
    }

    /// Entries of all trails, newest first.
    pub(crate) async fn audit_entries(
        &self,
        wanted: Wanted,
        count: u32,
    ) -> Result<Vec<Copied>, DbError> {
        self.0.read(move |tx| Box::pin(search(tx, wanted, count))).await
    }
}

impl Copies for Store {
    fn take(&self, writer: Part, page: Page) -> BoxFuture<'_, Result<Taken, CopyError>> {
        Box::pin(self.take_copies(writer, page.entries))
    }
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
async fn take(tx: &mut Tx<'_>, writer: Part, entries: Vec<Kept>) -> Result<Option<Taken>, DbError> {
    let known = last(tx, writer).await?;
    let (mut up_to, mut link) = known.map_or((0, Vec::new()), |known| (known.seq, known.link));
    for kept in entries {
        if kept.seq > up_to + 1 {
            break;
        }
        let (seq, its_link) = (kept.seq, kept.link.clone());
        if seq <= up_to || !insert(tx, writer, kept).await? {
            // A replica was faster, or we were not heard: it must be the same.
            if link_of(tx, writer, seq).await? != Some(its_link.clone()) {
                return Ok(None);
            }
        }
        if seq > up_to {
            (up_to, link) = (seq, its_link);
        }
    }
    Ok(Some(Taken { up_to, link }))
}

async fn link_of(tx: &mut Tx<'_>, writer: Part, seq: i64) -> Result<Option<Vec<u8>>, DbError> {
    let sql = "select link from audit_copy where writer = $1 and seq = $2";
    let row = tx.query_opt(sql, params![writer.as_str(), seq]).await?;
    row.map(|row| row.get(0)).transpose()
}

/// False when there is one of this number already.
async fn insert(tx: &mut Tx<'_>, writer: Part, kept: Kept) -> Result<bool, DbError> {
    let Kept { seq, entry, link } = kept;
    let patients = joined(&entry.patients);
    let values = params![
        writer.as_str(),
        seq,
        entry.at,
        entry.actor,
        entry.role,
        entry.action,
        entry.outcome.as_str(),
        entry.record,
        patients,
        entry.source,
        entry.trace,
        link,
    ];
    let sql = format!(
        "insert into audit_copy ({COLUMNS}, link)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         on conflict (writer, seq) do nothing"
    );
    if tx.execute(&sql, values).await? == 0 {
        return Ok(false);
    }
    for patient in entry.patients {
        let sql = "insert into audit_copy_patient (patient, at, writer, seq)
                   values ($1, $2, $3, $4) on conflict do nothing";
        tx.execute(sql, params![patient, entry.at, writer.as_str(), seq]).await?;
    }
    Ok(true)
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
        "select {} from {tables} {filter} order by c.at desc, c.writer desc, c.seq desc limit ${}",
        columns.join(", "),
        values.len(),
    );
    tx.query(&sql, &values).await?.iter().map(copied).collect()
}

fn copied(row: &Row) -> Result<Copied, DbError> {
    Ok(Copied { writer: row.get(0)?, seq: row.get(1)?, entry: entry(row, 2)? })
}
