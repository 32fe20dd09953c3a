//! The audit trail: who did what to which record, and that nobody can change what it says.

use std::{path::PathBuf, process::Output};

use reqwest::{Method, StatusCode};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::{
    certs::{self, Authority},
    world::{ADMIN, AUDITOR, BILLING, CLINICIAN, Caller, RECEPTIONIST, World, a_patient, until},
};

/// Entries that a search finds, oldest first.
async fn entries(auditor: &Caller, query: &str) -> Vec<Value> {
    let answer = auditor.get(&format!("/api/audit?size=200&{query}")).await;
    let mut found = answer.expect(StatusCode::OK).list("entries");
    found.reverse();
    found
}

/// The same, when there are so many.
async fn all_of(auditor: &Caller, query: &str, count: usize) -> Vec<Value> {
    until(&format!("{count} entries of {query}"), || async {
        entries(auditor, query).await.len() >= count
    })
    .await;
    let found = entries(auditor, query).await;
    assert_eq!(found.len(), count, "{query}: {found:#?}");
    found
}

async fn id_of(caller: &Caller) -> String {
    let me = caller.get("/auth/me").await.expect(StatusCode::OK).json();
    me["id"].as_str().unwrap().to_owned()
}

fn told<'e>(entries: &'e [Value], field: &str) -> Vec<&'e str> {
    entries.iter().map(|entry| entry[field].as_str().unwrap_or("-")).collect()
}

#[tokio::test]
async fn whatever_becomes_of_a_patient_is_found_under_the_patient() {
    let world = World::start().await;
    let (admin, clinician) = (world.sign_in(ADMIN).await, world.sign_in(CLINICIAN).await);
    let (billing, auditor) = (world.sign_in(BILLING).await, world.sign_in(AUDITOR).await);
    let person = a_patient();
    let id = clinician.register(&person).await;
    let path = format!("/api/patients/{id}");
    clinician.get(&path).await.expect(StatusCode::OK);
    let mut changed = person.clone();
    changed["address"] = json!("2 Test Street");
    clinician.put(&path, &changed).await.expect(StatusCode::OK);
    let search = json!({"query": person["email"]});
    clinician.post("/api/patients/search", &search).await.expect(StatusCode::OK);
    billing.get(&format!("/api/billing/accounts?patientId={id}")).await.expect(StatusCode::OK);
    clinician.get(&format!("/api/notifications?patientId={id}")).await.expect(StatusCode::OK);
    // Not for this role: refused at the gateway, which keeps no store.
    billing.delete(&path).await.refused(403, "forbidden");
    auditor.get(&path).await.refused(403, "forbidden");
    admin.delete(&path).await.expect(StatusCode::NO_CONTENT);
    admin.get(&path).await.refused(404, "not_found");

    let found = all_of(&auditor, &format!("patientId={id}"), 11).await;
    let mut lines: Vec<_> = found
        .iter()
        .map(|entry| {
            let of = |field: &str| entry[field].as_str().unwrap_or("-").to_owned();
            format!("{} {} {} {}", of("part"), of("action"), of("role"), of("outcome"))
        })
        .collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "auth patient.delete BILLING refused",
            "auth patient.read AUDITOR refused",
            "billing account.list BILLING allowed",
            "billing account.open - allowed",
            "notification notification.list CLINICIAN allowed",
            "patient patient.create CLINICIAN allowed",
            "patient patient.delete ADMIN allowed",
            "patient patient.read ADMIN failed",
            "patient patient.read CLINICIAN allowed",
            "patient patient.search CLINICIAN allowed",
            "patient patient.update CLINICIAN allowed",
        ]
    );
    let opened = found.iter().find(|entry| entry["action"] == "account.open").unwrap();
    assert_eq!(opened["user"], "spiffe://medisync/patient");
    let read = found.iter().find(|entry| entry["action"] == "patient.read").unwrap();
    assert_eq!(read["user"], id_of(&clinician).await);
    assert_eq!((&read["record"], &read["patients"]), (&json!(id), &json!([id])));
    assert_eq!(read["source"], "127.0.0.1");
    assert_eq!(read["traceId"].as_str().unwrap().len(), 32);
    // Ids only: no name, email or address of anybody.
    let text = serde_json::to_string(&found).unwrap();
    for field in ["name", "email", "address"] {
        assert!(!text.contains(person[field].as_str().unwrap()), "{field}");
    }
}

