//! The tables, and every statement on them. Each method is one transaction.
//!
//! Two rules keep concurrent transactions apart, on both engines:
//!
//! - Anyone who changes users, or refreshes or ends sign-ins, first takes a turn ([`take_turn`]):
//!   they run one after another, so nobody counts admins while another leaves, and revocations
//!   commit in the order of their ids.
//! - Anyone who begins a sign-in first writes the row that its end would have written: one of the
//!   two waits for the other, and then sees what it did.

pub(crate) mod audit;
mod email_domains;
mod known_sources;
mod service_accounts;
mod sessions;
mod users;

use jiff::{SignedDuration, Timestamp};
use kit::{
    db::{Db, DbConfig, DbError, Migrations, Tx},
    params,
};

pub(crate) use self::{
    service_accounts::NewServiceSession,
    sessions::{NewSession, NewToken, Refreshed, Spending},
    users::{Place, StoredUser},
};
use crate::REFRESH_REUSE_S_MAX;

mod sqlite {
    refinery::embed_migrations!("migrations/sqlite");
}

mod postgres {
    refinery::embed_migrations!("migrations/postgres");
}

/// A place is known for so long after a sign-in.
pub(crate) const KNOWN_PLACE_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);
/// What came after a spent refresh token is kept longer than it may be asked for again.
const SUCCESSOR_KEPT_FOR: SignedDuration = SignedDuration::from_secs(2 * REFRESH_REUSE_S_MAX);
/// This many rows are deleted by one statement of a purge.
const PURGED_AT_ONCE: u32 = 500;

/// Whether the demo's users are served.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Demo {
    Shown,
    Hidden,
}

/// The service's store.
#[derive(Clone)]
pub(crate) struct Store(Db, Demo);

// === impl Demo ===

impl Demo {
    /// What a condition on users ends with.
    const fn and(self) -> &'static str {
        match self {
            Self::Shown => "",
            Self::Hidden => " and demo = 0",
        }
    }
}

// === impl Store ===

impl Store {
    pub(crate) async fn open(config: &DbConfig) -> Result<Self, DbError> {
        let migrations = Migrations {
            sqlite: sqlite::migrations::runner(),
            postgres: postgres::migrations::runner(),
        };
        let db = Db::open(config, migrations).await?;
        email_domains::rewrite(&db).await?;
        Ok(Self(db, Demo::Shown))
    }

    /// The same, to which the demo's users are as good as absent.
    pub(crate) fn without_demo(self) -> Self {
        Self(self.0, Demo::Hidden)
    }

    pub(crate) const fn db(&self) -> &Db {
        &self.0
    }

    /// Deletes some of what has expired; returns whether there may be more.
    pub(crate) async fn purge(&self, now: Timestamp) -> Result<bool, DbError> {
        self.0
            .write(move |tx| {
                Box::pin(async move {
                    take_turn(tx).await?;
                    let mut deleted_max = 0;
                    for statement in [
                        "delete from refresh_tokens where token_hash in
                         (select token_hash from refresh_tokens where expires_at < $1 limit $2)",
                        "delete from sessions where id in
                         (select id from sessions where expires_at < $1 limit $2)",
                        "delete from service_sessions where id in
                         (select id from service_sessions where expires_at < $1 limit $2)",
                    ] {
                        let deleted = tx.execute(statement, params![now, PURGED_AT_ONCE]).await?;
                        deleted_max = deleted.max(deleted_max);
                    }
                    let erased = tx
                        .execute(
                            "update refresh_tokens set successor = null where token_hash in
                             (select token_hash from refresh_tokens
                              where successor is not null and spent_at < $1 limit $2)",
                            params![now - SUCCESSOR_KEPT_FOR, PURGED_AT_ONCE],
                        )
                        .await?;
                    deleted_max = erased.max(deleted_max);
                    let forgotten = now - KNOWN_PLACE_FOR;
                    let deleted = tx
                        .execute(
                            "delete from known_places where place_hash in
                             (select place_hash from known_places where seen_at < $1 limit $2)",
                            params![forgotten, PURGED_AT_ONCE],
                        )
                        .await?;
                    deleted_max = deleted.max(deleted_max);
                    // The last one stays: parts know its id as their position in the feed.
                    let deleted = tx
                        .execute(
                            "delete from revocations where id in
                             (select id from revocations where until_s < $1
                              and id < (select max(id) from revocations) limit $2)",
                            params![now.as_second(), PURGED_AT_ONCE],
                        )
                        .await?;
                    Ok(deleted.max(deleted_max) >= u64::from(PURGED_AT_ONCE))
                })
            })
            .await
    }
}

/// Waits until nobody else changes users or ends sign-ins, and keeps others waiting until the
/// commit. It must be the first statement that writes, or two may wait for each other.
async fn take_turn(tx: &mut Tx<'_>) -> Result<(), DbError> {
    tx.execute("update turn set taken = taken + 1", &[]).await.map(drop)
}
