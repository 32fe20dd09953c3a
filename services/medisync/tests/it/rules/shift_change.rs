//! A ward signs in from one address at the change of shift: anyone who knows the password gets in.

use futures_util::future::join_all;
use reqwest::StatusCode;

use crate::test_mesh::{ADMIN, AUDITOR, BILLING, CLINICIAN, RECEPTIONIST, TestMesh};

const LIMITS: [(&str, &str); 2] = [
    ("MEDISYNC_GATEWAY__RATE_LIMIT__LOGIN", "10/600s"),
    ("MEDISYNC_AUTH__RATE_LIMIT__ACCOUNT", "10/600s"),
];

#[tokio::test]
async fn right_sign_ins_from_one_address_are_not_limited_and_wrong_ones_are() {
    let world = TestMesh::start_with(&LIMITS).await;
    let nobody = world.anybody();
    // At once and one after the other; the same account again and again.
    let ward = [ADMIN, CLINICIAN, RECEPTIONIST, BILLING, AUDITOR];
    let at_once = (0..25).map(|n| nobody.log_in(ward[n % ward.len()], "password123"));
    for answer in join_all(at_once).await {
        answer.expect(StatusCode::OK);
    }
    for n in 0..10 {
        nobody.log_in(CLINICIAN, "a wrong password").await.refused(401, "unauthenticated");
        let right = nobody.log_in(RECEPTIONIST, "password123").await;
        match n {
            0..9 => drop(right.expect(StatusCode::OK)),
            // A right one in between gives no failure back.
            _ => drop(right.refused(429, "rate_limited")),
        }
    }
    let wrong = nobody.log_in(CLINICIAN, "a wrong password").await;
    assert!(wrong.header("retry-after").parse::<u32>().unwrap() <= 60);
    wrong.refused(429, "rate_limited");
}

#[tokio::test]
async fn many_guesses_at_once_are_no_more_than_one_after_the_other() {
    let world = TestMesh::start_with(&LIMITS).await;
    let nobody = world.anybody();
    let emails: Vec<_> = (0..40).map(|n| format!("nobody.{n}@test.com")).collect();
    let guesses = emails.iter().map(|email| nobody.log_in(email, "a wrong password"));
    let told: Vec<_> = join_all(guesses).await.into_iter().map(|answer| answer.status).collect();
    let looked_at = told.iter().filter(|status| **status == StatusCode::UNAUTHORIZED).count();
    assert_eq!(looked_at, 10, "{told:?}");
}
