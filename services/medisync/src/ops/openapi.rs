//! The parts' OpenAPI documents.

use shared_middleware::identity::Part;
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};

/// A part's document; the gateway's is all of them together, as they are reached through it.
pub(crate) fn document(part: Part) -> OpenApi {
    match part {
        Part::Gateway => together(),
        Part::Auth => auth::openapi(),
        Part::Patient => patient::openapi(),
        Part::Billing => billing::openapi(),
        Part::Analytics => analytics::openapi(),
        Part::Notification => notification::openapi(),
    }
}

pub(crate) fn print(part: Part) -> anyhow::Result<()> {
    say!("{}", document(part).to_pretty_json()?)?;
    Ok(())
}

fn together() -> OpenApi {
    let info = InfoBuilder::new()
        .title("MediSync")
        .description(Some("Every part, as it is reached through the gateway."))
        .version(env!("CARGO_PKG_VERSION"));
    let mut all = OpenApiBuilder::new().info(info).build();
    for part in Part::ALL.into_iter().filter(|part| *part != Part::Gateway) {
        let mut one = document(part);
        // Paths are relative to the document's server: a path of the gateway.
        let server = one.servers.take().and_then(|servers| servers.into_iter().next());
        let prefix = server.map(|server| server.url).unwrap_or_default();
        match prefix.trim_end_matches('/') {
            "" => all.merge(one),
            prefix => all = all.nest(prefix, one),
        }
    }
    all
}
