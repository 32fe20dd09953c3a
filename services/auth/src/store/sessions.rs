//! Sign-ins: begun, refreshed, ended; and what was ended, in order.

use jiff::{SignedDuration, Timestamp};
use kit::{
    audit::{self, AuditNote},
    db::{DbError, Tx},
    params,
};
use shared_middleware::{identity::Role, token::RevokedSession};
use uuid::Uuid;

use super::{Demo, Store, known_sources, take_turn, users::parse_role};
use crate::error::Error;

/// A sign-in to be.
pub(crate) struct NewSession {
    pub(crate) id: Uuid,
    pub(crate) user_id: Uuid,
    /// The hash that the password was compared to; when it has changed, the sign-in is void.
    pub(crate) password_hash: String,
    /// The same password's hash at today's cost, when that has risen.
    pub(crate) new_password_hash: Option<String>,
    /// From where: the hash of account and address.
    pub(crate) place: Vec<u8>,
    pub(crate) now: Timestamp,
    pub(crate) token: NewToken,
}

/// A refresh token to be.
pub(crate) struct NewToken {
    pub(crate) hash: Vec<u8>,
    pub(crate) expires_at: Timestamp,
}

/// A refresh token that came back, and what is to take its place.
pub(crate) struct Spending {
    /// The hash of the old token.
    pub(crate) hash: Vec<u8>,
    pub(crate) new: NewToken,
    pub(crate) now: Timestamp,
    /// For so long after it was spent, anyone who has it gets the same successor.
    pub(crate) reuse: SignedDuration,
    /// So long a sign-in lives, however often it is refreshed.
    pub(crate) session_lives: SignedDuration,
    /// When all tokens that were signed until now are gone.
    pub(crate) until_s: i64,
}

/// What came of a refresh.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refreshed {
    /// The old token is spent, the new one is in force: now, or since a moment ago.
    Done { successor: Vec<u8> },
    /// The token was spent before: somebody else has it too. Its sign-in was ended.
    Spent { session: Uuid },
    /// There is no such token, or its sign-in is over.
    Refused,
}

// === impl Store ===

impl Store {
    /// Begins a sign-in; `None` when the user was disabled, deleted or given another password.
    pub(crate) async fn begin_session(&self, new: NewSession) -> Result<Option<Role>, DbError> {
        self.0
            .write(move |tx| {
                Box::pin(async move {
                    let hash = new.new_password_hash.as_ref().unwrap_or(&new.password_hash);
                    // Written, not read: anyone who disables the user waits for us, or we for them.
                    let row = tx
                        .query_opt(
                            "update users set signed_in_at = $1, password_hash = $2
                             where id = $3 and disabled = 0 and password_hash = $4
                             returning role",
                            params![new.now, hash, new.user_id, &new.password_hash],
                        )
                        .await?;
                    let Some(row) = row else { return Ok(None) };
                    tx.execute(
                        "insert into sessions (id, user_id, created_at, expires_at)
                         values ($1, $2, $3, $4)",
                        params![new.id, new.user_id, new.now, new.token.expires_at],
                    )
                    .await?;
                    insert_token(tx, new.id, new.token).await?;
                    known_sources::note(tx, new.user_id, new.place, new.now).await?;
                    let role = parse_role(&row.get::<String>(0)?)?;
                    audit::note(tx, AuditNote::of(new.id).by(new.user_id, Some(role)))?;
                    Ok(Some(role))
                })
            })
            .await
    }

    /// Spends a refresh token for a new one; what its client is to get is made of user, session and
    /// role. When the token was spent a moment ago, that is given again; when it was spent before,
    /// its sign-in ends, and tokens of it are refused until then.
    pub(crate) async fn refresh<F>(&self, spending: Spending, make: F) -> Result<Refreshed, Error>
    where
        F: FnOnce(Uuid, Uuid, Role) -> Result<Vec<u8>, Error> + Send + 'static,
    {
        let demo = self.1;
        self.0.write(move |tx| Box::pin(refresh(tx, spending, demo, make))).await
    }

    /// Ends a sign-in. It may be one that we do not know (any more): its tokens are refused too.
    pub(crate) async fn end_session(&self, session: Uuid, until_s: i64) -> Result<(), DbError> {
        self.0
            .write(move |tx| {
                Box::pin(async move {
                    take_turn(tx).await?;
                    end_session(tx, session, until_s).await?;
                    audit::note(tx, AuditNote::of(session))
                })
            })
            .await
    }

    /// What was ended after this position, in order.
    pub(crate) async fn revocations_after(
        &self,
        position: i64,
        limit: u32,
    ) -> Result<Vec<(i64, RevokedSession)>, DbError> {
        self.0
            .read(move |tx| {
                Box::pin(async move {
                    let rows = tx
                        .query(
                            "select id, session_id, until_s from revocations
                             where id > $1 order by id limit $2",
                            params![position, limit],
                        )
                        .await?;
                    let read = |row: &kit::db::Row| {
                        let ended = RevokedSession { session: row.get(1)?, until_s: row.get(2)? };
                        Ok((row.get(0)?, ended))
                    };
                    rows.iter().map(read).collect()
                })
            })
            .await
    }
}

