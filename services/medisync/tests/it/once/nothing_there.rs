//! Commands that read or change what is there, where nothing is: each says so in a line, and makes
//! nothing.

use std::{fs, process::Output};

use crate::processes::medisync;

fn refused(output: &Output, what: &str) -> String {
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!((output.status.code(), told.lines().count()), (Some(1), 1), "{what}: {told}");
    told
}

#[test]
fn what_needs_something_makes_nothing_where_nothing_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let to = folder.path().join("backup");
    let replay = ["events", "replay", "--group", "analytics-service", "--from", "beginning"];
    let commands: [&[&str]; 18] = [
        &["keys", "rotate"],
        &["user", "list"],
        &["user", "passwd", "a@example.com"],
        &["user", "disable", "a@example.com"],
        &["demo", "remove"],
        &["audit", "verify"],
        &["audit", "checkpoint"],
        &["events", "tail"],
        &["events", "dead-letters", "list"],
        &["events", "dead-letters", "drop", "--all"],
        &replay,
        &["backup", to.to_str().unwrap()],
        &["pki", "show"],
        &["pki", "issue", "auth"],
        &["pki", "revoke", "auth"],
        &["pki", "rotate-ca", "begin"],
        &["pki", "rotate-ca", "switch"],
        &["pki", "rotate-ca", "finish"],
    ];
    for command in commands {
        for is_there in [false, true] {
            if is_there {
                fs::create_dir(&data).unwrap();
            }
            let output = medisync().args(command).arg("--data-dir").arg(&data).output().unwrap();
            refused(&output, &command.join(" "));
            assert_eq!(data.exists(), is_there, "{command:?}");
            if is_there {
                // It would not go if anything had been made in it.
                fs::remove_dir(&data).unwrap();
            }
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_replay_from_a_time_that_has_not_come_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = medisync();
    command.args(["events", "replay", "--group", "analytics-service", "--from", "2999-01-01"]);
    let output = command.arg("--data-dir").arg(folder.path()).output().unwrap();
    assert!(refused(&output, "replay").contains("has not come yet"));
}
