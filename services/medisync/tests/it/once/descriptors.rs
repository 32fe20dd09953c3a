//! What becomes of a process that may not open as many files as there are clients.

use std::{fs, io::Write as _, net::TcpStream};

use reqwest::StatusCode;
use tempfile::TempDir;

use crate::{
    processes::{Process, medisync_under},
    test_mesh::until,
    wire::get,
};

const HALF_A_HEAD: &[u8] = b"GET /healthz HTTP/1.1\r\nHost:";

fn up(limits: &[&str], folder: &TempDir) -> Process {
    let data = folder.path().join("data");
    Process::start_by(medisync_under(limits), &["up"], &data, folder.path())
}

#[tokio::test]
async fn clients_that_take_all_descriptors_leave_some_for_who_asks_whether_it_is_ready() {
    const CLIENTS: usize = 400;
    let folder = tempfile::tempdir().unwrap();
    let mut process = up(&["-n 256"], &folder);
    let urls = process.ready(folder.path());
    let (gateway, admin) = (&urls["gateway"], &urls["admin"]);
    let address = gateway.split_once("://").unwrap().1;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = TcpStream::connect(address).unwrap();
        // Anyone who was turned away already need not take it.
        let _ = client.write_all(HALF_A_HEAD);
        clients.push(client);
    }
    let refused = "gateway_connections_refused_total{bound=\"descriptors\"} ";
    until("clients are turned away", || async {
        let metrics = get(admin, "/metrics").await.text;
        let count = metrics.lines().find_map(|line| line.strip_prefix(refused));
        count.unwrap().parse::<usize>().unwrap() > CLIENTS / 4
    })
    .await;
    for _ in 0..20 {
        assert_eq!(get(admin, "/readyz").await.status, StatusCode::OK);
    }
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    let told: Vec<_> = log.lines().filter(|line| line.contains("file descriptors")).collect();
    assert!(told.len() == 1 && told[0].contains("limit=256"), "{told:#?}");
    assert!(!log.contains("cannot accept"), "{log}");
    drop(clients);
    until("there is room again", || async {
        get(gateway, "/healthz").await.status == StatusCode::OK
    })
    .await;
}

#[test]
fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = up(&["-Sn 256"], &folder);
    process.ready(folder.path());
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.id())).unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let [soft, hard, ..] = files.split_whitespace().collect::<Vec<_>>()[..] else { panic!() };
    assert!(soft == hard && soft != "256", "{files}");
}

#[test]
fn a_limit_that_is_too_low_ends_the_start_with_one_line_and_nothing_made() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for args in [&["up"][..], &["run", "billing"]] {
        let mut command = medisync_under(&["-n 64"]);
        let ended = command.args(args).arg("--data-dir").arg(&data).output().unwrap();
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{told}");
        assert!(told.contains("only 64 files") && told.contains("ulimit"), "{told}");
        assert!(told.lines().count() == 1 && !data.exists(), "{told}");
    }
}
