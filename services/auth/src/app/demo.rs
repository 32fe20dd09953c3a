//! The demo's users: one of every role, all with one password that everybody may know.

use shared_middleware::identity::Role;
use tokio::task::JoinSet;

use super::App;
use crate::{
    domain::{Email, User},
    error::Error,
    password::{PasswordError, Whose},
};

/// The demo's users, in the order of [`Role::ALL`].
pub const DEMO_EMAILS: [&str; 5] = [
    "testuser@test.com",
    "clinician@test.com",
    "receptionist@test.com",
    "billing@test.com",
    "auditor@test.com",
];

/// Their password. The policy would refuse it, and production should be without: see
/// [`App::has_demo_users`].
pub const DEMO_PASSWORD: &str = "password123";

// === impl App ===

impl App {
    /// Adds each of the demo's users who is not there; returns how many. One who is there stays,
    /// whatever became of the password or the role.
    pub async fn ensure_demo_users(&self) -> Result<u64, Error> {
        let mut missing = Vec::new();
        for (email, role) in DEMO_EMAILS.into_iter().zip(Role::ALL) {
            let email = Email::parse(email).expect("the demo's emails are valid");
            if self.store.user_by_email(&email).await?.is_none() {
                missing.push(self.made(email, role));
            }
        }
        let mut hashing = JoinSet::new();
        for user in missing {
            let passwords = self.passwords.clone();
            hashing.spawn(async move {
                let hash = passwords.hash(DEMO_PASSWORD.into(), Whose::Known).await?;
                Ok::<(User, String), PasswordError>((user, hash))
            });
        }
        let hashed: Result<Vec<_>, _> = hashing.join_all().await.into_iter().collect();
        Ok(self.store.add_missing_demo_users(hashed?).await?)
    }

    /// Whether there are users of the demo who are not disabled: an operator should know.
    pub async fn has_demo_users(&self) -> Result<bool, Error> {
        Ok(self.store.has_demo_users().await?)
    }

    /// Deletes the demo's users, and ends their sign-ins; returns how many there were.
    pub async fn remove_demo_users(&self) -> Result<u64, Error> {
        Ok(self.store.delete_demo_users(self.tokens_gone_s()).await?)
    }

    /// Ends the sign-ins of the demo's users, as the demo is off.
    pub(crate) async fn end_demo(&self) -> Result<(), Error> {
        let ended = self.store.end_demo_sessions(self.tokens_gone_s()).await?;
        if ended > 0 {
            tracing::warn!(users = ended, "the demo is off: its users were signed out");
        }
        Ok(())
    }
}
