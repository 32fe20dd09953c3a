//! Whether this process can do its work, and if not, which of those that it depends on is away, and
//! since when.
//!
//! A store that does not answer makes its process not ready. An event log that is away does not:
//! registrations go on, and their events wait.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use jiff::Timestamp;
use kit::{db::Db, log::EventLog};
use prometheus::proto::{Metric, MetricFamily};
use serde::Serialize;
use shared_middleware::{
    clock::Clock, error::causes, identity::Part, tls::MeshTls, token::Verifier,
};
use tokio::time::{sleep, timeout};

/// What does not answer so soon is away.
const CHECK_WITHIN: Duration = Duration::from_secs(2);
/// Checked by ourselves so often, so that the log has an outage that nobody asks about.
const CHECKED_EVERY: Duration = Duration::from_secs(5);
/// Auth answers every few seconds, if only that nothing happened.
const FEED_SILENT_S_MAX: i64 = 30;

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub(crate) enum Stage {
    Starting = 0,
    Serving = 1,
    Draining = 2,
}

/// What health is asked of.
pub(crate) struct Health {
    stage: AtomicU8,
    verifier: Arc<Verifier>,
    clock: Clock,
    dependencies: Vec<Dependency>,
    /// By which the parts of this process reach others.
    certificates: Vec<Arc<MeshTls>>,
    /// What was found last, by the dependency's place.
    found: Mutex<Vec<Option<Found>>>,
    /// What is not wrong, but should be known.
    warnings: Vec<&'static str>,
}

/// What this process cannot do all of its work without.
pub(crate) struct Dependency {
    name: String,
    /// Where it is, without secrets.
    at: String,
    what: What,
}

enum What {
    Store(Part, Db),
    EventLog(Arc<dyn EventLog>),
}

#[derive(Clone)]
struct Found {
    since: Timestamp,
    /// Why it is away, if it is.
    away: Option<String>,
}

/// What `/readyz?verbose` says.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) ready: bool,
    stage: Stage,
    /// Every check that must pass, by name.
    checks: BTreeMap<String, &'static str>,
    dependencies: Vec<Told>,
    warnings: Vec<String>,
}

/// What it says of a dependency.
#[derive(Serialize)]
struct Told {
    name: String,
    at: String,
    state: &'static str,
    since: Timestamp,
    /// Whether this process is ready without it.
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

// === impl Dependency ===

impl Dependency {
    pub(crate) fn store(part: Part, db: Db, at: String) -> Self {
        Self { name: format!("{part} store"), at, what: What::Store(part, db) }
    }

    pub(crate) fn event_log(log: Arc<dyn EventLog>, at: String) -> Self {
        Self { name: "event log".to_owned(), at, what: What::EventLog(log) }
    }

    const fn is_required(&self) -> bool {
        self.store_of().is_some()
    }

    /// Whose store it is, if it is one.
    const fn store_of(&self) -> Option<Part> {
        match &self.what {
            What::Store(part, _) => Some(*part),
            What::EventLog(_) => None,
        }
    }

    /// Why it is away, if it is.
    async fn away(&self) -> Option<String> {
        let asked = async {
            match &self.what {
                What::Store(_, db) => db.check().await.map_err(|error| causes(&error)),
                What::EventLog(log) => log.check().await.map_err(|error| causes(&error)),
            }
        };
        match timeout(CHECK_WITHIN, asked).await {
            Ok(answered) => answered.err(),
            Err(_) => {
                let known = match &self.what {
                    What::Store(_, db) => db.unreached(),
                    What::EventLog(_) => None,
                };
                Some(known.unwrap_or_else(|| format!("no answer in {} s", CHECK_WITHIN.as_secs())))
            }
        }
    }
}

// === impl Health ===

impl Health {
    pub(crate) fn new(
        verifier: Arc<Verifier>,
        clock: Clock,
        dependencies: Vec<Dependency>,
        warnings: Vec<&'static str>,
    ) -> Self {
        let stage = AtomicU8::new(Stage::Starting as u8);
        let found = Mutex::new(vec![None; dependencies.len()]);
        let certificates = Vec::new();
        Self { stage, verifier, clock, dependencies, certificates, found, warnings }
    }

    /// The same, of parts that have these certificates: while one of them is not valid, its part
    /// reaches nobody and nobody reaches it.
    pub(crate) fn with_certificates<'t>(
        mut self,
        certificates: impl IntoIterator<Item = &'t Arc<MeshTls>>,
    ) -> Self {
        self.certificates = certificates.into_iter().map(Arc::clone).collect();
        self
    }

