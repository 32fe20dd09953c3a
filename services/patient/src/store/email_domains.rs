//! Addresses that were kept before domains were written in their ASCII form: rewritten when the
//! service starts. No event is published, since the mailbox is the same.

use kit::{
    db::{Db, DbError, Engine, Tx},
    email::Email,
    params,
};
use uuid::Uuid;

use super::patients::{self, COLUMNS};
use crate::domain::{Details, Patient, Text};

/// This many rows are looked at in one transaction.
const AT_ONCE: u32 = 500;

/// Rewrites them all. Two patients with one mailbox stay as they are, and are logged.
pub(super) async fn rewrite(db: &Db) -> Result<(), DbError> {
    let mut after = Uuid::nil();
    loop {
        let page = db.write(move |tx| Box::pin(rewrite_some(tx, after))).await?;
        let Some(last) = page else { return Ok(()) };
        after = last;
    }
}

/// The last one that was looked at; none when there was none.
async fn rewrite_some(tx: &mut Tx<'_>, after: Uuid) -> Result<Option<Uuid>, DbError> {
    // As in the index.
    let beyond_ascii = match tx.engine() {
        Engine::Sqlite => "length(cast(email_key as blob)) <> length(email_key)",
        Engine::Postgres => "octet_length(email_key) <> char_length(email_key)",
    };
    let sql = format!(
        "select {COLUMNS} from patient where {beyond_ascii} and id > $1 order by id limit $2"
    );
    let mut last = None;
    for row in tx.query(&sql, params![after, AT_ONCE]).await? {
        let found = patients::patient(&row)?;
        last = Some(found.id);
        let Ok(email) = Email::parse(found.details.email.as_str()) else { continue };
        let email = Text::stored(email.as_str().to_owned());
        if email.key() == found.details.email.key() {
            continue;
        }
        let taken = "select 1 from patient where email_key = $1";
        if tx.query_opt(taken, params![email.key()]).await?.is_some() {
            tracing::warn!(patient.id = %found.id, "two patients have the same mailbox");
            continue;
        }
        tx.execute(
            "update patient set email = $1, email_key = $2 where id = $3",
            params![email.as_str(), email.key(), found.id],
        )
        .await?;
        let details = Details { email, ..found.details };
        patients::index_again(tx, &[Patient { details, ..found }]).await?;
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use kit::testing::engines;

    use super::*;
    use crate::{
        store::conformance::World,
        testing::{events, patient},
    };

    #[tokio::test]
    async fn domains_from_before_become_ascii_and_nobody_is_told() {
        for engine in engines() {
            let world = World::on(engine).await;
            let emails = ["jose@exämple.org", "josé@example.org", "ann@exämple.org"];
            for (id, email) in (1..).zip(emails) {
                let mut patient = patient(id);
                patient.details.email = Text::stored(email.to_owned());
                world.add(&patient).await;
            }
            let mut taken = patient(4);
            taken.details.email = Text::stored("ann@xn--exmple-cua.org".to_owned());
            world.add(&taken).await;
            for _ in 0..2 {
                world.store.rewrite_email_domains().await.unwrap();
                let mut found = Vec::new();
                for id in 1..=4 {
                    let kept = world.store.get(Uuid::from_u128(id)).await.unwrap().unwrap();
                    assert_eq!(kept.version, 1);
                    found.push(kept.details.email.as_str().to_owned());
                }
                let ascii = "jose@xn--exmple-cua.org";
                assert_eq!(found, [ascii, emails[1], emails[2], "ann@xn--exmple-cua.org"]);
            }
            assert_eq!(events(&world.db).await.len(), 4);
        }
    }
}
