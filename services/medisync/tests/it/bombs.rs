//! Bodies and questions that are small to send and large to understand; texts that would be lines
//! of their own in a log.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::world::{ADMIN, RECEPTIONIST, World, a_patient};

/// A refusal that takes longer is work that should not be done; debug builds are slow.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);

#[tokio::test]
async fn json_that_explodes_is_refused_and_nothing_dies_of_it() {
    let world = World::embedded().await;
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
        let since = Instant::now();
        let answer = world.raw(&clerk, "application/json", &body).await;
        assert_eq!(answer.status, wanted, "{what}: {}", answer.text);
        assert!(since.elapsed() < REFUSED_WITHIN, "{what}: {:?}", since.elapsed());
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

#[tokio::test]
async fn a_page_is_never_longer_than_allowed() {
    let world = World::start().await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    for size in ["0", "-1", "201", "1000000000", "1e9", "abc", "", "99999999999999999999", "1.5"] {
        let answer = clerk.get(&format!("/api/patients?size={size}")).await;
        answer.refused(400, "invalid");
    }
    clerk.get("/api/patients?size=200").await.expect(StatusCode::OK);
    // There is no depth: the next page is where a sealed cursor says.
    for query in ["page=1000000", "offset=1000000", "cursor=AAAA"] {
        clerk.get(&format!("/api/patients?{query}")).await.refused(400, "invalid");
    }
}

#[tokio::test]
async fn many_bodies_at_once_take_little_memory() {
    let world = World::embedded().await;
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
    let world = World::embedded_with(&logs).await;
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
