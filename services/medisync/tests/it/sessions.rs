//! What a token says, where it is refused, and how soon.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::Value;
use shared_middleware::clock::Clock;

use crate::test_mesh::{Caller, TestMesh, by};

/// How soon what was ended must be refused everywhere.
const CUT_OFF_WITHIN: Duration = Duration::from_secs(1);

/// Seconds since 1970.
pub(crate) fn now_s() -> i64 {
    Clock::system().unix_s()
}

/// A part of a JWT, read.
pub(crate) fn part(token: &str, n: usize) -> Value {
    let part = token.split('.').nth(n).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The token is refused at the gateway and at the patient service's own port, soon. Each part hears
/// of it by itself.
pub(crate) async fn cut_off(world: &TestMesh, caller: &Caller) {
    let latest = Instant::now() + CUT_OFF_WITHIN;
    let own_port = world.at("patient").with(caller.token.as_ref().unwrap());
    for (caller, path) in
        [(caller, "/api/patients"), (&own_port, "/patients"), (caller, "/auth/me")]
    {
        refused_by(latest, caller, path).await;
    }
}

/// The token is refused there, to anyone who asks later than this.
pub(crate) async fn refused_by(latest: Instant, caller: &Caller, path: &str) {
    by(latest, "the token is refused", || async { caller.get(path).await.status == 401 }).await;
}

/// At the gateway and at two services' own ports, and as the same refusal.
pub(crate) async fn refused_everywhere(world: &TestMesh, what: &str, token: &str) {
    for (part, path) in
        [("gateway", "/auth/validate"), ("patient", "/patients"), ("auth", "/validate")]
    {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", &*bearer)];
        let answer = world.at(part).send(Method::GET, path, &headers, None).await;
        assert_eq!(answer.status.as_u16(), 401, "{what} at {part}: {}", answer.text);
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{what} at {part}");
        answer.refused(401, "unauthenticated");
    }
}
