//! What becomes of an audit log that somebody changes, and of a process that cannot write it.

use std::{path::PathBuf, process::Output};

use reqwest::{Method, StatusCode};
use rusqlite::Connection;

use crate::{
    stacks::audit::{all_of, entries},
    test_mesh::{ADMIN, AUDITOR, RECEPTIONIST, TestMesh, a_patient},
};

#[tokio::test]
async fn what_the_gateway_refused_last_is_recorded_before_it_goes() {
    let mut world = TestMesh::embedded().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    for _ in 0..20 {
        clerk.get("/api/users").await.refused(403, "forbidden");
    }
    world.terminate();
    assert!(world.ended().success());
    let world = world.crash_and_restart();
    let auditor = world.sign_in(AUDITOR).await;
    let refused = entries(&auditor, "action=user.list&outcome=refused").await;
    assert_eq!(refused.len(), 20);
}

fn run(world: &TestMesh, arguments: &[&str]) -> Output {
    world.command_line(arguments).output().unwrap()
}

fn says(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Does to a store what only somebody who has its file can.
fn tamper(world: &TestMesh, part: &str, sql: &str) {
    let path: PathBuf = world.data().join(format!("{part}.db"));
    let store = Connection::open(path).unwrap();
    store.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    for change in ["update audit set actor = 'x' where seq = 1", "delete from audit"] {
        assert!(store.execute(change, []).is_err(), "{change}");
    }
    store.execute_batch("drop trigger audit_keeps_what_it_has").unwrap();
    store.execute_batch("drop trigger audit_keeps_all_it_has").unwrap();
    store.execute_batch(sql).unwrap();
}

#[tokio::test]
async fn whoever_changes_a_trail_is_found_out_by_name_of_the_first_entry() {
    for (sql, fault) in [
        ("update audit set actor = 'x' where seq = 5", "entry 5 was changed or moved"),
        ("delete from audit where seq = 7", "entry 7 was removed"),
        ("delete from audit where seq > 12", "entry 13 and all after it were cut off"),
    ] {
        let world = TestMesh::embedded().await;
        let auditor = world.sign_in(AUDITOR).await;
        all_of(&auditor, "action=patient.create&part=patient", 15).await;
        let output = run(&world, &["audit", "verify"]);
        assert!(output.status.success(), "{}", says(&output));
        assert!(says(&output).contains("patient: intact, 15 entries"), "{}", says(&output));
        tamper(&world, "patient", sql);
        let output = run(&world, &["audit", "verify"]);
        assert_eq!(output.status.code(), Some(1), "{}", says(&output));
        assert!(says(&output).contains(&format!("patient: BROKEN: {fault}")), "{}", says(&output));
        assert!(says(&output).contains("billing: intact"), "{}", says(&output));
    }
}

#[tokio::test]
async fn a_checkpoint_kept_elsewhere_shows_a_trail_that_was_cut_off_everywhere() {
    let world = TestMesh::embedded().await;
    let auditor = world.sign_in(AUDITOR).await;
    all_of(&auditor, "action=patient.create&part=patient", 15).await;
    let stated = run(&world, &["audit", "checkpoint", "patient"]);
    assert!(stated.status.success(), "{}", says(&stated));
    let kept = world.folder().join("checkpoint.json");
    std::fs::write(&kept, &stated.stdout).unwrap();
    let with = ["audit", "verify", "patient", "--checkpoint", kept.to_str().unwrap()];
    assert!(run(&world, &with).status.success());
    // Anyone who has all stores cuts off the copies, too.
    let auth = Connection::open(world.data().join("auth.db")).unwrap();
    auth.execute_batch(
        "drop trigger audit_copy_keeps_all_it_has; delete from audit_copy where writer = 'patient'",
    )
    .unwrap();
    tamper(&world, "patient", "delete from audit where seq > 10");
    assert!(run(&world, &["audit", "verify", "patient"]).status.success());
    let output = run(&world, &with);
    assert!(says(&output).contains("entry 11 and all after it were cut off"), "{}", says(&output));
    std::fs::write(&kept, String::from_utf8_lossy(&stated.stdout).replace(":15,", ":14,")).unwrap();
    let output = run(&world, &with);
    assert!(says(&output).contains("signature"), "{}", says(&output));
}

#[tokio::test]
async fn a_trail_that_was_broken_can_be_closed_with_a_reason_that_auditors_read() {
    let world = TestMesh::embedded().await;
    let auditor = world.sign_in(AUDITOR).await;
    all_of(&auditor, "action=patient.create&part=patient", 15).await;
    let close = ["audit", "close", "patient", "--reason", "a disk failed, restored by hand"];
    let output = run(&world, &close);
    assert!(says(&output).contains("nothing to close"), "{}", says(&output));
    tamper(&world, "patient", "delete from audit where seq = 7");
    assert!(says(&run(&world, &["audit", "verify"])).contains("patient: BROKEN: entry 7"));
    for reason in ["", " ", "two\nlines", &"x".repeat(301)] {
        let output = run(&world, &["audit", "close", "patient", "--reason", reason]);
        assert_eq!(output.status.code(), Some(2), "{}", says(&output));
    }
    let output = run(&world, &close);
    assert!(output.status.success(), "{}", says(&output));
    assert!(says(&output).contains("entry 7 was removed"), "{}", says(&output));
    let output = run(&world, &["audit", "verify"]);
    assert!(output.status.success(), "{}", says(&output));
    // It goes on, in the audit log and in its copy.
    let admin = world.sign_in(ADMIN).await;
    admin.register(&a_patient()).await;
    all_of(&auditor, "action=patient.create&part=patient", 16).await;
    let closed = all_of(&auditor, "action=audit.close", 1).await;
    assert_eq!(closed[0]["record"], "a disk failed, restored by hand");
    assert_eq!((&closed[0]["user"], &closed[0]["chain"]), (&"shell".into(), &2.into()));
    assert!(run(&world, &["audit", "verify"]).status.success());
    tamper_again(&world, "delete from audit where chain = 2 and seq = 1");
    assert!(says(&run(&world, &["audit", "verify"])).contains("entry 2/1"));
}

/// The triggers are gone.
fn tamper_again(world: &TestMesh, sql: &str) {
    let store = Connection::open(world.data().join("patient.db")).unwrap();
    store.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    store.execute_batch(sql).unwrap();
}

#[tokio::test]
async fn what_cannot_be_recorded_does_not_happen() {
    let world = TestMesh::embedded().await;
    let admin = world.sign_in(ADMIN).await;
    let id = admin.register(&a_patient()).await;
    let store = Connection::open(world.data().join("patient.db")).unwrap();
    store.execute_batch("alter table audit rename to gone").unwrap();
    let path = format!("/api/patients/{id}");
    admin.get(&path).await.refused(503, "unavailable");
    let listed = admin.get("/api/patients").await;
    listed.refused(503, "unavailable");
    assert!(admin.post("/api/patients", &a_patient()).await.status.is_server_error());
    assert!(admin.send(Method::DELETE, &path, &[], None).await.status.is_server_error());
    store.execute_batch("alter table gone rename to audit").unwrap();
    admin.get(&path).await.expect(StatusCode::OK);
    let count: i64 = store.query_row("select count(*) from patient", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 16, "nothing was registered, nothing removed");
    let output = run(&world, &["audit", "verify"]);
    assert!(output.status.success(), "{}", says(&output));
}
