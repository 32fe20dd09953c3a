//! `medisync config show`: the configuration as it is in effect, as TOML, secrets masked.

use std::fmt::Write as _;

use super::{
    settings::{self, SETTINGS, Setting},
    sources::Sources,
};

/// The configuration as a file that would give the same.
pub(crate) fn show(sources: &Sources, with_origin: bool) -> String {
    let mut text = String::new();
    let mut sections: Vec<&str> = Vec::new();
    for section in SETTINGS.iter().map(|setting| split(setting).0) {
        if !sections.contains(&section) {
            sections.push(section);
        }
    }
    for section in sections {
        if !section.is_empty() {
            let _ = writeln!(text, "\n[{section}]");
        }
        for setting in SETTINGS.iter().filter(|setting| split(setting).0 == section) {
            let _ = write!(text, "# {}\n{}", setting.help, line(setting, sources));
            if with_origin {
                let origin = sources.value(setting.key).map(|(_, origin)| origin.to_string());
                let _ = write!(text, " # {}", origin.as_deref().unwrap_or("worked out"));
            }
            text.push('\n');
        }
    }
    text
}

/// Section and name.
fn split(setting: &Setting) -> (&'static str, &'static str) {
    setting.key.rsplit_once('.').unwrap_or(("", setting.key))
}

fn line(setting: &Setting, sources: &Sources) -> String {
    let (_, name) = split(setting);
    match sources.value(setting.key) {
        None => format!("# {name} ="),
        Some((value, _)) if is_key(setting) && !value.starts_with("file:") => {
            format!("{name} = {}", quoted("***"))
        }
        Some((value, _)) => format!("{name} = {}", quoted(&masked(&value))),
    }
}

/// Whether the value itself is a secret, unless it says where that is.
fn is_key(setting: &Setting) -> bool {
    setting.key == "audit.key"
}

/// Whether a setting's value is, or holds, a secret.
pub(super) fn holds_secret(key: &str, value: &str) -> bool {
    settings::find(key).is_some_and(|setting| is_key(setting) && !value.starts_with("file:"))
        || masked(value) != value
}

fn quoted(value: &str) -> String {
    toml::Value::String(value.to_owned()).to_string()
}

/// URLs without what they keep secret: a password before the host, and parameters that are named
/// like one. What is no URL is shown as it is.
fn masked(urls: &str) -> String {
    urls.split(',').map(masked_url).collect::<Vec<_>>().join(",")
}

fn masked_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (rest, None),
    };
    let place = match place.rsplit_once('@') {
        Some((user, host)) => format!("{}:***@{host}", user.split(':').next().unwrap_or_default()),
        None => place.to_owned(),
    };
    let parameter = |parameter: &str| match parameter.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}=***"),
        _ => parameter.to_owned(),
    };
    let query = query.map(|query| query.split('&').map(parameter).collect::<Vec<_>>().join("&"));
    format!("{scheme}://{place}{}", query.map(|query| format!("?{query}")).unwrap_or_default())
}

fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    ["pass", "secret", "token", "key"].iter().any(|mark| name.contains(mark))
}
