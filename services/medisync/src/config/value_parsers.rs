//! The forms of values: from a text to what it means, or to what is wrong with it.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    sync::Arc,
};

use gateway::Origin;
use http::Uri;
use ipnet::IpNet;
use shared_middleware::{
    clock,
    rate_limit::{RateLimit, parse_limit},
    token::KeySource,
};

use tracing_subscriber::EnvFilter;

use super::{AuditKeySource, LogFormat, demo::Demo};

pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    let form = "must be an address and a port, such as 127.0.0.1:4004";
    // Names are looked up, so that a container can listen on its own.
    let found = text.parse().ok().or_else(|| text.to_socket_addrs().ok()?.next());
    found.ok_or(form)
}

pub(super) fn url(text: &str) -> Result<Uri, &'static str> {
    let form = "must be http://host:port or https://host:port, or a comma-separated list of those";
    let uri: Uri = text.trim().parse().map_err(|_| form)?;
    let no_user = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    let plain = uri.path() == "/" && uri.query().is_none() && no_user;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(_)) if plain => Ok(uri),
        _ => Err(form),
    }
}

pub(super) fn urls(text: &str) -> Result<Vec<Uri>, &'static str> {
    text.split(',').map(url).collect()
}

pub(super) fn urls_of_grpc(text: &str) -> Result<Vec<Uri>, &'static str> {
    let urls = urls(text)?;
    if urls.iter().all(|url| url.scheme_str() == Some("https")) {
        return Ok(urls);
    }
    Err("must be https://host:port: billing's gRPC is mTLS always")
}

pub(super) fn jwks(text: &str) -> Result<KeySource, &'static str> {
    if let Some(path) = text.strip_prefix("file:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return Ok(KeySource::File(path.into()));
    }
    let form = "must be an https URL of a JWKS document, http to a loopback address, or file:PATH";
    let uri: Uri = text.parse().map_err(|_| form)?;
    if is_for_keys(&uri) { Ok(KeySource::Url(uri)) } else { Err(form) }
}

/// Whether keys may be had from there. Anyone who could change the answer could sign for anybody:
/// only this machine is asked in plaintext.
pub(super) fn is_for_keys(uri: &Uri) -> bool {
    let Some(host) = uri.host().map(|host| host.trim_matches(['[', ']'])) else { return false };
    let near = || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => true,
        Some("http") => near(),
        _ => false,
    }
}

pub(super) fn audit_key(text: &str) -> Result<AuditKeySource, String> {
    if let Some(path) = text.strip_prefix("file:") {
        return Ok(AuditKeySource::File(path.into()));
    }
    let key = text.parse().map_err(|error| format!("{error}, or file:PATH"));
    key.map(AuditKeySource::Given)
}

pub(super) fn limit(text: &str) -> Result<Option<RateLimit>, String> {
    parse_limit(text).map_err(|error| error.to_string())
}

pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let network =
        |text: &str| gateway::parse_network(text.trim()).map_err(|error| error.to_string());
    text.split(',').map(network).collect()
}

pub(super) fn origins(text: &str) -> Result<Vec<Origin>, String> {
    let origin = |text: &str| gateway::parse_origin(text.trim()).map_err(|error| error.to_string());
    text.split(',').map(origin).collect()
}

/// Names of hosts, without ports.
pub(super) fn hosts(text: &str) -> Result<Arc<[String]>, String> {
    let host = |text: &str| {
        let name = text.trim();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(format!("{name:?} is no name of a host"));
        }
        Ok(name.to_ascii_lowercase())
    };
    text.split(',').map(host).collect()
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    from_to(text, 1, 65_535).map(|port| u16::try_from(port).unwrap_or(u16::MAX))
}

/// Whether the demo is on, and then whether wherever this listens.
pub(super) fn demo(text: &str) -> Result<Demo, &'static str> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(Demo::OnLoopback),
        "false" | "0" | "no" | "off" => Ok(Demo::Off),
        "anywhere" => Ok(Demo::Anywhere),
        _ => Err("must be true, false or anywhere"),
    }
}

pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    from_to(text, 1, 1 << 30).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
}

pub(super) fn from_to(text: &str, least: i64, most: i64) -> Result<i64, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}

/// What Kafka takes in the names of topics.
pub(super) fn topic_prefix(text: &str) -> Result<String, &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text.len() <= 100 && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err("must be at most 100 letters, digits, points, underscores and hyphens")
}

pub(super) fn time_zone(name: &str) -> Result<clock::TimeZone, &'static str> {
    clock::time_zone(name).ok_or("must be the IANA name of a time zone, such as Europe/Berlin")
}

/// `text` or `json`.
pub(crate) fn log_format(text: &str) -> Result<LogFormat, &'static str> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be text or json"),
    }
}

/// What is logged: a level, or levels by target, such as `info,kit=debug`.
///
/// A word that is no level would be taken for a target by the log's library, of which everything is
/// then logged and of all others nothing: who writes `warning` means something else.
pub(crate) fn log_filter(text: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let mut depth = 0_i32;
    // Commas within brackets are between the fields of a span.
    let directives = text.split(|c| {
        depth += i32::from(matches!(c, '[' | '{')) - i32::from(matches!(c, ']' | '}'));
        c == ',' && depth <= 0
    });
    for directive in directives.map(str::trim) {
        let level = directive
            .rsplit_once('=')
            .map_or(directive, |(target, level)| if target.is_empty() { directive } else { level });
        if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
            let level = level.escape_debug();
            return Err(format!(
                "`{level}` is no level: error, warn, info, debug, trace or off, or several by \
                 target, such as info,kit=debug"
            ));
        }
    }
    text.parse::<EnvFilter>().map(drop).map_err(|error| error.to_string())
}
