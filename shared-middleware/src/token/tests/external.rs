//! Tokens of other issuers: whose keys count for whom, and which role they give.

use super::*;
use crate::identity::Role;

const OTHERS: &str = "https://other.example";

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

#[test]
fn each_algorithm_is_accepted_by_a_key_for_it_and_by_no_other() {
    let signers = [Issuer::new("k1"), Issuer::rs256("k1"), Issuer::eddsa("k1")];
    let claims = their_claims(THEIRS);
    for trusted in &signers {
        let world = World::trusting([external(THEIRS, "role")]);
        world.publish(0, &[trusted]);
        let caller = world.verdict(&trusted.token(&claims)).unwrap();
        assert_eq!((caller.role, caller.session), (Role::Clinician, None));
        for signer in &signers {
            for named in ["ES256", "RS256", "EdDSA", "HS256", "PS256", "RS512", "ES384"] {
                let good = [signer.algorithm(), named] == [trusted.algorithm(); 2];
                let header = json!({"alg": named, "kid": "k1"}).to_string();
                let verdict = world.verdict(&signer.sign(&header, &claims.to_string()));
                let (by, key) = (signer.algorithm(), trusted.algorithm());
                assert_eq!(verdict.is_ok(), good, "{named} signed by {by}, key for {key}");
            }
        }
    }
}

#[test]
fn we_sign_by_es256_whatever_others_may() {
    let world = World::trusting([external(THEIRS, "role")]);
    let others = [Issuer::rs256("k1"), Issuer::eddsa("k1")];
    world.publish(0, &[&others[0], &others[1]]);
    for other in &others {
        assert_eq!(world.verdict(&other.token(&claims(NOW_S))), Err(TokenError::Forged));
    }
    assert!(KeySet::parse(&set_of(&[&others[0], &others[1]])).unwrap().is_empty());
}

#[test]
fn the_key_of_one_issuer_verifies_no_token_of_another() {
    let world = World::trusting([external(THEIRS, "role"), external(OTHERS, "role")]);
    // The same name of a key everywhere.
    let (theirs, others) = (Issuer::new("k1"), Issuer::eddsa("k1"));
    world.publish(0, &[&theirs]);
    world.publish(1, &[&others]);
    let signers = [&world.ours, &theirs, &others];
    let said = [claims(NOW_S), their_claims(THEIRS), their_claims(OTHERS)];
    for (n, signer) in signers.iter().enumerate() {
        for (m, claims) in said.iter().enumerate() {
            let verdict = world.verdict(&signer.token(claims));
            assert_eq!(verdict.is_ok(), n == m, "{} by {n}: {verdict:?}", claims["iss"]);
        }
    }
    // Nor does the audience of one count for another.
    let ours = with(their_claims(THEIRS), "aud", json!(super::super::AUDIENCE));
    assert_eq!(world.verdict(&theirs.token(&ours)), Err(TokenError::Forged));
    let unknown = their_claims("https://nobody.example");
    assert_eq!(world.verdict(&theirs.token(&unknown)), Err(TokenError::Forged));
}

#[test]
fn a_caller_of_another_issuer_is_taken_for_nobody_else() {
    let world = World::trusting([external(THEIRS, "role"), external(OTHERS, "role")]);
    let (theirs, others) = (Issuer::new("k1"), Issuer::new("k1"));
    world.publish(0, &[&theirs]);
    world.publish(1, &[&others]);
    let subject = |signer: &Issuer, claims: Value| {
        let caller = world.verdict(&signer.token(&with(claims, "sub", json!("u1")))).unwrap();
        caller.subject.to_string()
    };
    let ours = subject(&world.ours, claims(NOW_S));
    let named = [subject(&theirs, their_claims(THEIRS)), subject(&others, their_claims(OTHERS))];
    assert_eq!(ours, "u1");
    assert_eq!(named, [format!("{THEIRS}#u1"), format!("{OTHERS}#u1")]);
    for odd in [String::new(), "x".repeat(256), "a\nb".to_owned(), "\0".to_owned()] {
        let claims = with(their_claims(THEIRS), "sub", json!(odd));
        assert_eq!(world.verdict(&theirs.token(&claims)), Err(TokenError::Malformed), "{odd:?}");
    }
    let longest = with(their_claims(THEIRS), "sub", json!("x".repeat(255)));
    world.verdict(&theirs.token(&longest)).unwrap();
}

