//! From texts to values: every fault is found, not only the first.

use std::{
    collections::BTreeMap, fmt::Display, net::SocketAddr, path::PathBuf, str::FromStr,
    time::Duration,
};

use http::Uri;
use kit::{
    consumer::dead_letters_of,
    db::DbUrl,
    log::{KafkaConfig, KafkaUrl},
};
use notification::MessageLimits;
use secrecy::SecretString;
use shared_middleware::{clock, identity::Part, listen::Mode, token::KeySource};

use super::{
    Auth, ClientTimeouts, Config, ConfigErrors, EventLogConfig, Gateway, Limits, Mesh,
    Notification, Patient, SERVICES, Sources, Traces, demo,
    issuers::token_issuers,
    sources::Origin,
    value_parsers::{
        self, address, at_least_one, audit_key, from_to, hosts, jwks, limit, log_filter,
        log_format, networks, origins, port, time_zone, topic_prefix, urls, urls_of_grpc,
    },
};

/// Understands all settings for a process that runs these parts.
///
/// # Errors
/// Every fault.
pub(crate) fn read(mut sources: Sources, parts: &[Part], up: bool) -> Result<Config, ConfigErrors> {
    let config = understand(&mut sources, parts, up);
    match config {
        Some(config) if sources.faults().is_none() => Ok(config),
        _ => Err(sources.faults()),
    }
}

fn understand(s: &mut Sources, parts: &[Part], up: bool) -> Option<Config> {
    check_logging(s);
    let listen = per_part(s, &Part::ALL, listen_key, address);
    let urls = per_part(s, &SERVICES, url_key, urls);
    let databases = per_part(s, &SERVICES, database_key, DbUrl::from_str);
    let events = events(s);
    let asked_demo = s.read("demo", value_parsers::demo);
    let time_zone = optional(s, "clinic.time_zone", time_zone);
    let drain = seconds(s, "drain_seconds");
    let leave = leave(s, drain, parts);
    let (gateway, auth) = (gateway(s), auth(s));
    let token_issuers = token_issuers(s);
    let (patient, notification) = (patient(s), notification(s));
    let (mesh, limits, traces) = (mesh(s, parts), limits(s), traces(s));
    let audit_key = s.read("audit.key", audit_key);
    let billing_grpc_urls = s.read("billing.grpc_url", urls_of_grpc);
    let data_dir = s.read("data_dir", PathBuf::from_str);
    let admin_listen = s.read("admin.listen", address);
    let admin_hosts = optional(s, "admin.hosts", hosts);
    let billing_grpc_listen = s.read("billing.grpc_listen", address);
    check_ports(s, &listen, admin_listen, billing_grpc_listen, parts);
    let config = Config {
        data_dir: data_dir?,
        demo: false,
        time_zone: time_zone?.unwrap_or_else(clock::system_time_zone),
        drain: drain?,
        leave: leave?,
        admin_listen: admin_listen?,
        admin_hosts: admin_hosts?.unwrap_or_default(),
        gateway: gateway?,
        token_issuers,
        auth: auth?,
        patient: patient?,
        notification: notification?,
        billing_grpc_listen: billing_grpc_listen?,
        billing_grpc_urls,
        listen,
        urls,
        databases,
        events: events?,
        mesh: mesh?,
        limits: limits?,
        traces: traces?,
        audit_key: audit_key?,
        stores_must_exist: false,
    };
    match demo::is_on(asked_demo, &config, parts, up) {
        Ok(demo) => Some(Config { demo, ..config }),
        Err(message) => {
            s.fault("demo", message);
            None
        }
    }
}

fn events(s: &mut Sources) -> Option<EventLogConfig> {
    let url = s.read("events.log", |text| match text {
        "embedded" => Ok(None),
        url if url.starts_with("kafka://") => url.parse::<KafkaUrl>().map(Some),
        _ => Err("must be embedded or begin with kafka://"),
    });
    let partitions = s.read("events.partitions", |text| from_to(text, 1, 1000));
    // What is not of its form is told all the same: none of it is used then.
    let replication = s.read("events.replication", |text| from_to(text, 1, 100));
    let prefix = s.read("events.prefix", topic_prefix).unwrap_or_default();
    let number = |number: i64| i32::try_from(number).ok();
    let (partitions, replication) = (number(partitions?)?, replication.and_then(number));
    let topics = [patient::TOPIC.to_owned(), dead_letters_of(patient::TOPIC)].into();
    Some(match url? {
        None => EventLogConfig::Embedded,
        Some(url) => {
            let kafka = KafkaConfig { url, prefix, topics, partitions, replication };
            EventLogConfig::Kafka(Box::new(kafka))
        }
    })
}

