//! The command line: what is printed, what is refused, and with which code.

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    process::{Output, Stdio},
};

use serde_json::Value;

use crate::test_mesh::{TestMesh, medisync};

fn run(args: &[&str], environment: &[(&str, &str)]) -> Output {
    medisync().args(args).envs(environment.iter().copied()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn help_and_version_are_given_for_every_command() {
    let version = run(&["--version"], &[]);
    assert_eq!(stdout(&version).trim(), concat!("medisync ", env!("CARGO_PKG_VERSION")));
    let help = stdout(&run(&["help"], &[]));
    for command in [
        "up",
        "run",
        "pki",
        "user",
        "keys",
        "events",
        "backup",
        "restore",
        "config",
        "status",
        "healthcheck",
        "openapi",
        "completions",
    ] {
        assert!(help.contains(command), "{command}");
        let own = run(&[command, "--help"], &[]);
        assert!(own.status.success() && stdout(&own).contains("Usage:"), "{command}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&run(&["completions", shell], &[])).contains("medisync"));
    }
    assert_eq!(run(&["dance"], &[]).status.code(), Some(2));
}

#[test]
fn bad_configuration_exits_64_and_tells_every_fault() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("medisync.toml");
    fs::write(&file, "drain_seconds = -1\n[gateway]\nlisten = 'x'\n").unwrap();
    let args = ["up", "--config", file.to_str().unwrap(), "--log-format", "xml"];
    let environment = [
        ("MEDISYNC_DEMO", "perhaps"),
        ("MEDISYNC_NOPE", "1"),
        ("MEDISYNC_NOTIFICATION__FROM", "nobody"),
    ];
    let refused = run(&args, &environment);
    assert_eq!(refused.status.code(), Some(64));
    let told = stderr(&refused);
    let faults = ["drain_seconds", "gateway.listen", "log_format", "_DEMO", "_NOPE", "__FROM"];
    for part in faults {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(stdout(&refused).is_empty());
    let missing = run(&["up", "--config", "/nonexistent.toml"], &[]);
    assert_eq!(missing.status.code(), Some(64));
}

#[tokio::test]
async fn a_port_in_use_is_named_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for variable in ["GATEWAY__LISTEN", "PATIENT__LISTEN", "BILLING__GRPC_LISTEN", "ADMIN__LISTEN"]
    {
        let folder = tempfile::tempdir().unwrap();
        let mut command = medisync();
        command.args(["up", "--log-level", "error", "--data-dir"]).arg(folder.path());
        for part in ["GATEWAY", "AUTH", "PATIENT", "BILLING", "ANALYTICS", "NOTIFICATION", "ADMIN"]
        {
            command.env(format!("MEDISYNC_{part}__LISTEN"), "127.0.0.1:0");
        }
        command.env("MEDISYNC_BILLING__GRPC_LISTEN", "127.0.0.1:0");
        let refused = command.env(format!("MEDISYNC_{variable}"), &address).output().unwrap();
        let told = stderr(&refused);
        assert_eq!(refused.status.code(), Some(1), "{told}");
        assert!(told.contains(&address) && told.lines().count() == 1, "{variable}: {told}");
        assert!(!stdout(&refused).contains("ready"));
    }
}

#[test]
fn a_store_out_of_reach_is_named_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("not-a-folder"), "").unwrap();
    let store = format!("sqlite:{}/not-a-folder/auth.db", data.display());
    let mut command = medisync();
    command.args(["user", "list", "--data-dir"]).arg(&data);
    let refused = command.env("MEDISYNC_AUTH__DATABASE", &store).output().unwrap();
    let told = stderr(&refused);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("not-a-folder") && told.lines().count() == 1, "{told}");
}

#[test]
fn a_part_without_a_certificate_says_how_to_get_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let refused = run(&["run", "billing", "--data-dir", data], &[]);
    let told = stderr(&refused);
    assert_eq!(refused.status.code(), Some(1));
    assert!(told.contains("medisync pki issue billing") && told.lines().count() == 1, "{told}");
    assert_eq!(run(&["run", "kitchen"], &[]).status.code(), Some(2));
}

