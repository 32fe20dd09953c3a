//! The audit log's table: appended to, and read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared_middleware::{
    audit::{Entry, Outcome},
    identity::Part,
};
use uuid::Uuid;

use super::{
    chain::Chain,
    registry::{self, FIRST, REGISTRY},
};
use crate::{
    db::{DbError, Row, Tx, Value},
    params,
};

/// An entry's columns, in the order in which they are written and read.
pub const COLUMNS: &str =
    "chain, seq, at, actor, role, action, outcome, record, patients, source, trace, changed, link";
/// This many they are.
pub const COLUMN_COUNT: usize = 13;

/// An entry at its place in a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The number of its chain.
    pub chain: i64,
    /// Its number in it.
    pub seq: i64,
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
    /// Its link.
    pub link: Vec<u8>,
}

/// How far a chain has come: its last entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The chain's number.
    pub chain: i64,
    /// The last entry's number; 0 before the first.
    pub seq: i64,
    /// That entry's link; before the first, what the first one is linked to.
    pub link: Vec<u8>,
}

/// Appends entries to this process's chain, which is opened for the first of them. Nobody else in
/// the process appends until the transaction ends.
pub(super) async fn append(
    tx: &mut Tx<'_>,
    chain: &Chain,
    now: Timestamp,
    entries: &[Entry],
) -> Result<(), DbError> {
    let mut rows = Vec::with_capacity(entries.len() * COLUMN_COUNT);
    let mut head = match tx.take_chain_head().await? {
        Some(head) => head,
        None => {
            let (head, openings) = registry::open(tx, chain, now).await?;
            openings.iter().for_each(|opening| rows.extend(opening.values()));
            head
        }
    };
    for entry in entries {
        head = chain.next(&head, entry);
        rows.extend(values(&head, entry));
    }
    tx.insert_at_commit("audit", COLUMNS, rows).await?;
    tx.set_chain_head(head);
    Ok(())
}

/// Closes the log and appends this entry to the chain that is opened for it.
pub(super) async fn close(
    tx: &mut Tx<'_>,
    chain: &Chain,
    entry: &Entry,
    known: Vec<Head>,
) -> Result<(), DbError> {
    tx.take_chain_head().await?;
    let (head, closing) = registry::close(tx, chain, entry.at, known).await?;
    let head = chain.next(&head, entry);
    let rows = closing.values().into_iter().chain(values(&head, entry)).collect();
    tx.insert_at_commit("audit", COLUMNS, rows).await?;
    tx.set_chain_head(head);
    Ok(())
}

/// The query for the heads of all chains, the registry's first.
pub(super) fn heads_sql(copy_of: Option<Part>) -> String {
    let Table { name, of } = Table::of(copy_of);
    format!(
        "select h.chain, h.seq, h.link
         from (select chain, (select max(seq) from {name} where {of} chain = c.chain) as seq
               from (select seq as chain from {name} where {of} chain = {REGISTRY}
                     union select {REGISTRY} union select {FIRST}) c) last
         join {name} h on {of} h.chain = last.chain and h.seq = last.seq
         order by h.chain"
    )
}

/// The heads of all chains, the registry's first.
pub async fn heads(tx: &mut Tx<'_>, copy_of: Option<Part>) -> Result<Vec<Head>, DbError> {
    tx.query(&heads_sql(copy_of), &[]).await?.iter().map(Head::read).collect()
}

/// The head of a chain, if it has begun.
pub async fn head(
    tx: &mut Tx<'_>,
    copy_of: Option<Part>,
    chain: i64,
) -> Result<Option<Head>, DbError> {
    let Table { name, of } = Table::of(copy_of);
    let sql = format!(
        "select chain, seq, link from {name} where {of} chain = $1 order by seq desc limit 1"
    );
    tx.query_opt(&sql, params![chain]).await?.as_ref().map(Head::read).transpose()
}

/// A chain's entries after this number, in order, each with its number: some cannot be read.
pub(super) async fn read(
    tx: &mut Tx<'_>,
    copy_of: Option<Part>,
    (chain, seq): (i64, i64),
    count: u32,
) -> Result<Vec<(i64, Result<Kept, DbError>)>, DbError> {
    let Table { name, of } = Table::of(copy_of);
    let sql = format!(
        "select {COLUMNS} from {name} where {of} chain = $1 and seq > $2 order by seq limit $3"
    );
    let rows = tx.query(&sql, params![chain, seq, count]).await?;
    rows.iter().map(|row| Ok((row.get(1)?, Kept::read(row)))).collect()
}

