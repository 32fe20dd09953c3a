//! A PostgreSQL server.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::PoisonError,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    certs::{Authority, write_private},
    folder::Folder,
    free_port,
    installed::{self, Programs},
    process::{Process, dying_with_us},
    until,
};

/// As whom a server runs when we are root.
const AS_NOBODY: [&str; 3] = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"];
const USER: &str = "medisync";
/// An answer to a connection takes no longer on this machine, unless the server stands still.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// One that is asked to end at once does, unless something is wrong.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// Which of the installed major versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Version {
    Newest,
    Oldest,
}

/// How it is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ends the sessions, and writes all that is in memory.
    Fast,
    /// Ends at once: it recovers at the next start.
    Immediate,
}

/// A server with a superuser, TLS, and a disk that is written to.
pub struct Postgres {
    // Dropped in this order: the server before its folder.
    process: std::sync::Mutex<Option<Process>>,
    folder: Folder,
    programs: Programs,
    port: u16,
    took: Duration,
}

// === impl Postgres ===

impl Postgres {
    /// The password in its URLs.
    pub const PASSWORD: &str = "testbed-password-of-postgres";

    /// Starts a new server, on which there is nothing yet.
    pub fn start(version: Version) -> io::Result<Self> {
        let begun = Instant::now();
        let programs = programs(version)?;
        let (folder, port) = (Folder::new()?, free_port()?);
        let user = unprivileged()?;
        let data = folder.path().join("data");
        fs::create_dir(&data)?;
        Folder::give_away(&data, user)?;
        init(&programs, &folder, user)?;
        let authority = Authority::ours()?;
        fs::write(folder.path().join("ca.pem"), authority.pem())?;
        let issued = authority.issue("localhost")?;
        fs::write(folder.path().join("server.pem"), issued.certificate)?;
        let key = folder.path().join("server.key");
        write_private(&key, &issued.key)?;
        Folder::give_away(&key, user)?;
        fs::write(data.join("testbed.conf"), settings(port, folder.path()))?;
        let conf = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"));
        writeln!(conf?, "include 'testbed.conf'")?;
        let process = std::sync::Mutex::new(None);
        let mut server = Self { process, folder, programs, port, took: Duration::ZERO };
        server.start_again()?;
        server.took = begun.elapsed();
        Ok(server)
    }

    /// Starts it on the same data and port, after it was stopped or killed.
    pub fn start_again(&self) -> io::Result<()> {
        let mut place = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let log = fs::File::options().create(true).append(true).open(self.log_path())?;
        let mut command = as_user(&self.programs, "postgres");
        command.arg("-D").arg(self.folder.path().join("data"));
        command.current_dir("/").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = Process::spawn(command)?;
        until("PostgreSQL answers", || match process.ended() {
            Some(_) => Err(io::Error::other(format!("PostgreSQL ended:\n{}", self.log()))),
            None => Ok(answers(self.port).then_some(())),
        })?;
        *place = Some(process);
        Ok(())
    }

    /// Where it is: `postgres://…`, as a superuser.
    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// The same through another port, which leads to it.
    pub fn url_at(&self, port: u16) -> String {
        format!("postgres://{USER}:{}@localhost:{port}/postgres", Self::PASSWORD)
    }

    /// On 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// A file: the authority that issued its certificate, which is for `localhost`.
    pub fn ca_pem(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Its major version.
    pub const fn version(&self) -> u32 {
        self.programs.major
    }

    /// The processes that it is now; none while it is down.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.as_ref().map_or(Ok(Vec::new()), Process::pids)
    }

