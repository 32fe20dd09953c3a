//! How connections to the server are made, one by one or for the pool.

use std::{
    collections::HashMap,
    error::Error as _,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bb8::ManageConnection as _;
use bb8_postgres::PostgresConnectionManager;
use shared_middleware::error::causes;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::{
    Client, Socket, Statement,
    config::{Host, SslMode, SslNegotiation},
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    answers::{Answers, Silence},
    error::failed,
    tls::{self, Connector},
    url::PostgresUrl,
};
use crate::db::{DbConfig, DbError};

/// A server that answers nothing for so long is gone, unless the URL says otherwise.
const SILENT_AT_MOST: Duration = Duration::from_secs(30);
/// A transaction whose process is gone holds its locks no longer: nothing of ours
/// waits in one for anybody else.
const IDLE_IN_TRANSACTION_S: u64 = 10;
/// The server gives up a statement that takes too long. A connection on which it does not say so
/// soon after is broken.
const ANSWER_SLACK: Duration = Duration::from_millis(500);
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Makes connections, each with a place for its statements.
#[derive(Clone)]
pub(super) struct Connections {
    owner: &'static str,
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    mode: SslMode,
    session: Arc<str>,
    acquire: Duration,
    answer_within: Duration,
    silence: Silence,
    unreached: Unreached,
}

/// Why the last try to connect failed, if it did: the pool tries again until the time is up, and
/// then tells only that it is.
#[derive(Clone, Default)]
pub(super) struct Unreached(Arc<Mutex<Option<String>>>);

/// A connection and what it has prepared.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) statements: HashMap<String, Statement>,
    pub(super) answers: Answers,
}

// === impl Connections ===