#[test]
fn the_authority_is_made_once_and_its_keys_are_private() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let args = |rest: &[&str]| {
        let mut args = vec!["--data-dir", data.to_str().unwrap(), "pki"];
        args.extend_from_slice(rest);
        run(&args, &[])
    };
    let early = args(&["issue", "patient"]);
    assert!(stderr(&early).contains("medisync pki init"), "{}", stderr(&early));
    assert!(args(&["init"]).status.success());
    let authority = fs::read(data.join("pki/ca.pem")).unwrap();
    assert!(args(&["init"]).status.success());
    assert_eq!(fs::read(data.join("pki/ca.pem")).unwrap(), authority);
    assert!(args(&["issue", "patient"]).status.success());
    assert!(args(&["revoke", "patient"]).status.success());
    let again = args(&["revoke", "patient"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("is revoked already"), "{}", stderr(&again));
    // An authority whose key is kept elsewhere is not replaced.
    let (key, elsewhere) = (data.join("pki/ca.key"), data.join("elsewhere.key"));
    fs::rename(&key, &elsewhere).unwrap();
    assert_eq!(args(&["init"]).status.code(), Some(1));
    assert_eq!(args(&["issue", "patient"]).status.code(), Some(1));
    assert_eq!(fs::read(data.join("pki/ca.pem")).unwrap(), authority);
    fs::rename(&elsewhere, &key).unwrap();
    let shown = stdout(&args(&["show"]));
    assert!(shown.contains("spiffe://medisync/patient") && shown.contains("not issued"), "{shown}");
    for key in ["ca.key", "patient.key"] {
        let mode = fs::metadata(data.join("pki").join(key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
}

#[test]
fn users_are_managed_from_the_shell() {
    let folder = tempfile::tempdir().unwrap();
    let with_input = |args: &[&str], input: &str| {
        let mut command = medisync();
        command.arg("user").args(args).arg("--data-dir").arg(folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let admin = ["add", "first.admin@example.com", "--role", "ADMIN"];
    let short = with_input(&admin, "short\n");
    assert_eq!(short.status.code(), Some(1));
    assert!(stderr(&short).contains("password"), "{}", stderr(&short));
    let added = with_input(&admin, "a long enough passphrase\n");
    assert!(added.status.success(), "{}", stderr(&added));
    assert!(!with_input(&admin, "a long enough passphrase\n").status.success());
    let passwd = with_input(&["passwd", "first.admin@example.com"], "another long passphrase\n");
    assert!(passwd.status.success(), "{}", stderr(&passwd));
    let listed = stdout(&with_input(&["list"], ""));
    assert!(listed.contains("first.admin@example.com") && listed.contains("ADMIN"), "{listed}");
    assert!(!with_input(&["disable", "nobody@example.com"], "").status.success());
    let second = ["add", "second.admin@example.com", "--role", "ADMIN"];
    assert!(with_input(&second, "a long enough passphrase\n").status.success());
    let disable = || with_input(&["disable", "second.admin@example.com"], "");
    assert!(disable().status.success());
    let again = disable();
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("is disabled already"), "{}", stderr(&again));
}

#[test]
fn the_configuration_is_shown_with_its_origins_and_without_secrets() {
    let environment = [
        ("MEDISYNC_PATIENT__DATABASE", "postgres://u:hunter2@db/patient"),
        ("MEDISYNC_DRAIN_SECONDS", "3"),
    ];
    let shown = run(&["config", "show", "--origin"], &environment);
    let shown = stdout(&shown);
    assert!(shown.contains("postgres://u:***@db/patient") && !shown.contains("hunter2"));
    assert!(shown.contains("drain_seconds = \"3\" # environment"), "{shown}");
}

#[test]
fn every_part_has_an_openapi_document() {
    for part in ["gateway", "auth", "patient", "billing", "analytics", "notification"] {
        let printed = run(&["openapi", part], &[]);
        let document: Value = serde_json::from_slice(&printed.stdout).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{part}");
        assert!(!document["paths"].as_object().unwrap().is_empty(), "{part}");
    }
    let printed = run(&["openapi", "gateway"], &[]);
    let document: Value = serde_json::from_slice(&printed.stdout).unwrap();
    for path in ["/auth/login", "/api/patients/{id}", "/api/billing/accounts", "/api/notifications"]
    {
        assert!(document["paths"][path].is_object(), "{path}");
    }
}

#[test]
fn a_reader_that_has_had_enough_is_no_failure() {
    let script = "set -o pipefail; \"$0\" openapi gateway | head -1 && \"$0\" help | head -1";
    let binary = env!("CARGO_BIN_EXE_medisync");
    let piped = std::process::Command::new("bash").args(["-c", script, binary]).output().unwrap();
    assert!(piped.status.success(), "{}", stderr(&piped));
}

#[tokio::test]
async fn what_it_keeps_is_for_its_owner_alone() {
    let world = TestMesh::embedded().await;
    for file in ["", "patient.db", "patient.db-wal", "auth.db", "events.db", "keys", "outbox"] {
        let mode = fs::metadata(world.data().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file}");
    }
}

const LIST: (&str, &str) = ("MEDISYNC_GATEWAY__CORS_ORIGINS", "https://app.example.org");

#[test]
fn a_list_of_everybody_is_no_list() {
    let run = medisync().arg("up").env(LIST.0, "*").output().unwrap();
    let told = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(64), "{told}");
    assert!(told.contains(LIST.0) && told.contains("\"*\" is no origin"), "{told}");
}

#[test]
fn status_of_what_is_not_there_says_so_and_fails() {
    let done = medisync().args(["status", "127.0.0.1:1"]).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stdout).contains("unreachable: cannot connect"));
    let bad = medisync().args(["status", "no/such place"]).output().unwrap();
    assert!(String::from_utf8_lossy(&bad.stderr).contains("HOST:PORT"));
}

#[test]
fn what_is_not_there_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let table: [(&[&str], i32, &str); 5] = [
        (&["tail"], 1, "there is no event log at"),
        (&["dead-letters", "list"], 1, "there is no event log at"),
        (&["dead-letters", "list", "--group", "billing"], 2, "there is no such consumer group"),
        (&["dead-letters", "retry"], 2, "--all"),
        (&["tail", "--since", "yesterday"], 2, "RFC 3339"),
    ];
    for (arguments, code, text) in table {
        let mut command = medisync();
        let refused = command.arg("events").args(arguments).args(["--data-dir", data]).output();
        let refused = refused.unwrap();
        let told = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(code), "{told}");
        assert!(told.contains(text) && (code == 2 || told.lines().count() == 1), "{told}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
}