    /// How long the first start took.
    pub const fn took(&self) -> Duration {
        self.took
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        fs::read(self.log_path())
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    /// What a statement answers, asked by `psql` over TLS that is verified.
    pub fn ask(&self, sql: &str) -> io::Result<String> {
        let mut command = Command::new(installed::psql()?);
        let (url, ca) = (self.url(), self.ca_pem());
        let url = format!("{url}?sslmode=verify-full&sslrootcert={}", ca.display());
        command.args(["--no-psqlrc", "--tuples-only", "--no-align", "--command", sql]).arg(url);
        let output = command.stdin(Stdio::null()).output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&self, how: Stop) -> io::Result<()> {
        let signal = match how {
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
        };
        self.ending(|process| {
            process.signal(signal);
            process.wait();
            Ok(())
        })
    }

    /// Kills it and all that it started (SIGKILL), as when the power fails.
    pub fn kill(&self) -> io::Result<()> {
        self.ending(|process| process.kill_all().map(drop))
    }

    /// It stands still: connections stay open, and nothing is answered.
    pub fn pause(&self) -> io::Result<()> {
        self.signal_all(Signal::STOP)
    }

    /// It goes on.
    pub fn resume(&self) -> io::Result<()> {
        self.signal_all(Signal::CONT)
    }

    fn signal_all(&self, signal: Signal) -> io::Result<()> {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.as_ref().map_or(Ok(()), |process| process.signal_all(signal).map(drop))
    }

    fn ending(&self, end: impl FnOnce(&Process) -> io::Result<()>) -> io::Result<()> {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        process.as_ref().map_or(Ok(()), end)
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Asked first: what is killed leaves the system's shared memory behind.
        let _ = self.ending(|process| {
            process.signal_all(Signal::CONT)?;
            process.signal(Signal::QUIT);
            if process.wait_at_most(ENDS_WITHIN).is_none() {
                process.kill_all()?;
            }
            Ok(())
        });
    }
}

fn programs(version: Version) -> io::Result<Programs> {
    let mut found = installed::postgres();
    match version {
        Version::Newest => found.pop().ok_or_else(|| installed::missing("PostgreSQL")),
        Version::Oldest if found.len() < 2 => {
            Err(installed::missing("a second major version of PostgreSQL"))
        }
        Version::Oldest => Ok(found.swap_remove(0)),
    }
}

/// The user and group `nobody`, when we are root.
fn unprivileged() -> io::Result<Option<(u32, u32)>> {
    if !installed::is_root() {
        return Ok(None);
    }
    let id = |of: &str| -> io::Result<u32> {
        let output = Command::new("id").args([of, "nobody"]).output()?;
        let id = String::from_utf8_lossy(&output.stdout).trim().parse();
        id.map_err(|_| io::Error::other("there is no user nobody"))
    };
    Ok(Some((id("-u")?, id("-g")?)))
}

fn as_user(programs: &Programs, program: &str) -> Command {
    let options: &[&str] = if installed::is_root() { &AS_NOBODY } else { &[] };
    dying_with_us(programs.bin.join(program), options)
}

fn init(programs: &Programs, folder: &Folder, user: Option<(u32, u32)>) -> io::Result<()> {
    let password = folder.path().join("password");
    write_private(&password, Postgres::PASSWORD)?;
    Folder::give_away(&password, user)?;
    let mut command = as_user(programs, "initdb");
    command.arg("-D").arg(folder.path().join("data"));
    command.arg("--pwfile").arg(&password).args(["--username", USER, "--auth=scram-sha-256"]);
    command.args(["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]);
    let output = command.current_dir("/").stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let (major, told) = (programs.major, String::from_utf8_lossy(&output.stderr));
    Err(io::Error::other(format!("initdb of PostgreSQL {major} failed: {told}")))
}

fn settings(port: u16, folder: &Path) -> String {
    let folder = folder.display();
    // Small memory, for several servers run beside the tests; durable as in earnest.
    format!(
        "listen_addresses = '127.0.0.1'\n\
         port = {port}\n\
         unix_socket_directories = ''\n\
         max_connections = 300\n\
         shared_buffers = 64MB\n\
         dynamic_shared_memory_type = mmap\n\
         max_wal_size = 256MB\n\
         fsync = on\n\
         password_encryption = 'scram-sha-256'\n\
         ssl = on\n\
         ssl_cert_file = '{folder}/server.pem'\n\
         ssl_key_file = '{folder}/server.key'\n"
    )
}

/// Whether a client is asked for its password. Before it is ready it tells so and hangs up.
fn answers(port: u16) -> bool {
    let ask = || -> io::Result<bool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
        stream.write_all(&startup_message())?;
        let mut kind = [0];
        stream.read_exact(&mut kind)?;
        Ok(kind == *b"R")
    };
    ask().unwrap_or(false)
}

/// Of protocol 3.0: length, version, then names and values that each end with a zero.
fn startup_message() -> Vec<u8> {
    let parameters = format!("user\0{USER}\0database\0postgres\0\0");
    let length = u32::try_from(8 + parameters.len()).expect("it is short");
    [&length.to_be_bytes()[..], &196_608_u32.to_be_bytes(), parameters.as_bytes()].concat()
}
