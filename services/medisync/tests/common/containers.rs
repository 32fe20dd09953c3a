//! The parts as containers: the images that `docker/build.sh` made, run as they are meant to be,
//! with a root file system that is read-only, no capability, and nothing to write to but their
//! data.

use std::{
    os::unix::fs::chown,
    path::Path,
    process::{Command, Stdio},
};

use shared_middleware::clock::Ids;

/// The user of the images.
const USER: u32 = 65_532;

/// Whether parts are to be containers, as the environment asks.
#[expect(clippy::disallowed_methods, reason = "tests have no settings")]
pub(crate) fn are_asked_for() -> bool {
    std::env::var("MEDISYNC_TEST_STACK").is_ok_and(|stack| stack == "containers")
}

/// A container that runs a part on this data; its name, by which signals reach it.
pub(crate) fn run(part: &str, data: &Path, environment: &[(String, String)]) -> (Command, String) {
    give_away(data);
    let name = format!("medisync-test-{}", Ids::system().next().simple());
    let mut command = podman();
    command.args(["run", "--rm", "--name", &name, "--label", "medisync-test"]);
    command.args(["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]);
    command.args(["--network=host", "--memory=256m", "--no-healthcheck"]);
    command.arg(format!("--volume={}:/data", data.display()));
    for (variable, value) in environment {
        command.arg(format!("--env={variable}={value}"));
        // What is named by its path is brought along.
        let file = value.split("sslrootcert=").nth(1).unwrap_or_default();
        let file = file.split('&').next().unwrap_or_default();
        if !file.is_empty() {
            command.arg(format!("--volume={file}:{file}:ro"));
        }
    }
    command.arg(format!("localhost/medisync/{part}:dev"));
    (command, name)
}

/// Sends a signal to what runs in it.
pub(crate) fn signal(name: &str, signal: &str) {
    let told = podman().args(["kill", "--signal", signal, name]).stdout(Stdio::null()).status();
    assert!(told.unwrap().success());
}

/// Ends it, however it is.
pub(crate) fn remove(name: &str) {
    let _ = podman().args(["rm", "--force", "--time=0", name]).output();
}

fn podman() -> Command {
    let mut command = Command::new("podman");
    command.arg("--log-level=fatal").stdin(Stdio::null());
    command
}

/// Makes a folder, and all in it, the own of the images' user.
fn give_away(path: &Path) {
    let _ = std::fs::create_dir_all(path);
    chown(path, Some(USER), Some(USER)).expect("containers are started by root");
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => give_away(&entry.path()),
            _ => drop(chown(entry.path(), Some(USER), Some(USER))),
        }
    }
}
