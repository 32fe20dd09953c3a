//! Words that are wrong are refused, and not taken for something else.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, process::Output};

use crate::test_mesh::medisync;

fn show(flags: &[&str], environment: &[(&[u8], &[u8])]) -> Output {
    let environment =
        environment.iter().map(|(name, value)| [*name, *value].map(OsStr::from_bytes));
    let environment = environment.map(|[name, value]| (name, value));
    medisync().args(["config", "show"]).args(flags).envs(environment).output().unwrap()
}

fn refused(output: &Output, named: &str) {
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{named}: {told}");
    assert!(told.lines().count() == 2 && told.contains(named), "{named}: {told}");
}

#[test]
fn a_log_level_that_is_none_is_refused_wherever_it_is_given() {
    for wrong in ["warning", "inof", "verbose", "info,kit=warning", "info,kit", "3"] {
        let variables: [(&[u8], &str); 2] =
            [(b"MEDISYNC_LOG_LEVEL", "MEDISYNC_LOG_LEVEL"), (b"RUST_LOG", "RUST_LOG")];
        for (variable, named) in variables {
            refused(&show(&[], &[(variable, wrong.as_bytes())]), named);
        }
        refused(&show(&["--log-level", wrong], &[]), "log_level");
    }
    for right in ["warn", "INFO", "off", "info,kit=debug", "error,medisync::run=trace"] {
        assert!(show(&["--log-level", right], &[]).status.success(), "{right}");
        assert!(show(&[], &[(b"RUST_LOG", right.as_bytes())]).status.success(), "{right}");
    }
    // A flag is stronger, so that nobody hears the variable.
    assert!(show(&["--log-level", "info"], &[(b"RUST_LOG", b"warning")]).status.success());
}

#[test]
fn a_variable_that_is_no_text_is_refused_by_its_name() {
    for variable in [&b"MEDISYNC_GATEWAY__LISTEN"[..], b"MEDISYNC_DEMO", b"RUST_LOG"] {
        let named = String::from_utf8_lossy(variable).into_owned();
        refused(&show(&[], &[(variable, b"127.0.0.1\xff")]), &named);
    }
    refused(&show(&[], &[(b"MEDISYNC_GATEWAY__LIST\xc3N", b"127.0.0.1:0")]), "__LIST");
    // What is not for us is none of our business.
    assert!(show(&[], &[(b"PATH_TO", b"\xff")]).status.success());
}

#[test]
fn a_time_that_has_not_come_is_refused() {
    let asked = ["events", "tail", "--since", "2999-01-01"];
    let ended = medisync().args(asked).output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("has not come yet") && told.lines().count() == 1, "{told}");
}
