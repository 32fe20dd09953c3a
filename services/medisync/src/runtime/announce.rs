//! What `up` and `run` print when everything is ready: for people a line for each thing that they
//! need, for programs one line that begins with `ready`.

use std::{io, net::SocketAddr};

use shared_middleware::identity::Part;

use super::build_services::Addresses;
use crate::config::Config;

/// Prints it. The `ready` line is the last.
pub(super) fn announce(
    config: &Config,
    addresses: &Addresses,
    admin: SocketAddr,
) -> io::Result<()> {
    let urls = urls(config, addresses, admin);
    say!("MediSync {}", env!("CARGO_PKG_VERSION"))?;
    let data = config.data_dir.canonicalize().unwrap_or_else(|_| config.data_dir.clone());
    say!("data: {}", data.display())?;
    if config.demo {
        say!(
            "demo accounts are on: testuser@test.com / password123 \
             (MEDISYNC_DEMO=false turns them off)"
        )?;
    }
    for (name, url) in &urls {
        say!("{name}: {url}")?;
    }
    let all = urls.iter().map(|(name, url)| format!("{url} ({name})"));
    say!("ready {}", all.collect::<Vec<_>>().join(" "))
}

/// Names and URLs of this process's listeners, the gateway first.
fn urls(config: &Config, addresses: &Addresses, admin: SocketAddr) -> Vec<(String, String)> {
    let mut urls = Vec::new();
    let others = Part::ALL.into_iter().filter(|part| *part != Part::Gateway);
    for part in std::iter::once(Part::Gateway).chain(others) {
        let public = part == Part::Gateway && config.gateway.tls.is_some();
        let scheme = if public { "https" } else { "http" };
        let address = addresses.rest.get(&part);
        urls.extend(address.map(|at| (part.to_string(), format!("{scheme}://{at}"))));
    }
    let grpc = addresses.billing_grpc.map(|at| format!("https://{at}"));
    urls.extend(grpc.map(|url| ("billing gRPC".to_owned(), url)));
    urls.push(("admin".to_owned(), format!("http://{admin}")));
    urls
}
