//! The command by which the tests are run.

use std::process::{Command, Output};

fn testbed(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    for name in ["POSTGRES", "POSTGRES_OLD", "POSTGRES_CA", "KAFKA"] {
        command.env_remove(format!("MEDISYNC_TEST_{name}"));
    }
    command.args(arguments).envs(environment.iter().copied()).output().expect("it can be run")
}

#[test]
fn a_command_is_told_of_servers_that_were_started_and_its_exit_code_is_ours() {
    let script = "env | grep ^MEDISYNC_TEST_ | sort; test -r $MEDISYNC_TEST_POSTGRES_CA && exit 7";
    let output = testbed(&["with-servers", "sh", "-c", script], &[]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(7), "{told}");
    let variables = String::from_utf8(output.stdout).unwrap();
    let names: Vec<_> = variables.lines().map(|line| line.split_once('=').unwrap().0).collect();
    assert_eq!(
        names,
        [
            "MEDISYNC_TEST_KAFKA",
            "MEDISYNC_TEST_POSTGRES",
            "MEDISYNC_TEST_POSTGRES_CA",
            "MEDISYNC_TEST_POSTGRES_OLD"
        ]
    );
    assert_eq!(told.matches("started PostgreSQL").count(), 2, "{told}");
    assert_eq!(told.matches("started Apache Kafka").count(), 1, "{told}");
}

#[test]
fn servers_of_ones_own_are_used() {
    let own = [("MEDISYNC_TEST_POSTGRES", "postgres://u:p@h/d"), ("MEDISYNC_TEST_KAFKA", "h:9092")];
    let script = "echo $MEDISYNC_TEST_POSTGRES $MEDISYNC_TEST_KAFKA$MEDISYNC_TEST_POSTGRES_OLD";
    let output = testbed(&["with-servers", "sh", "-c", script], &own);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "postgres://u:p@h/d h:9092\n");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("uses PostgreSQL") && told.contains("uses Kafka"), "{told}");
    assert!(!told.contains("started") && !told.contains("u:p"), "{told}");
}

#[test]
fn a_command_that_is_killed_or_is_not_there_has_failed() {
    let own = [("MEDISYNC_TEST_POSTGRES", "postgres://u:p@h/d"), ("MEDISYNC_TEST_KAFKA", "h:9092")];
    let code = |arguments: &[&str]| testbed(arguments, &own).status.code().unwrap();
    assert_eq!(code(&["with-servers", "sh", "-c", "kill -TERM $$"]), 128 + 15);
    assert_eq!(code(&["with-servers", "/no/such/program"]), 127);
    assert_eq!(code(&["with-servers"]), 2);
    assert_eq!(code(&[]), 2);
}