    /// Whether each part's certificate is valid now.
    fn certificates(&self) -> impl Iterator<Item = (Part, bool)> {
        let now_s = self.clock.unix_s();
        self.certificates.iter().map(move |tls| (tls.part(), tls.is_valid(now_s)))
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::SeqCst);
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::SeqCst) {
            0 => Stage::Starting,
            1 => Stage::Serving,
            _ => Stage::Draining,
        }
    }

    pub(crate) fn feed_age_s(&self) -> i64 {
        self.verifier.feed_age_s()
    }

    pub(crate) fn stores(&self) -> impl Iterator<Item = (Part, &Db)> {
        self.dependencies.iter().filter_map(|dependency| match &dependency.what {
            What::Store(part, db) => Some((*part, db)),
            What::EventLog(_) => None,
        })
    }

    /// Whether the store of a service of this process answers.
    pub(crate) async fn store_answers(&self, service: Part) -> bool {
        let of_service =
            |dependency: &Dependency| dependency.store_of().is_some_and(|part| part == service);
        match self.dependencies.iter().position(of_service) {
            Some(place) => self.check(place).await.away.is_none(),
            None => false,
        }
    }

    /// What was found last of every dependency that was looked at: whether it answered.
    pub(crate) fn known(&self) -> Vec<(&str, bool)> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let named = self.dependencies.iter().zip(found.iter());
        named
            .filter_map(|(it, found)| Some((it.name.as_str(), found.as_ref()?.away.is_none())))
            .collect()
    }

    /// Whether requests should have come here when everything was looked at last.
    pub(crate) fn was_ready(&self) -> bool {
        let known = self.known();
        let up = |it: &Dependency| {
            let found = known.iter().find(|(name, _)| *name == it.name);
            !it.is_required() || found.is_some_and(|(_, is_up)| *is_up)
        };
        self.stage() == Stage::Serving
            && self.verifier.is_ready()
            && self.verifier.agrees_with_auths_clock()
            && self.certificates().all(|(_, is_valid)| is_valid)
            && self.dependencies.iter().all(up)
    }

    /// Looks at everything now and then, for ever.
    pub(crate) async fn watch(&self) {
        loop {
            join_all((0..self.dependencies.len()).map(|place| self.check(place))).await;
            sleep(CHECKED_EVERY).await;
        }
    }

    pub(crate) async fn report(&self) -> Report {
        let stage = self.stage();
        let mut checks = BTreeMap::from([
            ("stage".to_owned(), verdict(stage == Stage::Serving)),
            ("signing keys".to_owned(), verdict(self.verifier.is_ready())),
            ("clock".to_owned(), verdict(self.verifier.agrees_with_auths_clock())),
        ]);
        for (part, is_valid) in self.certificates() {
            checks.insert(format!("{part} certificate"), verdict(is_valid));
        }
        let found = join_all((0..self.dependencies.len()).map(|place| self.check(place))).await;
        let mut told = Vec::with_capacity(found.len());
        for (dependency, found) in self.dependencies.iter().zip(found) {
            let is_here = found.away.is_none();
            if dependency.is_required() {
                checks.insert(dependency.name.clone(), verdict(is_here));
            }
            told.push(Told {
                name: dependency.name.clone(),
                at: dependency.at.clone(),
                state: if is_here { "ok" } else { "away" },
                since: found.since,
                required: dependency.is_required(),
                reason: found.away,
            });
        }
        let ready = checks.values().all(|check| *check == "ok");
        Report { ready, stage, checks, dependencies: told, warnings: self.warnings() }
    }

    /// Asks a dependency; a change is logged once.
    async fn check(&self, place: usize) -> Found {
        let dependency = &self.dependencies[place];
        let away = dependency.away().await;
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all[place].take();
        let changed = before.as_ref().is_none_or(|b| b.away.is_some() != away.is_some());
        let since = match before {
            Some(before) if !changed => before.since,
            ref before => {
                self.tell(dependency, away.as_deref(), before.is_some());
                self.clock.now()
            }
        };
        let found = Found { since, away };
        all[place] = Some(found.clone());
        found
    }

    fn tell(&self, dependency: &Dependency, away: Option<&str>, was_known: bool) {
        let Dependency { name, at, .. } = dependency;
        match away {
            Some(reason) => tracing::warn!(dependency = name, at, reason, "dependency unavailable"),
            None if was_known => tracing::info!(dependency = name, at, "dependency recovered"),
            None => {}
        }
    }

    /// What is not wrong, but should be known now.
    fn warnings(&self) -> Vec<String> {
        let silent = self.verifier.feed_age_s() > FEED_SILENT_S_MAX;
        let silent = silent.then_some("revocation feed stale: sign-outs may be missed");
        let known = self.warnings.iter().copied().chain(silent).map(str::to_owned);
        known.chain(unreachable(&prometheus::gather())).collect()
    }
}

