//! From where users signed in, as hashes of account and address together.

use jiff::Timestamp;
use kit::{
    db::{DbError, Tx},
    params,
};
use uuid::Uuid;

use super::Store;

/// This many are kept of one user: the last ones.
const PLACES_OF_A_USER_MAX: u32 = 20;

// === impl Store ===

impl Store {
    /// Whether the account's user signed in from this place since then.
    pub(crate) async fn is_known_place(
        &self,
        place: Vec<u8>,
        since: Timestamp,
    ) -> Result<bool, DbError> {
        self.0
            .read(move |tx| {
                Box::pin(async move {
                    let sql = "select 1 from known_places where place_hash = $1 and seen_at > $2";
                    Ok(tx.query_opt(sql, params![place, since]).await?.is_some())
                })
            })
            .await
    }
}

/// Notes a place. The caller has written the user's row: of one user, nobody else does meanwhile.
pub(super) async fn note(
    tx: &mut Tx<'_>,
    user_id: Uuid,
    place: Vec<u8>,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.execute(
        "insert into known_places (place_hash, user_id, seen_at) values ($1, $2, $3)
         on conflict (place_hash) do update set user_id = excluded.user_id,
         seen_at = excluded.seen_at",
        params![place, user_id, now],
    )
    .await?;
    tx.execute(
        "delete from known_places where user_id = $1 and place_hash not in
         (select place_hash from known_places where user_id = $2
          order by seen_at desc, place_hash limit $3)",
        params![user_id, user_id, PLACES_OF_A_USER_MAX],
    )
    .await
    .map(drop)
}

/// Forgets all of a user's places: anyone who had the old password may have signed in from one.
pub(super) async fn forget(tx: &mut Tx<'_>, user_id: Uuid) -> Result<(), DbError> {
    tx.execute("delete from known_places where user_id = $1", params![user_id]).await.map(drop)
}
