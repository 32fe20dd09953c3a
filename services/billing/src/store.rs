//! Accounts, as they are kept.

use jiff::Timestamp;
use kit::{
    audit::{self, Note},
    db::{Db, DbError, Migrations, Row, Tx, Value},
    params,
};
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

/// The accounts' store.
#[derive(Clone)]
pub(crate) struct Store {
    db: Db,
}

const COLUMNS: &str = "id, patient_id, status, opened_at";

// === impl Store ===

impl Store {
    pub(crate) const fn new(db: Db) -> Self {
        Self { db }
    }

    /// Opens the patient's account, or finds it. Whoever comes second gets the first one's.
    pub(crate) async fn open(
        &self,
        new_id: Uuid,
        patient_id: Uuid,
        now: Timestamp,
    ) -> Result<Account, DbError> {
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    tx.execute(
                        "insert into account (id, patient_id, status, opened_at)
                         values ($1, $2, 'ACTIVE', $3) on conflict (patient_id) do nothing",
                        params![new_id, patient_id, now],
                    )
                    .await?;
                    let opened = find(tx, "patient_id", patient_id).await?;
                    let opened =
                        opened.ok_or(DbError::Corrupt("no account after it was opened"))?;
                    audit::note(tx, Note::of(opened.id).concerning(patient_id)).await?;
                    Ok(opened)
                })
            })
            .await
    }

    pub(crate) async fn get(&self, id: Uuid) -> Result<Option<Account>, DbError> {
        self.db.read(move |tx| Box::pin(find(tx, "id", id))).await
    }

    pub(crate) async fn of_patient(&self, patient_id: Uuid) -> Result<Option<Account>, DbError> {
        self.db.read(move |tx| Box::pin(find(tx, "patient_id", patient_id))).await
    }

    /// Accounts in the order in which they were opened, from after this one.
    pub(crate) async fn list(
        &self,
        after: Option<(Timestamp, Uuid)>,
        count: u32,
    ) -> Result<Vec<Account>, DbError> {
        self.db.read(move |tx| Box::pin(list(tx, after, count))).await
    }
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
