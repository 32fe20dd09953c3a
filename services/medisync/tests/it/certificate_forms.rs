//! Certificates that somebody might show: `tests/data/certificates.toml`, made for one mesh.

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    date_time_ymd,
};
use serde::Deserialize;

use crate::{
    certs::{Authority, Identity},
    test_mesh::TestMesh,
};

const FORMS: &str = include_str!("../data/certificates.toml");

/// What becomes of a certificate that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Expected {
    /// There is no connection.
    Refused,
    /// There is, and nothing that may be asked on it.
    Denied,
    Taken,
}

/// A certificate, made; none for anyone who shows none.
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) identity: Option<Identity>,
}

#[derive(Deserialize)]
struct Corpus {
    certificate: Vec<Form>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    name: String,
    #[serde(default = "right_uris")]
    uris: Vec<String>,
    #[serde(default = "mesh")]
    by: String,
    #[serde(default)]
    change: String,
    expected: Expected,
}

/// All of which this is expected, as this part's.
pub(crate) fn forms(world: &TestMesh, part: &str, expected: Expected) -> Vec<Shown> {
    let corpus: Corpus = toml::from_str(FORMS).unwrap();
    let forms = corpus.certificate.iter().filter(|form| form.expected == expected);
    let made: Vec<_> = forms.map(|form| form.make(world, part)).collect();
    assert!(!made.is_empty());
    made
}

fn right_uris() -> Vec<String> {
    vec!["spiffe://medisync/{part}".to_owned()]
}

fn mesh() -> String {
    "mesh".to_owned()
}

// === impl Form ===

impl Form {
    fn make(&self, world: &TestMesh, part: &str) -> Shown {
        let capitals = part.to_uppercase();
        let named = |uri: &String| uri.replace("{part}", part).replace("{PART}", &capitals);
        let uris: Vec<String> = self.uris.iter().map(named).collect();
        let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
        let issue = |by: Authority| Some(by.issue(part, &uris, |params| self.change(params)));
        let identity = match &*self.by {
            "mesh" => issue(Authority::of(world)),
            "nobody" => None,
            "impostor" => issue(Authority::impostor(world)),
            "stranger" => issue(Authority::stranger()),
            "itself" => Some(Authority::self_signed(part, &uris)),
            "part" => issue(Authority::by(&Identity::of(world, part))),
            "below" => {
                let below = Authority::of(world).issue(part, &[], |params| {
                    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                    params.key_usages.push(KeyUsagePurpose::KeyCertSign);
                });
                issue(Authority::by(&below))
            }
            "authority" => Some(Identity::of(world, "ca")),
            "revoked" => Some(revoked(world, part)),
            by => panic!("nobody is called {by}"),
        };
        Shown { name: self.name.clone(), identity }
    }

    fn change(&self, params: &mut CertificateParams) {
        match &*self.change {
            "" => {}
            "no names" => params.subject_alt_names.clear(),
            "an authority's" => params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)),
            "past" => params.not_after = date_time_ymd(2021, 1, 1),
            "early" => params.not_before = date_time_ymd(2098, 1, 1),
            "for servers" => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
            "for code" => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning],
            change => panic!("no change is called {change}"),
        }
    }
}

/// What a part had until a moment ago: it has another one by now.
fn revoked(world: &TestMesh, part: &str) -> Identity {
    let identity = Identity::of(world, part);
    world.command(&["pki", "revoke", part], "");
    world.command(&["pki", "issue", part], "");
    identity
}
