//! `medisync config show`: the configuration as it is in effect, as TOML, secrets masked.

use std::fmt::Write as _;

use super::{
    settings::{SETTINGS, Setting},
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
        Some((value, _)) if setting.secret => format!("{name} = {}", quoted(&masked(&value))),
        Some((value, _)) => format!("{name} = {}", quoted(&value)),
    }
}

fn quoted(value: &str) -> String {
    toml::Value::String(value.to_owned()).to_string()
}

/// A URL without its password; what is no URL with one is shown as it is.
fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let Some((credentials, host)) = rest.rsplit_once('@') else { return url.to_owned() };
    match credentials.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***@{host}"),
        None => url.to_owned(),
    }
}
