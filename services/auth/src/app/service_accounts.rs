//! Service accounts: made, listed, deleted; and their sign-ins, by key.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use kit::task::Task;
use secrecy::SecretString;
use shared_middleware::{error::causes, identity::Role, token::Claims};
use tokio::time::sleep;
use uuid::Uuid;

use super::{App, SignIn};
use crate::{
    LEEWAY_S,
    api_key::ApiKey,
    domain::{NewServiceAccount, ServiceAccount},
    error::Error,
    store::{NewServiceSession, Place},
};

/// How often keys that have expired are looked for.
const LOOKED_FOR_EVERY: Duration = Duration::from_millis(500);

/// What a program gets for its key.
pub(crate) struct ServiceToken {
    pub(crate) access: String,
    pub(crate) expires_in_s: i64,
    pub(crate) role: Role,
}

// === impl App ===

impl App {
    /// Adds a service account; its key is known to nobody but the caller.
    pub(crate) async fn create_service_account(
        &self,
        new: NewServiceAccount,
    ) -> Result<(ServiceAccount, ApiKey), Error> {
        let (id, created_at) = (self.ids.next(), self.clock.now());
        let key = ApiKey::random(id)?;
        let account = ServiceAccount {
            id,
            name: new.name,
            role: new.role,
            created_at,
            expires_at: created_at + new.valid_for,
            last_used_at: None,
        };
        self.store.add_service_account(account.clone(), key.hash().to_vec()).await?;
        Ok((account, key))
    }

    /// Some service accounts after this place, and whether there are more.
    pub(crate) async fn service_accounts(
        &self,
        after: Option<Place>,
        size: u32,
    ) -> Result<(Vec<ServiceAccount>, bool), Error> {
        let mut accounts = self.store.service_accounts(after, size + 1).await?;
        let more = accounts.len() > size as usize;
        accounts.truncate(size as usize);
        Ok((accounts, more))
    }

    /// One whose key has not expired.
    pub(crate) async fn service_account(&self, id: Uuid) -> Result<Option<ServiceAccount>, Error> {
        let stored = self.store.service_account(id).await?;
        let now = self.clock.now();
        Ok(stored.map(|stored| stored.account).filter(|account| account.expires_at > now))
    }

    /// Deletes a service account: its key and its tokens are refused from then on.
    pub(crate) async fn delete_service_account(&self, id: Uuid) -> Result<(), Error> {
        self.store.delete_service_account(id, self.tokens_gone_s()).await?;
        self.wake_feed();
        Ok(())
    }

    async fn end_expired(&self) -> Result<(), Error> {
        let (now, until_s) = (self.clock.now(), self.tokens_gone_s());
        if self.store.end_expired_service_sessions(now, until_s).await? {
            self.wake_feed();
        }
        Ok(())
    }
}

// === impl SignIn ===

impl SignIn {
    /// A token for a key: of a sign-in of its own, which is not refreshed. The key does that.
    pub(crate) async fn by_key(&self, key: SecretString) -> Result<ServiceToken, Error> {
        let key = ApiKey::parse(key).ok_or(Error::KeyRefused)?;
        let stored = self.app.store.service_account(key.account()).await?;
        // Without an account there is a comparison all the same.
        let kept = stored.map_or_else(|| vec![0; 32], |stored| stored.key_hash);
        if !key.has_hash(&kept) {
            return Err(Error::KeyRefused);
        }
        let (now, now_s) = (self.app.clock.now(), self.app.clock.unix_s());
        let longest_s = self.app.lifetimes.token_s;
        let session = self.app.ids.next();
        let new = NewServiceSession {
            id: session,
            account_id: key.account(),
            now,
            expires_at: now + SignedDuration::from_secs(longest_s + LEEWAY_S),
        };
        let account = self.app.store.begin_service_session(new).await?;
        let account = account.ok_or(Error::KeyRefused)?;
        // No token outlives its key.
        let expires_at_s = account.expires_at.as_second().min(now_s + longest_s);
        let access = self.keys.sign(&Claims {
            exp: expires_at_s,
            ..Self::claims(account.id, account.role, session, now_s)
        })?;
        Ok(ServiceToken { access, expires_in_s: expires_at_s - now_s, role: account.role })
    }
}

/// Ends the sign-ins of keys that expire, for as long as the service runs.
pub(crate) fn expiry(app: Arc<App>) -> Task {
    Task::new("auth-key-expiry", move |stop| async move {
        let mut failing = false;
        loop {
            let looked = app.end_expired().await;
            if let (Err(error), false) = (&looked, failing) {
                // Once, until it works again: it is tried twice a second.
                tracing::warn!(
                    error = causes(error),
                    "cannot revoke sessions of expired keys, will retry"
                );
            }
            failing = looked.is_err();
            tokio::select! {
                () = sleep(LOOKED_FOR_EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    })
}
