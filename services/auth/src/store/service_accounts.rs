//! Service accounts: rows, pages, and sign-ins by their keys.

use jiff::Timestamp;
use kit::{
    audit::{self, AuditNote},
    db::{DbError, Row, Tx},
    params,
};
use uuid::Uuid;

use super::{Place, Store, take_turn, users::parse_role};
use crate::{domain::ServiceAccount, error::Error};

const COLUMNS: &str = "id, name, role, created_at, expires_at, last_used_at";
/// What the unique constraint on names is called.
const NAME_UNIQUE: &str = "service_accounts_name_key";

/// A service account with what a key is compared to.
pub(crate) struct StoredServiceAccount {
    pub(crate) account: ServiceAccount,
    pub(crate) key_hash: Vec<u8>,
}

/// A sign-in by a key, to be.
pub(crate) struct NewServiceSession {
    pub(crate) id: Uuid,
    pub(crate) account_id: Uuid,
    pub(crate) now: Timestamp,
    /// When its token is refused everywhere by itself.
    pub(crate) expires_at: Timestamp,
}

// === impl Store ===

impl Store {
    /// Adds a service account.
    pub(crate) async fn add_service_account(
        &self,
        account: ServiceAccount,
        key_hash: Vec<u8>,
    ) -> Result<(), Error> {
        let added = self
            .0
            .write(move |tx| {
                Box::pin(async move {
                    insert(tx, &account, key_hash).await?;
                    let role = vec![format!("role={}", account.role)];
                    audit::note(tx, AuditNote::of(account.id).setting(role))
                })
            })
            .await;
        added.map_err(|error| match error {
            DbError::Unique(name) if name == NAME_UNIQUE => Error::NameTaken,
            error => error.into(),
        })
    }

    pub(crate) async fn service_account(
        &self,
        id: Uuid,
    ) -> Result<Option<StoredServiceAccount>, DbError> {
        let sql = format!("select {COLUMNS}, key_hash from service_accounts where id = $1");
        self.0
            .read(move |tx| {
                Box::pin(async move {
                    let row = tx.query_opt(&sql, params![id]).await?;
                    let read = |row: &Row| {
                        let account = service_account(row)?;
                        Ok(StoredServiceAccount { account, key_hash: row.get(6)? })
                    };
                    row.as_ref().map(read).transpose()
                })
            })
            .await
    }

    /// Service accounts after this place, in the order in which they were added.
    pub(crate) async fn service_accounts(
        &self,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<ServiceAccount>, DbError> {
        let (at, id) = after.unwrap_or((Timestamp::UNIX_EPOCH, Uuid::nil()));
        let sql = format!(
            "select {COLUMNS} from service_accounts where (created_at, id) > ($1, $2)
             order by created_at, id limit $3"
        );
        self.0
            .read(move |tx| {
                Box::pin(async move {
                    let rows = tx.query(&sql, params![at, id, limit]).await?;
                    rows.iter().map(service_account).collect()
                })
            })
            .await
    }

    /// Begins a sign-in by a key that was compared; `None` when the account is gone or its key has
    /// expired.
    pub(crate) async fn begin_service_session(
        &self,
        new: NewServiceSession,
    ) -> Result<Option<ServiceAccount>, DbError> {
        let sql = format!(
            "update service_accounts set last_used_at = $1 where id = $2 and expires_at > $3
             returning {COLUMNS}"
        );
        self.0
            .write(move |tx| {
                Box::pin(async move {
                    // Written, not read: anyone who deletes the account waits for us, or we for
                    // them.
                    let values = params![new.now, new.account_id, new.now];
                    let Some(row) = tx.query_opt(&sql, values).await? else { return Ok(None) };
                    tx.execute(
                        "insert into service_sessions (id, account_id, expires_at)
                         values ($1, $2, $3)",
                        params![new.id, new.account_id, new.expires_at],
                    )
                    .await?;
                    let account = service_account(&row)?;
                    let note = AuditNote::of(new.id).by(account.id, Some(account.role));
                    audit::note(tx, note)?;
                    Ok(Some(account))
                })
            })
            .await
    }

    /// Deletes a service account, and ends its sign-ins.
    pub(crate) async fn delete_service_account(&self, id: Uuid, until_s: i64) -> Result<(), Error> {
        self.0
            .write(move |tx| {
                Box::pin(async move {
                    take_turn(tx).await?;
                    if !closed(tx, id).await? {
                        return Err(Error::ServiceAccountNotFound);
                    }
                    end_sessions_of(tx, id, until_s).await?;
                    tx.execute("delete from service_accounts where id = $1", params![id]).await?;
                    Ok(audit::note(tx, AuditNote::of(id))?)
                })
            })
            .await
    }

    /// Ends the sign-ins of accounts whose keys have expired; returns whether there were any.
    pub(crate) async fn end_expired_service_sessions(
        &self,
        now: Timestamp,
        until_s: i64,
    ) -> Result<bool, DbError> {
        // Read before anything is written: there is seldom one, and this is asked all the time.
        let expired =
            self.0.read(move |tx| Box::pin(async move { expired(tx, now).await })).await?;
        if expired.is_empty() {
            return Ok(false);
        }
        self.0
            .write(move |tx| {
                Box::pin(async move {
                    take_turn(tx).await?;
                    for id in expired {
                        closed(tx, id).await?;
                        end_sessions_of(tx, id, until_s).await?;
                    }
                    Ok(true)
                })
            })
            .await
    }
}

/// Accounts that have sign-ins, and a key that has expired.
async fn expired(tx: &mut Tx<'_>, now: Timestamp) -> Result<Vec<Uuid>, DbError> {
    const AT_ONCE: u32 = 100;
    let rows = tx
        .query(
            "select id from service_accounts where expires_at <= $1
             and exists (select 1 from service_sessions where account_id = service_accounts.id)
             limit $2",
            params![now, AT_ONCE],
        )
        .await?;
    rows.iter().map(|row| row.get(0)).collect()
}

/// Keeps others from signing in by an account's key until the commit; returns whether it is there.
async fn closed(tx: &mut Tx<'_>, id: Uuid) -> Result<bool, DbError> {
    let sql = "update service_accounts set name = name where id = $1";
    Ok(tx.execute(sql, params![id]).await? == 1)
}

/// Ends all sign-ins of an account. The caller has taken a turn, and none begins meanwhile.
async fn end_sessions_of(tx: &mut Tx<'_>, id: Uuid, until_s: i64) -> Result<(), DbError> {
    tx.execute(
        "insert into revocations (session_id, until_s)
         select id, cast($1 as bigint) from service_sessions where account_id = $2",
        params![until_s, id],
    )
    .await?;
    tx.execute("delete from service_sessions where account_id = $1", params![id]).await.map(drop)
}

async fn insert(
    tx: &mut Tx<'_>,
    account: &ServiceAccount,
    key_hash: Vec<u8>,
) -> Result<(), DbError> {
    let values = params![
        account.id,
        &account.name,
        account.name.to_lowercase(),
        account.role.as_str(),
        key_hash,
        account.created_at,
        account.expires_at
    ];
    tx.execute(
        "insert into service_accounts
         (id, name, name_key, role, key_hash, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        values,
    )
    .await
    .map(drop)
}

fn service_account(row: &Row) -> Result<ServiceAccount, DbError> {
    Ok(ServiceAccount {
        id: row.get(0)?,
        name: row.get(1)?,
        role: parse_role(&row.get::<String>(2)?)?,
        created_at: row.get(3)?,
        expires_at: row.get(4)?,
        last_used_at: row.get(5)?,
    })
}
