//! Bodies and questions that are small to send and large to understand; texts that would be lines
//! of their own in a log.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::test_mesh::{ADMIN, RECEPTIONIST, TestMesh, a_patient};

/// Of a processor's time, whatever else the machine does; debug builds are slow. What takes more is
/// work that should not be done.
const REFUSED_WITHIN_S: f64 = 2.0;

#[tokio::test]
async fn json_that_explodes_is_refused_and_nothing_dies_of_it() {
    let world = TestMesh::embedded().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let started = |metrics: String| {
        let line = metrics.lines().find(|line| line.starts_with("process_start_time_seconds"));
        line.unwrap().to_owned()
    };
    let before = started(world.metrics().await);
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let object = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    for (what, body, wanted) in [
        ("129 arrays", nested(129), 400),
        ("20,000 arrays", nested(20_000), 400),
        ("100,000 arrays", nested(100_000), 413),
        ("129 objects", object(129), 400),
        ("10,000 objects", object(10_000), 400),
        ("an endless array", format!("[{}1]", "1,".repeat(30_000)), 400),
        ("a million numbers", format!("[{}1]", "1,".repeat(1_000_000)), 413),
        ("a number out of range", "{\"size\":1e400}".to_owned(), 400),
        ("a long number", format!("{{\"size\":{}}}", "9".repeat(60_000)), 400),
        ("a name twice", "{\"name\":\"a\",\"name\":\"b\"}".to_owned(), 400),
        ("half a surrogate", "{\"name\":\"\\ud800\"}".to_owned(), 400),
        ("nothing", String::new(), 400),
    ] {
        let since_s = processor_s(&world).await;
        let answer = world.raw(&clerk, "application/json", &body).await;
        assert_eq!(answer.status, wanted, "{what}: {}", answer.text);
        let took_s = processor_s(&world).await - since_s;
        assert!(took_s < REFUSED_WITHIN_S, "{what}: {took_s} s");
    }
    let url = format!("{}/api/patients", world.url("gateway"));
    let token = clerk.token.clone().unwrap();
    let post = clerk.client.post(url).header("content-type", "application/json").bearer_auth(token);
    let broken = post.try_clone().unwrap().body(b"{\"name\":\"\xff\xfe\"}".to_vec());
    assert_eq!(broken.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    // Nobody here unpacks what is packed: it is not JSON.
    let packed = post.header("content-encoding", "gzip").body(b"\x1f\x8b\x08\0".to_vec());
    let status = packed.send().await.unwrap().status();
    assert!(matches!(status.as_u16(), 400 | 415), "{status}");
    assert_eq!(started(world.metrics().await), before, "it was started again");
}

/// What the process has used of processors.
async fn processor_s(world: &TestMesh) -> f64 {
    let metrics = world.metrics().await;
    let name = "process_cpu_seconds_total ";
    metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
}

#[tokio::test]
async fn many_bodies_at_once_take_little_memory() {
    let world = TestMesh::embedded().await;
    let admin = world.sign_in(ADMIN).await;
    let resident = async || -> f64 {
        let metrics = world.metrics().await;
        let name = "process_resident_memory_bytes ";
        metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
    };
    let body = format!("{{\"x\":\"{}\"}}", "x".repeat((64 << 10) - 8));
    let round = async || {
        let all = (0..64).map(|_| world.raw(&admin, "application/json", &body));
        for answer in futures_util::future::join_all(all).await {
            answer.expect(StatusCode::BAD_REQUEST);
        }
    };
    // What threads and connections take is taken once.
    round().await;
    let before = resident().await;
    for _ in 0..3 {
        round().await;
    }
    let grown_mib = (resident().await - before) / f64::from(1 << 20);
    assert!(grown_mib < 32.0, "{grown_mib} MiB");
    eprintln!("resident memory grew by {grown_mib:.1} MiB");
}

#[tokio::test]
async fn no_text_of_a_client_makes_a_line_of_its_own_in_the_log() {
    let logs = [("MEDISYNC_LOG_FORMAT", "json"), ("MEDISYNC_LOG_LEVEL", "debug")];
    let world = TestMesh::embedded_with(&logs).await;
    let admin = world.sign_in(ADMIN).await;
    for text in ["a\\r\\n{}", "\\u001b[31mred", "\\\"}{\\\"", "\\u2028\\u0085"] {
        let text: String = serde_json::from_str(&format!("\"{text}\"")).unwrap();
        let mut patient = a_patient();
        patient["name"] = Value::String(text.clone());
        admin.post("/api/patients", &patient).await;
        admin.log_in(&text, &text).await;
        let visible: String = text.chars().filter(|c| (' '..='~').contains(c)).collect();
        for name in ["user-agent", "x-request-id", "traceparent", "origin", "referer"] {
            admin.send(Method::GET, "/auth/me", &[(name, &visible)], None).await;
        }
    }
    for path in ["/%0d%0aX", "/api/patients?search=%0a%1b%5b31m", "/api/patients/%22%7d"] {
        admin.get(path).await;
    }
    let log = world.log();
    let lines: Vec<_> = log.lines().collect();
    assert!(lines.len() > 20, "{log}");
    for line in lines {
        let read: Result<Value, _> = serde_json::from_str(line);
        assert!(read.is_ok_and(|value| value.is_object()), "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }
}
