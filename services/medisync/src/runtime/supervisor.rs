//! What runs in this process, and how it is asked to stop: from the outside in.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::Router;
use futures_util::future::OptionFuture;
use kit::service::Service;
use shared_middleware::{
    clock::Clock,
    identity::Part,
    listen::Listener,
    ready::Readiness,
    stack::{Mesh, wrap},
    tls::MeshTls,
    token::{FeedConfig, Verifier, follow, follow_externals},
};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{config::Config, ops::pki::Pki, runtime::build_services::Addresses};

/// Relays and consumers end within moments, which they get even when requests took all the time.
const TASKS_END_AT_LEAST: Duration = Duration::from_millis(200);

/// What the gateway refused is recorded so soon, if auth is there.
const REFUSALS_TOLD_WITHIN: Duration = Duration::from_secs(1);

/// Anyone who watches gRPC's health hears of a change so soon.
const HEALTH_TOLD_EVERY: Duration = Duration::from_millis(250);

/// What runs, and how it is asked to stop: from the outside in.
pub(crate) struct Running {
    pub(crate) gateway: Option<gateway::Running>,
    /// Ends when the gateway has, and auth knows what it refused.
    pub(crate) refusals: Option<JoinHandle<()>>,
    services: JoinSet<()>,
    pub(crate) tasks: JoinSet<&'static str>,
    pub(crate) stop_gateway: CancellationToken,
    stop_services: CancellationToken,
    stop_tasks: CancellationToken,
}

// === impl Running ===

impl Running {
    pub(crate) fn new() -> Self {
        Self {
            gateway: None,
            refusals: None,
            services: JoinSet::new(),
            tasks: JoinSet::new(),
            stop_gateway: CancellationToken::new(),
            stop_services: CancellationToken::new(),
            stop_tasks: CancellationToken::new(),
        }
    }

    /// What keeps certificates, keys and revocations up to date.
    pub(crate) fn background(
        &mut self,
        config: &Config,
        tls: &HashMap<Part, Arc<MeshTls>>,
        verifier: &Arc<Verifier>,
        addresses: &Addresses,
    ) {
        for tls in tls.values() {
            let tls = Arc::clone(tls);
            self.until_stopped("a certificate's watch", async move {
                tls.watch(&Clock::system()).await;
            });
        }
        let pki = Pki::new(config.pki_dir(), Clock::system());
        if !config.brings_certificates() {
            let parts: Vec<Part> = tls.keys().copied().collect();
            self.until_stopped("the renewal of certificates", async move {
                pki.renew(&parts).await;
            });
        }
        // One feed serves the whole process; any of its parts may ask auth.
        if let Some(tls) = Part::ALL.into_iter().find_map(|part| tls.get(&part)) {
            let feed = FeedConfig {
                source: config.gateway.jwks.clone(),
                auth_urls: addresses.urls(config, Part::Auth),
                tls: Arc::clone(tls),
            };
            self.until_stopped("auth's feed", follow(feed, Arc::clone(verifier)));
        }
        if !config.token_issuers.is_empty() {
            let keys = follow_externals(Arc::clone(verifier));
            self.until_stopped("the keys of other issuers", keys);
        }
    }

    pub(crate) fn until_stopped(
        &mut self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let stop = self.stop_tasks.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => {}
            }
            name
        });
    }

    /// Puts every service behind its listeners, wrapped in the mesh policy: these are its REST
    /// routes then.
    pub(crate) fn serve(
        &mut self,
        config: &Config,
        services: Vec<Service>,
        mut rest: HashMap<Part, Listener>,
        mut billing_grpc: Option<Listener>,
        verifier: &Arc<Verifier>,
        readiness: &Arc<dyn Readiness>,
    ) -> HashMap<Part, Router> {
        let mut served = HashMap::new();
        for service in services {
            let mesh = Mesh {
                service: service.part,
                rules: service.rules,
                verifier: Arc::clone(verifier),
                audit_log: Arc::new(service.audit_log.clone()),
                clock: Clock::system(),
                readiness: Arc::clone(readiness),
                in_flight_max: config.limits.in_flight_max,
                deadline: config.limits.deadline,
                body_bytes_max: config.limits.body_bytes_max,
            };
            let stop = &self.stop_services;
            let routes = wrap(service.rest, &mesh);
            if let Some(listener) = rest.remove(&service.part) {
                self.services.spawn(listener.serve(routes.clone(), stop.clone()));
            }
            served.insert(service.part, routes);
            if let Some(grpc) = service.grpc
                && let Some(listener) = billing_grpc.take()
            {
                self.services.spawn(listener.serve(wrap(grpc.routes, &mesh), stop.clone()));
                let told = grpc_health(grpc.health, grpc.name, service.part, readiness);
                self.until_stopped("gRPC health", told);
            }
            for task in service.tasks {
                let (name, stop) = (task.name, self.stop_tasks.clone());
                self.tasks.spawn(async move {
                    task.run(stop).await;
                    name
                });
            }
        }
        served
    }

    /// From the outside in, so that anyone who is still working finds whom it needs.
    ///
    /// All of it together takes no longer than the configured time: each stage has what the one
    /// before has left.
    pub(crate) async fn stop(mut self, drain: Duration, leave: Duration) {
        let until = Instant::now() + drain;
        self.stop_gateway.cancel();
        if let Some(gateway) = self.gateway.take() {
            gateway.join().await;
            let told = self.refusals.take().map(|told| timeout(REFUSALS_TOLD_WITHIN, told));
            if OptionFuture::from(told).await.is_some_and(|told| told.is_err()) {
                tracing::warn!("not all denials are recorded: auth is unavailable");
            }
        } else {
            // The gateways are elsewhere. Until the last of them has seen that we are not ready any
            // more, requests come; and to close a connection is to lose the request that is just
            // being sent on it, for nobody may send that twice.
            sleep(leave.min(drain)).await;
        }
        // Tasks end with the listeners: auth's answers the polls that it holds. What is committed
        // and not yet published or reconciled is found at the next start.
        self.stop_services.cancel();
        self.stop_tasks.cancel();
        let services = async { while self.services.join_next().await.is_some() {} };
        if timeout_at(until, services).await.is_err() {
            tracing::warn!("drain timeout reached, aborting requests in flight");
        }
        let tasks = async { while self.tasks.join_next().await.is_some() {} };
        if timeout_at(until.max(Instant::now() + TASKS_END_AT_LEAST), tasks).await.is_err() {
            tracing::warn!("background tasks did not end in time, they resume at the next start");
        }
    }
}

/// Has gRPC's health say what `/readyz` does, for ever; the caller drops the future to stop.
fn grpc_health(
    health: HealthReporter,
    name: &'static str,
    service: Part,
    readiness: &Arc<dyn Readiness>,
) -> impl Future<Output = ()> + use<> {
    let readiness = Arc::clone(readiness);
    async move {
        loop {
            let ready = readiness.is_ready(service).await;
            let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
            // The empty name is the whole server.
            for of in ["", name] {
                health.set_service_status(of, status).await;
            }
            sleep(HEALTH_TOLD_EVERY).await;
        }
    }
}
