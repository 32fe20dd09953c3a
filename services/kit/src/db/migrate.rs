//! A service's tables, and the kit's own, for both engines.
//!
//! What a start has to apply, and the rows of the history that say so, are one transaction: it can
//! be killed at any moment and begun again. Earlier versions committed a step first and its row
//! afterwards; a store that was cut off between the two has the tables of a step that its history
//! does not know. It is known by having all that the step makes, and nothing that it takes away:
//! then the row is added, and nothing else done.

use std::{collections::BTreeSet, error::Error as StdError};

use refinery::{Error, Migration, Runner, Target, error::Kind};
use rusqlite::Connection;
use shared_middleware::error::causes;
use tokio_postgres::{Client, Transaction};

use super::DbError;

mod sqlite {
    refinery::embed_migrations!("migrations/sqlite");
}

mod postgres {
    refinery::embed_migrations!("migrations/postgres");
}

/// Where the kit's own tables are versioned, apart from the service's.
const KIT_HISTORY: &str = "kit_schema_history";
/// Where the service's are.
const HISTORY: &str = "refinery_schema_history";

/// What a SQLite store is made of.
const OF_SQLITE: &str = "select type || ' ' || name || ' ' || coalesce(sql, '') from sqlite_master
     where name not like 'sqlite_%'";

/// What the current schema of a PostgreSQL store is made of.
const OF_POSTGRES: &str = "
    select 'column ' || c.relname || ' ' || a.attname || ' ' ||
           format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull::text
      from pg_class c join pg_attribute a on a.attrelid = c.oid
     where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')
       and a.attnum > 0 and not a.attisdropped
    union all
    select 'index ' || c.relname || ' ' || t.relname || ' ' || i.indisunique::text || ' ' ||
           array_to_string(array(select pg_get_indexdef(i.indexrelid, k, true)
                                   from generate_series(1, i.indnatts) k), ',')
      from pg_index i join pg_class c on c.oid = i.indexrelid join pg_class t on t.oid = i.indrelid
     where c.relnamespace = current_schema()::regnamespace
    union all
    select 'trigger ' || t.tgname || ' ' || c.relname
      from pg_trigger t join pg_class c on c.oid = t.tgrelid
     where c.relnamespace = current_schema()::regnamespace and not t.tgisinternal
    union all
    select 'function ' || p.proname from pg_proc p
     where p.pronamespace = current_schema()::regnamespace";

/// Where the steps are tried that a store may have. It is never committed.
const SCRATCH: &str = "create schema medisync_scratch; set local search_path = medisync_scratch";

/// What brings a store up to date.
pub struct Migrations {
    /// For SQLite.
    pub sqlite: Runner,
    /// For PostgreSQL.
    pub postgres: Runner,
}

/// What a store is made of, each part of it described.
type Made = BTreeSet<String>;

// === impl Migrations ===

impl Migrations {
    /// Only the kit's own tables. A service's own may be there, too: they stay as they are.
    pub fn none() -> Self {
        let none = || Runner::new(&[]).set_abort_missing(false);
        Self { sqlite: none(), postgres: none() }
    }

    pub(super) fn migrate_sqlite(self, store: &mut Connection) -> Result<(), DbError> {
        for (runner, history) in both(sqlite::migrations::runner(), self.sqlite) {
            while let Err(error) = runner.run(store) {
                if !record_sqlite(&runner, history, store).unwrap_or(false) {
                    return Err(told(&error));
                }
            }
        }
        Ok(())
    }

    pub(super) async fn migrate_postgres(self, store: &mut Client) -> Result<(), DbError> {
        for (runner, history) in both(postgres::migrations::runner(), self.postgres) {
            while let Err(error) = runner.run_async(store).await {
                if !record_postgres(&runner, history, store).await.unwrap_or(false) {
                    return Err(told(&error));
                }
            }
        }
        Ok(())
    }
}

