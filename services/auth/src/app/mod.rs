//! The verbs: of users (here) and their own passwords (`own_password`), of service accounts
//! (`service_accounts`), of sign-ins (`sign_in`), and the demo's users (`demo`).

mod demo;
mod own_password;
mod service_accounts;
mod sign_in;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use kit::task::Task;
use secrecy::SecretString;
use shared_middleware::{
    clock::{Clock, Ids},
    error::{FieldError, causes},
    identity::Role,
};
use tokio::time::sleep;
use uuid::Uuid;

pub use self::demo::{DEMO_EMAILS, DEMO_PASSWORD};
pub(crate) use self::{
    service_accounts::{ServiceToken, expiry},
    sign_in::{SignIn, TokenPair, Who},
};
use crate::{
    LEEWAY_S, TOKEN_TTL_S_MAX,
    account_limit::{AccountLimits, Admitted, Attempt},
    domain::{Change, Email, NewUser, Password, User},
    error::Error,
    feed::Feed,
    password::{Passwords, Whose},
    store::{
        KNOWN_PLACE_FOR, Place, Store,
        audit::{Copied, Wanted},
    },
};

/// How often what has expired is deleted.
const PURGED_EVERY: Duration = Duration::from_secs(60);
/// Users that the command line's list reads at once.
const LISTED_AT_ONCE: u32 = 200;

/// The verbs of users.
pub struct App {
    store: Store,
    passwords: Passwords,
    clock: Clock,
    ids: Ids,
    lifetimes: Lifetimes,
    limits: AccountLimits,
    /// None on the command line: a running service finds by itself what was written.
    feed: Option<Arc<Feed>>,
}

/// How long tokens live.
#[derive(Clone, Copy)]
pub(crate) struct Lifetimes {
    pub(crate) token_s: i64,
    pub(crate) refresh_s: i64,
    /// How long a sign-in lives, however often it is refreshed.
    pub(crate) session_s: i64,
    /// How long a spent refresh token gives what it gave before.
    pub(crate) reuse_s: i64,
}

// === impl App ===

impl App {
    pub(crate) fn new(
        store: Store,
        passwords: Passwords,
        clock: Clock,
        ids: Ids,
        lifetimes: Lifetimes,
    ) -> Self {
        let limits = AccountLimits::new(None);
        Self { store, passwords, clock, ids, lifetimes, limits, feed: None }
    }

    /// The same, which counts attempts to sign in.
    pub(crate) fn limited(self, limits: AccountLimits) -> Self {
        Self { limits, ..self }
    }

    /// The same, which wakes this feed when it has ended sign-ins.
    pub(crate) fn waking(self, feed: Arc<Feed>) -> Self {
        Self { feed: Some(feed), ..self }
    }

    /// Adds a user.
    pub async fn add_user(
        &self,
        email: &str,
        password: SecretString,
        role: Role,
    ) -> Result<User, Error> {
        let new = NewUser::parse(Some(email), Some(password), Some(role.as_str()));
        self.create(new.map_err(Error::Invalid)?).await
    }

    /// Sets the password of the user with this email, and ends the user's sign-ins.
    pub async fn set_password(&self, email: &str, password: SecretString) -> Result<User, Error> {
        let change = Change::parse(None, Some(password), None).map_err(Error::Invalid)?;
        self.change(self.find(email).await?.id, change).await
    }

    /// Refuses the user with this email from now on, and ends the user's sign-ins.
    pub async fn disable_user(&self, email: &str) -> Result<User, Error> {
        let change = Change { disabled: Some(true), ..Change::default() };
        self.change(self.find(email).await?.id, change).await
    }

    /// Whether this user may not sign in any more.
    pub async fn is_disabled(&self, email: &str) -> Result<bool, Error> {
        Ok(self.find(email).await?.disabled)
    }

    /// Every user, in the order in which they were added.
    pub async fn list_users(&self) -> Result<Vec<User>, Error> {
        let mut users: Vec<User> = Vec::new();
        loop {
            let after = users.last().map(|user| (user.created_at, user.id));
            let page = self.store.users(after, LISTED_AT_ONCE).await?;
            let more = page.len() >= LISTED_AT_ONCE as usize;
            users.extend(page);
            if !more {
                return Ok(users);
            }
        }
    }

    /// Some users after this place, and whether there are more.
    pub(crate) async fn page(
        &self,
        after: Option<Place>,
        size: u32,
    ) -> Result<(Vec<User>, bool), Error> {
        let mut users = self.store.users(after, size + 1).await?;
        let more = users.len() > size as usize;
        users.truncate(size as usize);
        Ok((users, more))
    }

