//! Accounts, as they are kept.

use std::{collections::HashMap, sync::Arc};

use futures_util::FutureExt as _;
use jiff::Timestamp;
use kit::{
    audit::{self, AuditNote},
    batch::Batch,
    db::{Db, DbError, Engine, Migrations, Row, Tx, Value, many},
    params,
};
use proto::demo;
use shared_middleware::audit::AuditContext;
use uuid::Uuid;

mod sqlite {
    refinery::embed_migrations!("migrations/sqlite");
}

mod postgres {
    refinery::embed_migrations!("migrations/postgres");
}

/// The tables of both engines.
pub(crate) fn migrations() -> Migrations {
    Migrations { sqlite: sqlite::migrations::runner(), postgres: postgres::migrations::runner() }
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) id: Uuid,
    pub(crate) patient_id: Uuid,
    pub(crate) status: String,
    pub(crate) opened_at: Timestamp,
}

/// An account to be opened, unless its patient has one.
#[derive(Clone)]
pub(crate) struct New {
    pub(crate) id: Uuid,
    pub(crate) patient_id: Uuid,
    pub(crate) now: Timestamp,
}

/// An account to be opened, and the request that asked for it.
type Requested = (New, Option<AuditContext>);

/// What every account is.
const ACTIVE: &str = "ACTIVE";

/// The accounts' store.
#[derive(Clone)]
pub(crate) struct Store {
    db: Db,
    groups: Batch<Requested, Result<Account, DbError>>,
    /// Whether accounts of the demo's patients are served.
    demo: bool,
}

const COLUMNS: &str = "id, patient_id, status, opened_at";

impl From<New> for Account {
    fn from(New { id, patient_id, now }: New) -> Self {
        Self { id, patient_id, status: ACTIVE.to_owned(), opened_at: now }
    }
}

// === impl Store ===

impl Store {
    pub(crate) fn new(db: Db) -> Self {
        let groups = Batch::of_commits(
            db.clone(),
            |db, all| open_all(db, all).boxed(),
            |db, new| open(db, new).boxed(),
        );
        Self { db, groups, demo: true }
    }

    /// The same, which serves accounts of the demo's patients or not.
    pub(crate) fn showing_demo(self, demo: bool) -> Self {
        Self { demo, ..self }
    }

    /// Opens a patient's account, or finds it. Anyone who comes second gets the first one's.
    ///
    /// On PostgreSQL those that wait share statements and a commit; SQLite's writer does that.
    pub(crate) async fn open(
        &self,
        new: New,
        asked: Option<AuditContext>,
    ) -> Result<Account, DbError> {
        let requested = (new, asked);
        match self.db.engine() {
            Engine::Sqlite => open(self.db.clone(), requested).await,
            Engine::Postgres => self.groups.add(requested).await,
        }
    }

    pub(crate) async fn get(&self, id: Uuid) -> Result<Option<Account>, DbError> {
        let found = self.db.read(move |tx| Box::pin(find(tx, "id", id))).await?;
        Ok(found.filter(|account| self.shows(account)))
    }

    pub(crate) async fn of_patient(&self, patient_id: Uuid) -> Result<Option<Account>, DbError> {
        let found = self.db.read(move |tx| Box::pin(find(tx, "patient_id", patient_id))).await?;
        Ok(found.filter(|account| self.shows(account)))
    }

    /// Accounts in the order in which they were opened, from after this one.
    pub(crate) async fn list(
        &self,
        after: Option<(Timestamp, Uuid)>,
        count: u32,
    ) -> Result<Vec<Account>, DbError> {
        // There are no more accounts of the demo's patients than patients.
        let count_max = if self.demo { count } else { count + demo::COUNT };
        let mut found = self.db.search(move |tx| Box::pin(list(tx, after, count_max))).await?;
        found.retain(|account| self.shows(account));
        found.truncate(count as usize);
        Ok(found)
    }

    fn shows(&self, account: &Account) -> bool {
        self.demo || !demo::is_patient(account.patient_id.as_u128())
    }

