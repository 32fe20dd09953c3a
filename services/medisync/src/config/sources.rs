//! Where settings come from: flags over environment over file over defaults.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt, fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use serde_json::json;

use super::{
    settings::{self, DERIVED, SETTINGS, TOKEN_ISSUERS},
    show,
    value_parsers::log_filter,
};

const PREFIX: &str = "MEDISYNC_";
/// Variables of tests; no settings.
const TEST_PREFIX: &str = "MEDISYNC_TEST_";
/// Variables that are not ours, and what they set.
const ECOSYSTEMS: [(&str, &str); 2] = [
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "traces.otlp_endpoint"),
    ("OTEL_TRACES_SAMPLER_ARG", "traces.sample_share"),
];
/// The log filter of programs in Rust. It is no setting: it cannot be in a file.
const LOG_VARIABLE: &str = "RUST_LOG";
/// The file itself can be named by the environment.
pub(crate) const FILE_VARIABLE: &str = "MEDISYNC_CONFIG";

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Environment,
    File,
    Default,
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The setting, file or variable.
    pub(crate) at: String,
    /// What is wrong; never the value of a secret.
    pub(crate) message: String,
}

/// All that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigErrors(Vec<Fault>);

/// All that was given, and what was wrong with it so far.
#[derive(Debug)]
pub(crate) struct Sources {
    values: BTreeMap<&'static str, (String, Origin)>,
    faults: Vec<Fault>,
    /// What is not as it should be, and no reason to do nothing.
    warning: Option<String>,
}

// === impl Origin ===

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

// === impl Fault ===

impl Fault {
    pub(crate) fn new(at: impl Into<String>, message: impl Into<String>) -> Self {
        Self { at: at.into(), message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.message)
    }
}

// === impl ConfigErrors ===

impl ConfigErrors {
    /// Whether nothing is wrong.
    pub(crate) const fn is_none(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not valid:")?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

// === impl Sources ===

impl Sources {
    /// Gathers settings: the stronger source wins.
    pub(crate) fn gather(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (impl Into<OsString>, impl Into<OsString>)>,
        flags: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        let mut sources = Self { values: BTreeMap::new(), faults: Vec::new(), warning: None };
        if let Some(file) = file {
            sources.read_file(file);
        }
        let variables = environment.into_iter();
        let environment: Vec<_> = variables
            .filter_map(|(name, value)| sources.text(&name.into(), &value.into()))
            .collect();
        for (name, value) in &environment {
            sources.read_ecosystems(name, value);
        }
        let filter = environment.iter().find(|(name, _)| name == LOG_VARIABLE).cloned();
        for (name, value) in environment {
            sources.read_variable(&name, value);
        }
        for (key, value) in flags {
            sources.set(key, value, Origin::Flag, key);
        }
        sources.check_log_variable(filter.map(|(_, filter)| filter).unwrap_or_default());
        sources
    }

    /// A setting's value and where it is from. `None` when it is left to be worked out.
    pub(crate) fn value(&self, key: &'static str) -> Option<(String, Origin)> {
        if let Some((value, origin)) = self.values.get(key) {
            return Some((value.clone(), origin.clone()));
        }
        let default = settings::find(key)?.default;
        if default == DERIVED {
            return None;
        }
        let data = self.values.get("data_dir").map_or("./data", |(value, _)| value);
        Some((default.replace("{data}", data), Origin::Default))
    }

    /// Reads a setting; what is wrong with it is kept for the end.
    pub(crate) fn read<T, E: fmt::Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let (text, _) = self.value(key)?;
        match parse(text.trim()) {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(key, error.to_string());
                None
            }
        }
    }

    /// Remembers something wrong.
    pub(crate) fn fault(&mut self, at: &str, message: impl Into<String>) {
        let at = match self.values.get(at) {
            Some((_, Origin::Environment)) => variable(at),
            _ => at.to_owned(),
        };
        self.faults.push(Fault::new(at, message));
    }

    /// All that was wrong.
    pub(crate) fn faults(&self) -> ConfigErrors {
        ConfigErrors(self.faults.clone())
    }

    /// What is not as it should be, and no reason to do nothing.
    pub(crate) fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// Variables that other programs use as well: ours take precedence. Empty is none.
    fn read_ecosystems(&mut self, name: &str, value: &str) {
        let known = ECOSYSTEMS.iter().find(|(known, _)| *known == name);
        if let Some((name, key)) = known.filter(|_| !value.is_empty()) {
            self.set(key, value.to_owned(), Origin::Environment, name);
        }
    }