impl Connections {
    pub(super) fn new(
        url: &PostgresUrl,
        config: &DbConfig,
        unreached: Unreached,
    ) -> Result<Self, DbError> {
        let mut server = url.config().clone();
        server.connect_timeout(config.acquire);
        if server.get_tcp_user_timeout().is_none() {
            server.tcp_user_timeout(SILENT_AT_MOST).keepalives_idle(SILENT_AT_MOST);
        }
        if server.get_application_name().is_none() {
            // What others see in `pg_stat_activity`.
            let (owner, process) = (config.owner, std::process::id());
            server.application_name(format!("medisync {owner}, process {process}"));
        }
        let mode = server.get_ssl_mode();
        // A socket of this machine is used as it is: there is no network that could lose an answer.
        if server.get_hosts().iter().all(|host| matches!(host, Host::Tcp(_))) {
            server.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
        }
        // Plans are kept. One that was made while a table was small must not go through all of it
        // when it is not, also not by an index for a join: whatever we ask has an index by which
        // each row is found, but for searches (`Begin::Search`).
        let session = format!(
            "set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off;
             set statement_timeout = {};
             set idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_S}s'",
            config.statement.as_millis(),
        );
        Ok(Self {
            owner: config.owner,
            config: server,
            tls: tls::rustls(url.trust())?,
            mode,
            session: session.into(),
            acquire: config.acquire,
            answer_within: config.statement + ANSWER_SLACK,
            silence: Silence::none(),
            unreached,
        })
    }

    /// The first connection: a server that does not listen yet gets some time, one that says no
    /// does not.
    pub(super) async fn first(&self, within: Duration) -> Result<Connection, DbError> {
        let until = Instant::now() + within;
        loop {
            let failed = match self.try_connect().await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            if Instant::now() >= until || !may_pass(&failed) {
                return Err(error_of_start(failed));
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    async fn try_connect(&self) -> Result<Connection, tokio_postgres::Error> {
        let (connector, answers) = self.connector(self.answer_within);
        let manager = PostgresConnectionManager::new(self.config.clone(), connector);
        let client = manager.connect().await?;
        client.batch_execute(&self.session).await?;
        Ok(Connection { client, statements: HashMap::new(), answers })
    }

    /// What makes the stream of a connection whose answers may take so long.
    fn connector(&self, within: Duration) -> (Connector, Answers) {
        let answers = Answers::within(self.owner, within, &self.silence);
        (Connector { tls: self.tls.clone(), mode: self.mode, answers: answers.clone() }, answers)
    }

    /// A connection outside of the pool, whose messages the caller reads.
    pub(super) async fn alone(
        &self,
        within: Duration,
    ) -> Result<(Client, tokio_postgres::Connection<Socket, Stream>), tokio_postgres::Error> {
        self.config.connect(self.connector(within).0).await
    }
}

type Stream = <Connector as MakeTlsConnect<Socket>>::Stream;

impl bb8::ManageConnection for Connections {
    type Connection = Connection;
    type Error = DbError;

    async fn connect(&self) -> Result<Connection, DbError> {
        // One that hangs would else keep its place in the pool.
        let connected = timeout(self.acquire, self.try_connect()).await;
        let connected = connected.map_or_else(
            |_| Err(DbError::Unavailable(Box::new(io::Error::from(io::ErrorKind::TimedOut)))),
            |connected| connected.map_err(failed),
        );
        self.unreached.keep(connected.as_ref().err());
        connected
    }

    /// Costs no round trip: that a server is gone is seen by the connection, if not at once, then
    /// by the next statement, which is answered as an outage.
    async fn is_valid(&self, connection: &mut Connection) -> Result<(), DbError> {
        if connection.client.is_closed() {
            return Err(DbError::Unavailable("the connection was closed".into()));
        }
        if connection.answers.are_doubtful() {
            return Err(DbError::Unavailable("another connection was silent since".into()));
        }
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.client.is_closed()
    }
}

// === impl Unreached ===

impl Unreached {
    fn keep(&self, error: Option<&DbError>) {
        // Without our own words for it, which are said again when it is told.
        let cause = error.map(|error| error.source().map_or_else(|| error.to_string(), causes));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = cause;
    }

    pub(super) fn cause(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn cause_of(&self, error: bb8::RunError<DbError>) -> DbError {
        match error {
            bb8::RunError::User(error) => error,
            bb8::RunError::TimedOut => {
                let cause = self.cause();
                DbError::Unavailable(
                    cause.map_or_else(|| Box::new(error) as Box<_>, |cause| cause.into()),
                )
            }
        }
    }
}

/// Whether the server may answer otherwise in a moment: it does not listen yet, or is starting.
fn may_pass(error: &tokio_postgres::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    let refused = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    let refused = refused.is_some_and(|e| {
        [ConnectionRefused, ConnectionReset, ConnectionAborted].contains(&e.kind())
    });
    let starting = error.code().is_some_and(|code| code.code() == "57P03");
    refused || starting
}

/// What is wrong at the start is out of reach in the end, whatever it is.
fn error_of_start(error: tokio_postgres::Error) -> DbError {
    match failed(error) {
        DbError::Statement(cause) => DbError::Unavailable(cause),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use refinery::Runner;

    use super::*;
    use crate::db::{Db, DbUrl, Migrations};

    #[tokio::test]
    async fn a_server_out_of_reach_is_told_with_the_cause_and_without_the_password() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let url: DbUrl = format!("postgres://u:hunter2@127.0.0.1:{port}/d").parse().unwrap();
        let acquire = Duration::from_millis(200);
        let config = DbConfig { pool_connections_max: 1, acquire, ..DbConfig::new("test", url) };
        let runner = || Runner::new(&[]);
        let migrations = Migrations { sqlite: runner(), postgres: runner() };
        let Err(error) = Db::open(&config, migrations).await else { panic!("nobody listens") };
        assert!(matches!(error, DbError::Unavailable(_)));
        let told = causes(&error).to_lowercase();
        assert!(told.contains("refused") && !told.contains("hunter2"), "{told}");
    }
}