#[tokio::test]
async fn sign_ins_and_users_leave_their_trace_and_unknown_callers_do_not() {
    let world = World::start().await;
    let (admin, auditor) = (world.sign_in(ADMIN).await, world.sign_in(AUDITOR).await);
    let body = json!({"email": "aud@test.com", "password": "a longer phrase", "role": "BILLING"});
    let user = admin.post("/api/users", &body).await.expect(StatusCode::CREATED).json();
    let id = user["id"].as_str().unwrap();
    world.anybody().log_in("aud@test.com", "wrong").await.refused(401, "unauthenticated");
    let pair = world.anybody().log_in("aud@test.com", "a longer phrase").await.json();
    let refresh = json!({"refreshToken": pair["refreshToken"]});
    let fresh = world.anybody().post("/auth/refresh", &refresh).await.expect(StatusCode::OK);
    // Spent: somebody has stolen it.
    world.anybody().post("/auth/refresh", &refresh).await.refused(401, "unauthenticated");
    world.anybody().with(fresh.json()["token"].as_str().unwrap()).get("/auth/me").await;

    let found = all_of(&auditor, &format!("user={id}"), 4).await;
    assert_eq!(
        told(&found, "action"),
        ["session.begin", "session.begin", "session.refresh", "session.refresh"]
    );
    assert_eq!(told(&found, "outcome"), ["refused", "allowed", "allowed", "refused"]);
    let made = all_of(&auditor, "action=user.create&outcome=allowed", 6).await;
    assert_eq!(made[5]["user"], id_of(&admin).await);
    assert_eq!(made[5]["record"], *id);
    // The demo's users were made by nobody who asked.
    assert_eq!(made[0]["user"], "system");

    // Anybody could fill the trail: who shows no valid token leaves none.
    world.anybody().get("/api/patients").await.refused(401, "unauthenticated");
    world.anybody().with("x.y.z").get("/api/patients").await.refused(401, "unauthenticated");
    world.anybody().log_in("nobody@test.com", "wrong").await.refused(401, "unauthenticated");
    let nobody = all_of(&auditor, "user=anonymous", 1).await;
    assert_eq!(told(&nobody, "action"), ["session.begin"]);
}

#[tokio::test]
async fn what_the_gateway_refused_last_is_recorded_before_it_goes() {
    let mut world = World::embedded().await;
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

#[tokio::test]
async fn a_part_that_calls_what_it_may_not_is_recorded() {
    let world = World::start().await;
    let auditor = world.sign_in(AUDITOR).await;
    let analytics = certs::Identity::of(&world, "analytics");
    let stranger = Authority::of(&world).issue("x", &["spiffe://medisync/patient2"], |_| {});
    for identity in [&analytics, &stranger] {
        let client = certs::client(&world, Some(identity));
        let answer = world.by(&client, "patient").get("/patients").await;
        answer.refused(403, "forbidden");
    }
    let found = all_of(&auditor, "part=patient&outcome=refused", 2).await;
    assert_eq!(told(&found, "user"), ["spiffe://medisync/analytics", "spiffe://medisync/stranger"]);
}

#[tokio::test]
async fn the_trail_is_read_by_those_who_may_page_by_page() {
    let world = World::start().await;
    let auditor = world.sign_in(AUDITOR).await;
    for email in [CLINICIAN, RECEPTIONIST, BILLING] {
        world.sign_in(email).await.get("/api/audit").await.refused(403, "forbidden");
    }
    world.anybody().get("/api/audit").await.refused(401, "unauthenticated");
    for query in
        ["user=%00", "patientId=1", "outcome=maybe", "part=x", "from=yesterday", "size=0", "x=1"]
    {
        let answer = auditor.get(&format!("/api/audit?{query}")).await;
        if query != "user=%00" {
            answer.refused(400, "invalid");
        }
    }
    // The demo's patients.
    let whole = all_of(&auditor, "action=patient.create&part=patient", 15).await;
    let mut path = "/api/audit?action=patient.create&part=patient&size=4".to_owned();
    let mut paged = Vec::new();
    loop {
        let page = auditor.get(&path).await.expect(StatusCode::OK).json();
        paged.extend(page["entries"].as_array().unwrap().clone());
        let Some(next) = page["nextCursor"].as_str() else { break };
        path = format!("/api/audit?action=patient.create&part=patient&size=4&cursor={next}");
    }
    paged.reverse();
    assert_eq!(paged, whole);
    let middle = whole[7]["at"].as_str().unwrap();
    let from = entries(&auditor, &format!("action=patient.create&from={middle}")).await;
    let to = entries(&auditor, &format!("action=patient.create&to={middle}")).await;
    assert_eq!(to.len() + from.len(), 15);
    assert!(from.iter().any(|entry| entry == &whole[7]));
}

fn run(world: &World, arguments: &[&str]) -> Output {
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
fn tamper(world: &World, part: &str, sql: &str) {
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
        let world = World::embedded().await;
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
    let world = World::embedded().await;
    let auditor = world.sign_in(AUDITOR).await;
    all_of(&auditor, "action=patient.create&part=patient", 15).await;
    let stated = run(&world, &["audit", "checkpoint", "patient"]);
    assert!(stated.status.success(), "{}", says(&stated));
    let kept = world.folder.path().join("checkpoint.json");
    std::fs::write(&kept, &stated.stdout).unwrap();
    let with = ["audit", "verify", "patient", "--checkpoint", kept.to_str().unwrap()];
    assert!(run(&world, &with).status.success());
    // Whoever has all stores cuts off the copies, too.
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
async fn what_cannot_be_recorded_does_not_happen() {
    let world = World::embedded().await;
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
