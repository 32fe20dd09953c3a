//! Every token of the corpus gets the verdict that the file says, of us and of an external issuer.

use std::collections::BTreeSet;

use super::{
    forms::{Cast, forms},
    *,
};

fn outcome(verdict: &Result<Caller, TokenError>) -> &'static str {
    match verdict {
        Ok(_) => "accepted",
        Err(TokenError::Malformed) => "malformed",
        Err(TokenError::Expired) => "expired",
        Err(TokenError::NotYet) => "not yet",
        Err(TokenError::Forged) => "forged",
        Err(TokenError::Revoked) => "revoked",
        Err(TokenError::NoRole) => "no role",
        Err(TokenError::NoKeys | TokenError::NoRevocations) => "no keys",
    }
}

#[test]
fn every_token_of_the_corpus_has_the_verdict_that_it_deserves() {
    let world = World::trusting([external(THEIRS, "role")]);
    world.publish(0, &[&world.ours]);
    let cast = |claims| Cast {
        trusted: &world.ours,
        claims,
        url: "http://127.0.0.1:1/jwks.json",
        now_s: NOW_S,
    };
    let (ours, theirs) = (cast(claims(NOW_S)), cast(their_claims(THEIRS)));
    let (mut names, mut wrong) = (BTreeSet::new(), Vec::new());
    for form in forms() {
        for cast in [&ours, &theirs] {
            let wanted = form.outcome(cast);
            let (found, iss) = (world.verdict(&form.token(cast)), &cast.claims["iss"]);
            if outcome(&found) != wanted {
                wrong.push(format!("{} of {iss}: {found:?}, not {wanted}", form.what));
            }
        }
        assert!(names.insert(form.what.clone()), "{} is there twice", form.what);
    }
    assert!(names.len() >= 250, "{}", names.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
