//! What clients make up adds nothing to the metrics.

use std::collections::BTreeSet;

use crate::{
    heavy,
    test_mesh::{ADMIN, TestMesh},
};

#[tokio::test]
async fn ten_thousand_paths_that_nobody_has_add_no_series() {
    let _turn = heavy::turn().await;
    const PATHS: u32 = 10_000;
    let world = TestMesh::start().await;
    let admin = world.sign_in(ADMIN).await;
    // Of what requests count: events of the demo data may still be on their way.
    let counted = |line: &&str| line.starts_with("gateway_") || line.starts_with("http_server_");
    let lines = |metrics: &str| metrics.lines().filter(counted).count();
    // Each kind once, so that its series are there.
    let ask = async |n: u32| {
        let somebody = uuid(n);
        admin.get(&format!("/api/patients/{somebody}")).await.refused(404, "not_found");
        admin.get(&format!("/random/{n}/{somebody}")).await.refused(404, "not_found");
    };
    ask(PATHS).await;
    let before = lines(&world.metrics().await);
    for n in 0..PATHS / 2 {
        ask(n).await;
    }
    assert_eq!(lines(&world.metrics().await), before);
}

fn uuid(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

#[tokio::test]
async fn what_clients_invent_adds_no_series() {
    let world = TestMesh::start().await;
    let admin = world.sign_in(ADMIN).await;
    let bases = ["gateway", "auth", "patient", "billing", "analytics", "notification"];
    let callers = bases.map(|part| world.at(part).with(admin.token.as_ref().unwrap()));
    let invent = async |n: u32| {
        let path = match n % 4 {
            0 => format!("/api/patients/{n:08x}-0000-4000-8000-000000000000"),
            1 => format!("/invented-{n}/x{}", n * 7919),
            2 => format!("/patients/{n}"),
            _ => format!("/accounts/{n}/{n}"),
        };
        // Letters that are no method's, so that the labels of those we have are all there already.
        let method = match n % 3 {
            0 => "GET".to_owned(),
            1 => "DELETE".to_owned(),
            _ => format!("X{n}"),
        };
        let agent = format!("agent-{n}");
        for caller in &callers {
            let headers = [("user-agent", &*agent), ("x-request-id", &*agent)];
            caller.send(method.parse().unwrap(), &path, &headers, None).await;
        }
    };
    // What becomes of the demo's events has series of its own.
    world.drain_and_send().await;
    for n in 0..24 {
        invent(n).await;
    }
    let before = series(&world.metrics().await);
    for n in 24..324 {
        invent(n).await;
    }
    let after = series(&world.metrics().await);
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:?}");
    assert!(before.len() > 100);
}

/// Every series: name and labels as they are.
fn series(metrics: &str) -> BTreeSet<String> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}
