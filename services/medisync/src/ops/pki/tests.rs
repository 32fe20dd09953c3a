//! What is renewed, revoked and replaced, on days of the tests' own.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use tempfile::TempDir;

use super::rotate::Step;

use super::{revoke::Revoked, *};

const NOW_S: i64 = 1_800_000_000;
const HOUR_S: i64 = 3600;

/// A folder with an authority, and a clock.
struct Here {
    pki: Pki,
    now_s: Arc<AtomicI64>,
    _folder: TempDir,
}

// === impl Here ===

impl Here {
    fn with(parts: &[Part]) -> Self {
        shared_middleware::token::install_crypto();
        let folder = tempfile::tempdir().unwrap();
        let now_s = Arc::new(AtomicI64::new(NOW_S));
        let read = Arc::clone(&now_s);
        let clock =
            Clock::from_fn(move || Timestamp::from_second(read.load(Ordering::SeqCst)).unwrap());
        let pki = Pki::new(folder.path().to_owned(), clock);
        pki.ensure(parts).unwrap();
        Self { pki, now_s, _folder: folder }
    }

    fn hours_later(&self, hours: i64) {
        self.now_s.fetch_add(hours * HOUR_S, Ordering::SeqCst);
    }

    fn leaf(&self, part: Part) -> Vec<u8> {
        self.pki.leaf(part).unwrap().to_vec()
    }

    fn trusted(&self) -> usize {
        tls::certificates(&self.pki.path("ca.pem")).unwrap().len()
    }
}

const BOTH: [Part; 2] = [Part::Billing, Part::Patient];

#[test]
fn what_was_revoked_is_not_renewed_by_itself() {
    let here = Here::with(&BOTH);
    let before = BOTH.map(|part| here.leaf(part));
    let revoked = here.pki.revoke(Part::Billing).unwrap();
    assert!(matches!(&revoked, Revoked::Now(serial) if serial.len() > 20));
    let Revoked::Now(serial) = revoked else { unreachable!() };
    assert_eq!(here.pki.revoke(Part::Billing).unwrap(), Revoked::Already(serial.clone()));
    here.hours_later(13);
    here.pki.ensure(&BOTH).unwrap();
    assert_eq!(here.leaf(Part::Billing), before[0]);
    assert_ne!(here.leaf(Part::Patient), before[1]);

    here.pki.issue(Part::Billing).unwrap();
    assert!(!here.pki.is_revoked(Part::Billing).unwrap());
    here.hours_later(13);
    let issued = here.leaf(Part::Billing);
    here.pki.ensure(&BOTH).unwrap();
    assert_ne!(here.leaf(Part::Billing), issued);
    // The list still names the first one, and the next.
    let Revoked::Now(next) = here.pki.revoke(Part::Billing).unwrap() else { panic!() };
    assert_eq!(here.pki.revoked().unwrap(), [serial, next]);
}

#[test]
fn what_is_not_valid_yet_is_renewed_as_what_runs_out() {
    let here = Here::with(&BOTH);
    let before = here.leaf(Part::Patient);
    // By an hour or two nothing has to be done.
    here.hours_later(-2);
    here.pki.ensure(&BOTH).unwrap();
    assert_eq!(here.leaf(Part::Patient), before);
    here.hours_later(-2);
    here.pki.ensure(&BOTH).unwrap();
    assert_ne!(here.leaf(Part::Patient), before);
    let valid = tls::validity_s(&here.pki.leaf_path(Part::Patient)).unwrap();
    assert!(valid.contains(&here.pki.clock.unix_s()), "{valid:?}");
}

#[test]
fn a_part_without_a_certificate_has_nothing_to_revoke() {
    let here = Here::with(&BOTH);
    assert!(here.pki.revoke(Part::Auth).is_err());
    assert!(!here.pki.path("crl.pem").exists());
}

#[test]
fn an_authority_is_replaced_in_three_steps_each_in_its_turn() {
    use Step::{Begin, Finish, Switch};
    let here = Here::with(&BOTH);
    let pki = &here.pki;
    let old = pki.authority("ca.key").unwrap();
    let before = BOTH.map(|part| here.leaf(part));
    assert!(pki.rotate(Switch).is_err());
    pki.rotate(Begin).unwrap();
    assert!(pki.rotate(Begin).is_err() && pki.rotate(Finish).is_err());
    assert_eq!((here.trusted(), pki.authority("ca.key").unwrap()), (2, old.clone()));
    pki.ensure(&BOTH).unwrap();
    assert_eq!(BOTH.map(|part| here.leaf(part)), before);
    pki.revoke(Part::Billing).unwrap();

    pki.rotate(Switch).unwrap();
    assert!(pki.rotate(Switch).is_err());
    assert_ne!(pki.authority("ca.key").unwrap(), old);
    // Each part is to have another certificate first, and one that is revoked by hand.
    assert!(pki.rotate(Finish).is_err());
    pki.ensure(&BOTH).unwrap();
    assert!(pki.is_of_issuer(Part::Patient).unwrap());
    assert!(pki.rotate(Finish).is_err());
    pki.issue(Part::Billing).unwrap();
    pki.revoke(Part::Billing).unwrap();
    assert_eq!(pki.revoked().unwrap().len(), 2);
    assert_eq!(tls::revocation_lists(&pki.path("crl.pem")).unwrap().len(), 2);
    pki.rotate(Finish).unwrap();
    assert_eq!(here.trusted(), 1);
    assert_ne!(pki.authority("ca.key").unwrap(), old);
}

