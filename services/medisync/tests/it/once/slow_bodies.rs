//! Clients whose bodies come a byte at a time, on every route that reads one.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use testbed::frames::{self, DATA, END_HEADERS, HEADERS, PREFACE, SETTINGS};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinHandle,
    time::interval,
};

use crate::{
    caller::Caller,
    https::Https,
    sessions::cut_off,
    test_mesh::{ADMIN, CLINICIAN, a_patient},
};

/// This many requests each service works on at once.
const IN_FLIGHT_MAX: usize = 16;
/// More than that, on each route and by each protocol.
const EACH: u32 = 6;
const A_BYTE_EVERY: Duration = Duration::from_millis(300);

/// Every route that reads a body, and whether it wants a token.
const ROUTES: [(&str, &str, bool); 10] = [
    ("POST", "/auth/login", false),
    ("POST", "/auth/refresh", false),
    ("POST", "/auth/token", false),
    ("POST", "/auth/password", true),
    ("POST", "/api/users", true),
    ("PATCH", "/api/users/{id}", true),
    ("POST", "/api/service-accounts", true),
    ("POST", "/api/patients", true),
    ("PUT", "/api/patients/{id}", true),
    ("POST", "/api/patients/search", true),
];

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sends_a_byte_at_a_time_keeps_nobody_else_from_being_served() {
    let in_flight_max = IN_FLIGHT_MAX.to_string();
    let mesh = Https::start(&[("MEDISYNC_LIMITS__IN_FLIGHT_MAX", &in_flight_max)]).await;
    let admin = sign_in(&mesh, ADMIN).await;
    let theirs = sign_in(&mesh, CLINICIAN).await;
    theirs.get("/api/patients").await.expect(StatusCode::OK);
    let token = admin.token.clone().unwrap();
    let slow = [one_by_one(&mesh, &token).await, all_on_one_connection(&mesh, &token).await];

    // Nobody who asks is turned away, and everybody may sign in.
    for _ in 0..5 {
        admin.get("/api/patients?size=1").await.expect(StatusCode::OK);
        admin.get("/api/users?size=1").await.expect(StatusCode::OK);
        admin.post("/api/patients", &a_patient()).await.expect(StatusCode::CREATED);
        admin.log_in(ADMIN, "password123").await.expect(StatusCode::OK);
    }
    let users = admin.get("/api/users").await.expect(StatusCode::OK).json();
    let id = users["users"].as_array().unwrap().iter().find(|user| user["email"] == CLINICIAN);
    let path = format!("/api/users/{}", id.unwrap()["id"].as_str().unwrap());
    let disabled = json!({"disabled": true});
    let answer = admin.send(Method::PATCH, &path, &[], Some(&disabled)).await;
    answer.expect(StatusCode::OK);
    cut_off(&mesh.world, &theirs).await;
    for going_on in slow.into_iter().flatten() {
        going_on.abort();
    }
}

async fn sign_in(mesh: &Https, email: &str) -> Caller {
    let anybody = mesh.anybody();
    let told = anybody.log_in(email, "password123").await.expect(StatusCode::OK).json();
    anybody.with(told["token"].as_str().unwrap())
}

fn path(route: &str) -> String {
    route.replace("{id}", "00000000-0000-0000-0000-000000000000")
}

/// By HTTP/1.1: a connection for each.
async fn one_by_one(mesh: &Https, token: &str) -> Vec<JoinHandle<()>> {
    let mut going_on = Vec::new();
    for (method, route, signed_in) in ROUTES {
        for _ in 0..EACH {
            let authorization = if signed_in {
                format!("Authorization: Bearer {token}\r\n")
            } else {
                String::new()
            };
            let head = format!(
                "{method} {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                 Content-Length: 90\r\n{authorization}\r\n",
                path(route)
            );
            let mut stream = mesh.connect_by("http/1.1").await;
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            going_on.push(tokio::spawn(async move {
                let mut ticks = interval(A_BYTE_EVERY);
                while stream.write_all(b" ").await.is_ok() && stream.flush().await.is_ok() {
                    ticks.tick().await;
                }
            }));
        }
    }
    going_on
}

/// By HTTP/2: streams of one connection.
async fn all_on_one_connection(mesh: &Https, token: &str) -> Vec<JoinHandle<()>> {
    let stream = mesh.connect().await;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut hello = [PREFACE, &frames::frame(SETTINGS, 0, 0, &[])].concat();
    let requests = ROUTES.iter().flat_map(|route| (0..EACH).map(move |_| route));
    let mut ids = Vec::new();
    for (n, (method, route, signed_in)) in (0_u32..).zip(requests) {
        let mut fields = vec![
            (":method", (*method).to_owned()),
            (":scheme", "https".to_owned()),
            (":authority", "localhost".to_owned()),
            (":path", path(route)),
            ("content-type", "application/json".to_owned()),
            ("content-length", "90".to_owned()),
        ];
        if *signed_in {
            fields.push(("authorization", format!("Bearer {token}")));
        }
        let fields = fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let id = 2 * n + 1;
        let block = frames::header_block(&fields);
        hello.extend(frames::frame(HEADERS, END_HEADERS, id, &block));
        ids.push(id);
    }
    writer.write_all(&hello).await.unwrap();
    writer.flush().await.unwrap();
    let reading = tokio::spawn(async move {
        let mut piece = [0; 4096];
        while reader.read(&mut piece).await.is_ok_and(|read| read > 0) {}
    });
    let writing = tokio::spawn(async move {
        let mut ticks = interval(A_BYTE_EVERY);
        loop {
            let bytes: Vec<u8> =
                ids.iter().flat_map(|id| frames::frame(DATA, 0, *id, b" ")).collect();
            if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
                return;
            }
            ticks.tick().await;
        }
    });
    vec![reading, writing]
}