#[test]
fn the_role_is_the_only_one_of_ours_that_the_claim_names() {
    const PATH: &str = "realm_access.roles";
    let world = World::trusting([external(THEIRS, PATH)]);
    let signer = Issuer::new("k1");
    world.publish(0, &[&signer]);
    let role = |claims: Value| world.verdict(&signer.token(&claims)).map(|caller| caller.role);
    let nested =
        |roles: Value| role(with(their_claims(THEIRS), "realm_access", json!({"roles": roles})));
    assert_eq!(nested(json!(["offline_access", "AUDITOR", 7, null])), Ok(Role::Auditor));
    assert_eq!(nested(json!("BILLING")), Ok(Role::Billing));
    assert_eq!(nested(json!(["ADMIN", "ADMIN"])), Ok(Role::Admin));
    for none in [
        json!(["ADMIN", "AUDITOR"]),
        json!(["admin", " ADMIN", "ADMIN ", "ROLE_ADMIN"]),
        json!([["ADMIN"]]),
        json!([]),
        json!(""),
        json!("ADMIN AUDITOR"),
        json!(null),
        json!(1),
        json!({"ADMIN": true}),
    ] {
        assert_eq!(nested(none.clone()), Err(TokenError::NoRole), "{none}");
    }
    // What other claims say is nothing: the configured one counts.
    assert_eq!(role(their_claims(THEIRS)), Err(TokenError::NoRole));
    let flat = with(their_claims(THEIRS), "realm_access", json!("ADMIN"));
    assert_eq!(role(flat), Err(TokenError::NoRole));
    // A claim that is really called so comes before the path.
    let named = with(their_claims(THEIRS), PATH, json!(["RECEPTIONIST"]));
    assert_eq!(role(named), Ok(Role::Receptionist));
}

#[test]
fn keys_that_are_too_short_or_for_something_else_are_passed_over() {
    let world = World::trusting([external(THEIRS, "role")]);
    let issuer = &world.verifier.externals()[0];
    let rsa = Issuer::rs256("k1").jwk();
    let short = with(rsa.clone(), "n", json!(issuer::base64([0xff; 255])));
    let padded =
        with(rsa.clone(), "n", json!(issuer::base64([&[0; 8][..], &[0xff; 248]].concat())));
    let huge = with(rsa.clone(), "n", json!(issuer::base64([0xff; 1025])));
    let encryption = with(rsa.clone(), "use", json!("enc"));
    let other = with(rsa.clone(), "alg", json!("RS512"));
    let stump = with(Issuer::eddsa("k1").jwk(), "x", json!("AAAA"));
    let other_curve = with(Issuer::new("k1").jwk(), "crv", json!("P-384"));
    for jwk in [short, padded, huge, encryption, other, stump, other_curve, json!({"kty": "oct"})] {
        issuer.set_keys(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
        assert!(!issuer.is_ready(), "{jwk}");
    }
    issuer.set_keys(json!({"keys": [rsa]}).to_string().as_bytes()).unwrap();
    assert!(issuer.is_ready());
}

#[test]
fn before_its_keys_are_known_nothing_is_said_of_a_token_and_we_are_ready() {
    let world = World::trusting([external(THEIRS, "role")]);
    let token = Issuer::new("k1").token(&their_claims(THEIRS));
    assert_eq!(world.verdict(&token), Err(TokenError::NoKeys));
    assert!(world.verifier.is_ready());
    world.verdict(&world.ours.token(&claims(NOW_S))).unwrap();
}

#[test]
fn a_remembered_token_ends_when_its_issuer_withdraws_the_key_and_nobody_elses_does() {
    let world = World::trusting([external(THEIRS, "role"), external(OTHERS, "role")]);
    let (theirs, others, next) = (Issuer::new("k1"), Issuer::new("k1"), Issuer::new("k2"));
    world.publish(0, &[&theirs]);
    world.publish(1, &[&others]);
    let tokens = [theirs.token(&their_claims(THEIRS)), others.token(&their_claims(OTHERS))];
    tokens.iter().for_each(|token| drop(world.verdict(token).unwrap()));
    world.publish(0, &[&theirs, &next]);
    tokens.iter().for_each(|token| drop(world.verdict(token).unwrap()));
    world.verdict(&next.token(&their_claims(THEIRS))).unwrap();
    world.publish(0, &[&next]);
    assert_eq!(world.verdict(&tokens[0]), Err(TokenError::Forged));
    world.verdict(&tokens[1]).unwrap();
}
