//! A user's own password: changed by anyone who knows the one that it was.

use std::net::IpAddr;

use shared_middleware::{error::FieldError, identity::Caller};

use super::App;
use crate::{
    account_limit::Attempt,
    domain::{OwnPassword, User},
    error::Error,
    password::Whose,
};

// === impl App ===

impl App {
    /// Sets the caller's password, and ends all of the caller's sign-ins, this one too: anyone who
    /// changes a password since somebody else knows it wants nobody to stay.
    ///
    /// A wrong current password counts as a failed sign-in: a stolen token is no way to guess
    /// passwords faster.
    pub(crate) async fn change_own_password(
        &self,
        caller: &Caller,
        change: OwnPassword,
        from: IpAddr,
    ) -> Result<(), Error> {
        let user = self.caller(caller).await?;
        let OwnPassword { current, new } = change;
        let new = new.of(&user.email).map_err(|message| invalid("newPassword", message))?;
        let (admitted, _) = self.admit(&Attempt::new(user.email.key(), from)).await?;
        let stored = self.store.user(user.id).await?.ok_or(Error::CallerGone)?;
        let hash = stored.password_hash;
        match self.passwords.verify(current.clone(), Some(hash.clone()), Whose::Known).await {
            Ok(false) => return Err(wrong_current()),
            right_or_unknown => {
                admitted.uncounted();
                right_or_unknown?;
            }
        }
        if new.is(&current) {
            return Err(invalid("newPassword", "must not be the current password"));
        }
        let new_hash = self.hash(&new).await?;
        let until_s = self.tokens_gone_s();
        if !self.store.replace_password(user.id, hash, new_hash, until_s).await? {
            // Somebody else has changed it since it was compared.
            return Err(wrong_current());
        }
        self.wake_feed();
        Ok(())
    }

    /// The user behind a token: a service account has no password.
    async fn caller(&self, caller: &Caller) -> Result<User, Error> {
        let id = caller.subject.parse().map_err(|_| Error::CallerGone)?;
        match self.user(id).await {
            Ok(user) if !user.disabled => Ok(user),
            Ok(_) => Err(Error::CallerGone),
            Err(Error::UserNotFound) => match self.service_account(id).await? {
                Some(_) => Err(Error::NoPassword),
                None => Err(Error::CallerGone),
            },
            Err(error) => Err(error),
        }
    }
}

/// Not 401, which would mean that the client is not signed in.
fn wrong_current() -> Error {
    invalid("currentPassword", "is wrong")
}

fn invalid(field: &'static str, message: &'static str) -> Error {
    Error::Invalid(vec![FieldError::new(field, message)])
}
