//! Users' tokens: JWTs (RFC 7519) signed by auth, or by others who are trusted; verified here by
//! the gateway and by every service alike.
//!
//! - `verifier` decides whether a token is good, and whose it is; it remembers those it has seen.
//! - `issuer` is one of those who sign: its keys, and how its tokens are read.
//! - `external` reads the claims of others, who have names of their own for what we call roles.
//! - `keys` reads a JSON Web Key Set (RFC 7517).
//! - `numeric_date` reads times, which may have a fraction.
//! - `revoked` knows the sign-ins that were ended before their tokens expired.
//! - `feed` keeps keys and revocations up to date, `external_feed` the keys of others.
//! - `ring_provider` does the cryptography.

mod external;
mod external_feed;
mod feed;
mod issuer;
mod keys;
mod numeric_date;
mod revoked;
mod ring_provider;
mod verifier;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::identity::Role;

pub use self::{
    external_feed::follow_externals,
    feed::{FeedConfig, HEARD_WITHIN_S, KeySource, POLL_HELD_S_MAX, follow},
    issuer::ExternalIssuer,
    keys::{Jwk, KeySet},
    revoked::{RevocationPage, RevokedSession},
    ring_provider::install as install_crypto,
    verifier::{CacheOutcome, TokenError, Verifier, VerifierConfig},
};

/// The issuer of our tokens: claim `iss`.
pub const ISSUER: &str = "medisync";
/// For whom our tokens are: claim `aud`.
pub const AUDIENCE: &str = "medisync-api";

/// What a token of ours says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// Who made it: [`ISSUER`].
    pub iss: String,
    /// For whom: [`AUDIENCE`].
    pub aud: Audience,
    /// The user's id.
    pub sub: String,
    /// The user's role.
    pub role: Role,
    /// The sign-in; what a logout revokes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<Uuid>,
    /// When it ends, in seconds since 1970.
    #[serde(deserialize_with = "numeric_date::required")]
    pub exp: i64,
    /// When it was made, in seconds since 1970.
    #[serde(
        default,
        deserialize_with = "numeric_date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub iat: Option<i64>,
    /// When it begins, in seconds since 1970.
    #[serde(
        default,
        deserialize_with = "numeric_date::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub nbf: Option<i64>,
}

/// `aud` is a text or a list of texts (RFC 7519, 4.1.3).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

// === impl Audience ===

impl Audience {
    /// Whether it names this recipient.
    pub fn names(&self, recipient: &str) -> bool {
        match self {
            Self::One(name) => name == recipient,
            Self::Many(names) => names.iter().any(|name| name == recipient),
        }
    }
}

#[cfg(test)]
mod tests;
