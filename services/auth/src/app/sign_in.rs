//! Login, refresh, logout: how a sign-in begins, goes on and ends.

use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use jiff::SignedDuration;
use kit::db::DbError;
use prometheus::IntCounterVec;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use shared_middleware::{
    audit,
    identity::{Caller, Role},
    metrics::counter,
    rate_limit::{Limiter, MonotonicClock, RateLimit},
    token::{AUDIENCE, Audience, Claims, ISSUER},
};
use uuid::Uuid;

use super::App;
use crate::{
    account_limit::Attempt,
    domain::{Login, ServiceAccount, User},
    error::Error,
    keys::Keys,
    password::Whose,
    refresh_token::RefreshToken,
    store::{NewSession, NewToken, Refreshed, Spending, StoredUser},
};

/// The verbs of sign-ins.
pub(crate) struct SignIn {
    pub(super) app: Arc<App>,
    pub(super) keys: Arc<Keys>,
    pub(super) refreshes: Arc<Limiter<Uuid>>,
}

/// So often a sign-in is refreshed at most: each time is a row and an entry of the audit log. A
/// client needs it every quarter of an hour, for each window that is open.
const REFRESHES: RateLimit = RateLimit::every(60, 60);
/// This many sign-ins are distinguished; the rest share one allowance.
const REFRESHED_TRACKED_MAX: usize = 100_000;

/// What a client gets for its password, or for its refresh token.
pub(crate) struct TokenPair {
    pub(crate) access: String,
    pub(crate) expires_in_s: i64,
    pub(crate) refresh: RefreshToken,
    pub(crate) role: Role,
}

/// What took the place of a spent refresh token, as it is sealed.
#[derive(Serialize, Deserialize)]
struct Successor {
    access: String,
    refresh: String,
    role: Role,
    expires_at_s: i64,
}

/// Whose token it is.
pub(crate) enum Who {
    User(User),
    Service(ServiceAccount),
}

static LOGINS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter("auth_logins_total", "Sign-ins by password, by how they ended.", &["outcome"])
});

// === impl SignIn ===

impl SignIn {
    pub(crate) fn new(app: Arc<App>, keys: Arc<Keys>) -> Self {
        for outcome in ["ok", "refused", "limited"] {
            // There from the start, so that a dashboard finds it.
            LOGINS.with_label_values(&[outcome]);
        }
        let limit = Limiter::new(REFRESHES, REFRESHED_TRACKED_MAX, MonotonicClock);
        Self { app, keys, refreshes: Arc::new(limit) }
    }

    /// Begins a sign-in. Anyone who is refused learns nothing of why, not even by the time it took.
    pub(crate) async fn login(&self, login: Login, from: IpAddr) -> Result<TokenPair, Error> {
        let attempt = Attempt::new(login.account(), from);
        let (admitted, whose) = self.app.admit(&attempt).await.inspect_err(|error| {
            if matches!(error, Error::TooManyAttempts { .. }) {
                LOGINS.with_label_values(&["limited"]).inc();
            }
        })?;
        let tried = self.try_twice(&login, &attempt, whose).await;
        match &tried {
            Ok(_) => LOGINS.with_label_values(&["ok"]).inc(),
            Err(Error::SignInRefused) => {
                LOGINS.with_label_values(&["refused"]).inc();
                // Dropped, the attempt has failed.
                return tried;
            }
            Err(_) => {}
        }
        admitted.uncounted();
        tried
    }

    /// Another login of the same user may renew the hash between ours being read and used.
    async fn try_twice(
        &self,
        login: &Login,
        attempt: &Attempt,
        whose: Whose,
    ) -> Result<TokenPair, Error> {
        const TRIES: u32 = 2;
        for _ in 0..TRIES {
            if let Some(pair) = self.try_login(login, attempt, whose).await? {
                return Ok(pair);
            }
        }
        Err(Error::SignInRefused)
    }

    async fn try_login(
        &self,
        login: &Login,
        attempt: &Attempt,
        whose: Whose,
    ) -> Result<Option<TokenPair>, Error> {
        let stored = match &login.email {
            Some(email) => self.app.store.user_by_email(email).await?,
            None => None,
        };
        let hash = stored.as_ref().map(|stored| stored.password_hash.clone());
        let right = self.app.passwords.verify(login.password.clone(), hash, whose).await?;
        match stored {
            Some(stored) if right && !stored.user.disabled => {
                self.begin(stored, login.password.clone(), attempt).await
            }
            other => {
                // The audit log knows whose password it was not, and the caller does not learn it.
                if let (Some(asked), Some(stored)) = (audit::current(), other) {
                    asked.by_user(stored.user.id, Some(stored.user.role));
                }
                Err(Error::SignInRefused)
            }
        }
    }

