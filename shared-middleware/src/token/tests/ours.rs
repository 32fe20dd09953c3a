//! Our own tokens: what is remembered of them, and until when.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    super::{CacheOutcome, RevokedSession},
    *,
};

#[test]
fn our_token_is_accepted_and_remembered() {
    let world = World::new();
    let token = world.ours.token(&claims(NOW_S));
    let (first, outcome) = world.verifier.verify(&token);
    assert_eq!(outcome, CacheOutcome::Miss);
    let (second, outcome) = world.verifier.verify(&token);
    assert_eq!(outcome, CacheOutcome::Hit);
    assert_eq!(first, second);
    let caller = first.unwrap();
    assert_eq!((&*caller.subject, caller.role), ("somebody", crate::identity::Role::Clinician));
}

#[test]
fn a_remembered_token_ends_when_it_expires() {
    let world = World::new();
    let token = world.ours.token(&claims_with(NOW_S, "exp", json!(NOW_S + 900)));
    world.verdict(&token).unwrap();
    world.turn_to(NOW_S + 905);
    world.verdict(&token).unwrap();
    world.turn_to(NOW_S + 906);
    assert_eq!(world.verdict(&token), Err(TokenError::Expired));
}

#[test]
fn a_remembered_token_ends_when_its_session_is_revoked() {
    let world = World::new();
    let session = Uuid::from_u128(7);
    let token = world.ours.token(&claims_with(NOW_S, "sid", json!(session)));
    world.verdict(&token).unwrap();
    world.verifier.revoke(&[RevokedSession { session, until_s: NOW_S + 900 }], NOW_S);
    assert_eq!(world.verdict(&token), Err(TokenError::Revoked));
}

#[test]
fn before_the_feed_was_read_to_its_end_no_sign_in_is_known_to_go_on() {
    let World { ours, .. } = World::new();
    let clock = Clock::from_fn(|| Timestamp::from_second(NOW_S).unwrap());
    let verifier = Verifier::new(VerifierConfig::default(), clock);
    verifier.set_keys(KeySet::parse(&set_of(&[&ours])).unwrap());
    let session = Uuid::from_u128(7);
    let token = ours.token(&claims_with(NOW_S, "sid", json!(session)));
    assert!(!verifier.is_ready());
    assert_eq!(verifier.verify(&token).0, Err(TokenError::NoRevocations));
    // The first page of several.
    verifier.revoke(&[RevokedSession { session: Uuid::from_u128(1), until_s: NOW_S + 900 }], NOW_S);
    assert_eq!(verifier.verify(&token).0, Err(TokenError::NoRevocations));
    verifier.revoke(&[RevokedSession { session, until_s: NOW_S + 900 }], NOW_S);
    verifier.knows_revocations();
    assert!(verifier.is_ready());
    assert_eq!(verifier.verify(&token).0, Err(TokenError::Revoked));
    // What was never a sign-in of ours cannot have been ended.
    verifier.verify(&ours.token(&claims(NOW_S))).0.unwrap();
}

#[test]
fn a_remembered_token_ends_when_its_key_is_withdrawn() {
    let world = World::new();
    let token = world.ours.token(&claims(NOW_S));
    world.verdict(&token).unwrap();
    world.verifier.set_keys(KeySet::parse(&set_of(&[&Issuer::new("k2")])).unwrap());
    assert_eq!(world.verdict(&token), Err(TokenError::Forged));
}

#[test]
fn a_token_that_was_being_verified_when_its_key_was_withdrawn_is_verified_again() {
    let world = World::new();
    let token = world.ours.token(&claims(NOW_S));
    // As if another thread remembered it only now.
    let verified = world.verifier.verify_signature(&token).unwrap();
    world.verifier.set_keys(KeySet::parse(&set_of(&[&Issuer::new("k2")])).unwrap());
    world.verifier.remember(&token, verified);
    assert_eq!(world.verdict(&token), Err(TokenError::Forged));
}

#[test]
fn no_more_tokens_are_remembered_than_may_be() {
    let config = VerifierConfig { tokens_cached_max: 10, ..VerifierConfig::default() };
    let World { ours, .. } = World::new();
    let clock = Clock::from_fn(|| Timestamp::from_second(NOW_S).unwrap());
    let verifier = Verifier::new(config, clock);
    verifier.set_keys(KeySet::parse(&set_of(&[&ours])).unwrap());
    verifier.knows_revocations();
    for n in 0..100 {
        verifier.verify(&ours.token(&claims_with(NOW_S, "sub", json!(n.to_string())))).0.unwrap();
    }
    assert!((1..=10).contains(&verifier.remembered()), "{}", verifier.remembered());
}

#[test]
fn a_set_of_one_key_without_an_id_verifies_every_token_of_that_key() {
    let world = World::new();
    let signer = Issuer::new("k2");
    let mut jwk = signer.jwk();
    jwk.as_object_mut().unwrap().remove("kid");
    let keys = json!({"keys": [jwk]}).to_string();
    world.verifier.set_keys(KeySet::parse(keys.as_bytes()).unwrap());
    for header in [r#"{"alg":"ES256"}"#, r#"{"alg":"ES256","kid":"theirs"}"#] {
        world.verdict(&signer.sign(header, &claims(NOW_S).to_string())).unwrap();
    }
}

#[test]
fn a_set_without_a_key_of_ours_locks_nobody_out() {
    let world = World::new();
    let others = set_of(&[&Issuer::rs256("k1"), &Issuer::eddsa("k1")]);
    for set in [br#"{"keys": []}"#.as_slice(), &others] {
        world.verifier.set_keys(KeySet::parse(set).unwrap());
        world.verdict(&world.ours.token(&claims(NOW_S))).unwrap();
        assert!(world.verifier.is_ready());
    }
}

#[test]
fn times_at_their_bounds_are_accepted_and_beyond_them_refused() {
    let world = World::new();
    for (name, good, bad) in [
        ("exp", NOW_S - 5, NOW_S - 6),
        ("nbf", NOW_S + 5, NOW_S + 6),
        ("iat", NOW_S + 5, NOW_S + 6),
        ("exp", NOW_S + 86_405, NOW_S + 86_406),
    ] {
        world.verdict_with(name, json!(good)).unwrap();
        assert!(world.verdict_with(name, json!(bad)).is_err(), "{name}: {bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn one_flipped_bit_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..7) {
        let world = World::new();
        let token = world.ours.token(&claims(NOW_S));
        let mut bytes = token.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let changed = String::from_utf8(bytes).unwrap();
        // The last character of a part carries bits that base64 leaves unused.
        prop_assume!(!differs_in_padding_only(&token, &changed));
        prop_assert!(world.verdict(&changed).is_err());
    }

    #[test]
    fn no_text_makes_it_panic(text in ".*") {
        let world = World::new();
        prop_assert!(world.verdict(&text).is_err());
    }
}

fn differs_in_padding_only(a: &str, b: &str) -> bool {
    let decoded =
        |token: &str| token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part)).collect::<Vec<_>>();
    decoded(a) == decoded(b)
}
