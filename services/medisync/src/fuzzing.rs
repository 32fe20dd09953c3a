//! What `fuzz` calls: how settings are read, without a process.

use shared_middleware::identity::Part;

use crate::config::{Sources, read, show};

/// The configuration as `config show --origin` prints it, of these variables alone.
pub fn shown(variables: Vec<(String, String)>) -> String {
    show(&Sources::gather(None, variables, []), true)
}

/// What is wrong with these variables; none when they make a configuration of `up`.
pub fn errors(variables: Vec<(String, String)>) -> Option<String> {
    let read = read(Sources::gather(None, variables, []), &Part::ALL, true);
    read.err().map(|errors| errors.to_string())
}