    /// Gives a new pair for a refresh token, and the same again for a moment: to another tab, or to
    /// a client that the answer did not reach. One that was spent before that ends the sign-in: of
    /// two who have it, one is not its owner.
    pub(crate) async fn refresh(&self, token: SecretString) -> Result<TokenPair, Error> {
        let old = RefreshToken::parse(token).ok_or(Error::RefreshRefused)?;
        let fresh = RefreshToken::random()?;
        let now_s = self.app.clock.unix_s();
        let spending = Spending {
            hash: old.hash(),
            new: self.to_store(&fresh),
            now: self.app.clock.now(),
            reuse: SignedDuration::from_secs(self.app.lifetimes.reuse_s),
            session_lives: SignedDuration::from_secs(self.app.lifetimes.session_s),
            until_s: self.app.tokens_gone_s(),
        };
        let limit = Arc::clone(&self.refreshes);
        let (keys, lives_s) = (Arc::clone(&self.keys), self.app.lifetimes.token_s);
        let seals = old.clone();
        let make = move |user_id, session, role| {
            let count = limit.check(&session);
            if !count.allowed {
                return Err(Error::TooManyRefreshes { retry_after_s: count.reset_s });
            }
            let access = sign(&keys, (user_id, role), session, now_s, lives_s)?;
            let refresh = fresh.expose().to_owned();
            let pair = Successor { access, refresh, role, expires_at_s: now_s + lives_s };
            seals.seal(serde_json::to_vec(&pair).expect("texts are JSON"))
        };
        match self.app.store.refresh(spending, make).await? {
            Refreshed::Done { successor } => self.succeeded(&old, &successor),
            Refreshed::Spent { session } => {
                tracing::warn!(session.id = %session, "refresh token reused, session ended");
                self.app.wake_feed();
                Err(Error::RefreshRefused)
            }
            Refreshed::Refused => Err(Error::RefreshRefused),
        }
    }

    fn succeeded(&self, old: &RefreshToken, sealed: &[u8]) -> Result<TokenPair, Error> {
        let odd = || Error::Store(DbError::Corrupt("a successor that its token does not open"));
        let opened = old.open(sealed).ok_or_else(odd)?;
        let pair: Successor = serde_json::from_slice(&opened).map_err(|_| odd())?;
        Ok(TokenPair {
            access: pair.access,
            expires_in_s: pair.expires_at_s - self.app.clock.unix_s(),
            refresh: RefreshToken::parse(pair.refresh.into()).ok_or_else(odd)?,
            role: pair.role,
        })
    }

    /// Ends the caller's sign-in. A token of none (without a `sid`: not we signed it) has nothing
    /// to end: it is valid until it expires, as its issuer wants it.
    pub(crate) async fn logout(&self, caller: &Caller) -> Result<(), Error> {
        let Some(session) = caller.session else { return Ok(()) };
        self.app.store.end_session(session, self.app.tokens_gone_s()).await?;
        self.app.wake_feed();
        Ok(())
    }

    /// Who the caller is now, user or program.
    pub(crate) async fn who(&self, caller: &Caller) -> Result<Who, Error> {
        match self.me(caller).await {
            Ok(user) => Ok(Who::User(user)),
            Err(Error::CallerGone) => {
                let id = caller.subject.parse().map_err(|_| Error::UserNotFound)?;
                let account = self.app.service_account(id).await?;
                account.map(Who::Service).ok_or(Error::CallerGone)
            }
            Err(error) => Err(error),
        }
    }

    /// Who the caller is now. Another issuer's users are not kept here, so there is none to show;
    /// their tokens are good all the same.
    pub(crate) async fn me(&self, caller: &Caller) -> Result<User, Error> {
        let id: Uuid = caller.subject.parse().map_err(|_| Error::UserNotFound)?;
        match self.app.user(id).await {
            Ok(user) if !user.disabled => Ok(user),
            Ok(_) | Err(Error::UserNotFound) => Err(Error::CallerGone),
            Err(error) => Err(error),
        }
    }

    /// `None` when the user was changed meanwhile.
    async fn begin(
        &self,
        stored: StoredUser,
        password: SecretString,
        attempt: &Attempt,
    ) -> Result<Option<TokenPair>, Error> {
        let StoredUser { user, password_hash } = stored;
        let outdated = self.app.passwords.is_outdated(&password_hash);
        let new_password_hash = match outdated {
            // A busy moment is no reason to refuse: another login renews it.
            true => self.app.passwords.hash(password, Whose::Known).await.ok(),
            false => None,
        };
        let (now, now_s) = (self.app.clock.now(), self.app.clock.unix_s());
        let (session, fresh) = (self.app.ids.next(), RefreshToken::random()?);
        let new = NewSession {
            id: session,
            user_id: user.id,
            password_hash,
            new_password_hash,
            place: attempt.place(),
            now,
            token: self.to_store(&fresh),
        };
        match self.app.store.begin_session(new).await? {
            Some(role) => self.pair(user.id, session, role, now_s, fresh).map(Some),
            None => Ok(None),
        }
    }

    fn to_store(&self, token: &RefreshToken) -> NewToken {
        let expires_at = self.app.clock.now() + self.app.lifetimes.refresh();
        NewToken { hash: token.hash(), expires_at }
    }

    fn pair(
        &self,
        user_id: Uuid,
        session: Uuid,
        role: Role,
        now_s: i64,
        refresh: RefreshToken,
    ) -> Result<TokenPair, Error> {
        let expires_in_s = self.app.lifetimes.token_s;
        let access = sign(&self.keys, (user_id, role), session, now_s, expires_in_s)?;
        Ok(TokenPair { access, expires_in_s, refresh, role })
    }

    /// What every token of ours says. It has ended when it begins: how long it lives is for the
    /// caller to say.
    pub(super) fn claims(subject: Uuid, role: Role, session: Uuid, now_s: i64) -> Claims {
        Claims {
            iss: ISSUER.to_owned(),
            aud: Audience::One(AUDIENCE.to_owned()),
            sub: subject.to_string(),
            role,
            sid: Some(session),
            exp: now_s,
            iat: Some(now_s),
            nbf: None,
        }
    }
}

fn sign(
    keys: &Keys,
    (user_id, role): (Uuid, Role),
    session: Uuid,
    now_s: i64,
    lives_s: i64,
) -> Result<String, Error> {
    let claims = SignIn::claims(user_id, role, session, now_s);
    Ok(keys.sign(&Claims { exp: now_s + lives_s, ..claims })?)
}
