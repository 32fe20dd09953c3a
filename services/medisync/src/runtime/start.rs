//! Starts parts, says when they are ready, and stops them so that nothing is lost.
//!
//! Everything that can be taken or out of reach (ports, certificates, stores) is tried before
//! anything is served. On the way down the gateway goes first, then the services behind it, then
//! what they do beside answering; where the gateways are elsewhere, they are given time to notice.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use gateway::PublicTls;
use kit::{files::make_folder, log::EventLog, service::Service};
use shared_middleware::{
    audit::{
        AuditSink,
        denials::{self, DenialQueue},
    },
    clock::{Clock, Ids},
    identity::Part,
    listen::{ListenConfig, Listener, Mode},
    ready::Readiness,
    tls::{MeshTls, TlsError},
    token::{Verifier, VerifierConfig},
};

use crate::{
    config::{self, Config, log_format},
    context::Context,
    ops::pki::Pki,
    runtime::{
        admin::{self, AdminListener},
        announce,
        build_services::{self, Addresses, Launched},
        demo_data,
        health::{Dependency, Health, Stage},
        otlp::Traces,
        process_metrics::{ProcessMetrics, enough_descriptors},
        readiness_cache::StoresReady,
        reload::Reload,
        signals::{Action, Signals},
        supervisor::Running,
        telemetry,
        tokio_metrics::Runtimes,
    },
};

const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Longer than the gateway keeps an idle connection, so that it is the gateway that closes it.
const HEADER_WITHIN: Duration = Duration::from_secs(60);
/// Signing keys are there at once when auth is in this process.
const KEYS_WITHIN: Duration = Duration::from_secs(10);
/// A thread that waits for a disk or a server has at least so long, when everything else has ended.
const LEFT_AFTER_MIN: Duration = Duration::from_millis(100);

/// Listeners that are bound, of the parts of this process.
struct Bound {
    rest: HashMap<Part, Listener>,
    billing_grpc: Option<Listener>,
    gateway: Option<gateway::Bound>,
    admin: AdminListener,
}

/// Since when it is being stopped, and how long that may take.
struct Stopping {
    since: Instant,
    drain: Duration,
}

/// `medisync up`: every part.
pub(crate) fn up(context: &Context) -> anyhow::Result<()> {
    run(context, Part::ALL.to_vec(), true)
}

/// `medisync run PART...`: these.
pub(crate) fn parts(context: &Context, asked: &[Part]) -> anyhow::Result<()> {
    // In the order in which they start, each once.
    let parts: Vec<Part> = Part::ALL.into_iter().filter(|part| asked.contains(part)).collect();
    run(context, parts, false)
}

// === impl Stopping ===

impl Stopping {
    fn left(&self) -> Duration {
        self.drain.saturating_sub(self.since.elapsed())
    }
}

fn start_log(context: &Context) -> anyhow::Result<()> {
    let sources = context.sources();
    let value = |key| sources.value(key).map(|(value, _)| value).unwrap_or_default();
    let format = log_format(&value("log_format")).map_err(anyhow::Error::msg)?;
    telemetry::init(format, &value("log_level"), context.log_level_by_flag());
    if let Some(warning) = sources.warning() {
        tracing::warn!("{warning}");
    }
    Ok(())
}

/// Serves until it is asked to stop. What still waits for a disk or a server then, on a thread of
/// its own, cannot be called off: it is waited for as long as `drain_seconds` lasts, and left.
fn run(context: &Context, parts: Vec<Part>, up: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let stopping = OnceLock::new();
    let served = runtime.block_on(serve(context, parts, up, &stopping));
    let left = stopping.get().map_or(Duration::ZERO, Stopping::left);
    runtime.shutdown_timeout(left.max(LEFT_AFTER_MIN));
    served
}

/// What the configuration and the machine must allow for, before anything is made.
fn prepare(context: &Context, parts: &[Part], up: bool) -> anyhow::Result<Config> {
    let config = context.usable(parts, up)?;
    start_log(context)?;
    enough_descriptors()?;
    let data = &config.data_dir;
    make_folder(data).with_context(|| format!("cannot make {}", data.display()))?;
    if fs::metadata(data).is_ok_and(|about| about.permissions().mode() & 0o002 != 0) {
        tracing::warn!(folder = %data.display(), "everybody can write to the data folder");
    }
    if up && !config.brings_certificates() {
        Pki::new(config.pki_dir(), Clock::system()).ensure(parts)?;
    }
    Ok(config)
}

