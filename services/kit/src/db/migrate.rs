//! A service's tables, and the kit's own, for both engines.

use refinery::Runner;

mod sqlite {
    refinery::embed_migrations!("migrations/sqlite");
}

mod postgres {
    refinery::embed_migrations!("migrations/postgres");
}

/// Where the kit's own tables are versioned, apart from the service's.
const KIT_HISTORY: &str = "kit_schema_history";

/// What brings a store up to date.
pub struct Migrations {
    /// For SQLite.
    pub sqlite: Runner,
    /// For PostgreSQL.
    pub postgres: Runner,
}

// === impl Migrations ===

impl Migrations {
    /// Only the kit's own tables. A service's own may be there, too: they stay as they are.
    pub fn none() -> Self {
        let none = || Runner::new(&[]).set_abort_missing(false);
        Self { sqlite: none(), postgres: none() }
    }

    pub(super) fn sqlite_runners(self) -> [Runner; 2] {
        [kit(sqlite::migrations::runner()), self.sqlite]
    }

    pub(super) fn postgres_runners(self) -> [Runner; 2] {
        [kit(postgres::migrations::runner()), self.postgres]
    }
}

fn kit(mut runner: Runner) -> Runner {
    runner.set_migration_table_name(KIT_HISTORY);
    runner
}
