//! The turn to migrate: one replica after the other, and anyone who waits says so, and for whom.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use super::error::failed;
use crate::db::DbError;

const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Replicas that start together wait for each other for a moment: that is nothing to say.
const TOLD_AFTER: Duration = Duration::from_secs(2);
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Whose session has a lock, as far as the server shows us: not where another user's is.
const HOLDER: &str = "
    select a.pid::text || coalesce(' of ' || nullif(a.application_name, ''), '') ||
           coalesce(' at ' || host(a.client_addr), '') ||
           coalesce(', connected since ' || a.backend_start::timestamptz(0)::text, '')
      from pg_locks l join pg_stat_activity a on a.pid = l.pid
     where l.locktype = 'advisory' and l.granted and l.objsubid = 1
       and l.database = (select oid from pg_database where datname = current_database())
       and ((l.classid::bigint << 32) | l.objid::bigint) = $1";

/// Waits until this session has the lock, which it keeps.
pub(super) async fn take(client: &Client, lock: i64, owner: &str) -> Result<(), DbError> {
    let mut tell_at = Instant::now() + TOLD_AFTER;
    loop {
        let asked = client.query_one("select pg_try_advisory_lock($1)", &[&lock]).await;
        if asked.and_then(|row| row.try_get(0)).map_err(failed)? {
            return Ok(());
        }
        if Instant::now() >= tell_at {
            let session = holder(client, lock).await;
            tracing::warn!(
                owner,
                session,
                "waiting for another process to bring the store's tables up to date; if that is \
                 gone, end its session (pg_terminate_backend)"
            );
            tell_at = Instant::now() + TOLD_AGAIN_AFTER;
        }
        sleep(ASKED_AGAIN_AFTER).await;
    }
}

async fn holder(client: &Client, lock: i64) -> String {
    let found = client.query_opt(HOLDER, &[&lock]).await.ok().flatten();
    found.and_then(|row| row.try_get(0).ok()).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        db::{
            DbUrl, Engine,
            postgres::connect::{Connections, Unreached},
        },
        testing::{TestStore, engines},
    };

    #[tokio::test]
    async fn whoever_waits_can_say_for_whom() {
        for engine in engines().into_iter().filter(|engine| *engine == Engine::Postgres) {
            let store = TestStore::on(engine).await;
            let DbUrl::Postgres(url) = &store.config().url else { panic!("it is PostgreSQL") };
            let connections = Connections::new(url, store.config(), Unreached::default()).unwrap();
            let connect = || connections.first(Duration::from_secs(30));
            let (first, second) = (connect().await.unwrap(), connect().await.unwrap());
            take(&first.client, 77, "test").await.unwrap();
            let pid = first.client.query_one("select pg_backend_pid()::text", &[]).await.unwrap();
            let pid: String = pid.get(0);
            let told = holder(&second.client, 77).await;
            assert!(told.starts_with(&format!("{pid} of medisync test, process ")), "{told}");
            let waiting = tokio::spawn(async move { take(&second.client, 77, "test").await });
            drop(first);
            waiting.await.unwrap().unwrap();
        }
    }
}