#[test]
fn a_beginning_that_was_cut_short_is_made_again() {
    let here = Here::with(&BOTH);
    let pki = &here.pki;
    let (key, _) = pki.new_authority().unwrap();
    pki.write(&pki.folder().unwrap(), "ca.next.key", &key.serialize_pem()).unwrap();
    assert!(pki.rotate(Step::Switch).is_err());
    pki.rotate(Step::Begin).unwrap();
    pki.rotate(Step::Switch).unwrap();
}

#[test]
fn an_authority_that_was_cut_off_before_its_certificate_is_finished() {
    let here = Here::with(&[]);
    let pki = &here.pki;
    let key = fs::read(pki.path("ca.key")).unwrap();
    fs::remove_file(pki.path("ca.pem")).unwrap();
    fs::write(pki.path("ca.pem.77.tmp"), "half").unwrap();
    pki.ensure(&BOTH).unwrap();
    assert_eq!(fs::read(pki.path("ca.key")).unwrap(), key);
    assert!(pki.is_of_issuer(Part::Patient).unwrap());
    assert!(!pki.path("ca.pem.77.tmp").exists());
    // One that has issued is not made again: nobody may have removed it but by mistake.
    fs::remove_file(pki.path("ca.pem")).unwrap();
    assert!(pki.ensure(&BOTH).unwrap_err().to_string().contains("bring ca.pem"));
}

#[test]
fn an_authoritys_key_that_others_can_read_issues_nothing_unless_that_is_allowed() {
    let here = Here::with(&[Part::Billing]);
    let key = here.pki.path("ca.key");
    for mode in [0o644, 0o640, 0o604] {
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        let refused = format!("{:#}", here.pki.issue(Part::Billing).unwrap_err());
        let line = format!("ca.key is a secret that others can read (mode {mode:04o})");
        assert!(refused.contains(&line), "{refused}");
        assert!(here.pki.rotate(Step::Begin).is_err());
    }
    let (dir, clock) = (here.pki.dir.clone(), here.pki.clock.clone());
    let allowing = Pki { dir, clock, allow_readable_key: true };
    allowing.issue(Part::Billing).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    here.pki.issue(Part::Billing).unwrap();
}

#[test]
fn a_key_that_is_not_its_certificates_is_due_and_keeps_a_rotation_from_its_end() {
    let here = Here::with(&BOTH);
    let pki = &here.pki;
    let mismatch = || {
        let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        pki.write(&pki.folder().unwrap(), "billing.key", &other.serialize_pem()).unwrap();
        assert!(!pki.is_pair(Part::Billing));
    };
    mismatch();
    pki.ensure(&BOTH).unwrap();
    assert!(pki.is_pair(Part::Billing));
    pki.rotate(Step::Begin).unwrap();
    pki.rotate(Step::Switch).unwrap();
    pki.ensure(&BOTH).unwrap();
    mismatch();
    assert!(pki.rotate(Step::Finish).unwrap_err().to_string().contains("do not match"));
    pki.issue(Part::Billing).unwrap();
    pki.rotate(Step::Finish).unwrap();
    assert!(pki.rotate(Step::Finish).unwrap_err().to_string().contains("nothing to finish"));
}

#[test]
fn of_many_that_renew_at_once_one_does_and_the_pair_always_matches() {
    let here = Here::with(&BOTH);
    let pki = &here.pki;
    for _ in 0..8 {
        here.hours_later(13);
        let before = here.leaf(Part::Billing);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| pki.issue_due(&BOTH).unwrap());
                scope.spawn(|| pki.issue(Part::Patient).unwrap());
            }
        });
        assert_ne!(here.leaf(Part::Billing), before);
        for part in BOTH {
            assert!(pki.is_pair(part), "{part}");
            // The key's file has the pair whole.
            let both = fs::read_to_string(pki.path(&format!("{part}.key"))).unwrap();
            let certificate = fs::read_to_string(pki.leaf_path(part)).unwrap();
            assert!(both.ends_with(&certificate), "{part}");
        }
    }
}
