//! From the configuration to built services: which part gets which settings.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use axum::Router;
use http::Uri;
use kit::{
    audit::{
        replication::{self, AuditReplica, AuthReplica},
        verify,
    },
    log::{EmbeddedLog, EventLog, KafkaConfig, KafkaLog, NoEventLog},
    service::{Kit, Service},
};
use shared_middleware::{
    clock::{Clock, Ids},
    identity::Part,
    in_process::InProcess,
    tls::MeshTls,
};

use crate::{
    config::{Config, EventLogConfig},
    ops::audit_key,
    ops::openapi,
};

/// Where the parts of this process really listen: port 0 has become a number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses {
    pub(crate) rest: HashMap<Part, SocketAddr>,
    pub(crate) billing_grpc: Option<SocketAddr>,
}

/// The services of this process, with the verbs that the binary itself uses.
#[derive(Default)]
pub(crate) struct Launched {
    pub(crate) services: Vec<Service>,
    pub(crate) auth: Option<Arc<auth::App>>,
    pub(crate) patient: Option<Arc<patient::App>>,
    /// Who keeps copies of audit logs, where auth is in this process.
    copies: Option<Arc<dyn AuditReplica>>,
}

// === impl Addresses ===

impl Addresses {
    /// Where a part is found: as configured, else where it listens here, else where it would.
    pub(crate) fn urls(&self, config: &Config, part: Part) -> Vec<Uri> {
        let configured = config.urls.get(&part).cloned();
        let listens = || self.rest.get(&part).or_else(|| config.listen.get(&part)).copied();
        configured.or_else(|| Some(vec![https(listens()?)])).unwrap_or_default()
    }

    fn billing_grpc_urls(&self, config: &Config) -> Vec<Uri> {
        let listens = self.billing_grpc.unwrap_or(config.billing_grpc_listen);
        config.billing_grpc_urls.clone().unwrap_or_else(|| vec![https(listens)])
    }
}

/// Parts that publish or consume events.
pub(crate) const WITH_EVENTS: [Part; 3] = [Part::Patient, Part::Analytics, Part::Notification];

/// Opens the event log, if one of these parts has to do with events.
pub(crate) async fn event_log<'p>(
    config: &Config,
    mut parts: impl Iterator<Item = &'p Part>,
) -> anyhow::Result<Arc<dyn EventLog>> {
    if !parts.any(|part| WITH_EVENTS.contains(part)) {
        return Ok(Arc::new(NoEventLog));
    }
    let failed = "cannot open the event log (events.log)";
    Ok(match &config.events {
        EventLogConfig::Embedded => {
            let opened = EmbeddedLog::open(&config.events_path(), Clock::system()).await;
            Arc::new(opened.context(failed)?)
        }
        EventLogConfig::Kafka(kafka) => {
            Arc::new(KafkaLog::open(KafkaConfig::clone(kafka)).await.context(failed)?)
        }
    })
}

/// Builds one service after the other.
pub(crate) async fn services(
    config: &Config,
    tls: &HashMap<Part, Arc<MeshTls>>,
    log: Arc<dyn EventLog>,
    addresses: &Addresses,
) -> anyhow::Result<Launched> {
    let mut launched = Launched::default();
    let audit_key = audit_key::ensure(&config.audit_key)?;
    for part in Part::ALL {
        let Some(tls) = tls.get(&part) else { continue };
        let kit = Kit {
            machine_clock: config.clock().into(),
            ids: Ids::system(),
            log: Arc::clone(&log),
            tls: Arc::clone(tls),
            audit_key: audit_key.clone(),
            demo: config.demo,
        };
        launched.build(part, config, &kit, addresses).await.with_context(|| {
            match config.databases.get(&part) {
                Some(store) => format!("cannot start {part} on {store:?} ({part}.database)"),
                None => format!("cannot start {part}"),
            }
        })?;
    }
    Ok(launched)
}

// === impl Launched ===

impl Launched {
    async fn build(
        &mut self,
        part: Part,
        config: &Config,
        kit: &Kit,
        addresses: &Addresses,
    ) -> anyhow::Result<()> {
        let mut service = match part {
            Part::Gateway => return Ok(()),
            Part::Auth => {
                let auth = auth::build(auth_config(config), kit).await?;
                self.auth = Some(auth.app);
                self.copies = Some(auth.copies);
                auth.service
            }
            Part::Patient => {
                let urls = addresses.billing_grpc_urls(config);
                let patient = patient::build(patient_config(config, urls), kit).await?;
                self.patient = Some(patient.app);
                patient.service
            }
            Part::Billing => {
                let database = config.database(part);
                billing::build(billing::Config { database }, kit).await?
            }
            Part::Analytics => {
                let database = config.database(part);
                analytics::build(analytics::Config { database }, kit).await?
            }
            Part::Notification => notification::build(notification_config(config), kit).await?,
        };
        // Auth is built before anyone who hands entries to it.
        let copies = self.copies.clone().unwrap_or_else(|| {
            let (urls, tls) = (addresses.urls(config, Part::Auth), Arc::clone(&kit.tls));
            Arc::new(AuthReplica { urls, tls })
        });
        service.tasks.push(replication::task(service.audit_log.clone(), copies));
        service.tasks.push(verify::task(service.audit_log.clone()));
        self.services.push(service);
        Ok(())
    }
}