    /// A variable as text. One that is ours and is none must not be passed over: somebody meant
    /// something by it.
    fn text(&mut self, name: &OsStr, value: &OsStr) -> Option<(String, String)> {
        if let (Some(name), Some(value)) = (name.to_str(), value.to_str()) {
            return Some((name.to_owned(), value.to_owned()));
        }
        let told = name.to_string_lossy();
        let heard = told.starts_with(PREFIX) && told != FILE_VARIABLE
            || told == LOG_VARIABLE
            || ECOSYSTEMS.iter().any(|(known, _)| told == *known);
        if heard {
            let part = if name.to_str().is_none() { "its name" } else { "its value" };
            let at = told.escape_debug().to_string();
            self.faults.push(Fault::new(at, format!("{part} is not UTF-8")));
        }
        None
    }

    /// It is ignored where a flag gives the log level; empty is none.
    fn check_log_variable(&mut self, filter: String) {
        let by_flag = matches!(self.values.get("log_level"), Some((_, Origin::Flag)));
        if !filter.is_empty()
            && !by_flag
            && let Err(error) = log_filter(&filter)
        {
            self.faults.push(Fault::new(LOG_VARIABLE, error));
        }
    }

    fn read_file(&mut self, path: &Path) {
        let at = path.display().to_string();
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.faults.push(Fault::new(at, error.to_string())),
        };
        match text.parse::<toml::Table>() {
            Ok(table) => {
                self.read_table(&at, "", table);
                self.check_readers(path, &at);
            }
            // The parser's text quotes the line, which may hold a password: only the place is told.
            Err(error) => {
                let line = error.span().map_or(0, |span| text[..span.start].lines().count());
                self.faults.push(Fault::new(at, format!("not TOML near line {line}")));
            }
        }
    }

    /// A file of ours that holds a secret is for nobody else. One that somebody else owns is as
    /// they mounted it: for a container, in which there is nobody else.
    fn check_readers(&mut self, path: &Path, at: &str) {
        let Ok(about) = fs::metadata(path) else { return };
        let ours = about.uid() == rustix::process::geteuid().as_raw();
        let mode = about.mode() & 0o777;
        let secret = self.values.iter().find(|(key, (value, origin))| {
            *origin == Origin::File && show::holds_secret(key, value)
        });
        if let (true, true, Some((key, _))) = (ours, mode & 0o044 != 0, secret) {
            self.warning = Some(format!(
                "others can read {at} (mode {mode:04o}), and {key} is a secret: make it 0600"
            ));
        }
    }

    fn read_table(&mut self, file: &str, prefix: &str, table: toml::Table) {
        for (name, value) in table {
            let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            let text = match value {
                toml::Value::Table(inner) => {
                    self.read_table(file, &key, inner);
                    continue;
                }
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Float(number) => number.to_string(),
                toml::Value::Boolean(truth) => truth.to_string(),
                toml::Value::Array(tables) if key == TOKEN_ISSUERS => json!(tables).to_string(),
                _ => {
                    let message = "must be a text, a number, true or false";
                    self.faults.push(Fault::new(format!("{file}: {key}"), message));
                    continue;
                }
            };
            self.set(&key, text, Origin::File, &format!("{file}: {key}"));
        }
    }

    fn read_variable(&mut self, name: &str, value: String) {
        let Some(rest) = name.strip_prefix(PREFIX) else { return };
        if name == FILE_VARIABLE || name.starts_with(TEST_PREFIX) || is_service_link(rest) {
            return;
        }
        let key = rest.to_lowercase().replace("__", ".");
        self.set(&key, value, Origin::Environment, name);
    }

    fn set(&mut self, key: &str, value: String, origin: Origin, at: &str) {
        match settings::find(key) {
            // An empty value is as good as none: what compose files write for "not set".
            Some(_) if value.trim().is_empty() => {}
            Some(setting) => {
                self.values.insert(setting.key, (value, origin));
            }
            None => {
                let near = nearest(key).map(|near| format!("; did you mean {near}?"));
                let message = format!("there is no such setting{}", near.unwrap_or_default());
                self.faults.push(Fault::new(at, message));
            }
        }
    }
}

/// What Kubernetes sets in every container for a Service that is named like us
/// (`MEDISYNC_SERVICE_HOST`, `MEDISYNC_GATEWAY_PORT_4004_TCP`, …): no setting of ours, all of which
/// have two underscores before such an ending.
fn is_service_link(rest: &str) -> bool {
    let rest = format!("_{rest}");
    let marks = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT_"];
    !rest.contains("__")
        && (marks.iter().any(|mark| rest.contains(mark)) || rest.ends_with("_PORT"))
}

/// A setting's name in the environment.
pub(crate) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// The setting whose name is written most alike, if one is at all.
fn nearest(key: &str) -> Option<&'static str> {
    const ALIKE: f64 = 0.75;
    let alike = |setting: &settings::Setting| strsim::normalized_levenshtein(key, setting.key);
    let best = SETTINGS.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)))?;
    (alike(best) >= ALIKE).then_some(best.key)
}
