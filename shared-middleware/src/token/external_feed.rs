//! Keeps the keys of external issuers up to date.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{Verifier, feed::fetch_always, issuer::Issuer};
use crate::external_http;

/// No key set of anybody is as long.
const KEY_SET_BYTES_MAX: usize = 256 << 10;

/// Follows the keys of every external issuer for ever; the caller drops the future to stop.
pub async fn follow_externals(verifier: Arc<Verifier>) {
    join_all(verifier.externals().iter().map(follow_one)).await;
}

async fn follow_one(issuer: &Issuer) {
    let Some(about) = issuer.about() else { return };
    let fetch = || async {
        Ok(external_http::get(&about.jwks_url, about.ca.as_deref(), KEY_SET_BYTES_MAX).await?)
    };
    fetch_always(issuer, &about.issuer, fetch).await;
}
