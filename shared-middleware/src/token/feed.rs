//! Keeps a verifier's keys and revocations up to date.
//!
//! Auth's feed is one long poll: the answer comes when a sign-in was ended or a key changed, so
//! that both reach every part within milliseconds and nobody asks once a request.
//!
//! A replica that hangs looks like one that has nothing to say. So a poll that is not answered at
//! once is sent to another replica too, and the first answer counts.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use http::Uri;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{KeySet, RevocationPage, Verifier, issuer::Issuer};
use crate::{
    back_off::BackOff, client, error::causes, external_http, identity::Part, tls::MeshTls,
};

/// How long auth may hold a poll before it answers that nothing happened.
pub const POLL_HELD_S_MAX: u64 = 5;

/// What is not answered after so long will not be: anyone who can hear of auth at all, by whichever
/// replica, has got a change by then.
pub const HEARD_WITHIN_S: u64 = POLL_HELD_S_MAX + 5;
const ANSWER_WITHIN: Duration = Duration::from_secs(HEARD_WITHIN_S);
/// A poll that is held longer is sent to another replica as well: a sign-out that the first one
/// cannot notify reaches us within this, and so within the second that is promised.
const ALSO_ASKED_AFTER: Duration = Duration::from_millis(500);
/// Silence for this long is logged.
const SILENT_AT_MOST: Duration = Duration::from_secs(30);
const BACK_OFF: BackOff = BackOff::new(Duration::from_millis(50), Duration::from_secs(2));
const FILE_LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
const URL_FETCHED_EVERY: Duration = Duration::from_secs(60);
const URL_FETCHED_AT_MOST_EVERY: Duration = Duration::from_secs(5);

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// Auth's own key set, by its feed.
    Auth,
    /// Somebody else's key set: fetched every minute, and when a token names an unknown key.
    Url(Uri),
    /// A file, read again when it changes.
    File(PathBuf),
}

/// What a feed needs.
#[derive(Clone, Debug)]
pub struct FeedConfig {
    /// Where keys come from.
    pub source: KeySource,
    /// Where auth is; several addresses are asked side by side.
    pub auth_urls: Vec<Uri>,
    /// As whom to call auth.
    pub tls: Arc<MeshTls>,
}

