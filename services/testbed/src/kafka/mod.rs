//! A cluster of Apache Kafka: brokers that are controllers, too, so there is nothing else.

mod settings;
mod wire;

use std::{
    fs,
    io::{self, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use self::settings::{Broker, Cluster};
use crate::{
    Proxy,
    certs::{Authority, write_private},
    folder::Folder,
    installed,
    process::{Process, dying_with_us},
    until,
};

/// Enough for tests, and quick to start: most of a broker's code is run once only.
const JAVA_OPTIONS: [&str; 5] = [
    "-Xmx384m",
    "-Xms128m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
];
/// A broker that answers at all does within that, unless it stands still.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Where clients connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Anybody may do anything.
    Plaintext,
    /// [`Kafka::USER`] with [`Kafka::PASSWORD`], by `PLAIN` or `SCRAM-SHA-256`.
    SaslPlaintext,
    /// TLS, with or without a client's certificate.
    Ssl,
    /// The user over TLS.
    SaslSsl,
    /// Anybody, through a [`Proxy`] for each broker.
    Proxied,
}

/// Which listeners there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// [`Listener::Plaintext`].
    None,
    /// [`Listener::ALL`].
    Every,
    /// The same; the user may do nothing but what [`Kafka::allow`] says, anybody else everything.
    Guarded,
}

/// What the user may be allowed to do, with every topic and group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Right {
    SeeTopics,
    MakeTopics,
    ReadTopics,
    WriteTopics,
    JoinGroups,
}

/// A running cluster. Brokers are numbered from 1.
pub struct Kafka {
    // Dropped in this order: the brokers before their folder.
    processes: Vec<Mutex<Option<Process>>>,
    cluster: Cluster,
    folder: Folder,
    /// The program and its class path.
    java: (PathBuf, String),
    version: &'static str,
    took: Duration,
}

// === impl Listener ===

impl Listener {
    /// Those that [`Security::Every`] has.
    pub const ALL: [Self; 4] = [Self::Plaintext, Self::SaslPlaintext, Self::Ssl, Self::SaslSsl];

    /// What Kafka calls it, and clients name in `security.protocol`.
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Plaintext | Self::Proxied => "PLAINTEXT",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    const fn name(self) -> &'static str {
        if matches!(self, Self::Proxied) { "PROXIED" } else { self.protocol() }
    }
}

// === impl Kafka ===

impl Kafka {
    /// Who may connect by SASL.
    pub const USER: &str = "medisync";
    /// The user's password.
    pub const PASSWORD: &str = "testbed-password-of-kafka";

    /// Starts a new cluster of that many brokers, without topics.
    pub fn start(brokers: usize, security: Security) -> io::Result<Self> {
        Self::start_with(brokers, security, None)
    }

    /// The same with [`Listener::Proxied`], too. Brokers speak to each other without proxies.
    pub fn start_behind_proxies(brokers: usize, seed: u64) -> io::Result<Self> {
        Self::start_with(brokers, Security::None, Some(seed))
    }

    fn start_with(brokers: usize, security: Security, seed: Option<u64>) -> io::Result<Self> {
        let begun = Instant::now();
        let (jars, version) = installed::kafka()?;
        let java = (installed::java()?, format!("{}/*", jars.display()));
        let folder = Folder::new()?;
        let authority = Authority::ours()?;
        fs::write(folder.path().join("ca.pem"), authority.pem())?;
        for name in ["server", "client"] {
            let issued = authority.issue(name)?;
            let both = format!("{}{}", issued.key, issued.certificate);
            write_private(&folder.path().join(format!("{name}.pem")), &both)?;
        }
        let cluster = Cluster::new(brokers, security, seed)?;
        let processes = cluster.brokers.iter().map(|_| Mutex::new(None)).collect();
        let took = Duration::ZERO;
        let mut kafka = Self { processes, cluster, folder, java, version, took };
        kafka.each(|kafka, broker| kafka.format(broker))?;
        // All at once, for they wait for each other.
        kafka.each(|kafka, broker| kafka.launch(broker))?;
        kafka.each(|kafka, broker| {
            kafka.wait_for(broker, |known| known.len() == kafka.cluster.brokers.len())
        })?;
        kafka.took = begun.elapsed();
        Ok(kafka)
    }

    /// Where clients begin, without any security.
    pub fn bootstrap(&self) -> String {
        self.bootstrap_of(Listener::Plaintext)
    }

    /// Where clients of that listener begin.
    ///
    /// # Panics
    ///
    /// When the cluster was started without it.
    pub fn bootstrap_of(&self, listener: Listener) -> String {
        let address = |broker: &Broker| format!("127.0.0.1:{}", broker.port_of(listener));
        self.cluster.brokers.iter().map(address).collect::<Vec<_>>().join(",")
    }

    /// A file: the authority that issued the brokers' certificates, for 127.0.0.1 and `localhost`.
    pub fn ca_pem(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A file: a client's key and certificate of the same authority.
    pub fn client_pem(&self) -> PathBuf {
        self.folder.path().join("client.pem")
    }

    /// Kafka's version.
    pub const fn version(&self) -> &'static str {
        self.version
    }

    /// The processes that a broker is now; none while it is down.
    pub fn pids(&self, broker: usize) -> io::Result<Vec<u32>> {
        let process = self.processes[broker - 1].lock().unwrap_or_else(PoisonError::into_inner);
        process.as_ref().map_or(Ok(Vec::new()), Process::pids)
    }

    /// How long the start took.
    pub const fn took(&self) -> Duration {
        self.took
    }

