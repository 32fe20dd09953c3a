//! Pages of other origins.

use reqwest::{Method, StatusCode};

use crate::test_mesh::{ADMIN, Answer, TestMesh};

const APP: &str = "https://app.example.org";
const LIST: (&str, &str) = ("MEDISYNC_GATEWAY__CORS_ORIGINS", "https://app.example.org");

fn allowed(answer: &Answer) -> Option<&str> {
    answer.headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_listed_page_may_use_the_api_and_no_other() {
    let limits = ("MEDISYNC_GATEWAY__RATE_LIMIT__LOGIN", "3/600s");
    let world = TestMesh::start_with(&[LIST, limits]).await;
    let admin = world.sign_in(ADMIN).await;
    let nobody = world.anybody();
    let path = "/api/patients/123e4567-e89b-12d3-a456-426614174000";
    let ask = [("origin", APP), ("access-control-request-method", "PUT")];
    let leave = nobody.send(Method::OPTIONS, path, &ask, None).await;
    assert_eq!((leave.status, allowed(&leave)), (StatusCode::NO_CONTENT, Some(APP)));
    assert_eq!(leave.header("access-control-allow-methods"), "GET, HEAD, PUT, DELETE");
    let told = [("origin", APP)];
    let mut found = vec![
        (200, admin.send(Method::GET, path, &told, None).await),
        (401, nobody.send(Method::GET, path, &told, None).await),
        (404, admin.send(Method::GET, "/nowhere", &told, None).await),
        (405, admin.send(Method::DELETE, "/healthz", &told, None).await),
    ];
    for _ in 0..3 {
        nobody.log_in(ADMIN, "wrong").await;
    }
    found.push((429, nobody.send(Method::POST, "/auth/login", &told, None).await));
    for (status, answer) in &found {
        assert_eq!(answer.status, *status);
        assert_eq!(allowed(answer), Some(APP), "{status}");
        assert_eq!(answer.header("vary"), "Origin", "{status}");
        let exposed = answer.header("access-control-expose-headers");
        assert!(exposed.contains("retry-after") && exposed.contains("etag"), "{exposed}");
        assert!(answer.headers.get("access-control-allow-credentials").is_none());
    }
    for other in [
        "null",
        "https://evil.example",
        "https://app.example.org.evil.example",
        "https://evil-app.example.org",
        "https://app.example.org:444",
        "http://app.example.org",
    ] {
        let asked = [("origin", other), ("access-control-request-method", "PUT")];
        let refused = nobody.send(Method::OPTIONS, path, &asked, None).await;
        assert_eq!(allowed(&refused), None, "{other}");
        refused.refused(405, "method_not_allowed");
        let answer = admin.send(Method::GET, path, &asked[..1], None).await;
        assert_eq!((answer.status, allowed(&answer)), (StatusCode::OK, None), "{other}");
    }
}
