//! Runs a command with the servers that the tests need, and tells which these are.
//!
//! The command learns of them by its environment. Servers that are already named there are used,
//! and none of that kind is started.

use std::{
    env, ffi::OsString, io, os::unix::process::ExitStatusExt as _, process::Command, thread,
};

use crate::{
    Kafka, Postgres, Security, Version,
    process::{Process, dying_with_us},
};

/// The newest PostgreSQL: a URL.
pub const POSTGRES: &str = "MEDISYNC_TEST_POSTGRES";
/// One of another major version.
pub const POSTGRES_OLD: &str = "MEDISYNC_TEST_POSTGRES_OLD";
/// A file: the authority of their certificates.
pub const POSTGRES_CA: &str = "MEDISYNC_TEST_POSTGRES_CA";
/// Where Kafka's clients begin.
pub const KAFKA: &str = "MEDISYNC_TEST_KAFKA";

/// What was started, and which variables the command gets.
#[derive(Default)]
struct Servers {
    postgres: Vec<Postgres>,
    kafka: Option<Kafka>,
    variables: Vec<(&'static str, OsString)>,
}

/// Runs the command; its exit code.
pub fn with_servers(command: &[OsString]) -> io::Result<i32> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "which command?"));
    };
    let servers = Servers::start()?;
    let mut command: Command = dying_with_us(program, &[]);
    command.args(arguments).envs(servers.variables.iter().cloned());
    let status = Process::spawn_in_our_group(command)?.wait();
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    drop(servers);
    Ok(code.unwrap_or(1))
}

// === impl Servers ===

impl Servers {
    fn start() -> io::Result<Self> {
        let mut servers = Self::default();
        thread::scope(|scope| -> io::Result<()> {
            let ours = |name| env::var_os(name).is_none_or(|value: OsString| value.is_empty());
            let start = |version| scope.spawn(move || Postgres::start(version));
            let postgres = ours(POSTGRES).then(|| [Version::Newest, Version::Oldest].map(start));
            let kafka = ours(KAFKA).then(|| scope.spawn(|| Kafka::start(1, Security::None)));
            match postgres {
                Some(started) => {
                    for (starting, name) in started.into_iter().zip([POSTGRES, POSTGRES_OLD]) {
                        servers.add_postgres(joined(starting)?, name);
                    }
                }
                None => tell(&format!("uses PostgreSQL of {POSTGRES}")),
            }
            match kafka {
                Some(starting) => servers.add_kafka(joined(starting)?),
                None => tell(&format!("uses Kafka of {KAFKA}")),
            }
            Ok(())
        })?;
        Ok(servers)
    }

    fn add_postgres(&mut self, server: Postgres, name: &'static str) {
        let (version, port, took) = (server.version(), server.port(), server.took());
        tell(&format!("started PostgreSQL {version} at localhost:{port} in {took:.1?}"));
        self.variables.push((name, server.url().into()));
        self.variables.push((POSTGRES_CA, server.ca_pem().into()));
        self.postgres.push(server);
    }

    fn add_kafka(&mut self, kafka: Kafka) {
        let (version, at, took) = (kafka.version(), kafka.bootstrap(), kafka.took());
        tell(&format!("started Apache Kafka {version} at {at} in {took:.1?}"));
        self.variables.push((KAFKA, at.into()));
        self.kafka = Some(kafka);
    }
}

fn joined<T>(starting: thread::ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    starting.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
}

#[expect(clippy::print_stderr, reason = "it is a command, whose output is its command's")]
fn tell(what: &str) {
    eprintln!("testbed: {what}");
}