    /// What stands between a broker and the clients of [`Listener::Proxied`].
    ///
    /// # Panics
    ///
    /// When the cluster was started without proxies.
    pub fn proxy(&self, broker: usize) -> &Proxy {
        self.broker(broker).proxy.as_ref().expect("the cluster was started behind proxies")
    }

    /// What a broker has logged: warnings and errors.
    pub fn log(&self, broker: usize) -> String {
        let log = fs::read(self.log_path(self.broker(broker))).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Asks a broker to end, and waits until it has.
    pub fn stop(&self, broker: usize) {
        self.end(broker, Signal::TERM);
    }

    /// Kills a broker (SIGKILL).
    pub fn kill(&self, broker: usize) {
        self.end(broker, Signal::KILL);
    }

    /// Starts a broker on the same data and ports, and waits until it is one of the cluster again.
    pub fn start_again(&self, broker: usize) -> io::Result<()> {
        let broker = self.broker(broker);
        self.launch(broker)?;
        self.wait_for(broker, |known| known.contains(&broker.id))
    }

    /// A broker stands still: connections stay open, and nothing is answered.
    pub fn pause(&self, broker: usize) {
        self.signal(broker, Signal::STOP);
    }

    /// It goes on.
    pub fn resume(&self, broker: usize) {
        self.signal(broker, Signal::CONT);
    }

    /// Gives the user of [`Security::Guarded`] rights, and waits until every broker knows of them.
    pub fn allow(&self, rights: &[Right]) -> io::Result<()> {
        let connect = |broker: &Broker| {
            TcpStream::connect((Ipv4Addr::LOCALHOST, broker.port_of(Listener::Plaintext)))
        };
        wire::allow(&mut connect(&self.cluster.brokers[0])?, Self::USER, rights)?;
        self.each(|_, broker| {
            let mut stream = connect(broker)?;
            until("the broker knows the rights", || {
                Ok(wire::are_allowed(&mut stream, rights)?.then_some(()))
            })
        })
    }

    fn broker(&self, number: usize) -> &Broker {
        &self.cluster.brokers[number - 1]
    }

    fn end(&self, broker: usize, signal: Signal) {
        let place = &self.processes[broker - 1];
        if let Some(process) = place.lock().unwrap_or_else(PoisonError::into_inner).take() {
            process.signal(signal);
            process.wait();
        }
    }

    fn signal(&self, broker: usize, signal: Signal) {
        let place = &self.processes[broker - 1];
        if let Some(process) = &*place.lock().unwrap_or_else(PoisonError::into_inner) {
            process.signal(signal);
        }
    }

    /// Does something with every broker at the same time.
    fn each(&self, work: impl Fn(&Self, &Broker) -> io::Result<()> + Sync) -> io::Result<()> {
        thread::scope(|scope| {
            let brokers = self.cluster.brokers.iter();
            let working: Vec<_> =
                brokers.map(|broker| scope.spawn(|| work(self, broker))).collect();
            let panicked = |_| Err(io::Error::other("a thread panicked"));
            working.into_iter().try_for_each(|it| it.join().unwrap_or_else(panicked))
        })
    }

    /// Prepares a broker's folder.
    fn format(&self, broker: &Broker) -> io::Result<()> {
        let file = self.settings_path(broker);
        fs::write(&file, self.cluster.settings(broker, self.folder.path()))?;
        let mut command = self.java();
        command.args(["kafka.tools.StorageTool", "format", "--cluster-id", settings::CLUSTER_ID]);
        let (user, password) = (Self::USER, Self::PASSWORD);
        let user = format!("SCRAM-SHA-256=[name={user},password={password}]");
        command.arg("--config").arg(file).args(["--add-scram", &user]);
        let output = command.output()?;
        if output.status.success() {
            return Ok(());
        }
        let told = [output.stdout, output.stderr].concat();
        let message = format!("cannot format for Kafka: {}", String::from_utf8_lossy(&told));
        Err(io::Error::other(message))
    }

    fn launch(&self, broker: &Broker) -> io::Result<()> {
        let mut log = fs::File::options().create(true).append(true).open(self.log_path(broker))?;
        writeln!(log, "--- start of broker {} ---", broker.id)?;
        let mut command = self.java();
        command.arg("kafka.Kafka").arg(self.settings_path(broker));
        command.stdout(log.try_clone()?).stderr(log);
        let place = &self.processes[broker.number() - 1];
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(Process::spawn(command)?);
        Ok(())
    }

    fn java(&self) -> Command {
        let mut command = dying_with_us(&self.java.0, &[]);
        command.args(JAVA_OPTIONS).args(["-cp", &self.java.1]);
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    /// Waits until the broker says so of those that it knows.
    fn wait_for(&self, broker: &Broker, is_so: impl Fn(&[i32]) -> bool) -> io::Result<()> {
        let place = &self.processes[broker.number() - 1];
        until("Kafka answers", || {
            let process = place.lock().unwrap_or_else(PoisonError::into_inner);
            if process.as_ref().is_none_or(|process| process.ended().is_some()) {
                let log = self.log(broker.number());
                return Err(io::Error::other(format!("the broker ended:\n{log}")));
            }
            let known = brokers_known_at(broker.port_of(Listener::Plaintext));
            Ok(known.is_ok_and(|known| is_so(&known)).then_some(()))
        })
    }

    fn settings_path(&self, broker: &Broker) -> PathBuf {
        self.folder.path().join(format!("{}.properties", broker.id))
    }

    fn log_path(&self, broker: &Broker) -> PathBuf {
        self.folder.path().join(format!("{}.log", broker.id))
    }
}

fn brokers_known_at(port: u16) -> io::Result<Vec<i32>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
    wire::brokers(&mut stream)
}
