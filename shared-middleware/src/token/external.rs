//! What a token of another issuer says: who it is, and which of our roles they have.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{
    TokenError,
    issuer::{ExternalIssuer, Times},
    numeric_date,
};
use crate::identity::{Caller, Role};

/// OpenID Connect Core 1.0, section 2: a subject is no longer.
const SUBJECT_BYTES_MAX: usize = 255;

/// The claims of another issuer's token. Those about issuer and audience are checked elsewhere.
#[derive(Deserialize)]
pub(super) struct ExternalClaims {
    sub: String,
    #[serde(deserialize_with = "numeric_date::required")]
    exp: i64,
    #[serde(default, deserialize_with = "numeric_date::optional")]
    iat: Option<i64>,
    #[serde(default, deserialize_with = "numeric_date::optional")]
    nbf: Option<i64>,
    #[serde(flatten)]
    rest: Members,
}

/// Claims by name, each of them once (RFC 7519, 4).
struct Members(Map<String, Value>);

// === impl ExternalClaims ===

impl ExternalClaims {
    /// Whom they name, as this issuer writes it.
    pub(super) fn read_as(self, issuer: &ExternalIssuer) -> Result<(Caller, Times), TokenError> {
        let fits = (1..=SUBJECT_BYTES_MAX).contains(&self.sub.len());
        if !fits || self.sub.chars().any(char::is_control) {
            return Err(TokenError::Malformed);
        }
        let role = self.rest.find(&issuer.role_claim).and_then(only_role);
        let caller = Caller {
            // Neither an issuer's name nor an id of ours has a `#`: nobody is taken for another.
            subject: format!("{}#{}", issuer.issuer, self.sub).into(),
            role: role.ok_or(TokenError::NoRole)?,
            // Sign-ins are ours; what another calls `sid` is not for us to end.
            session: None,
        };
        Ok((caller, Times { exp: self.exp, iat: self.iat, nbf: self.nbf }))
    }
}

// === impl Members ===

impl Members {
    /// The claim of this name; else the one at the end of the path that the name is.
    fn find(&self, name: &str) -> Option<&Value> {
        self.0.get(name).or_else(|| {
            let mut steps = name.split('.');
            let first = self.0.get(steps.next()?)?;
            steps.try_fold(first, |value, step| value.get(step))
        })
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Claims;

        impl<'de> Visitor<'de> for Claims {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("claims")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut claims: A) -> Result<Members, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = claims.next_entry()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a claim is there twice"));
                    }
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Claims)
    }
}

/// The role that a claim names: a text, or a list of texts with one of our roles among them. Two
/// of ours are none: whichever we took, somebody would expect the other.
fn only_role(claim: &Value) -> Option<Role> {
    let names = match claim {
        Value::String(_) => std::slice::from_ref(claim),
        Value::Array(names) => names,
        _ => return None,
    };
    let mut roles = names.iter().filter_map(|name| name.as_str()?.parse::<Role>().ok());
    let role = roles.next()?;
    roles.all(|other| other == role).then_some(role)
}