/// What went wrong with one attempt; the next one follows.
#[derive(Debug, thiserror::Error)]
pub(super) enum FeedError {
    #[error(transparent)]
    Client(#[from] client::ClientError),
    #[error(transparent)]
    Outside(#[from] external_http::ExternalFetchError),
    #[error("cannot read {1}")]
    File(#[source] std::io::Error, PathBuf),
    #[error("the answer is not what was expected")]
    Json(#[from] serde_json::Error),
    #[error("the answer took too long")]
    TooLate,
}

/// Follows keys and revocations for ever; the caller drops the future to stop.
pub async fn follow(config: FeedConfig, verifier: Arc<Verifier>) {
    match &config.source {
        KeySource::Auth => follow_auth(&config, &verifier, true).await,
        KeySource::Url(url) => {
            let keys = follow_url(&config, url, &verifier);
            tokio::join!(keys, follow_auth(&config, &verifier, false));
        }
        KeySource::File(path) => {
            tokio::join!(follow_file(path, &verifier), follow_auth(&config, &verifier, false));
        }
    }
}

/// How far we have come.
#[derive(Default)]
struct Place {
    position: i64,
    keys_version: String,
    /// The replica that answered last: asked first.
    replica: usize,
}

/// What a replica answered, with the keys if they are others than ours.
struct Answer {
    replica: usize,
    page: RevocationPage,
    keys: Option<KeySet>,
}

async fn follow_auth(config: &FeedConfig, verifier: &Verifier, with_keys: bool) {
    let mut place = Place::default();
    let mut back_off = BACK_OFF;
    let mut heard = Instant::now();
    let mut silent = false;
    loop {
        match ask(config, &place, with_keys).await {
            Ok(Answer { replica, page, keys }) => {
                if let Some(keys) = keys {
                    verifier.set_keys(keys);
                }
                verifier.revoke(&page.revoked, page.now_s);
                verifier.heard_of_auth(page.now_s);
                if !page.more {
                    verifier.knows_revocations();
                }
                heard = Instant::now();
                if std::mem::take(&mut silent) {
                    tracing::info!("revocation feed recovered");
                }
                place = Place { position: page.next, keys_version: page.keys_version, replica };
                back_off.reset();
            }
            Err(error) => {
                tracing::debug!(error = causes(&error), "auth's feed did not answer");
                if !silent && heard.elapsed() > SILENT_AT_MOST {
                    silent = true;
                    tracing::warn!(
                        error = causes(&error),
                        "revocation feed stale: sign-outs may be missed"
                    );
                }
                sleep(back_off.next_pause()).await;
            }
        }
    }
}

async fn ask(config: &FeedConfig, place: &Place, with_keys: bool) -> Result<Answer, FeedError> {
    let count = config.auth_urls.len();
    let replicas = (0..count).map(|n| (place.replica + n) % count);
    first_of(replicas, |replica| poll(config, place, with_keys, replica)).await
}

/// Asks one after the other, the next one whenever those before have not answered yet, or have
/// failed; the first answer counts. It fails when all have.
pub(super) async fn first_of<T, F>(
    mut replicas: impl ExactSizeIterator<Item = usize>,
    poll: impl Fn(usize) -> F,
) -> Result<T, FeedError>
where
    F: Future<Output = Result<T, FeedError>>,
{
    let mut asked: FuturesUnordered<F> = replicas.next().map(&poll).into_iter().collect();
    let mut failed = None;
    loop {
        tokio::select! {
            Some(outcome) = asked.next() => match outcome {
                Ok(answer) => return Ok(answer),
                Err(error) => failed = Some(error),
            },
            () = sleep(ALSO_ASKED_AFTER), if replicas.len() > 0 => {}
            else => return Err(failed.unwrap_or(FeedError::TooLate)),
        }
        asked.extend(replicas.next().map(&poll));
    }
}

async fn poll(
    config: &FeedConfig,
    place: &Place,
    with_keys: bool,
    replica: usize,
) -> Result<Answer, FeedError> {
    let (url, Place { position, keys_version, .. }) = (&config.auth_urls[replica], place);
    let path = format!("/.well-known/revocations?after={position}&keys={keys_version}");
    let page: RevocationPage = get_json(config, url, &path).await?;
    let keys = if with_keys && page.keys_version != *keys_version {
        Some(KeySet::parse(&get(config, url, "/.well-known/jwks.json").await?)?)
    } else {
        None
    };
    Ok(Answer { replica, page, keys })
}

async fn follow_url(config: &FeedConfig, url: &Uri, verifier: &Verifier) {
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    fetch_always(verifier.ours(), "medisync", || get(config, url, path)).await;
}

/// Fetches an issuer's key set every minute, and when a token names a key that is not in it; for
/// ever. When it cannot be had, the keys known so far stay.
pub(super) async fn fetch_always<F>(issuer: &Issuer, name: &str, fetch: impl Fn() -> F)
where
    F: Future<Output = Result<Vec<u8>, FeedError>>,
{
    let mut last = None;
    loop {
        let fetched = Instant::now();
        match timeout(ANSWER_WITHIN, fetch()).await.unwrap_or(Err(FeedError::TooLate)) {
            Ok(json) if last.as_ref() == Some(&json) => {}
            Ok(json) => match issuer.set_keys(&json) {
                Ok(()) => last = Some(json),
                Err(error) => cannot_fetch(name, &FeedError::Json(error)),
            },
            Err(error) => cannot_fetch(name, &error),
        }
        let _ = timeout(URL_FETCHED_EVERY, issuer.unknown_key()).await;
        sleep_until(fetched + URL_FETCHED_AT_MOST_EVERY).await;
    }
}

fn cannot_fetch(issuer: &str, error: &FeedError) {
    tracing::warn!(token.issuer = issuer, error = causes(error), "cannot fetch the key set");
}

async fn follow_file(path: &PathBuf, verifier: &Verifier) {
    let mut last = None;
    loop {
        let read = tokio::fs::read(path).await.map_err(|e| FeedError::File(e, path.clone()));
        match read.and_then(|json| Ok((KeySet::parse(&json)?, json))) {
            Ok((keys, json)) if last.as_ref() != Some(&json) => {
                verifier.set_keys(keys);
                last = Some(json);
            }
            Ok(_) => {}
            // What was read before stays in force: a half-written file locks nobody out.
            Err(error) => tracing::warn!(error = causes(&error), "cannot read the key set"),
        }
        sleep(FILE_LOOKED_AT_EVERY).await;
    }
}

async fn get(config: &FeedConfig, url: &Uri, path: &str) -> Result<Vec<u8>, FeedError> {
    let answer = client::get(url, path, Part::Auth, &config.tls);
    Ok(timeout(ANSWER_WITHIN, answer).await.map_err(|_| FeedError::TooLate)??)
}

async fn get_json<T: serde::de::DeserializeOwned>(
    config: &FeedConfig,
    url: &Uri,
    path: &str,
) -> Result<T, FeedError> {
    Ok(serde_json::from_slice(&get(config, url, path).await?)?)
}
