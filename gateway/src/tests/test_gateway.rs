//! A gateway, a part behind it, and a client: all of them plain sockets, so that tests see bytes.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use shared_middleware::{
    audit::denials,
    identity::{Part, Role},
    in_process::InProcess,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::message::{Message, receive};
use crate::{
    Config, Deps, PublicTls, Running, bind, start,
    test_support::{Keys, clock, ids, mesh_tls},
};

/// What never comes would otherwise be waited for without end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway with one fake part for all parts.
pub(super) struct TestGateway {
    pub(super) running: Running,
    pub(super) keys: Keys,
    pub(super) part: FakeUpstream,
    pub(super) stop: CancellationToken,
}

/// A part that does as it is told, and answers 200 when it is told nothing.
#[derive(Clone)]
pub(super) struct FakeUpstream {
    pub(super) port: u16,
    seen: Arc<Mutex<Vec<Message>>>,
    script: Arc<Mutex<VecDeque<Act>>>,
    arrived: Arc<Notify>,
    health: watch::Sender<Health>,
    /// How often it was asked whether it is ready.
    asked: watch::Sender<usize>,
}

/// What the part says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Health {
    Ready,
    NotReady,
    /// It never says.
    Silent,
}

/// What the part does with one request.
pub(super) enum Act {
    /// Sends these bytes, and waits for the next request.
    Send(Vec<u8>),
    /// Sends these bytes and ends the connection.
    SendAndClose(Vec<u8>),
    /// Waits to be told, then sends these bytes.
    SendWhen(Arc<Notify>, Vec<u8>),
    /// Never answers.
    Silence,
}

/// A client's connection.
pub(super) struct Client {
    socket: Box<dyn Socket>,
    read: Vec<u8>,
}

/// With TLS, or without.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

// === impl TestGateway ===

impl TestGateway {
    pub(super) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(super) async fn start_with(configure: impl FnOnce(&mut Config)) -> Self {
        Self::start_public(None, configure).await
    }

    /// With this on the public port.
    pub(super) async fn start_public(
        public_tls: Option<Arc<PublicTls>>,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        Self::start_around(HashMap::new(), public_tls, configure).await
    }

    /// In one process with these parts.
    pub(super) async fn start_around(
        in_process: HashMap<Part, InProcess>,
        public_tls: Option<Arc<PublicTls>>,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let part = FakeUpstream::start().await;
        let url = part.url();
        let upstreams = Part::ALL.map(|part| (part, vec![url.clone()]));
        let mut config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            upstreams: HashMap::from(upstreams),
            user_limit: None,
            client_limit: None,
            login_limit: None,
            // Stories that are not about it are not disturbed by it.
            health_every: Duration::from_secs(3600),
            ..Config::default()
        };
        configure(&mut config);
        let keys = Keys::new();
        let deps = Deps {
            tls: mesh_tls(Part::Gateway),
            public_tls,
            verifier: Arc::new(keys.verifier()),
            clock: clock(),
            in_process,
            refusals: denials::queue().0,
            ids: ids(),
        };
        let stop = CancellationToken::new();
        let bound = bind(config.listen, config.redirect_listen).unwrap();
        let running = start(config, bound, deps, stop.clone()).unwrap();
        Self { running, keys, part, stop }
    }

    pub(super) async fn client(&self) -> Client {
        Client::on(TcpStream::connect(self.running.address()).await.unwrap())
    }

    /// Sends a request on a connection of its own.
    pub(super) async fn send(&self, request: impl AsRef<[u8]>) -> Message {
        let mut client = self.client().await;
        client.send(request).await;
        client.answer().await
    }

    /// A request as a user of this role.
    pub(super) async fn send_as(&self, role: Role, method: &str, path: &str) -> Message {
        self.send(self.request_as(role, method, path, "", "")).await
    }

    /// The bytes of a request of a user of this role.
    pub(super) fn request_as(
        &self,
        role: Role,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> String {
        let token = self.keys.token("u1", role);
        let headers = format!("Authorization: Bearer {token}\r\n{headers}");
        request(method, path, &headers, body)
    }
}

/// The bytes of a request.
pub(super) fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length =
        if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{method} {path} HTTP/1.1\r\nHost: gateway\r\n{headers}{length}\r\n{body}")
}