    /// Removes the accounts of the demo's patients; returns how many there were.
    pub(crate) async fn remove_demo(&self) -> Result<u64, DbError> {
        self.db
            .write(|tx| {
                Box::pin(async move {
                    let mut removed = 0;
                    for patient in demo::PATIENTS.map(Uuid::from_u128) {
                        let sql = "delete from account where patient_id = $1 returning id";
                        if let Some(row) = tx.query_opt(sql, params![patient]).await? {
                            let account: Uuid = row.get(0)?;
                            audit::note(tx, AuditNote::of(account).concerning(patient))?;
                            removed += 1;
                        }
                    }
                    Ok(removed)
                })
            })
            .await
    }
}

/// One by itself.
async fn open(db: Db, (new, asked): Requested) -> Result<Account, DbError> {
    let opening = db.write(move |tx| {
        Box::pin(async move {
            let New { id, patient_id, now } = new;
            let sql = format!(
                "insert into account (id, patient_id, status, opened_at)
                 values ($1, $2, 'ACTIVE', $3) on conflict (patient_id) do nothing
                 returning {COLUMNS}"
            );
            let opened = tx.query_opt(&sql, params![id, patient_id, now]).await?;
            let opened = match opened.as_ref().map(account).transpose()? {
                None => find(tx, "patient_id", patient_id).await?,
                opened => opened,
            };
            let opened = opened.ok_or(DbError::Corrupt("no account after it was opened"))?;
            audit::note_for(tx, asked, AuditNote::of(opened.id).concerning(patient_id))?;
            Ok(opened)
        })
    });
    opening.await
}

async fn open_all(db: Db, all: Arc<[Requested]>) -> Result<Vec<Option<Account>>, DbError> {
    db.write(move |tx| Box::pin(open_together(tx, all))).await
}

async fn open_together(
    tx: &mut Tx<'_>,
    group: Arc<[Requested]>,
) -> Result<Vec<Option<Account>>, DbError> {
    let mut new: Vec<_> = group.iter().map(|(new, _)| new).collect();
    // In one order, so that groups of two replicas do not wait for each other.
    new.sort_unstable_by_key(|new| new.patient_id);
    let values: Vec<_> = new
        .iter()
        .flat_map(|it| [it.id.into(), it.patient_id.into(), ACTIVE.into(), it.now.into()])
        .collect();
    let or_not = "on conflict (patient_id) do nothing";
    let inserted = tx.insert_all("account", COLUMNS, &values, or_not).await?;
    let accounts = if inserted == new.len() as u64 {
        new.into_iter().cloned().map(Account::from).collect()
    } else {
        let sql = format!("select {COLUMNS} from account where patient_id {}", tx.among_ids("$1"));
        let ids = many::ids(new.into_iter().map(|new| new.patient_id));
        tx.query(&sql, &[ids]).await?.iter().map(account).collect::<Result<Vec<_>, _>>()?
    };
    let accounts: HashMap<_, _> = accounts.into_iter().map(|it| (it.patient_id, it)).collect();
    let mut opened = Vec::with_capacity(group.len());
    for (new, asked) in &*group {
        let account = accounts.get(&new.patient_id).cloned();
        let account = account.ok_or(DbError::Corrupt("no account after it was opened"))?;
        let note = AuditNote::of(account.id).concerning(new.patient_id);
        audit::note_for(tx, asked.clone(), note)?;
        opened.push(Some(account));
    }
    Ok(opened)
}

async fn find(tx: &mut Tx<'_>, column: &str, id: Uuid) -> Result<Option<Account>, DbError> {
    let sql = format!("select {COLUMNS} from account where {column} = $1");
    tx.query_opt(&sql, params![id]).await?.map(|row| account(&row)).transpose()
}

async fn list(
    tx: &mut Tx<'_>,
    after: Option<(Timestamp, Uuid)>,
    count: u32,
) -> Result<Vec<Account>, DbError> {
    let rows = match after {
        None => {
            let sql = format!("select {COLUMNS} from account order by opened_at, id limit $1");
            tx.query(&sql, &[Value::from(count)]).await?
        }
        Some((opened_at, id)) => {
            let sql = format!(
                "select {COLUMNS} from account where (opened_at, id) > ($1, $2)
                 order by opened_at, id limit $3"
            );
            tx.query(&sql, params![opened_at, id, count]).await?
        }
    };
    rows.iter().map(account).collect()
}

fn account(row: &Row) -> Result<Account, DbError> {
    Ok(Account {
        id: row.get(0)?,
        patient_id: row.get(1)?,
        status: row.get(2)?,
        opened_at: row.get(3)?,
    })
}
