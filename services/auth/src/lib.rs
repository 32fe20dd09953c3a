//! The auth service: who may sign in, and whose token it is.
//!
//! A request passes through the modules in the order they are declared:
//!
//! - `api` decodes HTTP and encodes the answer. Only it knows a path or a status.
//! - `app` holds the verbs: of users and service accounts ([`App`]), and of sign-ins (login,
//!   refresh, logout, tokens by key).
//! - `domain` decides. It does no I/O and asks nobody for the time.
//! - `account_limit` counts attempts to sign in to one account.
//! - `password` computes argon2id, a few at once; `refresh_token` makes what refreshes a sign-in,
//!   `api_key` what a program signs in with, both from a `secret`.
//! - [`keys`] signs access tokens and publishes the public keys; `feed` informs every part of keys,
//!   and of sign-ins that were ended.
//! - `store` commits. Only it knows SQL.
//!
//! **A sign-in** (session) begins with a login and has one access token at a time, which lives for
//! `token_ttl_s`, and one refresh token, which works once and gives a new pair. Within
//! `refresh_reuse_s` it gives the same pair again: two tabs refresh at once, or an answer is lost.
//! A session ends when it was not refreshed for `refresh_ttl_s`, at a logout, when a spent refresh
//! token comes back later than that, or when its user is disabled, deleted, or gets another role or
//! password. However it is ended, a row in `revocations` commits with it, and every part learns of
//! it by the feed.
//!
//! A program signs in by its service account's key, as often as it needs a token: each is a
//! sign-in of its own that is not refreshed, and that ends when the account is deleted or its key
//! expires.
//!
//! **Invariant:** no password, refresh token or key leaves this crate, in a log, an error or a
//! `Debug` text; no email does except in an answer to who may see it.

mod api;

mod app;

mod domain;

mod account_limit;

mod api_key;
mod password;
mod refresh_token;
mod secret;

pub mod keys;

mod feed;

mod store;

mod error;

#[cfg(test)]
mod testing;

use std::{path::PathBuf, sync::Arc};

use kit::{
    audit::{AuditKey, AuditLog, replication::AuditReplica, verify::copies_task},
    db::DbConfig,
    page::Cursors,
    service::{Kit, MachineClock, Service},
};
use shared_middleware::{
    clock::Ids, error::FieldError, identity::Part, rate_limit::RateLimit, token::install_crypto,
};

use crate::{
    account_limit::AccountLimits,
    api::Api,
    app::{Lifetimes, SignIn},
    feed::Feed,
    keys::Keys,
    password::Passwords,
    store::{Store, audit::CopyKeeper},
};
pub use crate::{
    api::openapi,
    app::{App, DEMO_EMAILS, DEMO_PASSWORD},
    domain::{Email, User},
    error::Error,
    store::audit::copies as audit_copies,
};

/// How long a token may still be accepted after its end, since clocks differ: generous, as it only
/// bounds how long old keys and revocations are kept.
pub(crate) const LEEWAY_S: i64 = 60;

/// No access token lives longer. What was ended is remembered for so long, whatever the lifetime is
/// now.
pub const TOKEN_TTL_S_MAX: i64 = 3600;

/// A refresh token that comes back later than that was stolen, or its client is broken.
pub(crate) const REFRESH_REUSE_S_MAX: i64 = 60;

/// What OWASP asks of argon2id at least; a weaker configuration is refused.
const ARGON2_MEMORY_KIB_MIN: u32 = 19_456;
const ARGON2_PASSES_MIN: u32 = 2;

/// Every setting of this service.
#[derive(Clone)]
pub struct Config {
    /// The store.
    pub database: DbConfig,
    /// Where the signing keys lie.
    pub keys_dir: PathBuf,
    /// How long an access token lives.
    pub token_ttl_s: i64,
    /// How long a sign-in lives after it was last refreshed.
    pub refresh_ttl_s: i64,
    /// How long a sign-in lives, however often it is refreshed.
    pub session_ttl_s: i64,
    /// For so long after a refresh token was spent, anyone who has it gets the same pair.
    pub refresh_reuse_s: i64,
    /// Memory of one password hash.
    pub argon2_memory_kib: u32,
    /// Passes of one password hash.
    pub argon2_passes: u32,
    /// This many passwords are hashed at once: memory and processors are spent on no more.
    pub hashes_at_once_max: usize,
    /// Attempts to sign in to one account.
    pub account_limit: Option<RateLimit>,
    /// Whether the demo's users may sign in, and are shown.
    pub demo: bool,
}

/// Parts that have an audit log.
const WITH_TRAILS: [Part; 5] =
    [Part::Auth, Part::Patient, Part::Billing, Part::Analytics, Part::Notification];

/// The service, built.
pub struct Auth {
    /// What the binary serves.
    pub service: Service,
    /// The verbs of users, which the command line has too.
    pub app: Arc<App>,
    /// Who keeps copies of every part's audit log.
    pub copies: Arc<dyn AuditReplica>,
}

/// Builds the service; the binary decides where to serve it.
pub async fn build(config: Config, kit: &Kit) -> Result<Auth, Error> {
    config.check()?;
    let passwords = Passwords::new(&config)?;
    build_with(config, passwords, &kit.audit_key, &kit.machine_clock, kit.ids.clone()).await
}