/// The bytes of an answer.
pub(super) fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}").into_bytes()
}

/// What must come soon.
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it did not come")
}

// === impl FakeUpstream ===

impl FakeUpstream {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let part = Self {
            port: listener.local_addr().unwrap().port(),
            seen: Arc::default(),
            script: Arc::default(),
            arrived: Arc::default(),
            health: watch::Sender::new(Health::Ready),
            asked: watch::Sender::new(0),
        };
        let serving = part.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(socket));
            }
        });
        part
    }

    /// Does this with the next request that has no act yet.
    pub(super) fn will(&self, act: Act) {
        self.script.lock().unwrap().push_back(act);
    }

    /// Where it is.
    pub(super) fn url(&self) -> http::Uri {
        format!("http://127.0.0.1:{}", self.port).parse().unwrap()
    }

    /// Says this of itself from now on; waits until this many further checks have come, of which
    /// the first may have begun before.
    pub(super) async fn says(&self, health: Health, checks: usize) {
        self.health.send_replace(health);
        let mut asked = self.asked.subscribe();
        let wanted = *asked.borrow() + checks;
        soon(asked.wait_for(|asked| *asked >= wanted)).await.unwrap();
    }

    /// What has come so far.
    pub(super) fn seen(&self) -> Vec<Message> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until this many requests have come.
    pub(super) async fn wait_for(&self, requests: usize) {
        soon(async {
            while self.seen().len() < requests {
                self.arrived.notified().await;
            }
        })
        .await;
    }

    async fn tell(&self, socket: &mut TcpStream) {
        let health = *self.health.borrow();
        self.asked.send_modify(|asked| *asked += 1);
        let told = match health {
            Health::Ready => answer("200 OK", "", "ok"),
            Health::NotReady => answer("503 Service Unavailable", "", ""),
            Health::Silent => std::future::pending().await,
        };
        let _ = socket.write_all(&told).await;
    }

    async fn serve(self, mut socket: TcpStream) {
        let mut read = Vec::new();
        while let Some(message) = receive(&mut socket, &mut read, false).await {
            if message.first_line == "GET /readyz HTTP/1.1" {
                return self.tell(&mut socket).await;
            }
            let whole = message.whole;
            self.seen.lock().unwrap().push(message);
            self.arrived.notify_one();
            if !whole {
                return;
            }
            let act = self.script.lock().unwrap().pop_front();
            let sent = match act.unwrap_or_else(|| Act::Send(answer("200 OK", "", "hello"))) {
                Act::Send(bytes) => socket.write_all(&bytes).await,
                Act::SendAndClose(bytes) => {
                    let _ = socket.write_all(&bytes).await;
                    return;
                }
                Act::SendWhen(told, bytes) => {
                    told.notified().await;
                    socket.write_all(&bytes).await
                }
                Act::Silence => std::future::pending().await,
            };
            if sent.is_err() {
                return;
            }
        }
    }
}

// === impl Client ===

impl Client {
    pub(super) fn on(socket: impl Socket + 'static) -> Self {
        Self { socket: Box::new(socket), read: Vec::new() }
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next answer.
    pub(super) async fn answer(&mut self) -> Message {
        self.answer_to("GET").await
    }

    /// The next answer, to a request of this method.
    pub(super) async fn answer_to(&mut self, method: &str) -> Message {
        let answer = soon(receive(&mut self.socket, &mut self.read, method == "HEAD")).await;
        answer.expect("the connection ended without an answer")
    }

    /// The next answer, unless the connection breaks before its head is whole.
    pub(super) async fn answer_if_any(&mut self) -> Option<Message> {
        soon(receive(&mut self.socket, &mut self.read, false)).await
    }

    /// The status of the answer to this, if there is any.
    pub(super) async fn answers(&mut self, request: impl AsRef<[u8]>) -> Option<u16> {
        let _ = self.socket.write_all(request.as_ref()).await;
        self.answer_if_any().await.map(|answer| answer.status())
    }

    /// Waits for the end of the connection, at which nothing more may come.
    pub(super) async fn end(&mut self) {
        let more = soon(receive(&mut self.socket, &mut self.read, false)).await;
        assert!(more.is_none(), "{more:?}");
    }
}