/// It is a part of the drain; what nobody set must not be a fault of a drain that somebody did. A
/// gateway that runs with others stops before them, and leaves nobody behind who would notice.
fn leave(s: &mut Sources, drain: Option<Duration>, parts: &[Part]) -> Option<Duration> {
    const KEY: &str = "mesh.leave_ms";
    let given = s.value(KEY).is_some_and(|(_, origin)| origin != Origin::Default);
    let leave_ms = s.read(KEY, |text| from_to(text, 0, 600_000))?;
    let (leave, drain) = (Duration::from_millis(u64::try_from(leave_ms).ok()?), drain?);
    if given && leave > drain {
        s.fault(KEY, "must not be longer than drain_seconds, of which it is a part");
    }
    if parts.contains(&Part::Gateway) && parts.len() > 1 {
        return Some(Duration::ZERO);
    }
    Some(if given { leave } else { leave.min(drain / 2) })
}

fn gateway(s: &mut Sources) -> Option<Gateway> {
    let user_limit = s.read("gateway.rate_limit.user", limit);
    let client_limit = s.read("gateway.rate_limit.client", limit);
    let login_limit = s.read("gateway.rate_limit.login", limit);
    let jwks = s.value("gateway.jwks").map(|_| s.read("gateway.jwks", jwks));
    let clients_tracked_max = s.read("gateway.clients_tracked_max", at_least_one);
    let in_flight = |text: &str| from_to(text, 1, 1_000_000);
    let in_flight_per_client_max = s.read("gateway.in_flight_per_client_max", in_flight);
    let in_flight_per_user_max = s.read("gateway.in_flight_per_user_max", in_flight);
    let connect = milliseconds(s, "gateway.connect_ms");
    let upstream = milliseconds(s, "gateway.upstream_ms");
    let health_every = milliseconds(s, "gateway.health_every_ms");
    let threads = s.read("gateway.threads", at_least_one);
    let tls = pair(s, "gateway.tls.cert", "gateway.tls.key");
    let redirect_listen = optional(s, "gateway.tls.redirect_listen", address);
    if redirect_listen.flatten().is_some() && s.value("gateway.tls.cert").is_none() {
        s.fault(
            "gateway.tls.redirect_listen",
            "needs gateway.tls.cert: there is no https to go to",
        );
    }
    let redirect_port = optional(s, "gateway.tls.redirect_port", port);
    let cors_origins = optional(s, "gateway.cors_origins", origins);
    let trusted_proxies = optional(s, "gateway.trusted_proxies", networks);
    let patience = patience(s);
    Some(Gateway {
        tls,
        redirect_listen: redirect_listen?,
        redirect_port: redirect_port?,
        cors_origins: cors_origins?.unwrap_or_default(),
        trusted_proxies: trusted_proxies?.unwrap_or_default(),
        patience: patience?,
        user_limit: user_limit?,
        client_limit: client_limit?,
        login_limit: login_limit?,
        jwks: jwks.unwrap_or(Some(KeySource::Auth))?,
        clients_tracked_max: clients_tracked_max?,
        in_flight_per_client_max: u32::try_from(in_flight_per_client_max?).ok()?,
        in_flight_per_user_max: u32::try_from(in_flight_per_user_max?).ok()?,
        connect: connect?,
        upstream: upstream?,
        health_every: health_every?,
        threads: threads?,
    })
}

fn patience(s: &mut Sources) -> Option<ClientTimeouts> {
    let connections_max = s.read("gateway.connections_max", at_least_one);
    let per_client = s.read("gateway.connections_per_client_max", |text| from_to(text, 0, 1 << 30));
    let [head, body, client, keep_alive] =
        ["gateway.head_ms", "gateway.body_ms", "gateway.client_ms", "gateway.keep_alive_ms"]
            .map(|key| milliseconds(s, key));
    Some(ClientTimeouts {
        connections_max: connections_max?,
        connections_per_client_max: usize::try_from(per_client?).ok()?,
        head: head?,
        body: body?,
        client: client?,
        keep_alive: keep_alive?,
    })
}

