//! Tokens that are not what they say: forged in every way that is known.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::issuer::{Issuer, base64, claims, claims_with, now_s, with_secret};

/// Not signed, or by the wrong key, or with the public key as a secret.
pub(crate) fn by_signature(issuer: &Issuer) -> Vec<(String, String)> {
    let mut forged = Vec::new();
    let good = issuer.token(&claims());
    let parts: Vec<_> = good.split('.').collect();
    for alg in ["none", "None", "NONE", "nOnE", "", "ES256 ", "es256", "\u{0}"] {
        let header = base64(json!({"typ": "JWT", "alg": alg, "kid": "k1"}).to_string());
        for signature in ["", ".", ".AAAA", &format!(".{}", parts[2])] {
            let what = format!("alg {alg:?}, signature {signature:?}");
            forged.push((what, format!("{header}.{}{signature}", parts[1])));
        }
    }
    let der = issuer.spki();
    let lines = STANDARD.encode(&der);
    let (first, second) = lines.split_at(64);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{first}\n{second}\n-----END PUBLIC KEY-----\n");
    let jwk = issuer.jwk();
    let secrets: [&[u8]; 9] = [
        pem.as_bytes(),
        pem.trim_end().as_bytes(),
        lines.as_bytes(),
        &der,
        issuer.point(),
        jwk["x"].as_str().unwrap().as_bytes(),
        jwk["kid"].as_str().unwrap().as_bytes(),
        &jwk.to_string().into_bytes(),
        b"",
    ];
    for (n, secret) in secrets.iter().enumerate() {
        for alg in ["HS256", "HS384", "HS512", "ES256"] {
            let token = with_secret(alg, "k1", &claims(), secret);
            forged.push((format!("{alg} with public thing {n}"), token));
        }
    }
    let stranger = Issuer::new("k1");
    forged.push(("another key of the same name".to_owned(), stranger.token(&claims())));
    let signed = format!("{}.{}", parts[0], parts[1]);
    for (what, signature) in [
        ("nought", vec![0; 64]),
        ("ones", [[0; 31].as_slice(), &[1], &[0; 31], &[1]].concat()),
        ("all ones", vec![0xff; 64]),
        ("half", vec![1; 32]),
        ("too long", vec![1; 65]),
        ("DER", b"\x30\x06\x02\x01\x01\x02\x01\x01".to_vec()),
    ] {
        forged.push((format!("signature of {what}"), format!("{signed}.{}", base64(signature))));
    }
    forged
}

/// Signed by the right key, or by one that the header brings along.
pub(crate) fn by_header(issuer: &Issuer, url: &str) -> Vec<(String, String)> {
    let mut forged = Vec::new();
    let claims = claims().to_string();
    for alg in ["RS256", "PS256", "ES384", "EdDSA", "HS256", "ES256K", "RSA-OAEP", "dir"] {
        let header = json!({"typ": "JWT", "alg": alg, "kid": "k1"});
        forged.push((format!("alg {alg}"), issuer.sign(&header.to_string(), &claims)));
    }
    let long = "k".repeat(7 << 10);
    for kid in [
        json!("k2"),
        json!("K1"),
        json!("k1 "),
        json!("k1\u{0}"),
        json!(""),
        json!("\u{0}"),
        json!("../../../../dev/null"),
        json!("' OR 1=1--"),
        json!("k1' OR '1'='1"),
        json!("k1;k2"),
        json!("*"),
        json!(url),
        json!(long),
        json!(1),
        json!(["k1"]),
        json!({"k1": 1}),
    ] {
        let header = json!({"typ": "JWT", "alg": "ES256", "kid": kid}).to_string();
        let what = format!("kid {}", &kid.to_string()[..kid.to_string().len().min(40)]);
        forged.push((what, issuer.sign(&header, &claims)));
    }
    let stranger = Issuer::new("k2");
    for (name, value) in [
        ("jwk", stranger.jwk()),
        ("jku", json!(url)),
        ("x5u", json!(url)),
        ("x5c", json!([STANDARD.encode(stranger.spki())])),
    ] {
        for kid in [Some("k1"), Some("k2"), None] {
            let mut header = json!({"typ": "JWT", "alg": "ES256", name: value});
            if let Some(kid) = kid {
                header["kid"] = json!(kid);
            }
            let token = stranger.sign(&header.to_string(), &claims);
            forged.push((format!("{name} of a stranger, kid {kid:?}"), token));
        }
    }
    // RFC 7515, 4.1.11: what is critical and not understood makes a token invalid.
    for critical in ["exp", "b64", "http://example.com/UNDEFINED"] {
        let mut header = issuer.header();
        header["crit"] = json!([critical]);
        header[critical] = json!(false);
        forged.push((format!("crit {critical}"), issuer.sign(&header.to_string(), &claims)));
    }
    for header in ["", "{}", "[]", "null", "{\"alg\":\"ES256\"", "{\"kid\":\"k1\"}", "\"ES256\""] {
        forged.push((format!("header {header:?}"), issuer.sign(header, &claims)));
    }
    forged
}