/// The kit's steps, then the service's, with the tables of their histories.
fn both(mut kit: Runner, service: Runner) -> [(Runner, &'static str); 2] {
    kit.set_migration_table_name(KIT_HISTORY);
    // All steps and their rows are one transaction.
    [(kit.set_grouped(true), KIT_HISTORY), (service.set_grouped(true), HISTORY)]
}

/// Records the next step if a store has it already; whether it did.
fn record_sqlite(
    runner: &Runner,
    history: &str,
    store: &mut Connection,
) -> Result<bool, Box<dyn StdError>> {
    let applied = runner.get_applied_migrations(store)?;
    let Some((next, before)) = next_step(runner, &applied) else { return Ok(false) };
    let made_of = |db: &Connection| {
        let mut all = db.prepare(OF_SQLITE)?;
        let all = all.query_map([], |row| row.get(0))?;
        all.collect::<Result<Made, _>>()
    };
    let scratch = Connection::open_in_memory()?;
    before.iter().try_for_each(|step| scratch.execute_batch(sql(step)))?;
    let without = made_of(&scratch)?;
    scratch.execute_batch(sql(&next))?;
    if !has_step(&made_of(store)?, &without, &made_of(&scratch)?) {
        return Ok(false);
    }
    only_recorded(runner, history, &next).run(store)?;
    tracing::warn!(step = %next, "migration was applied by an interrupted start, recording it");
    Ok(true)
}

/// The same, on PostgreSQL.
async fn record_postgres(
    runner: &Runner,
    history: &str,
    store: &mut Client,
) -> Result<bool, Box<dyn StdError + Send + Sync>> {
    async fn made_of(tx: &Transaction<'_>) -> Result<Made, tokio_postgres::Error> {
        tx.query(OF_POSTGRES, &[]).await?.iter().map(|row| row.try_get(0)).collect()
    }
    let applied = runner.get_applied_migrations_async(store).await?;
    let Some((next, before)) = next_step(runner, &applied) else { return Ok(false) };
    let tx = store.transaction().await?;
    let made = made_of(&tx).await?;
    tx.batch_execute(SCRATCH).await?;
    for step in &before {
        tx.batch_execute(sql(step)).await?;
    }
    let without = made_of(&tx).await?;
    tx.batch_execute(sql(&next)).await?;
    let with = made_of(&tx).await?;
    tx.rollback().await?;
    if !has_step(&made, &without, &with) {
        return Ok(false);
    }
    only_recorded(runner, history, &next).run_async(store).await?;
    tracing::warn!(step = %next, "migration was applied by an interrupted start, recording it");
    Ok(true)
}

/// The first step that the history does not know, and those before it.
fn next_step(runner: &Runner, applied: &[Migration]) -> Option<(Migration, Vec<Migration>)> {
    let mut steps = runner.get_migrations().clone();
    steps.sort();
    let next = steps.iter().position(|step| !applied.contains(step))?;
    steps.truncate(next + 1);
    Some((steps.pop()?, steps))
}

/// Whether a store has all that a step makes, and nothing that it takes away.
fn has_step(store: &Made, without: &Made, with: &Made) -> bool {
    without != with
        && with.is_subset(store)
        && without.difference(with).all(|it| !store.contains(it))
}

/// The same steps, of which this one is written into the history and not taken.
fn only_recorded(runner: &Runner, history: &str, step: &Migration) -> Runner {
    let mut only = Runner::new(runner.get_migrations());
    only.set_migration_table_name(history);
    only.set_target(Target::FakeVersion(step.version()))
}

fn sql(step: &Migration) -> &str {
    step.sql().unwrap_or_default()
}

/// In one line, without a statement.
fn told(error: &Error) -> DbError {
    DbError::Migrate(match error.kind() {
        Kind::MissingVersion(step) => format!(
            "it knows the step {step}, which this version does not: a newer MediSync has written \
             it, and is needed to open it"
        ),
        Kind::DivergentVersion(step, _) => {
            format!("its step {step} is not ours: is it the store of another part?")
        }
        Kind::Connection(_, cause) => {
            let said = match cause.downcast_ref::<rusqlite::Error>() {
                Some(rusqlite::Error::SqlInputError { msg, .. }) => msg.clone(),
                _ => causes(cause.as_ref()),
            };
            let said = said.lines().next().unwrap_or_default();
            format!("{said}. Nothing was changed: restore a backup, or begin with an empty store")
        }
        other => other.to_string().lines().next().unwrap_or_default().to_owned(),
    })
}