fn auth(s: &mut Sources) -> Option<Auth> {
    const DAY_S: i64 = 86_400;
    let keys_dir = s.read("auth.keys_dir", PathBuf::from_str);
    let token_ttl_s = s.read("auth.token_ttl_seconds", |text| from_to(text, 60, 3600));
    let refresh_days = s.read("auth.refresh_ttl_days", |text| from_to(text, 1, 365));
    let session_days = s.read("auth.session_days_max", |text| from_to(text, 1, 365));
    let reuse_s = s.read("auth.refresh_reuse_seconds", |text| from_to(text, 0, 60));
    let memory = s.read("auth.argon2_memory_kib", |text| from_to(text, 19_456, 1 << 20));
    let passes = s.read("auth.argon2_passes", |text| from_to(text, 2, 16));
    let hashes_at_once_max = s.read("auth.hashes_at_once_max", at_least_one);
    let account_limit = s.read("auth.rate_limit.account", limit);
    Some(Auth {
        keys_dir: keys_dir?,
        token_ttl_s: token_ttl_s?,
        refresh_ttl_s: refresh_days? * DAY_S,
        session_ttl_s: session_days? * DAY_S,
        refresh_reuse_s: reuse_s?,
        argon2_memory_kib: u32::try_from(memory?).ok()?,
        argon2_passes: u32::try_from(passes?).ok()?,
        hashes_at_once_max: hashes_at_once_max?,
        account_limit: account_limit?,
    })
}

fn patient(s: &mut Sources) -> Option<Patient> {
    let billing_call = milliseconds(s, "patient.billing_call_ms");
    let billing_total = milliseconds(s, "patient.billing_total_ms");
    let tries = s.read("patient.billing_tries_max", |text| from_to(text, 1, 10));
    Some(Patient {
        billing_call: billing_call?,
        billing_total: billing_total?,
        billing_tries_max: u32::try_from(tries?).ok()?,
    })
}

fn notification(s: &mut Sources) -> Option<Notification> {
    let given = s.value("notification.smtp").is_some();
    let smtp = s.read("notification.smtp", |url| {
        notification::check_smtp_url(url).map(|()| SecretString::from(url))
    });
    let outbox_dir = s.read("notification.outbox_dir", PathBuf::from_str);
    let from = s
        .read("notification.from", |from| notification::check_from(from).map(|()| from.to_owned()));
    let interval_s =
        s.read("notification.update_interval_seconds", |text| from_to(text, 0, 86_400));
    let address = s.read("notification.rate_limit.address", limit);
    let smtp = if given { Some(smtp?) } else { None };
    let limits = MessageLimits {
        update_interval: Duration::from_secs(interval_s?.unsigned_abs()),
        address: address?,
    };
    Some(Notification { smtp, outbox_dir: outbox_dir?, from: from?, limits })
}

fn mesh(s: &mut Sources, parts: &[Part]) -> Option<Mesh> {
    let mode = s.read("mesh.mtls", |text| match text {
        "strict" => Ok(Mode::Strict),
        "permissive" => Ok(Mode::Permissive),
        _ => Err("must be permissive or strict"),
    });
    let ca = s.read("mesh.ca", PathBuf::from_str);
    let crl = s.read("mesh.crl", PathBuf::from_str);
    let own = pair(s, "mesh.cert", "mesh.key");
    if own.is_some() && parts.len() > 1 {
        s.fault("mesh.cert", "names one part's certificate, but this process runs several parts");
    }
    let (cert, key) = own.unzip();
    Some(Mesh { mode: mode?, ca: ca?, crl: crl?, cert, key })
}

/// A setting that may be left out: none then; nothing when it is faulty.
fn optional<T, E: Display>(
    s: &mut Sources,
    key: &'static str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Option<Option<T>> {
    if s.value(key).is_none() {
        return Some(None);
    }
    s.read(key, parse).map(Some)
}

/// A certificate and its key: both, or neither.
fn pair(s: &mut Sources, cert: &'static str, key: &'static str) -> Option<(PathBuf, PathBuf)> {
    let (chain, private) = (s.read(cert, PathBuf::from_str), s.read(key, PathBuf::from_str));
    if chain.is_some() != private.is_some() {
        let both = format!("a certificate and its key belong together: set {cert} and {key}");
        s.fault(cert, both);
    }
    chain.zip(private)
}

