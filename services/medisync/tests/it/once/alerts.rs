//! Faults, and exactly the alerts that a real Prometheus fires for them.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use reqwest::Client;
use shared_middleware::clock::Clock;
use testbed::{Kafka, Prometheus, Security};

use crate::{
    certs::Authority,
    processes::{Process, free_port},
    prometheus::{ask, folder},
    test_mesh::{RECEPTIONIST, TestMesh, a_patient, until},
};

/// Waiting for accounts and in the outbox is too long after seconds here, not minutes.
const SOONER: [(&str, &str); 2] =
    [("_age_seconds) > 300", "_age_seconds) > 5"), ("_age_seconds) > 60", "_age_seconds) > 3")];

/// Alerts fire within a few seconds; what more there is has come by then.
const SETTLED: Duration = Duration::from_secs(8);

struct Watch {
    prometheus: Prometheus,
    client: Client,
}

// === impl Watch ===

impl Watch {
    fn over(targets: &[String]) -> Self {
        let prometheus = Prometheus::start(&folder().join("prometheus"), targets, &SOONER);
        let client = Client::builder().tls_certs_only([]).build().unwrap();
        Self { prometheus: prometheus.unwrap(), client }
    }

    async fn firing(&self) -> BTreeSet<String> {
        // A machine full of tests may be slow, which is true and of no interest here.
        let but_slow = "ALERTS{alertstate=\"firing\", alertname!=\"LatencyBudgetBurning\"}";
        let firing = ask(&self.client, &self.prometheus, but_slow).await;
        let name =
            |alert: &serde_json::Value| alert["metric"]["alertname"].as_str().unwrap().to_owned();
        firing.iter().map(name).collect()
    }

    /// Waits until these fire, and sees that no other joins them.
    async fn fires(&self, wanted: &[&str]) {
        let wanted: BTreeSet<_> = wanted.iter().map(|name| (*name).to_owned()).collect();
        until(&format!("{wanted:?} fire"), || async { self.firing().await.is_superset(&wanted) })
            .await;
        let since = Instant::now();
        until("some seconds have passed", || async {
            assert_eq!(self.firing().await, wanted);
            since.elapsed() > SETTLED
        })
        .await;
    }

    async fn is_calm(&self) {
        until("Prometheus has looked", || async {
            !ask(&self.client, &self.prometheus, "ready == 1").await.is_empty()
        })
        .await;
        assert_eq!(self.firing().await, BTreeSet::new());
    }
}

fn targets(world: &TestMesh) -> Vec<String> {
    world.admins().values().map(|admin| (*admin).to_owned()).collect()
}

#[tokio::test]
async fn billing_down_is_told_by_those_who_need_it() {
    let mut world = TestMesh::of_processes(tempfile::tempdir().unwrap());
    let clerk = world.sign_in(RECEPTIONIST).await;
    let watch = Watch::over(&targets(&world));
    watch.is_calm().await;
    world.kill("billing");
    // Enough for the breaker, and not this many that budgets burn.
    for _ in 0..4 {
        assert_eq!(clerk.post("/api/patients", &a_patient()).await.status, 201);
    }
    watch.fires(&["TargetDown", "UpstreamEjected", "BreakerOpen", "BillingPendingTooLong"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_away_is_told_and_so_is_what_waits_for_it() {
    let kafka = Kafka::start(1, Security::None).unwrap();
    let log = format!("kafka://{}", kafka.bootstrap());
    let environment = [("MEDISYNC_EVENTS__LOG", &*log), ("MEDISYNC_DEMO", "true")];
    let world = TestMesh::embedded_with(&environment).await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    clerk.register(&a_patient()).await;
    let watch = Watch::over(&targets(&world));
    watch.is_calm().await;
    kafka.kill(1);
    clerk.register(&a_patient()).await;
    watch.fires(&["DependencyAway", "OutboxStuck"]).await;
    kafka.start_again(1).unwrap();
    until("all is well again", || async { watch.firing().await.is_empty() }).await;
}

#[tokio::test]
async fn a_certificate_near_its_end_is_told_before_it_ends() {
    let world = TestMesh::embedded().await;
    let authority = Authority::of(&world);
    // A process that brings its certificate, which so nobody renews: of one hour, and of a day.
    let hours = |hours: i64| {
        let identity = authority.issue("billing", &["spiffe://medisync/billing"], |params| {
            let end_s = Clock::system().unix_s() + hours * 3600;
            params.not_after = time::OffsetDateTime::from_unix_timestamp(end_s).unwrap();
        });
        let folder = world.folder();
        fs::write(folder.join("billing.key"), &identity.key).unwrap();
        fs::set_permissions(folder.join("billing.key"), Permissions::from_mode(0o600)).unwrap();
        fs::write(folder.join("billing.pem"), &identity.pem).unwrap();
    };
    hours(24);
    let file = |name: &str| world.folder().join(name).display().to_string();
    let auth = world.url("auth").replace("http://", "https://");
    // A replica: another store would have another audit log than the one that auth knows.
    let own = |name: &str| world.data().join(name).display().to_string();
    let environment = [
        ("MEDISYNC_MESH__CA", world.data().join("pki/ca.pem").display().to_string()),
        ("MEDISYNC_MESH__CERT", file("billing.pem")),
        ("MEDISYNC_MESH__KEY", file("billing.key")),
        ("MEDISYNC_AUTH__URL", auth),
        ("MEDISYNC_BILLING__DATABASE", format!("sqlite:{}", own("billing.db"))),
        ("MEDISYNC_AUDIT__KEY", format!("file:{}", own("audit/key"))),
        ("MEDISYNC_ADMIN__LISTEN", format!("127.0.0.1:{}", free_port())),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value));
    let folder = world.folder().join("second");
    fs::create_dir(&folder).unwrap();
    let mut billing =
        Process::start(&["run", "billing"], &folder.join("data"), &environment, &folder);
    let admin = billing.ready(&folder)["admin"].replace("http://", "");
    let watch = Watch::over(&[admin]);
    watch.is_calm().await;
    hours(1);
    watch.fires(&["CertificateExpiring"]).await;
    hours(24);
    until("all is well again", || async { watch.firing().await.is_empty() }).await;
    billing.kill();
}