async fn refresh<F>(
    tx: &mut Tx<'_>,
    spending: Spending,
    demo: Demo,
    make: F,
) -> Result<Refreshed, Error>
where
    F: FnOnce(Uuid, Uuid, Role) -> Result<Vec<u8>, Error> + Send,
{
    let Spending { hash, mut new, now, reuse, session_lives, until_s } = spending;
    // Read, not written: anyone who guesses tokens costs nobody a turn.
    let found = tx
        .query_opt(
            "select session_id, expires_at from refresh_tokens where token_hash = $1",
            params![hash.clone()],
        )
        .await?;
    let Some(found) = found else { return Ok(Refreshed::Refused) };
    let session: Uuid = found.get(0)?;
    if found.get::<Timestamp>(1)? <= now {
        return Ok(Refreshed::Refused);
    }
    // Before it shows whether the token is spent: then the sign-in ends in this transaction, so
    // that nothing which befalls us or the client can come between.
    take_turn(tx).await?;
    // Anyone who ended the session had a turn before us, and we find it gone.
    let sql = "select user_id, created_at from sessions where id = $1";
    let found = tx.query_opt(sql, params![session]).await?;
    let Some(found) = found else { return Ok(Refreshed::Refused) };
    let (user_id, begun): (Uuid, Timestamp) = (found.get(0)?, found.get(1)?);
    let ends = begun.saturating_add(session_lives).unwrap_or(Timestamp::MAX);
    if ends <= now {
        return Ok(Refreshed::Refused);
    }
    new.expires_at = new.expires_at.min(ends);
    tx.execute(
        "update sessions set expires_at = $1 where id = $2",
        params![new.expires_at, session],
    )
    .await?;
    let spent = tx
        .execute(
            "update refresh_tokens set spent = 1, spent_at = $1
             where token_hash = $2 and spent = 0",
            params![now, hash.clone()],
        )
        .await?;
    let before = if spent == 0 { successor(tx, &hash, now, reuse).await? } else { None };
    if spent == 0 && before.is_none() {
        end_session(tx, session, until_s).await?;
        audit::note(tx, AuditNote::of(session).by(user_id, None).refused())?;
        return Ok(Refreshed::Spent { session });
    }
    // The role of today, not of the sign-in.
    let sql = format!("select role from users where id = $1 and disabled = 0{}", demo.and());
    let user = tx.query_opt(&sql, params![user_id]).await?;
    let Some(user) = user else { return Ok(Refreshed::Refused) };
    let role = parse_role(&user.get::<String>(0)?)?;
    let successor = match before {
        Some(before) => before,
        None => {
            let made = make(user_id, session, role)?;
            insert_token(tx, session, new).await?;
            tx.execute(
                "update refresh_tokens set successor = $1 where token_hash = $2",
                params![made.clone(), hash],
            )
            .await?;
            made
        }
    };
    audit::note(tx, AuditNote::of(session).by(user_id, Some(role)))?;
    Ok(Refreshed::Done { successor })
}

/// What took the place of a token that was spent so short a time ago.
async fn successor(
    tx: &mut Tx<'_>,
    hash: &[u8],
    now: Timestamp,
    reuse: SignedDuration,
) -> Result<Option<Vec<u8>>, DbError> {
    let sql = "select spent_at, successor from refresh_tokens where token_hash = $1";
    let row = tx.query_one(sql, params![hash.to_vec()]).await?;
    // Clocks of replicas may differ a little, in either direction.
    let recent = |at: Timestamp| now.duration_since(at).abs() < reuse;
    let spent_at: Option<Timestamp> = row.get(0)?;
    if spent_at.is_some_and(recent) { row.get(1) } else { Ok(None) }
}

async fn insert_token(tx: &mut Tx<'_>, session: Uuid, token: NewToken) -> Result<(), DbError> {
    tx.execute(
        "insert into refresh_tokens (token_hash, session_id, spent, expires_at)
         values ($1, $2, 0, $3)",
        params![token.hash, session, token.expires_at],
    )
    .await
    .map(drop)
}

/// Ends a sign-in. The caller has taken a turn.
async fn end_session(tx: &mut Tx<'_>, session: Uuid, until_s: i64) -> Result<(), DbError> {
    tx.execute("delete from sessions where id = $1", params![session]).await?;
    tx.execute("delete from service_sessions where id = $1", params![session]).await?;
    tx.execute(
        "insert into revocations (session_id, until_s) values ($1, $2)",
        params![session, until_s],
    )
    .await
    .map(drop)
}

/// Ends all of a user's sign-ins. The caller has taken a turn and written the user's row, so none
/// begins meanwhile.
pub(super) async fn end_sessions_of(
    tx: &mut Tx<'_>,
    user_id: Uuid,
    until_s: i64,
) -> Result<(), DbError> {
    tx.execute(
        "insert into revocations (session_id, until_s)
         select id, cast($1 as bigint) from sessions where user_id = $2",
        params![until_s, user_id],
    )
    .await?;
    tx.execute("delete from sessions where user_id = $1", params![user_id]).await.map(drop)
}
