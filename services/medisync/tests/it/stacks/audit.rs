//! The audit log: who did what to which record, and that nobody can change what it says.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    certs::{self, Authority},
    test_mesh::{
        ADMIN, AUDITOR, BILLING, CLINICIAN, Caller, RECEPTIONIST, TestMesh, a_patient, until,
    },
};

/// Entries that a search finds, oldest first; other searches only when they are asked for.
pub(crate) async fn entries(auditor: &Caller, query: &str) -> Vec<Value> {
    let answer = auditor.get(&format!("/api/audit?size=200&{query}")).await;
    let mut found = answer.expect(StatusCode::OK).list("entries");
    found.reverse();
    found.retain(|entry| entry["action"] != "audit.read" || query.contains("audit.read"));
    found
}

/// The same, when there are this many.
pub(crate) async fn all_of(auditor: &Caller, query: &str, count: usize) -> Vec<Value> {
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
    let world = TestMesh::start().await;
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
    let world = TestMesh::start_with(&[("MEDISYNC_AUTH__REFRESH_REUSE_SECONDS", "0")]).await;
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

    // Anybody could fill the audit log: who shows no valid token leaves none.
    world.anybody().get("/api/patients").await.refused(401, "unauthenticated");
    world.anybody().with("x.y.z").get("/api/patients").await.refused(401, "unauthenticated");
    world.anybody().log_in("nobody@test.com", "wrong").await.refused(401, "unauthenticated");
    let entries = async || {
        let metrics = world.metrics().await;
        let lines = metrics.lines().filter(|line| line.starts_with("audit_entries_total{"));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>()
    };
    let before = entries().await;
    let nobody = world.anybody();
    for n in 0..40 {
        nobody.log_in(&format!("nobody.{n}@test.com"), "wrong").await;
        nobody.post("/auth/refresh", &json!({"refreshToken": "A".repeat(43)})).await;
        nobody.post("/auth/token", &json!({"apiKey": "A".repeat(43)})).await;
        for path in ["/auth/login", "/auth/refresh", "/auth/token"] {
            nobody.post(path, &json!([n])).await.refused(400, "invalid");
        }
        nobody.get("/auth/.well-known/jwks.json").await.expect(StatusCode::OK);
    }
    let more = entries().await - before;
    assert!(more <= 10.0, "{more} entries of nobody");
}

#[tokio::test]
async fn what_was_changed_about_a_user_is_told_and_to_which_role() {
    let world = TestMesh::start().await;
    let (admin, auditor) = (world.sign_in(ADMIN).await, world.sign_in(AUDITOR).await);
    let body = json!({"email": "new@test.com", "password": "a longer phrase", "role": "BILLING"});
    let user = admin.post("/api/users", &body).await.expect(StatusCode::CREATED).json();
    let id = user["id"].as_str().unwrap();
    let path = format!("/api/users/{id}");
    for change in [
        json!({"role": "ADMIN"}),
        json!({"disabled": true}),
        json!({"disabled": false, "password": "another phrase", "role": "AUDITOR"}),
        json!({"role": "AUDITOR"}),
    ] {
        admin.send(Method::PATCH, &path, &[], Some(&change)).await.expect(StatusCode::OK);
    }
    let query = "action=user.create&outcome=allowed";
    let made = all_of(&auditor, query, 6).await;
    assert_eq!(made[5]["changed"], json!(["role=BILLING"]));
    let changed = all_of(&auditor, "action=user.update", 4).await;
    assert!(changed.iter().all(|entry| entry["record"] == *id));
    let fields: Vec<_> = changed.iter().map(|entry| &entry["changed"]).collect();
    let wanted = [
        json!(["role=ADMIN"]),
        json!(["disabled=true"]),
        json!(["role=AUDITOR", "disabled=false", "password"]),
        json!([]),
    ];
    assert_eq!(fields, wanted.each_ref());
    assert!(world.command(&["audit", "verify"], "").contains("auth: intact"));
}

#[tokio::test]
async fn whoever_changes_what_is_logged_is_recorded() {
    let world = TestMesh::start().await;
    let auditor = world.sign_in(AUDITOR).await;
    for part in ["gateway", "patient"] {
        let admin = world.admin_of(part);
        for (level, status) in [("warn", StatusCode::OK), ("x=nonsense", StatusCode::BAD_REQUEST)] {
            let put = admin.client.put(format!("{}/log-level", admin.base)).body(level);
            assert_eq!(put.send().await.unwrap().status(), status);
        }
    }
    let found = all_of(&auditor, "action=log_level.change", 2).await;
    assert_eq!(told(&found, "user"), ["anonymous", "anonymous"]);
    assert_eq!(told(&found, "source"), ["127.0.0.1", "127.0.0.1"]);
}

#[tokio::test]
async fn a_part_that_calls_what_it_may_not_is_recorded() {
    let world = TestMesh::start().await;
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
    let world = TestMesh::start().await;
    let auditor = world.sign_in(AUDITOR).await;
    for email in [CLINICIAN, RECEPTIONIST, BILLING] {
        world.sign_in(email).await.get("/api/audit").await.refused(403, "forbidden");
    }
    world.anybody().get("/api/audit").await.refused(401, "unauthenticated");
    for query in
        ["user=%00", "patientId=1", "outcome=maybe", "part=x", "from=yesterday", "size=0", "x=1"]
    {
        auditor.get(&format!("/api/audit?{query}")).await.refused(400, "invalid");
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
    // Who looks up who treats whom is found under the patient as well.
    let patient = whole[7]["patients"][0].as_str().unwrap();
    entries(&auditor, &format!("patientId={patient}")).await;
    let me = id_of(&auditor).await;
    until("the search is found", || async {
        let found = entries(&auditor, &format!("patientId={patient}&action=audit.read")).await;
        found.iter().any(|entry| entry["user"] == *me)
    })
    .await;
}