/// A chain's entries after this number, in order.
pub async fn after(
    tx: &mut Tx<'_>,
    copy_of: Option<Part>,
    place: (i64, i64),
    count: u32,
) -> Result<Vec<Kept>, DbError> {
    read(tx, copy_of, place, count).await?.into_iter().map(|(_, kept)| kept).collect()
}

/// The last entry of a chain with this action.
pub(super) async fn last_of_action(
    tx: &mut Tx<'_>,
    copy_of: Option<Part>,
    chain: i64,
    action: &str,
) -> Result<Option<Kept>, DbError> {
    let Table { name, of } = Table::of(copy_of);
    let sql = format!(
        "select {COLUMNS} from {name} where {of} chain = $1 and action = $2
         order by seq desc limit 1"
    );
    tx.query_opt(&sql, params![chain, action]).await?.as_ref().map(Kept::read).transpose()
}

/// Chain and number of an entry that is in no chain up to this one.
pub(super) async fn outside(
    tx: &mut Tx<'_>,
    copy_of: Option<Part>,
    last: i64,
) -> Result<Option<(i64, i64)>, DbError> {
    let Table { name, of } = Table::of(copy_of);
    for (is_outside, bound) in [("chain < $1", REGISTRY), ("chain > $1", last)] {
        let sql = format!(
            "select chain, seq from {name} where {of} {is_outside} order by chain, seq limit 1"
        );
        if let Some(row) = tx.query_opt(&sql, params![bound]).await? {
            return Ok(Some((row.get(0)?, row.get(1)?)));
        }
    }
    Ok(None)
}

/// Where a log is: a service's own, or auth's copy of it.
struct Table {
    name: &'static str,
    /// What is said of a row before any other condition.
    of: String,
}

impl Table {
    fn of(copy_of: Option<Part>) -> Self {
        match copy_of {
            None => Self { name: "audit", of: String::new() },
            Some(part) => Self { name: "audit_copy", of: format!("writer = '{part}' and") },
        }
    }
}

fn values(at: &Head, entry: &Entry) -> [Value; COLUMN_COUNT] {
    let Head { chain, seq, link } = at;
    let Entry { at, actor, role, action, outcome, record, patients, source, trace, changed } =
        entry;
    [
        (*chain).into(),
        (*seq).into(),
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
        link.clone().into(),
    ]
}

/// Ids as the table keeps them.
fn joined(ids: &[Uuid]) -> String {
    ids.iter().map(Uuid::to_string).collect::<Vec<_>>().join(" ")
}

// === impl Head ===

impl Head {
    /// Of a chain that has no entry yet, whose first one is linked to this.
    pub const fn before_first(chain: i64, link: Vec<u8>) -> Self {
        Self { chain, seq: 0, link }
    }

    pub(super) fn read(row: &Row) -> Result<Self, DbError> {
        Ok(Self { chain: row.get(0)?, seq: row.get(1)?, link: row.get(2)? })
    }
}

// === impl Kept ===

impl Kept {
    /// The head of its chain, when it is the last one.
    pub fn head(&self) -> Head {
        Head { chain: self.chain, seq: self.seq, link: self.link.clone() }
    }

    /// Reads [`COLUMNS`], which are a row's first.
    pub fn read(row: &Row) -> Result<Self, DbError> {
        let outcome = Outcome::named(&row.get::<String>(6)?);
        let ids: String = row.get(8)?;
        let changed = row.get::<Option<String>>(11)?.unwrap_or_default();
        let patients = ids.split_terminator(' ').map(str::parse).collect::<Result<_, _>>();
        let entry = Entry {
            at: row.get(2)?,
            actor: row.get(3)?,
            role: row.get(4)?,
            action: row.get(5)?,
            outcome: outcome.ok_or(DbError::Corrupt("an outcome that is none"))?,
            record: row.get(7)?,
            patients: patients.map_err(|_| DbError::Corrupt("a patient's id that is none"))?,
            source: row.get(9)?,
            trace: row.get(10)?,
            changed: changed.split_terminator(' ').map(str::to_owned).collect(),
        };
        Ok(Self { chain: row.get(0)?, seq: row.get(1)?, entry, link: row.get(12)? })
    }

    /// [`COLUMNS`].
    pub fn values(&self) -> [Value; COLUMN_COUNT] {
        values(&self.head(), &self.entry)
    }
}
