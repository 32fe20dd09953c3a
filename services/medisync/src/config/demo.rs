//! Where the demo is on: everybody knows its users' password, so it is for this machine only.

use shared_middleware::identity::Part;

use super::{Config, parse::listen_key};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demo {
    Off,
    /// As long as nobody else reaches it.
    OnLoopback,
    Anywhere,
}

/// Whether it is on in a process that runs these parts.
///
/// # Errors
/// When others would reach it, and nobody has insisted.
pub(super) fn is_on(
    asked: Option<Demo>,
    config: &Config,
    parts: &[Part],
    up: bool,
) -> Result<bool, String> {
    let outside = outside(config, parts);
    match asked {
        Some(Demo::OnLoopback) if !outside.is_empty() => Err(format!(
            "is for this machine only, and {} can be reached from others: everybody knows the \
             password (anywhere insists)",
            outside.join(", ")
        )),
        Some(Demo::OnLoopback | Demo::Anywhere) => Ok(true),
        Some(Demo::Off) => Ok(false),
        None => Ok(up && config.is_embedded() && outside.is_empty()),
    }
}

/// The listeners of these parts that are not on loopback.
fn outside(config: &Config, parts: &[Part]) -> Vec<String> {
    let own = parts.iter().filter_map(|part| Some((listen_key(*part), *config.listen.get(part)?)));
    let grpc = parts.contains(&Part::Billing);
    let grpc = grpc.then_some(("billing.grpc_listen", config.billing_grpc_listen));
    own.chain(grpc)
        .filter(|(_, address)| !address.ip().is_loopback())
        .map(|(key, address)| format!("{key} = {address}"))
        .collect()
}
