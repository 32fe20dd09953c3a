//! Settings: every text is understood or refused, and what may hold a password is not quoted.

use std::net::SocketAddr;

use medisync::fuzzing;
use toml::Table;

/// Settings that may hold a password; of others the value may be quoted.
const HOLD_PASSWORDS: [&str; 5] = ["__DATABASE", "EVENTS__LOG", "__SMTP", "__JWKS", "AUDIT__KEY"];

/// The environment, one variable a line: `NAME=VALUE`. What is shown of it can be read as a file;
/// errors do not quote its URLs.
pub fn settings(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let lines = lines.filter(|(name, value)| !is_looked_up(name, value));
    let variables: Vec<_> = lines
        .map(|(name, value)| (format!("MEDISYNC_{}", name.trim()), value.to_owned()))
        .collect();
    let shown = fuzzing::shown(variables.clone());
    assert!(shown.parse::<Table>().is_ok(), "what is shown is no file");
    let Some(told) = fuzzing::errors(variables.clone()) else { return };
    for (name, value) in &variables {
        let secret = HOLD_PASSWORDS.iter().any(|ending| name.to_uppercase().ends_with(ending));
        let of_others = variables.iter().any(|(other, it)| other != name && it.contains(value));
        let url = secret
            && !of_others
            && value.len() >= 12
            && value.contains("://")
            && !name.contains(value);
        assert!(!url || !told.contains(value), "{value} is quoted: {told}");
    }
}

/// Names of machines are asked of the network.
fn is_looked_up(name: &str, value: &str) -> bool {
    name.to_lowercase().ends_with("listen") && value.trim().parse::<SocketAddr>().is_err()
}