async fn serve(
    context: &Context,
    parts: Vec<Part>,
    up: bool,
    stopping: &OnceLock<Stopping>,
) -> anyhow::Result<()> {
    // First of all: a signal that comes too early would end the process anywhere.
    let mut signals = Signals::install()?;
    let config = prepare(context, &parts, up)?;
    let started = async {
        let tls = certificates(&config, &parts)?;
        let public_tls = public_certificate(&config, &parts)?;
        let (bound, addresses) = bind(&config, &tls).await?;
        let reload = Reload { tls: tls.clone(), public_tls: public_tls.clone() };
        let (running, health) = start(&config, &tls, public_tls, bound, addresses).await?;
        Ok::<_, anyhow::Error>((running, health, reload))
    };
    let traces = traces(&config, &parts)?;
    let (mut running, health, reload) = tokio::select! {
        started = started => started?,
        () = signals.stop() => return Ok(()),
    };
    let ended = loop {
        tokio::select! {
            told = signals.next() => match told {
                Action::Stop => break None,
                Action::Reload => reload.now(context),
            },
            ended = running.tasks.join_next() => break ended,
        }
    };
    stopping.get_or_init(|| Stopping { since: Instant::now(), drain: config.drain });
    health.enter(Stage::Draining);
    let unexpected = ended.map(|ended| ended.unwrap_or("a task that panicked"));
    tracing::info!("stopping");
    tokio::select! {
        () = running.stop(config.drain, config.leave) => {}
        // Anyone who asks twice does not want to wait.
        () = signals.interrupted() => tracing::warn!("second signal: exiting immediately"),
    }
    if let Some(traces) = traces {
        traces.stop().await;
    }
    match unexpected {
        None => Ok(()),
        Some(task) => anyhow::bail!("{task} ended unexpectedly"),
    }
}

/// Where spans go, if anywhere.
fn traces(config: &Config, parts: &[Part]) -> anyhow::Result<Option<Traces>> {
    let config::Traces { collector, share } = &config.traces;
    let start =
        |collector| Traces::start(collector, *share, parts, Clock::system(), &Ids::system());
    collector.as_ref().map(start).transpose()
}

fn certificates(config: &Config, parts: &[Part]) -> anyhow::Result<HashMap<Part, Arc<MeshTls>>> {
    let load = |part: &Part| {
        let loaded = MeshTls::load(*part, config.pem_files(*part));
        let missing = matches!(loaded, Err(TlsError::Read(..)));
        let tls = loaded.with_context(|| {
            if missing {
                format!(
                    "no certificate for {part} (`medisync pki init` and `medisync pki issue \
                     {part}` make one)"
                )
            } else {
                format!("{part} cannot use its certificate")
            }
        })?;
        Ok((*part, Arc::new(tls)))
    };
    parts.iter().map(load).collect()
}

/// What the public port shows of itself, where it is in this process and speaks TLS.
fn public_certificate(config: &Config, parts: &[Part]) -> anyhow::Result<Option<Arc<PublicTls>>> {
    let here = config.gateway.tls.clone().filter(|_| parts.contains(&Part::Gateway));
    let Some((cert, key)) = here else { return Ok(None) };
    let tls = PublicTls::load(cert, key)
        .context("the public port has no certificate (gateway.tls.cert, gateway.tls.key)")?;
    Ok(Some(Arc::new(tls)))
}

async fn bind(
    config: &Config,
    tls: &HashMap<Part, Arc<MeshTls>>,
) -> anyhow::Result<(Bound, Addresses)> {
    let mut rest = HashMap::new();
    let mut addresses = Addresses::default();
    for (part, tls) in tls.iter().filter(|(part, _)| **part != Part::Gateway) {
        let mode = config.mesh.mode;
        let listener = listen(*part, config.listen[part], tls, listen_config(config, mode)).await?;
        addresses.rest.insert(*part, listener.address()?);
        rest.insert(*part, listener);
    }
    let mut billing_grpc = None;
    if let Some(tls) = tls.get(&Part::Billing) {
        let grpc = listen_config(config, Mode::Grpc);
        let address = config.billing_grpc_listen;
        let listener = listen(Part::Billing, address, tls, grpc).await?;
        addresses.billing_grpc = Some(listener.address()?);
        billing_grpc = Some(listener);
    }
    let mut gateway = None;
    if tls.contains_key(&Part::Gateway) {
        let bound = gateway::bind(config.listen[&Part::Gateway], config.gateway.redirect_listen)?;
        addresses.rest.insert(Part::Gateway, bound.address());
        gateway = Some(bound);
    }
    let address = config.admin_listen;
    let admin = AdminListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} (admin.listen)"))?;
    Ok((Bound { rest, billing_grpc, gateway, admin }, addresses))
}

async fn listen(
    part: Part,
    address: std::net::SocketAddr,
    tls: &Arc<MeshTls>,
    config: ListenConfig,
) -> anyhow::Result<Listener> {
    Listener::bind(address, Arc::clone(tls), config)
        .await
        .with_context(|| format!("cannot listen on {address} ({part})"))
}

fn listen_config(config: &Config, mode: Mode) -> ListenConfig {
    ListenConfig {
        mode,
        connections_max: config.limits.connections_max,
        handshake: HANDSHAKE_WITHIN,
        header: HEADER_WITHIN,
        drain: config.drain,
    }
}