/// Auth's configuration; also for commands that work without a mesh.
pub(crate) fn auth_config(config: &Config) -> auth::Config {
    let settings = &config.auth;
    auth::Config {
        token_ttl_s: settings.token_ttl_s,
        refresh_ttl_s: settings.refresh_ttl_s,
        session_ttl_s: settings.session_ttl_s,
        refresh_reuse_s: settings.refresh_reuse_s,
        argon2_memory_kib: settings.argon2_memory_kib,
        argon2_passes: settings.argon2_passes,
        hashes_at_once_max: settings.hashes_at_once_max,
        account_limit: settings.account_limit,
        demo: config.demo,
        ..auth::Config::new(config.database(Part::Auth), settings.keys_dir.clone())
    }
}

fn patient_config(config: &Config, billing_urls: Vec<Uri>) -> patient::Config {
    let settings = &config.patient;
    patient::Config {
        database: config.database(Part::Patient),
        billing_urls,
        billing_call: settings.billing_call,
        billing_total: settings.billing_total,
        billing_tries_max: settings.billing_tries_max,
    }
}

/// Notification's configuration; also for commands that work without a mesh.
pub(crate) fn notification_config(config: &Config) -> notification::Config {
    let settings = &config.notification;
    notification::Config {
        smtp: settings.smtp.clone(),
        from: settings.from.clone(),
        limits: settings.limits,
        ..notification::Config::new(
            config.database(Part::Notification),
            settings.outbox_dir.clone(),
        )
    }
}

/// The gateway's configuration.
pub(crate) fn gateway_config(config: &Config, addresses: &Addresses) -> gateway::Config {
    let settings = &config.gateway;
    let patience = &settings.patience;
    let services = Part::ALL.into_iter().filter(|part| *part != Part::Gateway);
    gateway::Config {
        listen: config.listen[&Part::Gateway],
        upstreams: services.map(|part| (part, addresses.urls(config, part))).collect(),
        redirect_listen: settings.redirect_listen,
        redirect_port: settings.redirect_port,
        cors_origins: settings.cors_origins.clone(),
        trusted_proxies: settings.trusted_proxies.clone(),
        user_limit: settings.user_limit,
        client_limit: settings.client_limit,
        login_limit: settings.login_limit,
        clients_tracked_max: settings.clients_tracked_max,
        in_flight_per_client_max: settings.in_flight_per_client_max,
        in_flight_per_user_max: settings.in_flight_per_user_max,
        body_bytes_max: config.limits.body_bytes_max,
        connections_max: patience.connections_max,
        connections_per_client_max: patience.connections_per_client_max,
        head_timeout: patience.head,
        body_timeout: patience.body,
        client_timeout: patience.client,
        keep_alive_timeout: patience.keep_alive,
        connect_timeout: settings.connect,
        read_timeout: settings.upstream,
        health_every: settings.health_every,
        leave: config.leave,
        drain: config.drain,
        threads: settings.threads,
        document: openapi::document(Part::Gateway).to_json().unwrap_or_default().into(),
        ..gateway::Config::default()
    }
}

/// The parts that the gateway calls without connecting to them: those of this process, unless it is
/// asked to go to another address.
pub(crate) fn in_process(
    config: &Config,
    tls: &HashMap<Part, Arc<MeshTls>>,
    routes: HashMap<Part, Router>,
) -> HashMap<Part, InProcess> {
    let here = routes.into_iter().filter(|(part, _)| !config.urls.contains_key(part));
    let called = here.filter_map(|(part, routes)| {
        let (gateway, server) = (tls.get(&Part::Gateway)?, tls.get(&part)?);
        let (gateway, server) = (Arc::clone(gateway), Arc::clone(server));
        Some((part, InProcess::new(routes, gateway, server, Clock::system())))
    });
    called.collect()
}

/// How a listener is called: one that listens everywhere is called on this host.
fn https(mut address: SocketAddr) -> Uri {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("https://{address}").parse().expect("an address and a port make a URL")
}
