//! `tokens.issuers`: others whose tokens are accepted beside ours.

use std::{collections::BTreeSet, path::PathBuf};

use http::Uri;
use serde::Deserialize;
use shared_middleware::{
    tls::certificates,
    token::{ExternalIssuer, ISSUER},
};

use super::{Sources, settings::TOKEN_ISSUERS, value_parsers::is_for_keys};

const ISSUERS_MAX: usize = 16;
/// Names of issuers, audiences and claims are no longer.
const NAME_BYTES_MAX: usize = 255;

/// One of them, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    issuer: String,
    audience: String,
    jwks_url: String,
    #[serde(default = "role")]
    role_claim: String,
    ca: Option<PathBuf>,
}

fn role() -> String {
    "role".to_owned()
}

/// Reads them; every fault of each is kept for the end.
pub(super) fn token_issuers(s: &mut Sources) -> Vec<ExternalIssuer> {
    let read = s.read(TOKEN_ISSUERS, |text| {
        let forms: Vec<Form> = serde_json::from_str(text)
            .map_err(|error| format!("must be a list of issuers: {error}"))?;
        let few = forms.len() <= ISSUERS_MAX;
        few.then_some(forms).ok_or_else(|| format!("there may be {ISSUERS_MAX} at most"))
    });
    let (mut issuers, mut names) = (Vec::new(), BTreeSet::new());
    for (form, n) in read.unwrap_or_default().into_iter().zip(1..) {
        if !names.insert(form.issuer.clone()) {
            s.fault(TOKEN_ISSUERS, format!("issuer {n}: is there twice"));
        }
        match form.understand() {
            Ok(issuer) => issuers.push(issuer),
            Err(faults) => {
                let told = |fault| s.fault(TOKEN_ISSUERS, format!("issuer {n}: {fault}"));
                faults.into_iter().for_each(told);
            }
        }
    }
    issuers
}

// === impl Form ===

impl Form {
    fn understand(self) -> Result<ExternalIssuer, Vec<String>> {
        let mut faults = Vec::new();
        let names = [
            ("issuer", &self.issuer),
            ("audience", &self.audience),
            ("role_claim", &self.role_claim),
        ];
        for (key, name) in names {
            let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
            if !fits || name.chars().any(char::is_control) {
                faults.push(format!("{key} must be a text of 1 to {NAME_BYTES_MAX} bytes"));
            }
        }
        // What follows `#` in a caller's name is the subject.
        if self.issuer == ISSUER || self.issuer.contains('#') {
            faults.push(format!("issuer must not be {ISSUER}, which is ourselves, nor hold a #"));
        }
        if let Some(Err(error)) = self.ca.as_deref().map(certificates) {
            faults.push(format!("ca: {error}"));
        }
        let url = jwks_url(&self.jwks_url).map_err(|form| faults.push(format!("jwks_url {form}")));
        match url {
            Ok(jwks_url) if faults.is_empty() => Ok(ExternalIssuer {
                issuer: self.issuer,
                audience: self.audience,
                jwks_url,
                ca: self.ca,
                role_claim: self.role_claim,
            }),
            _ => Err(faults),
        }
    }
}

fn jwks_url(text: &str) -> Result<Uri, &'static str> {
    let form = "must be an https URL, or http to a loopback address, without a user";
    let uri: Uri = text.parse().map_err(|_| form)?;
    let no_user = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if no_user && is_for_keys(&uri) { Ok(uri) } else { Err(form) }
}
