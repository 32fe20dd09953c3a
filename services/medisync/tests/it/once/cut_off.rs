//! Whatever is killed at whatever moment can be begun again, and nothing that was acknowledged is
//! lost.
//!
//! A command is run once to its end; then again and again, each time killed (SIGKILL) after another
//! share of the time that it took, and what comes after has to work. `MEDISYNC_TEST_ROUNDS=1000`
//! kills each so often.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    before,
    environment::variables,
    processes::{PARTS, Process, issue_certificates, medisync},
    servers::{self, Servers},
};

/// Kills in a row, each on what the one before left, before a start has to come through.
const IN_A_ROW: u32 = 4;
const PASSWORD: &str = "violet tram 19 umbrella";

/// A data directory of its own.
struct Place {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

/// This many kills of each command: those given, unless more are asked for.
#[expect(clippy::disallowed_methods, reason = "tests have no settings")]
fn rounds(usual: u32) -> u32 {
    let asked = std::env::var("MEDISYNC_TEST_ROUNDS").ok();
    asked.map_or(usual, |asked| asked.parse().expect("MEDISYNC_TEST_ROUNDS is a number"))
}

/// Moments at which to kill what takes so long: from its beginning until after its end.
fn moments(takes: Duration, count: u32) -> impl Iterator<Item = Duration> {
    // Neighbours lie far apart, so that a few kills in a row are spread over all that is done.
    let stride = (1..count).rev().find(|n| n * 2 < count && gcd(*n, count) == 1).unwrap_or(1);
    (0..count).map(move |n| takes.mul_f64(f64::from((n * stride) % count + 1) / f64::from(count)))
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Returns after that time.
fn pass(time: Duration) {
    let (_held, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(time);
}

/// Starts a command and kills it at that moment; what it had printed.
fn cut_off(mut command: Command, at: Duration) -> String {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    give(&mut child);
    pass(at);
    let _ = child.kill();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

/// Runs a command to its end.
fn run(mut command: Command) -> Output {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    give(&mut child);
    child.wait_with_output().unwrap()
}

/// The password, for anyone who asks.
fn give(child: &mut std::process::Child) {
    use std::io::Write as _;
    let _ = writeln!(child.stdin.take().unwrap(), "{PASSWORD}");
}

#[track_caller]
fn works(output: Output) -> String {
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    String::from_utf8(output.stdout).unwrap()
}

/// Of a command that may have been done already: the refusal is one line.
#[track_caller]
fn works_or_says(output: &Output, already: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    let is_done = told.lines().count() == 1 && told.contains(already);
    assert!(output.status.success() || is_done, "{told}");
}

fn took(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

// === impl Place ===

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), environment: variables(&[], &[]) }
    }

    /// One with what a version before has written.
    fn before() -> Self {
        let place = Self::new();
        before::write(&place.data());
        place
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = medisync();
        command.args(arguments).arg("--data-dir").arg(self.data());
        let parts = PARTS.iter().chain(&["admin"]).map(|part| part.to_uppercase());
        let listen = parts.map(|part| (format!("MEDISYNC_{part}__LISTEN"), "127.0.0.1:0"));
        command.envs(listen).env("MEDISYNC_BILLING__GRPC_LISTEN", "127.0.0.1:0");
        command.envs(self.environment.iter().cloned());
        command
    }

    /// Starts parts, which have to become ready.
    fn start(&self, arguments: &[&str]) -> Process {
        let folder = self.folder.path();
        let mut process = Process::start(arguments, &self.data(), &self.environment, folder);
        process.ready(folder);
        process
    }

    fn verify(&self) {
        let told = works(run(self.command(&["audit", "verify"])));
        assert!(told.contains("intact") && !told.contains("BROKEN"), "{told}");
    }
}

/// Kills starts in a row in each of these places; in the end one comes through.
fn starts_come_through(
    arguments: &[&str],
    kills: u32,
    place: impl Fn() -> Place,
    of: impl Fn(&Place),
) {
    let undisturbed = place();
    let takes = took(|| drop(undisturbed.start(arguments)));
    let moments: Vec<_> = moments(takes, kills).collect();
    for in_a_row in moments.chunks(IN_A_ROW as usize) {
        let place = place();
        for at in in_a_row {
            cut_off(place.command(arguments), *at);
        }
        drop(place.start(arguments));
        of(&place);
    }
}

#[test]
fn a_first_start_that_was_killed_at_any_moment_is_begun_again() {
    starts_come_through(&["up"], rounds(16), Place::new, |place| {
        place.verify();
        let users = works(run(place.command(&["user", "list"])));
        assert!(users.contains("testuser@test.com"), "{users}");
    });
}

#[test]
fn a_first_start_of_a_newer_version_that_was_killed_loses_nothing() {
    starts_come_through(&["up"], rounds(12), Place::before, |place| {
        place.verify();
        before::check_files(&place.data());
    });
}

#[test]
fn a_part_that_was_killed_at_its_first_start_is_started_again() {
    let place = || {
        let place = Place::new();
        issue_certificates(&place.data());
        place
    };
    starts_come_through(&["run", "auth"], rounds(12), place, Place::verify);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_was_killed_while_it_made_or_migrated_its_database_is_started_again() {
    if !servers::are_asked_for() {
        return;
    }
    for has_been_used in [false, true] {
        let servers = Servers::prepare().await;
        let mut place = Place::new();
        place.environment = variables(&[], &servers.databases());
        issue_certificates(&place.data());
        if has_been_used {
            before::write_key(&place.data());
            before::load(&servers).await;
        }
        // With auth: a part that has not heard of it yet is not ready.
        let measured = Place::new();
        issue_certificates(&measured.data());
        let takes = took(|| drop(measured.start(&["run", "auth", "patient"])));
        for at in moments(takes * 2, rounds(6)) {
            cut_off(place.command(&["run", "auth", "patient"]), at);
        }
        drop(place.start(&["run", "auth", "patient"]));
        place.verify();
    }
}

#[test]
fn a_user_who_was_added_is_there_whenever_the_command_was_killed() {
    let undisturbed = Place::new();
    let add =
        |place: &Place, email: &str| place.command(&["user", "add", email, "--role", "ADMIN"]);
    let takes = took(|| drop(works(run(add(&undisturbed, "first@example.com")))));
    for (n, at) in moments(takes, rounds(12)).enumerate() {
        let place = Place::new();
        let email = format!("user.{n}@example.com");
        let told = cut_off(add(&place, &email), at);
        works_or_says(&run(add(&place, &email)), "email");
        works(run(add(&place, "second@example.com")));
        let users = works(run(place.command(&["user", "list"])));
        assert!(users.contains(&email) && users.contains("second@"), "{told} {users}");
        place.verify_auth();
    }
}

#[test]
fn an_authority_and_its_certificates_are_made_and_replaced_whenever_that_is_killed() {
    let pki = |place: &Place, arguments: &[&str]| {
        let mut all = vec!["pki"];
        all.extend(arguments);
        place.command(&all)
    };
    let undisturbed = Place::new();
    let takes = took(|| drop(works(run(pki(&undisturbed, &["init"])))));
    // A process that does so little may be slower now and then.
    for at in moments(takes * 2, rounds(8)) {
        let place = Place::new();
        cut_off(pki(&place, &["init"]), at);
        works(run(pki(&place, &["init"])));
        cut_off(pki(&place, &["issue", "auth"]), at);
        works(run(pki(&place, &["issue", "auth"])));
        cut_off(pki(&place, &["issue", "auth"]), at);
        for (step, already) in [("begin", "several"), ("switch", "finish"), ("finish", "nothing")] {
            cut_off(pki(&place, &["rotate-ca", step]), at);
            works_or_says(&run(pki(&place, &["rotate-ca", step])), already);
            if step == "switch" {
                cut_off(pki(&place, &["issue", "auth"]), at);
                works(run(pki(&place, &["issue", "auth"])));
            }
        }
        works(run(pki(&place, &["show"])));
        let left = fs::read_dir(place.data().join("pki")).unwrap();
        let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["auth.key", "auth.pem", "ca.key", "ca.pem"]);
        drop(place.start(&["run", "auth"]));
    }
}

#[test]
fn a_backup_and_a_restore_that_were_killed_are_made_again() {
    let place = Place::before();
    // As this version has it, and a folder for each of the rest.
    drop(place.start(&["up"]));
    let backup = |to: &Path| place.command(&["backup", to.to_str().unwrap()]);
    let whole = place.folder.path().join("whole");
    let takes = took(|| drop(works(run(backup(&whole)))));
    for (n, at) in moments(takes, rounds(10)).enumerate() {
        let to = place.folder.path().join(n.to_string());
        cut_off(backup(&to), at);
        works_or_says(&run(backup(&to)), "is not empty");
        assert!(to.join("backup.json").exists() && !to.with_extension("partial").exists());
    }

    let restore = |to: &Place| to.command(&["restore", whole.to_str().unwrap()]);
    let undisturbed = Place::new();
    let takes = took(|| drop(works(run(restore(&undisturbed)))));
    for at in moments(takes, rounds(12)) {
        let to = Place::new();
        cut_off(restore(&to), at);
        let listed = run(to.command(&["user", "list"]));
        let told = String::from_utf8_lossy(&listed.stderr).into_owned();
        // Nothing, a half, which nobody uses, or all.
        assert!(
            listed.status.success() || told.contains("restore") || told.contains("no store"),
            "{told}"
        );
        works_or_says(&run(restore(&to)), "is there already");
        to.verify();
        before::check_files(&to.data());
        assert!(!to.data().join("restore.unfinished").exists());
    }
}

impl Place {
    fn verify_auth(&self) {
        let told = works(run(self.command(&["audit", "verify", "auth"])));
        assert!(told.starts_with("auth: intact"), "{told}");
    }
}

/// What a version before committed first, and its row of the history afterwards, may have been cut
/// off between.
#[test]
fn a_store_that_an_earlier_version_left_without_a_row_of_its_history_is_mended() {
    for (store, history, version) in [
        ("auth", "refinery_schema_history", 3),
        ("patient", "refinery_schema_history", 1),
        ("analytics", "refinery_schema_history", 2),
        ("billing", "kit_schema_history", 3),
        ("events", "refinery_schema_history", 2),
    ] {
        let place = Place::before();
        before::forget(&place.data(), store, history, version);
        drop(place.start(&["up"]));
        place.verify();
        before::check_files(&place.data());
    }
    // Where a table is missing nobody can tell what else is: nothing is done, and one line says so.
    let place = Place::before();
    before::forget(&place.data(), "auth", "refinery_schema_history", 3);
    before::execute(&place.data(), "auth", "drop table audit_copy_patient");
    let refused = run(place.command(&["up"]));
    let told = String::from_utf8_lossy(&refused.stderr);
    let last = told.lines().last().unwrap();
    assert!(!refused.status.success() && last.contains("restore a backup"), "{told}");
    assert!(!told.contains("create table"), "{told}");
}