fn traces(s: &mut Sources) -> Option<Traces> {
    let given = s.value("traces.otlp_endpoint").is_some();
    let collector = s.read("traces.otlp_endpoint", |text| {
        let form = "must be http://host:port: TLS to others is a collector's beside this process";
        let uri: Uri = text.parse().map_err(|_| form)?;
        let plain = uri.scheme_str() == Some("http") && uri.host().is_some();
        if plain { Ok(uri) } else { Err(form) }
    });
    let share = s.read("traces.sample_share", |text| {
        let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
        share.ok_or("must be a number from 0 to 1")
    });
    let collector = if given { Some(collector?) } else { None };
    Some(Traces { collector, share: share? })
}

fn limits(s: &mut Sources) -> Option<Limits> {
    let body_bytes_max = s.read("limits.body_bytes_max", |text| from_to(text, 1024, 16 << 20));
    let deadline = milliseconds(s, "limits.deadline_ms");
    let in_flight_max = s.read("limits.in_flight_max", at_least_one);
    let connections_max = s.read("limits.connections_max", at_least_one);
    let pool = s.read("limits.pool_connections_max", |text| from_to(text, 1, 64));
    let acquire = milliseconds(s, "limits.acquire_ms");
    let statement = milliseconds(s, "limits.statement_ms");
    Some(Limits {
        body_bytes_max: usize::try_from(body_bytes_max?).ok()?,
        deadline: deadline?,
        in_flight_max: in_flight_max?,
        connections_max: connections_max?,
        pool_connections_max: u32::try_from(pool?).ok()?,
        acquire: acquire?,
        statement: statement?,
    })
}

/// Two listeners of one process on one port: an error before any is opened.
fn check_ports(
    s: &mut Sources,
    listen: &BTreeMap<Part, SocketAddr>,
    admin: Option<SocketAddr>,
    grpc: Option<SocketAddr>,
    parts: &[Part],
) {
    let mut taken: Vec<(&str, SocketAddr)> = Vec::new();
    let own = parts.iter().filter_map(|part| Some((listen_key(*part), *listen.get(part)?)));
    let grpc = grpc.filter(|_| parts.contains(&Part::Billing));
    let others = [("admin.listen", admin), ("billing.grpc_listen", grpc)];
    let others = others.into_iter().filter_map(|(key, address)| Some((key, address?)));
    for (key, address) in own.chain(others) {
        let same = taken.iter().find(|(_, other)| *other == address && address.port() != 0);
        if let Some((other, _)) = same {
            s.fault(key, format!("{address} is the address of {other} already"));
        }
        taken.push((key, address));
    }
}

fn check_logging(s: &mut Sources) {
    s.read("log_format", log_format);
    s.read("log_level", log_filter);
}

fn per_part<T, E: Display>(
    s: &mut Sources,
    parts: &[Part],
    key: fn(Part) -> &'static str,
    parse: fn(&str) -> Result<T, E>,
) -> BTreeMap<Part, T> {
    parts.iter().filter_map(|part| Some((*part, s.read(key(*part), parse)?))).collect()
}

pub(super) const fn listen_key(part: Part) -> &'static str {
    match part {
        Part::Gateway => "gateway.listen",
        Part::Auth => "auth.listen",
        Part::Patient => "patient.listen",
        Part::Billing => "billing.listen",
        Part::Analytics => "analytics.listen",
        Part::Notification => "notification.listen",
    }
}

const fn url_key(part: Part) -> &'static str {
    match part {
        Part::Auth => "auth.url",
        Part::Billing => "billing.url",
        Part::Analytics => "analytics.url",
        Part::Notification => "notification.url",
        Part::Patient | Part::Gateway => "patient.url",
    }
}

const fn database_key(part: Part) -> &'static str {
    match part {
        Part::Auth => "auth.database",
        Part::Billing => "billing.database",
        Part::Analytics => "analytics.database",
        Part::Notification => "notification.database",
        Part::Patient | Part::Gateway => "patient.database",
    }
}

fn seconds(s: &mut Sources, key: &'static str) -> Option<Duration> {
    let seconds = s.read(key, |text| from_to(text, 0, 3600))?;
    Some(Duration::from_secs(u64::try_from(seconds).ok()?))
}

fn milliseconds(s: &mut Sources, key: &'static str) -> Option<Duration> {
    let milliseconds = s.read(key, |text| from_to(text, 1, 600_000))?;
    Some(Duration::from_millis(u64::try_from(milliseconds).ok()?))
}
