//! What an earlier version has written, on both engines: `tests/data/before`, made by `before.sh`.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use rusqlite::Connection;

use crate::servers::Servers;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/before");
const STORES: [&str; 6] = ["auth", "patient", "billing", "analytics", "notification", "events"];

/// The patients that were there: of the demo, and one of its own.
pub(crate) const PATIENTS: i64 = 16;

/// Makes a data directory of it.
pub(crate) fn write(data: &Path) {
    write_key(data);
    for store in STORES {
        let dump = fs::read_to_string(format!("{FOLDER}/{store}.sqlite.sql")).unwrap();
        execute(data, store, &dump);
    }
}

/// The key of its audit logs.
pub(crate) fn write_key(data: &Path) {
    fs::create_dir_all(data.join("audit")).unwrap();
    fs::copy(format!("{FOLDER}/audit.key"), data.join("audit/key")).unwrap();
    fs::set_permissions(data.join("audit/key"), fs::Permissions::from_mode(0o600)).unwrap();
}

/// The log that the consumers' positions are of.
pub(crate) fn write_events(data: &Path) {
    let dump = fs::read_to_string(format!("{FOLDER}/events.sqlite.sql")).unwrap();
    execute(data, "events", &dump);
}

/// Fills these databases with it.
pub(crate) async fn load(servers: &Servers) {
    for part in STORES.iter().filter(|store| **store != "events") {
        let dump = fs::read_to_string(format!("{FOLDER}/{part}.postgres.sql")).unwrap();
        servers.execute(part, &dump).await;
    }
}

/// Whether everybody is there still.
pub(crate) fn check_files(data: &Path) {
    let count = |store: &str, sql: &str| -> i64 {
        let store = Connection::open(data.join(format!("{store}.db"))).unwrap();
        store.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count("patient", "select count(*) from patient"), PATIENTS);
    let kept = "select version from patient where email = 'kept@example.com'";
    assert_eq!(count("patient", kept), 2);
    assert_eq!(count("auth", "select count(*) from users where email = 'nurse@example.com'"), 1);
}

/// As if a version that commits a step before its row of the history had been cut off between.
pub(crate) fn forget(data: &Path, store: &str, history: &str, version: i64) {
    execute(data, store, &format!("delete from {history} where version = {version}"));
}

/// Does something to a store.
pub(crate) fn execute(data: &Path, store: &str, sql: &str) {
    let store = Connection::open(data.join(format!("{store}.db"))).unwrap();
    store.execute_batch(sql).unwrap();
}
