//! Servers that cannot be used as configured: the process ends soon, with one line that names the
//! setting and no secret.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::Output,
    time::{Duration, Instant},
};

use testbed::{Kafka, Listener, Postgres, Right, Security, Version, postgres::Stop::Fast};

use crate::processes::{PARTS, medisync};

/// More than a few seconds, on a machine that does other things, too.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// What a mesh is told, what its last line names, and what it says of it.
struct Case {
    value: String,
    says: &'static str,
}

fn case(value: impl Into<String>, says: &'static str) -> Case {
    Case { value: value.into(), says }
}

fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn up(data: &Path, variable: &str, value: &str) -> Output {
    let mut command = medisync();
    // What does not end by itself is a failure, too.
    command.args(["up", "--log-level", "warn", "--data-dir"]).arg(data).env(variable, value);
    for part in PARTS.iter().chain(&["admin"]) {
        command.env(format!("MEDISYNC_{}__LISTEN", part.to_uppercase()), "127.0.0.1:0");
    }
    command.env("MEDISYNC_BILLING__GRPC_LISTEN", "127.0.0.1:0");
    let mut bounded = std::process::Command::new("timeout");
    bounded.arg("--kill-after=1").arg(ENDS_WITHIN.as_secs().to_string());
    bounded.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bounded.env(name, value),
            None => bounded.env_remove(name),
        };
    }
    bounded.output().unwrap()
}

/// Starts the mesh with this value, which it refuses in one line.
fn refused(data: &Path, variable: &str, case: &Case, code: i32, setting: &str) {
    let begun = Instant::now();
    let output = up(data, variable, &case.value);
    let told = String::from_utf8(output.stderr).unwrap();
    eprintln!("{:.1?} {told}", begun.elapsed());
    assert_eq!(output.status.code(), Some(code), "{told}");
    assert!(output.stdout.is_empty(), "it was never ready");
    let lines: Vec<_> = told.lines().collect();
    let (last, before) = match code {
        // The faults of the configuration are on one line each.
        64 => (lines[lines.len() - 1], &lines[1..lines.len() - 1]),
        _ => (lines[lines.len() - 1], &lines[..lines.len() - 1]),
    };
    assert!(before.is_empty(), "one line: {told}");
    assert!(last.contains(setting) && last.contains(case.says), "{} in {told}", case.says);
    assert!(!told.contains("hunter2") && !told.contains(Kafka::PASSWORD), "{told}");
}

#[test]
fn a_store_that_cannot_be_used_is_told_with_the_setting_and_the_reason() {
    const VARIABLE: &str = "MEDISYNC_PATIENT__DATABASE";
    let folder = tempfile::tempdir().unwrap();
    let postgres = Postgres::start(Version::Newest).unwrap();
    let (server, port, closed) = (postgres.url(), postgres.port(), closed_port());
    let other_ca = folder.path().join("other.pem");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(&other_ca, made.cert.pem()).unwrap();
    let other_ca = other_ca.display();
    for case in [
        case(format!("postgres://medisync:hunter2@localhost:{port}/postgres"), "password"),
        case("postgres://u:hunter2@no-such-host.invalid:5432/d", "lookup"),
        case(format!("postgres://u:hunter2@localhost:{closed}/d"), "refused"),
        case(server.replace("/postgres", "/no_such_database"), "no_such_database"),
        case(format!("{server}?sslmode=verify-full&sslrootcert={other_ca}"), "certificate"),
        case(format!("{server}?sslmode=verify-full&sslrootcert=/no/such.pem"), "/no/such.pem"),
    ] {
        refused(folder.path(), VARIABLE, &case, 1, "(patient.database)");
    }
    postgres.ask("alter system set ssl = off").unwrap();
    postgres.stop(Fast).unwrap();
    postgres.start_again().unwrap();
    let case = case(format!("{server}?sslmode=require"), "does not support TLS");
    refused(folder.path(), VARIABLE, &case, 1, "(patient.database)");
}

#[test]
fn a_url_of_a_wrong_form_is_told_with_the_variable() {
    const VARIABLE: &str = "MEDISYNC_PATIENT__DATABASE";
    let folder = tempfile::tempdir().unwrap();
    for case in [
        case("postgres://u:hunter2@localhost:port/d", "form"),
        case("mysql://u:hunter2@localhost/d", "must begin with"),
        case("postgres://u:hunter2@localhost/d?sslmode=maybe", "sslmode must be"),
        case("postgres://u:hunter2@localhost/d?sslmode=verify-ca", "sslmode must be"),
    ] {
        refused(folder.path(), VARIABLE, &case, 64, VARIABLE);
    }
    const LOG: &str = "MEDISYNC_EVENTS__LOG";
    for case in [
        case("kafka://u:hunter2@localhost", "form"),
        case("kafka://u@localhost:9092", "without a password"),
        case("amqp://u:hunter2@localhost:9092", "embedded or begin with kafka://"),
        case("kafka://u:hunter2@localhost:9092?sslmode=verify-ca", "sslmode must be"),
        case("kafka://u:hunter2@localhost:9092?sslmode=require", "cargo feature kafka-tls"),
        case("kafka://u:hunter2@localhost:9092?sasl=SCRAM-SHA-256", "cargo feature kafka-tls"),
    ] {
        refused(folder.path(), LOG, &case, 64, LOG);
    }
}

#[test]
fn an_event_log_that_cannot_be_used_is_told_with_the_setting_and_the_reason() {
    const VARIABLE: &str = "MEDISYNC_EVENTS__LOG";
    let folder = tempfile::tempdir().unwrap();
    let kafka = Kafka::start(1, Security::Guarded).unwrap();
    let sasl = kafka.bootstrap_of(Listener::SaslPlaintext);
    let (user, password) = (Kafka::USER, Kafka::PASSWORD);
    let url = format!("kafka://{user}:{password}@{sasl}");
    let refused = |value: &str, says| {
        refused(folder.path(), VARIABLE, &case(value, says), 1, "(events.log)");
    };
    refused("kafka://u:hunter2@no-such-host.invalid:9092", "the host is unknown");
    refused(&format!("kafka://{user}:hunter2@{sasl}"), "do not accept the user and password");
    refused(&format!("kafka://{sasl}"), "may want a user and password");
    refused(&url, "no right to see its topics");
    kafka.allow(&[Right::SeeTopics]).unwrap();
    refused(&url, "topic patient cannot be made");
}