/// Signed by the right key, and still not for us, or not now.
pub(crate) fn by_claims(issuer: &Issuer) -> Vec<(String, String)> {
    let now = now_s();
    let mut forged = Vec::new();
    for (name, value) in [
        ("exp", json!(now - 10)),
        ("exp", json!(0)),
        ("exp", json!(-1)),
        ("exp", json!(i64::MIN)),
        ("exp", json!(i64::MAX)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(1e308)),
        ("exp", json!((now + 600).to_string())),
        ("exp", json!(true)),
        ("exp", json!(null)),
        ("exp", json!([now + 600])),
        ("exp", json!(now + 90_000)),
        ("nbf", json!(now + 60)),
        ("nbf", json!(i64::MAX)),
        ("nbf", json!("soon")),
        ("iat", json!(now + 60)),
        ("iat", json!(i64::MAX)),
        ("iat", json!(-1)),
        ("iat", json!("now")),
        ("aud", json!("medisync")),
        ("aud", json!("medisync-api2")),
        ("aud", json!("MEDISYNC-API")),
        ("aud", json!("medisync-api ")),
        ("aud", json!("x medisync-api")),
        ("aud", json!("")),
        ("aud", json!([])),
        ("aud", json!([""])),
        ("aud", json!([["medisync-api"]])),
        ("aud", json!({"medisync-api": true})),
        ("aud", json!(null)),
        ("iss", json!("evil")),
        ("iss", json!("medisync/")),
        ("iss", json!("Medisync")),
        ("iss", json!("")),
        ("iss", json!(null)),
        ("iss", json!(["evil", "medisync"])),
        ("sub", json!(null)),
        ("sub", json!(1)),
        ("sub", json!(["somebody"])),
        ("role", json!("admin")),
        ("role", json!("ROOT")),
        ("role", json!("")),
        ("role", json!(null)),
        ("role", json!(["ADMIN"])),
        ("role", json!("ADMIN,CLINICIAN")),
        ("sid", json!("x")),
        ("sid", json!(1)),
    ] {
        forged.push((format!("{name} {value}"), issuer.token(&claims_with(name, value))));
    }
    for name in ["exp", "aud", "iss", "sub", "role"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        forged.push((format!("no {name}"), issuer.token(&claims)));
    }
    let header = issuer.header().to_string();
    let twice = claims().to_string().replacen('{', "{\"role\":\"AUDITOR\",", 1);
    for claims in ["", "{}", "[]", "null", "x", "\"medisync\"", "\u{feff}{}", &twice] {
        forged.push((format!("claims {claims:?}"), issuer.sign(&header, claims)));
    }
    forged
}

/// Right in all but its form.
pub(crate) fn by_form(issuer: &Issuer) -> Vec<(String, String)> {
    let good = issuer.token(&claims());
    let parts: Vec<_> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{good}") };
    let standard = |part: &str| part.replace('-', "+").replace('_', "/");
    let forms = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        format!("{header}.{claims}"),
        format!("{header}..{signature}"),
        format!(".{claims}.{signature}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{good}.{claims}.{signature}"),
        format!("{good}="),
        format!("{good}=="),
        format!("{good}A"),
        format!("{good} x"),
        format!("x {good}"),
        format!("{good},{good}"),
        format!("Bearer {good}"),
        format!("\"{good}\""),
        format!("{header}.{claims}.{signature}{signature}"),
        format!("{header}.{header}.{signature}"),
        format!("{claims}.{header}.{signature}"),
        format!("{header}.{}.{signature}", claims.to_lowercase()),
        format!("{header}.{claims}.{}+/", &standard(signature)[..84]),
        format!("{header}.{claims}.{}", STANDARD.encode(signature)),
        format!("{good}{}", "x".repeat(5000)),
        "x".repeat(12_000),
    ];
    forms.into_iter().map(|t| (format!("form {}", &t[..t.len().min(60)]), t)).collect()
}
