//! The trail's table: appended to, and read.

use serde::{Deserialize, Serialize};
use shared_middleware::{
    audit::{Entry, Outcome},
    identity::Part,
};
use uuid::Uuid;

use super::chain::Chain;
use crate::{
    db::{DbError, Row, Tx, Value},
    params,
};

/// An entry's columns, in the order in which they are written and read.
pub const COLUMNS: &str =
    "seq, at, actor, role, action, outcome, record, patients, source, trace, changed, link";

const HEAD: &str = "select seq, link from audit order by seq desc limit 1";
/// Whoever appends waits for whoever has appended, until that transaction ends.
const LOCK: &str =
    "select pg_advisory_xact_lock(hashtextextended(current_schema() || '.audit', 0))";

/// An entry at its place in a trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its number.
    pub seq: i64,
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
    /// Its link.
    pub link: Vec<u8>,
}

/// Appends entries. Whoever else would waits until the transaction ends.
pub(super) async fn append(
    tx: &mut Tx<'_>,
    chain: &Chain,
    entries: &[Entry],
) -> Result<(), DbError> {
    let (mut seq, mut link) = last(&tx.query_locked(LOCK, HEAD).await?)?.unwrap_or_default();
    let mut rows = Vec::new();
    for entry in entries {
        seq += 1;
        link = chain.link(&link, seq, entry);
        rows.extend(values(seq, entry, &link));
    }
    tx.insert_at_commit("audit", COLUMNS, rows).await
}

/// Number and link of the last entry.
pub(super) async fn head(tx: &mut Tx<'_>) -> Result<Option<(i64, Vec<u8>)>, DbError> {
    last(&tx.query(HEAD, &[]).await?)
}

fn last(found: &[Row]) -> Result<Option<(i64, Vec<u8>)>, DbError> {
    found.first().map(|row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

/// Entries from after this number on, oldest first.
pub async fn after(tx: &mut Tx<'_>, seq: i64, count: u32) -> Result<Vec<Kept>, DbError> {
    read(tx, None, seq, count).await?.into_iter().map(|(_, kept)| kept).collect()
}

/// The same for whoever wants to know which of them cannot be read, also of a part's copy at auth.
pub(super) async fn read(
    tx: &mut Tx<'_>,
    copy_of: Option<Part>,
    seq: i64,
    count: u32,
) -> Result<Vec<(i64, Result<Kept, DbError>)>, DbError> {
    let rows = match copy_of {
        None => {
            let sql = format!("select {COLUMNS} from audit where seq > $1 order by seq limit $2");
            tx.query(&sql, params![seq, count]).await?
        }
        Some(writer) => {
            let sql = format!(
                "select {COLUMNS} from audit_copy
                 where writer = $1 and seq > $2 order by seq limit $3"
            );
            tx.query(&sql, params![writer.as_str(), seq, count]).await?
        }
    };
    rows.iter().map(|row| Ok((row.get(0)?, Kept::read(row)))).collect()
}

fn values(seq: i64, entry: &Entry, link: &[u8]) -> [Value; 12] {
    let Entry { at, actor, role, action, outcome, record, patients, source, trace, changed } =
        entry;
    [
        seq.into(),
        (*at).into(),
        actor.into(),
        role.clone().into(),
        action.into(),
        outcome.as_str().into(),
        record.clone().into(),
        joined(patients).into(),
        source.clone().into(),
        trace.clone().into(),
        (!changed.is_empty()).then(|| changed.join(" ")).into(),
        link.to_vec().into(),
    ]
}

/// Ids as the table keeps them.
fn joined(ids: &[Uuid]) -> String {
    ids.iter().map(Uuid::to_string).collect::<Vec<_>>().join(" ")
}

// === impl Kept ===

impl Kept {
    /// Reads [`COLUMNS`], which are a row's first.
    pub fn read(row: &Row) -> Result<Self, DbError> {
        let outcome = Outcome::named(&row.get::<String>(5)?);
        let ids: String = row.get(7)?;
        let changed = row.get::<Option<String>>(10)?.unwrap_or_default();
        let patients = ids.split_terminator(' ').map(str::parse).collect::<Result<_, _>>();
        let entry = Entry {
            at: row.get(1)?,
            actor: row.get(2)?,
            role: row.get(3)?,
            action: row.get(4)?,
            outcome: outcome.ok_or(DbError::Corrupt("an outcome that is none"))?,
            record: row.get(6)?,
            patients: patients.map_err(|_| DbError::Corrupt("a patient's id that is none"))?,
            source: row.get(8)?,
            trace: row.get(9)?,
            changed: changed.split_terminator(' ').map(str::to_owned).collect(),
        };
        Ok(Self { seq: row.get(0)?, entry, link: row.get(11)? })
    }

    /// [`COLUMNS`].
    pub fn values(&self) -> [Value; 12] {
        values(self.seq, &self.entry, &self.link)
    }
}
