//! Signals that others send: terminals that are closed, tools that rotate logs or reload servers.

use std::{fs, path::Path};

use reqwest::StatusCode;

use crate::{
    processes::{Process, medisync},
    test_mesh::until,
    wire::get,
};

fn up(args: &[&str], folder: &Path) -> Process {
    Process::start_by(medisync(), args, &folder.join("data"), folder)
}

#[tokio::test]
async fn a_hang_up_has_the_log_level_and_certificates_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("medisync.toml");
    fs::write(&file, "log_level = 'info'\n").unwrap();
    let mut process = up(&["--config", file.to_str().unwrap(), "up"], folder.path());
    let admin = process.ready(folder.path())["admin"].clone();
    let log = || fs::read_to_string(folder.path().join("log")).unwrap();
    let told = |text: &str| log().matches(text).count();

    fs::write(&file, "log_level = 'debug'\n").unwrap();
    process.signal("HUP");
    until("what is in the file is logged", || async {
        get(&admin, "/log-level").await.text.trim().ends_with("debug")
    })
    .await;
    assert_eq!(told("certificate reloaded"), 6);

    // What is wrong with it changes nothing, and is told.
    fs::write(&file, "log_level = 'warning'\n").unwrap();
    process.signal("HUP");
    until("it is told", || async { told("log level kept") == 1 }).await;
    assert!(get(&admin, "/log-level").await.text.trim().ends_with("debug"));
}

#[tokio::test]
async fn no_signal_ends_it_at_once_and_quit_stops_it_as_term_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = up(&["up"], folder.path());
    let gateway = process.ready(folder.path())["gateway"].clone();
    for name in ["HUP", "USR1", "USR2", "HUP"] {
        process.signal(name);
        assert_eq!(get(&gateway, "/healthz").await.status, StatusCode::OK, "{name}");
    }
    process.signal("QUIT");
    assert!(process.ended().success());
}

#[tokio::test]
async fn a_terminal_that_is_closed_while_it_starts_does_not_end_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = up(&["up"], folder.path());
    let data = folder.path().join("data");
    // Made before anything else is, and after it hears signals.
    until("it has begun to start", || async { data.exists() }).await;
    for made in ["pki/ca.pem", "pki/patient.pem", "auth.db", "patient.db"] {
        process.signal("HUP");
        until(made, || async { data.join(made).exists() }).await;
        process.signal("USR1");
    }
    let gateway = process.ready(folder.path())["gateway"].clone();
    assert_eq!(get(&gateway, "/healthz").await.status, StatusCode::OK);
    process.terminate();
    assert!(process.ended().success());
}
