//! `medisync healthcheck`: is the process ready?

use std::time::Duration;

use anyhow::{Context as _, bail};
use http::Uri;
use shared_middleware::client;

use crate::context::Context;

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

pub(crate) fn healthcheck(context: &Context, url: Option<&str>) -> anyhow::Result<()> {
    let url: Uri = match url {
        Some(url) => url.parse().with_context(|| format!("{url} is not a URL"))?,
        None => {
            let config = context.configuration(&[], false)?;
            format!("http://{}/readyz", config.admin_listen).parse()?
        }
    };
    if url.scheme_str() != Some("http") {
        bail!("{url} is not of the form http://host:port/path");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(ask(&url))
}

async fn ask(url: &Uri) -> anyhow::Result<()> {
    let path = url.path_and_query().map_or("/readyz", |path| path.as_str());
    match tokio::time::timeout(ANSWER_WITHIN, client::get_plain(url, path)).await {
        Ok(answer) => answer.map(drop).with_context(|| format!("{url} is not ready")),
        Err(_) => bail!("{url} did not answer in {} s", ANSWER_WITHIN.as_secs()),
    }
}
