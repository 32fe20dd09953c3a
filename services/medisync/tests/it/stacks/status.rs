//! Whether a mesh is ready, and what it does: `medisync healthcheck` and `medisync status`.

use std::process::Output;

use serde_json::Value;

use crate::test_mesh::{ADMIN, TestMesh, a_patient, medisync};

fn run(args: &[&str], environment: &[(&str, &str)]) -> Output {
    medisync().args(args).envs(environment.iter().copied()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn the_health_check_says_whether_it_is_ready() {
    let mut world = TestMesh::start().await;
    let url = format!("{}/readyz", world.url("admin"));
    assert_eq!(run(&["healthcheck", &url], &[]).status.code(), Some(0));
    let admin = world.url("admin").trim_start_matches("http://").to_owned();
    assert!(run(&["healthcheck"], &[("MEDISYNC_ADMIN__LISTEN", &admin)]).status.success());
    let verbose = world.admin_of("patient").get("/readyz?verbose").await.json();
    assert_eq!(verbose["ready"], true);
    assert_eq!(verbose["checks"]["patient store"], "ok");
    let named = |name| {
        let all = verbose["dependencies"].as_array().unwrap();
        all.iter().find(|dependency| dependency["name"] == name).unwrap().clone()
    };
    for (name, required) in [("patient store", true), ("event log", false)] {
        assert_eq!(
            (&named(name)["state"], &named(name)["required"]),
            (&"ok".into(), &required.into())
        );
        assert!(named(name)["since"].is_string());
    }
    assert_eq!(world.at("admin").get("/livez").await.status, 200);
    world.terminate();
    assert!(world.ended().success());
    let refused = run(&["healthcheck", &url], &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(stderr(&refused).lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_what_a_mesh_does() {
    let world = TestMesh::start().await;
    let admin = world.sign_in(ADMIN).await;
    let asking = tokio::spawn(async move {
        loop {
            admin.register(&a_patient()).await;
            admin.get("/nothing").await;
        }
    });
    let admins: Vec<_> = world.admins().values().map(|it| (*it).to_owned()).collect();
    let status = |more: &[&str]| {
        let mut command = world.command_line(&["status"]);
        command.args(&admins).args(more).output().unwrap()
    };
    let told = status(&["--output", "json", "--interval", "3"]);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let processes = told["processes"].as_array().unwrap();
    assert_eq!(processes.len(), admins.len());
    let parts: Vec<_> = processes.iter().flat_map(|it| it["parts"].as_array().unwrap()).collect();
    for part in ["gateway", "patient"] {
        let of = parts.iter().find(|it| it["part"] == part).unwrap_or_else(|| panic!("{told}"));
        assert!(of["requestsPerS"].as_f64().unwrap() > 0.0, "{told}");
        assert!(of["p99Ms"].as_f64().unwrap() > 0.0, "{told}");
    }
    assert!(processes.iter().all(|it| it["ready"] == true), "{told}");
    assert!(processes.iter().any(|it| it["outbox"].is_object()), "{told}");
    let text = String::from_utf8(status(&[]).stdout).unwrap();
    for word in ["ready", "REQUESTS/S", "gateway", "outbox", "breaker closed", "certificates"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    asking.abort();
}