    pub(crate) async fn user(&self, id: Uuid) -> Result<User, Error> {
        let stored = self.store.user(id).await?;
        stored.map(|stored| stored.user).ok_or(Error::UserNotFound)
    }

    pub(crate) async fn create(&self, new: NewUser) -> Result<User, Error> {
        let password_hash = self.hash(&new.password).await?;
        let user = self.made(new.email, new.role);
        self.store.add_user(user.clone(), password_hash).await?;
        Ok(user)
    }

    pub(crate) async fn change(&self, id: Uuid, mut change: Change) -> Result<User, Error> {
        let password_hash = match change.password.take() {
            None => None,
            Some(password) => {
                let password = password.of(&self.user(id).await?.email).map_err(refused)?;
                Some(self.hash(change.password.insert(password)).await?)
            }
        };
        let until_s = self.tokens_gone_s();
        let changed = self.store.change_user(id, change, password_hash, until_s).await?;
        if changed.ends_sessions {
            self.wake_feed();
        }
        Ok(changed.user)
    }

    pub(crate) async fn delete(&self, id: Uuid) -> Result<(), Error> {
        self.store.delete_user(id, self.tokens_gone_s()).await?;
        self.wake_feed();
        Ok(())
    }

    /// Lets an attempt to be this account's user begin, before anything is spent on it. Whether
    /// there is such an account makes no difference, also to what is asked of the store.
    async fn admit(&self, attempt: &Attempt) -> Result<(Admitted, Whose), Error> {
        let since = self.clock.now() - KNOWN_PLACE_FOR;
        let known = self.store.is_known_place(attempt.place(), since).await?;
        let whose = if known { Whose::Known } else { Whose::Unknown(attempt.from()) };
        Ok((self.limits.begin(attempt, known).await?, whose))
    }

    /// Whom the audit log names when this is what somebody calls them: a user by the address, or
    /// another issuer's user by the subject of their tokens.
    pub(crate) async fn actor_named(&self, text: String) -> Result<Option<String>, Error> {
        if let Ok(email) = Email::parse(&text)
            && let Some(stored) = self.store.user_by_email(&email).await?
        {
            return Ok(Some(stored.user.id.to_string()));
        }
        Ok(self.store.is_in_trail(text.clone()).await?.then_some(text))
    }

    /// Entries of all audit logs, newest first.
    pub(crate) async fn audit_entries(
        &self,
        wanted: Wanted,
        count: u32,
    ) -> Result<Vec<Copied>, Error> {
        Ok(self.store.audit_entries(wanted, count).await?)
    }

    async fn hash(&self, password: &Password) -> Result<String, Error> {
        Ok(self.passwords.hash(password.clone().into_secret(), Whose::Known).await?)
    }

    async fn find(&self, email: &str) -> Result<User, Error> {
        let email = Email::parse(email)
            .map_err(|message| Error::Invalid(vec![FieldError::new("email", message)]))?;
        let stored = self.store.user_by_email(&email).await?;
        stored.map(|stored| stored.user).ok_or(Error::UserNotFound)
    }

    fn made(&self, email: Email, role: Role) -> User {
        let (id, created_at) = (self.ids.next(), self.clock.now());
        User { id, email, role, disabled: false, created_at }
    }

    /// When every token that was signed until now has expired everywhere, also those from before
    /// `auth.token_ttl_seconds` was lowered.
    fn tokens_gone_s(&self) -> i64 {
        self.clock.unix_s() + TOKEN_TTL_S_MAX + LEEWAY_S
    }

    fn wake_feed(&self) {
        if let Some(feed) = &self.feed {
            feed.wake();
        }
    }
}

// === impl Lifetimes ===

impl Lifetimes {
    const fn refresh(self) -> SignedDuration {
        SignedDuration::from_secs(self.refresh_s)
    }
}

fn refused(message: &'static str) -> Error {
    Error::Invalid(vec![FieldError::new("password", message)])
}

/// Deletes what has expired, for as long as the service runs.
pub(crate) fn purge(store: Store, clock: Clock) -> Task {
    Task::new("auth-purge", move |stop| async move {
        loop {
            let wait = match store.purge(clock.now()).await {
                // A full bite: there may be more. Logins between the bites do not wait long.
                Ok(true) => Duration::from_millis(50),
                Ok(false) => PURGED_EVERY,
                Err(error) => {
                    tracing::warn!(
                        error = causes(&error),
                        "purge of expired rows failed, will retry"
                    );
                    PURGED_EVERY
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = stop.cancelled() => return,
            }
        }
    })
}