/// Opens only what the verbs of users need: for the command line, beside a service that may run.
pub async fn open_app(
    config: Config,
    audit_key: &AuditKey,
    clock: &MachineClock,
    ids: Ids,
) -> Result<App, Error> {
    config.check()?;
    let store = config.store().await?;
    let clock = clock.of_store(store.db());
    AuditLog::open(Part::Auth, store.db().clone(), audit_key, clock.clone()).await?;
    Ok(App::new(store, Passwords::new(&config)?, clock, ids, config.lifetimes()))
}

async fn build_with(
    config: Config,
    passwords: Passwords,
    audit_key: &AuditKey,
    clock: &MachineClock,
    ids: Ids,
) -> Result<Auth, Error> {
    install_crypto();
    let lifetimes = config.lifetimes();
    let limits = AccountLimits::new(config.account_limit);
    let store = config.store().await?;
    let clock = clock.of_store(store.db());
    let audit_log =
        AuditLog::open(Part::Auth, store.db().clone(), audit_key, clock.clone()).await?;
    let keys = Keys::open(config.keys_dir.clone(), config.token_ttl_s, clock.clone()).await?;
    let keys = Arc::new(keys);
    let feed = Feed::open(store.clone(), Arc::clone(&keys), clock.clone()).await?;
    let feed = Arc::new(feed);
    let cursors = Arc::new(Cursors::open(store.db()).await?);

    let app = App::new(store.clone(), passwords, clock.clone(), ids, lifetimes);
    let app = Arc::new(app.limited(limits).waking(Arc::clone(&feed)));
    if !config.demo {
        app.end_demo().await?;
    }
    let sign_in = Arc::new(SignIn::new(Arc::clone(&app), Arc::clone(&keys)));

    let expiry = app::expiry(Arc::clone(&app));
    let verified = copies_task(store.db().clone(), audit_key.clone(), WITH_TRAILS.to_vec());
    let purge = app::purge(store.clone(), clock);
    let tasks = vec![Arc::clone(&feed).task(), expiry, purge, verified];
    let copies = Arc::new(CopyKeeper::new(store.clone(), audit_key.clone()));
    let api = Api {
        app: Arc::clone(&app),
        sign_in,
        keys,
        feed,
        cursors,
        audit_log: audit_log.clone(),
        copies: Arc::clone(&copies),
    };
    let service = Service {
        part: Part::Auth,
        rest: api::routes(api),
        grpc: None,
        rules: api::RULES,
        tasks,
        db: store.db().clone(),
        audit_log,
    };
    Ok(Auth { service, app, copies })
}

// === impl Config ===

impl Config {
    /// The usual numbers, with this store and this folder.
    pub const fn new(database: DbConfig, keys_dir: PathBuf) -> Self {
        Self {
            database,
            keys_dir,
            token_ttl_s: 900,
            refresh_ttl_s: 30 * 86_400,
            session_ttl_s: 90 * 86_400,
            refresh_reuse_s: 10,
            argon2_memory_kib: ARGON2_MEMORY_KIB_MIN,
            argon2_passes: ARGON2_PASSES_MIN,
            hashes_at_once_max: 2,
            account_limit: Some(RateLimit::every(10, 60)),
            demo: true,
        }
    }

    /// Every setting that cannot be used, and why.
    pub fn faults(&self) -> Vec<FieldError> {
        let bound = |name, message, held: bool| (!held).then(|| FieldError::new(name, message));
        let memory = ARGON2_MEMORY_KIB_MIN..=1 << 20;
        [
            bound(
                "token_ttl_s",
                "must be from 1 to 3600",
                (1..=TOKEN_TTL_S_MAX).contains(&self.token_ttl_s),
            ),
            bound(
                "refresh_ttl_s",
                "must be from token_ttl_s to 31536000",
                (self.token_ttl_s..=31_536_000).contains(&self.refresh_ttl_s),
            ),
            bound(
                "session_ttl_s",
                "must be from token_ttl_s to 31536000",
                (self.token_ttl_s..=31_536_000).contains(&self.session_ttl_s),
            ),
            bound(
                "refresh_reuse_s",
                "must be from 0 to 60",
                (0..=REFRESH_REUSE_S_MAX).contains(&self.refresh_reuse_s),
            ),
            bound(
                "argon2_memory_kib",
                "must be from 19456 to 1048576",
                memory.contains(&self.argon2_memory_kib),
            ),
            bound(
                "argon2_passes",
                "must be from 2 to 64",
                (ARGON2_PASSES_MIN..=64).contains(&self.argon2_passes),
            ),
            bound(
                "hashes_at_once_max",
                "must be from 1 to 64",
                (1..=64).contains(&self.hashes_at_once_max),
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn check(&self) -> Result<(), Error> {
        let faults = self.faults();
        if faults.is_empty() { Ok(()) } else { Err(Error::Config(faults)) }
    }

    async fn store(&self) -> Result<Store, Error> {
        let store = Store::open(&self.database).await?;
        Ok(if self.demo { store } else { store.without_demo() })
    }

    const fn lifetimes(&self) -> Lifetimes {
        Lifetimes {
            token_s: self.token_ttl_s,
            refresh_s: self.refresh_ttl_s,
            session_s: self.session_ttl_s,
            reuse_s: self.refresh_reuse_s,
        }
    }
}
