//! Who is calling: parts by certificate, users by token.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::hex::push_hex;

/// What every SPIFFE id of the mesh begins with; the part's name follows.
pub const TRUST_DOMAIN: &str = "spiffe://medisync/";

/// A part of the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Part {
    Gateway,
    Auth,
    Patient,
    Billing,
    Analytics,
    Notification,
}

/// The other end of a connection, as named by its verified client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A part of this mesh.
    Part(Part),
    /// The certificate is of the mesh's authority, but names none of its parts.
    Unknown,
}

/// What a user may do; the permissions of each are in [`crate::permission`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Role {
    Admin,
    Clinician,
    Receptionist,
    Billing,
    Auditor,
}

/// The user behind a request, as named by a verified token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who it is: the user's id, or `issuer#subject` of a token that another issuer signed.
    pub subject: Arc<str>,
    /// The user's role when the token was made.
    pub role: Role,
    /// The sign-in that the token belongs to; tokens of other issuers may have none.
    pub session: Option<Uuid>,
}

impl Caller {
    /// Who it is, as the log calls them: the id of a user of ours; of another issuer's, whose
    /// subject may be an address, the issuer and a hash.
    pub fn log_id(&self) -> Cow<'_, str> {
        let Some((issuer, subject)) = self.subject.rsplit_once('#') else {
            return Cow::Borrowed(&self.subject);
        };
        let digest = ring::digest::digest(&ring::digest::SHA256, subject.as_bytes());
        let mut text = format!("{issuer}#");
        push_hex(&mut text, &digest.as_ref()[..8]);
        Cow::Owned(text)
    }
}

/// A name that stands for no part, or no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not one of {0}")]
pub struct UnknownName(&'static str);

// === impl Part ===

impl Part {
    /// Every part, in the order in which they start.
    pub const ALL: [Self; 6] = [
        Self::Auth,
        Self::Billing,
        Self::Patient,
        Self::Analytics,
        Self::Notification,
        Self::Gateway,
    ];

    /// Its name: in commands, variables, certificates, metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Auth => "auth",
            Self::Patient => "patient",
            Self::Billing => "billing",
            Self::Analytics => "analytics",
            Self::Notification => "notification",
        }
    }

    /// Its SPIFFE id, the one URI in its certificate.
    pub fn spiffe_id(self) -> String {
        format!("{TRUST_DOMAIN}{self}")
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Part {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|part| part.as_str() == name)
            .ok_or(UnknownName("gateway, auth, patient, billing, analytics, notification"))
    }
}

// === impl Peer ===

impl Peer {
    /// Whose certificate names this SPIFFE id. Only the whole id counts: no prefix, no suffix.
    pub fn from_spiffe_id(id: &str) -> Self {
        id.strip_prefix(TRUST_DOMAIN)
            .and_then(|name| name.parse().ok())
            .map_or(Self::Unknown, Self::Part)
    }

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Part(part) => part.as_str(),
            Self::Unknown => "stranger",
        }
    }
}

// === impl Role ===

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] =
        [Self::Admin, Self::Clinician, Self::Receptionist, Self::Billing, Self::Auditor];

    /// Its name: in tokens, requests and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "ADMIN",
            Self::Clinician => "CLINICIAN",
            Self::Receptionist => "RECEPTIONIST",
            Self::Billing => "BILLING",
            Self::Auditor => "AUDITOR",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == name)
            .ok_or(UnknownName("ADMIN, CLINICIAN, RECEPTIONIST, BILLING, AUDITOR"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spiffe_id_names_its_part_and_nothing_near_it_does() {
        for part in Part::ALL {
            assert_eq!(Peer::from_spiffe_id(&part.spiffe_id()), Peer::Part(part));
        }
        for id in [
            "spiffe://medisync/patient2",
            "spiffe://medisync/patient/",
            "spiffe://medisync/sa/patient",
            "spiffe://medisync.evil/patient",
            "spiffe://medisync/PATIENT",
            "spiffe://medisync/",
            "",
        ] {
            assert_eq!(Peer::from_spiffe_id(id), Peer::Unknown, "{id}");
        }
    }

    #[test]
    fn roles_are_read_back_from_their_names() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert!("admin".parse::<Role>().is_err());
    }
}
