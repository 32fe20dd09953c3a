//! The corpus of tokens: reads `corpora/tokens.jsonl`, and makes every token that it describes.
//!
//! The file says what each of its lines means. The verifier and the whole mesh are tested with it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;
use serde::Deserialize;
use serde_json::{Value, json};

use super::issuer::{Issuer, base64};

const CORPUS: &str = include_str!("../../corpora/tokens.jsonl");
/// Deeper than JSON is read, and short enough for a token that is read at all.
const DEPTH: usize = 1000;

/// One token, as it is described.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Form {
    /// What is odd about it.
    pub(crate) what: String,
    outcome: String,
    /// As a token of an external issuer, where that differs.
    external: Option<String>,
    #[serde(default)]
    header: Value,
    #[serde(default)]
    claims: Value,
    #[serde(default)]
    without: Vec<String>,
    #[serde(default)]
    by: String,
    signature: Option<String>,
    form: Option<String>,
}

/// Who takes part when tokens are made.
pub(crate) struct Cast<'a> {
    /// Whose key is trusted; it signs by ES256.
    pub(crate) trusted: &'a Issuer,
    /// What a good token of theirs says.
    pub(crate) claims: Value,
    /// Where somebody listens whom nobody should ask.
    pub(crate) url: &'a str,
    pub(crate) now_s: i64,
}

/// All of them, in the order of the file.
pub(crate) fn forms() -> Vec<Form> {
    let lines = CORPUS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

// === impl Form ===

impl Form {
    /// What becomes of it: `accepted`, or why it is refused.
    pub(crate) fn outcome(&self, cast: &Cast<'_>) -> &str {
        let external = cast.claims["iss"] != "medisync";
        self.external.as_deref().filter(|_| external).unwrap_or(&self.outcome)
    }

    /// The token.
    pub(crate) fn token(&self, cast: &Cast<'_>) -> String {
        let stranger = Issuer::new("k2");
        let header = self.part(&cast.trusted.header(), &self.header, &[], cast, &stranger);
        let claims = self.part(&cast.claims, &self.claims, &self.without, cast, &stranger);
        let signed = format!("{}.{}", base64(&header), base64(&claims));
        let token = match self.by.split_once(' ') {
            Some((algorithm, secret)) => {
                let key = hmac::Key::new(hash(algorithm), &secret_of(secret, cast.trusted));
                format!("{signed}.{}", base64(hmac::sign(&key, signed.as_bytes())))
            }
            None if self.by == "stranger" => stranger.sign(&header, &claims),
            None => cast.trusted.sign(&header, &claims),
        };
        let mut parts = token.split('.').map(str::to_owned);
        let [header, claims, signature] = [(); 3].map(|()| parts.next().unwrap());
        let signature = self.signature.clone().unwrap_or(signature);
        let Some(form) = &self.form else { return format!("{header}.{claims}.{signature}") };
        form.replace("{token}", &token)
            .replace("{header}", &header)
            .replace("{claims}", &claims)
            .replace("{lowered claims}", &claims.to_lowercase())
            .replace("{signature}", &signature)
            .replace(
                "{standard signature}",
                &format!("{}+/", &signature[..84.min(signature.len())]),
            )
            .replace("{signature twice encoded}", &STANDARD.encode(&signature))
            .replace("{1000}", &"x".repeat(1000))
    }

    /// A part before it is encoded: the usual one with these members, or a text.
    fn part(
        &self,
        usual: &Value,
        odd: &Value,
        without: &[String],
        cast: &Cast<'_>,
        stranger: &Issuer,
    ) -> String {
        let mut part = usual.as_object().unwrap().clone();
        part.retain(|name, _| !without.contains(name));
        match odd {
            Value::Object(members) => {
                for (name, value) in members {
                    part.insert(name.clone(), cast.value(value, stranger));
                }
            }
            Value::String(text) => {
                let members = Value::Object(part).to_string();
                let deep = "[".repeat(DEPTH) + &"]".repeat(DEPTH);
                let members = &members[1..members.len() - 1];
                return text.replace("@members", members).replace("@deep", &deep);
            }
            _ => {}
        }
        Value::Object(part).to_string()
    }
}

// === impl Cast ===

impl Cast<'_> {
    /// What a value of the file stands for.
    fn value(&self, value: &Value, stranger: &Issuer) -> Value {
        if let Value::Array(values) = value {
            return values.iter().map(|value| self.value(value, stranger)).collect();
        }
        let text = value.as_str().unwrap_or_default();
        let at = |offset: &str| self.now_s + offset.parse::<i64>().unwrap();
        match text {
            "@iss" => self.claims["iss"].clone(),
            "@aud" => self.claims["aud"].clone(),
            "@url" => json!(self.url),
            "@long" => json!("k".repeat(10 << 10)),
            "@stranger's jwk" => stranger.jwk(),
            "@stranger's key" => json!([STANDARD.encode(spki(stranger))]),
            _ => match (text.strip_prefix("@now"), text.strip_prefix("@text now")) {
                (Some(offset), _) => match offset.strip_suffix(".5") {
                    Some(offset) => Value::from(at(offset) as f64 + 0.5),
                    None => json!(at(offset)),
                },
                (_, Some(offset)) => json!(at(offset).to_string()),
                _ => value.clone(),
            },
        }
    }
}

fn hash(algorithm: &str) -> hmac::Algorithm {
    match algorithm {
        "HS384" => hmac::HMAC_SHA384,
        "HS512" => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    }
}

/// What is public of an issuer, in one of the ways in which it is written.
fn secret_of(name: &str, issuer: &Issuer) -> Vec<u8> {
    let der = spki(issuer);
    let lines = STANDARD.encode(&der);
    let (first, second) = lines.split_at(64);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{first}\n{second}\n-----END PUBLIC KEY-----\n");
    let jwk = issuer.jwk();
    match name {
        "PEM" => pem.into_bytes(),
        "PEM-without-newline" => pem.trim_end().into(),
        "PEM-body" => lines.into_bytes(),
        "DER" => der,
        "point" => issuer.public().to_vec(),
        "x" => jwk["x"].as_str().unwrap().into(),
        "kid" => jwk["kid"].as_str().unwrap().into(),
        "JWK" => jwk.to_string().into_bytes(),
        "nothing" => Vec::new(),
        _ => panic!("no such secret: {name}"),
    }
}

/// The public key as it stands in PEM files.
fn spki(issuer: &Issuer) -> Vec<u8> {
    // SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING }
    const BEGINS: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\
        \x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
    [BEGINS, issuer.public()].concat()
}
