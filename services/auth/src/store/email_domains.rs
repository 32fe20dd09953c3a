//! Addresses that were kept before domains were written in their ASCII form: rewritten when the
//! store is opened. There are few users, so no index finds them.

use kit::{
    db::{Db, DbError, Engine, Tx},
    email::Email,
    params,
};
use uuid::Uuid;

/// Rewrites them all. Two users with one mailbox stay as they are, and are logged.
pub(super) async fn rewrite(db: &Db) -> Result<(), DbError> {
    // Most stores have none: nothing is written then.
    if db.read(|tx| Box::pin(beyond_ascii(tx))).await?.is_empty() {
        return Ok(());
    }
    db.write(|tx| {
        Box::pin(async move {
            for (id, text) in beyond_ascii(tx).await? {
                let Ok(email) = Email::parse(&text) else { continue };
                if email.key() == text.to_lowercase() {
                    continue;
                }
                let taken = "select 1 from users where email_key = $1";
                if tx.query_opt(taken, params![email.key()]).await?.is_some() {
                    tracing::warn!(user.id = %id, "two users have the same mailbox");
                    continue;
                }
                tx.execute(
                    "update users set email = $1, email_key = $2 where id = $3",
                    params![email.as_str(), email.key(), id],
                )
                .await?;
            }
            Ok(())
        })
    })
    .await
}

async fn beyond_ascii(tx: &mut Tx<'_>) -> Result<Vec<(Uuid, String)>, DbError> {
    let condition = match tx.engine() {
        Engine::Sqlite => "length(cast(email_key as blob)) <> length(email_key)",
        Engine::Postgres => "octet_length(email_key) <> char_length(email_key)",
    };
    let sql = format!("select id, email from users where {condition}");
    tx.query(&sql, &[]).await?.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}