/// The parts that calls of this process do not reach, by what their callers count: the gateway of
/// each upstream's replicas, the others by their circuit breakers.
fn unreachable(families: &[MetricFamily]) -> Vec<String> {
    let label = |metric: &Metric, name: &str| {
        let found = metric.get_label().iter().find(|label| label.name() == name);
        found.map(|label| label.value().to_owned()).unwrap_or_default()
    };
    let of = |name: &'static str| {
        families.iter().filter(move |f| f.name() == name).flat_map(MetricFamily::get_metric)
    };
    let opened = of("circuit_breaker_state")
        .filter(|metric| metric.get_gauge().get_value() >= 2.0)
        .map(|metric| format!("calls to {} fail, and are not made for now", label(metric, "peer")));
    let away = of("gateway_upstreams")
        .filter(|it| label(it, "state") == "ready" && it.get_gauge().get_value() <= 0.0)
        .map(|it| format!("the gateway reaches no replica of {}", label(it, "upstream")));
    opened.chain(away).collect()
}

const fn verdict(passed: bool) -> &'static str {
    if passed { "ok" } else { "failed" }
}

#[cfg(test)]
mod tests {
    use prometheus::{IntGaugeVec, Registry, opts};
    use shared_middleware::{tls::PemFiles, token::VerifierConfig};

    use super::*;
    use crate::ops::pki::Pki;

    #[test]
    fn a_part_that_cannot_be_reached_is_a_warning() {
        let registry = Registry::new();
        let gauge = |name: &str, labels: &[&str]| {
            let gauge = IntGaugeVec::new(opts!(name, "of a test"), labels).unwrap();
            registry.register(Box::new(gauge.clone())).unwrap();
            gauge
        };
        let breakers = gauge("circuit_breaker_state", &["peer"]);
        let upstreams = gauge("gateway_upstreams", &["upstream", "state"]);
        let show = |breaker, ready| {
            breakers.with_label_values(&["billing"]).set(breaker);
            upstreams.with_label_values(&["patient", "ready"]).set(ready);
            upstreams.with_label_values(&["patient", "ejected"]).set(0);
            unreachable(&registry.gather())
        };
        assert_eq!(show(1, 1), Vec::<String>::new());
        let told = show(2, 0).join("; ");
        assert!(told.contains("billing") && told.contains("patient"), "{told}");
    }

    #[tokio::test]
    async fn a_process_whose_certificate_is_not_valid_is_not_ready_and_says_which_it_is() {
        const NOW_S: i64 = 1_800_000_000;
        shared_middleware::token::install_crypto();
        let folder = tempfile::tempdir().unwrap();
        let at = |at_s| Clock::from_fn(move || Timestamp::from_second(at_s).unwrap());
        Pki::new(folder.path().to_owned(), at(NOW_S)).ensure(&[Part::Patient]).unwrap();
        let file = |name: &str| folder.path().join(name);
        let files = PemFiles {
            ca: file("ca.pem"),
            crl: file("crl.pem"),
            cert: file("patient.pem"),
            key: file("patient.key"),
        };
        let tls = Arc::new(MeshTls::load(Part::Patient, files).unwrap());
        for (at_s, expected) in [
            (NOW_S, "ok"),
            (NOW_S - 2 * 3600, "ok"),
            (NOW_S - 25 * 3600, "failed"),
            (NOW_S + 25 * 3600, "failed"),
        ] {
            let verifier = Arc::new(Verifier::new(VerifierConfig::default(), at(at_s)));
            let health = Health::new(verifier, at(at_s), Vec::new(), Vec::new());
            let report = health.with_certificates([&tls]).report().await;
            assert_eq!(report.checks["patient certificate"], expected, "{}", at_s - NOW_S);
        }
    }
}