async fn start(
    config: &Config,
    tls: &HashMap<Part, Arc<MeshTls>>,
    public_tls: Option<Arc<PublicTls>>,
    bound: Bound,
    addresses: Addresses,
) -> anyhow::Result<(Running, Arc<Health>)> {
    let clock = Clock::system();
    let verifier = Verifier::new(VerifierConfig::default(), clock.clone());
    let verifier = Arc::new(verifier.trusting(config.token_issuers.clone()));
    let log = build_services::event_log(config, tls.keys()).await?;
    let launched = build_services::services(config, tls, Arc::clone(&log), &addresses).await?;
    let Launched { services, auth, patient, .. } = launched;

    let dependencies = dependencies(config, &services, log);
    let warnings = demo_data::warnings(config, auth.as_deref(), patient.as_deref()).await;
    let health = Health::new(Arc::clone(&verifier), clock.clone(), dependencies, warnings);
    let health = Arc::new(health.with_certificates(tls.values()));
    let mut running = Running::new();
    running.background(config, tls, &verifier, &addresses);
    let (refusals, untold) = denials::queue();
    let admin_address = bound.admin.address()?;
    let runtimes = Arc::new(Runtimes::default());
    runtimes.add("services", vec![tokio::runtime::Handle::current()]);
    let told = admin::AdminState {
        health: Arc::clone(&health),
        runtimes: Arc::clone(&runtimes),
        process: ProcessMetrics::register(&clock),
        curves: admin::Curves::default(),
        audit: audit_of(&services, &refusals),
        clock: clock.clone(),
    };
    let admin = admin::serve(bound.admin, told, config.admin_hosts.clone());
    running.until_stopped("the admin listener", admin);
    let watched = Arc::clone(&health);
    running.until_stopped("the watch over stores", async move { watched.watch().await });
    let readiness: Arc<dyn Readiness> = Arc::new(StoresReady::new(Arc::clone(&health)));
    let routes =
        running.serve(config, services, bound.rest, bound.billing_grpc, &verifier, &readiness);
    if auth.is_some() {
        signing_keys(&verifier, true).await?;
    }
    if config.demo {
        demo_data::make(auth.as_deref(), patient.as_deref()).await?;
    }
    // A gateway without keys could only send people away.
    signing_keys(&verifier, false).await?;
    if let (Some(bound), Some(gateway_tls)) = (bound.gateway, tls.get(&Part::Gateway)) {
        let told = untold.tell(addresses.urls(config, Part::Auth), Arc::clone(gateway_tls));
        running.refusals = Some(tokio::spawn(told));
        let deps = gateway::Deps {
            tls: Arc::clone(gateway_tls),
            in_process: build_services::in_process(config, tls, routes),
            refusals,
            clock,
            ids: Ids::system(),
            public_tls,
            verifier: Arc::clone(&verifier),
        };
        let settings = build_services::gateway_config(config, &addresses);
        let gateway = gateway::start(settings, bound, deps, running.stop_gateway.clone())?;
        runtimes.add("gateway", gateway.runtimes());
        running.gateway = Some(gateway);
    }
    verifier.ready().await;
    health.enter(Stage::Serving);
    if let Err(error) = announce::announce(config, &addresses, admin_address) {
        // Nobody reads it; the mesh serves all the same.
        tracing::warn!(error = %error, "cannot write the ready line to stdout");
    }
    Ok((running, health))
}

/// Where is recorded what an operator does to this process.
fn audit_of(services: &[Service], refusals: &DenialQueue) -> Arc<dyn AuditSink> {
    match services.first() {
        Some(service) => Arc::new(service.audit_log.clone()),
        None => Arc::new(refusals.clone()),
    }
}

/// What this process cannot do all of its work without.
fn dependencies(config: &Config, services: &[Service], log: Arc<dyn EventLog>) -> Vec<Dependency> {
    let store = |service: &Service| {
        let at = format!("{:?}", config.database(service.part).url);
        Dependency::store(service.part, service.db.clone(), at)
    };
    let with_events =
        services.iter().any(|service| build_services::WITH_EVENTS.contains(&service.part));
    let log = with_events.then(|| Dependency::event_log(log, config.events.to_string()));
    services.iter().map(store).chain(log).collect()
}

/// Waits for the keys that tokens are signed with, but not for ever: auth may start after us, and
/// there is something to serve without it. Unless it is in this process.
async fn signing_keys(verifier: &Verifier, auth_is_here: bool) -> anyhow::Result<()> {
    let known = tokio::time::timeout(KEYS_WITHIN, verifier.ready()).await;
    if known.is_err() && auth_is_here {
        anyhow::bail!("auth's signing keys did not become known");
    }
    if known.is_err() {
        tracing::warn!("still waiting for auth's signing keys (JWKS)");
    }
    Ok(())
}
