//! Who sends requests: this many connections, each of which waits for an answer before it asks
//! again.
//!
//! All of them are tasks of one thread, which shares the machine's processors with what it
//! measures: what it uses itself is reported, too. Answers are read to their end, and must be
//! right.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{sleep_until, timeout},
};

use crate::people::Person;

const ADMIN: (&str, &str) = ("testuser@test.com", "password123");
/// Nothing takes so long.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
const PAGE: &str = "/api/patients?size=20";

/// Somebody who is signed in, with this many connections.
#[derive(Clone)]
pub(crate) struct Load {
    gateway: String,
    token: Arc<str>,
    connections: usize,
}

/// What is asked for.
#[derive(Clone)]
pub(crate) enum Work {
    /// One patient: each of these in turn.
    Get(Arc<Vec<String>>),
    /// The first page of all patients.
    List,
    /// Anyone who has these words in the name or the email: each of these in turn.
    Search(Arc<Vec<String>>),
    /// A new patient.
    Register,
}

/// A registration, and when its 201 had come.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) id: String,
    pub(crate) at: Instant,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// How long each took, in microseconds.
    pub(crate) took_us: Vec<u64>,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    pub(crate) registered: Vec<Registered>,
}

/// When requests are sent.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// As soon as the one before is answered.
    Full,
    /// This many a second by all connections together.
    PerSecond(u32),
}

/// One connection, and what it was answered.
struct Client {
    sender: SendRequest<Full<Bytes>>,
    load: Load,
    answers: Answers,
    /// Told of every registration.
    tell: Option<mpsc::UnboundedSender<Registered>>,
}

// === impl Load ===

impl Load {
    /// Signs in.
    pub(crate) async fn sign_in(gateway: &str, connections: usize) -> anyhow::Result<Self> {
        let mut load = Self { gateway: gateway.to_owned(), token: "".into(), connections };
        let mut client = Client::connect(&load, None).await?;
        let body = json!({"email": ADMIN.0, "password": ADMIN.1}).to_string();
        let answer = client.ask(Method::POST, "/auth/login", body.into_bytes(), 200).await?;
        load.token = answer["token"].as_str().context("an answer without a token")?.into();
        Ok(load)
    }

    /// Sends requests for so long, in a thread of its own; every one must succeed.
    pub(crate) async fn send(
        &self,
        work: Work,
        pace: Pace,
        for_time: Duration,
        tell: Option<mpsc::UnboundedSender<Registered>>,
    ) -> anyhow::Result<Answers> {
        let (done, answers) = oneshot::channel();
        let load = self.clone();
        thread::Builder::new().name("load".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let sent = match runtime {
                Ok(runtime) => runtime.block_on(load.send_all(work, pace, for_time, tell)),
                Err(error) => Err(error.into()),
            };
            // Nobody waits any more when we were interrupted.
            let _ = done.send(sent);
        })?;
        answers.await?
    }

    async fn send_all(
        self,
        work: Work,
        pace: Pace,
        for_time: Duration,
        tell: Option<mpsc::UnboundedSender<Registered>>,
    ) -> anyhow::Result<Answers> {
        let mut clients = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            clients.push(Client::connect(&self, tell.clone()).await?);
        }
        let (begun, mut all) = (Instant::now(), Answers::default());
        let mut sending = JoinSet::new();
        for (place, client) in clients.into_iter().enumerate() {
            sending.spawn(client.send(work.clone(), pace, place, begun + for_time));
        }
        while let Some(sent) = sending.join_next().await {
            let mut sent = sent??;
            all.took_us.append(&mut sent.took_us);
            all.registered.append(&mut sent.registered);
        }
        all.elapsed = begun.elapsed();
        Ok(all)
    }

    /// What a path answers.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        Client::connect(self, None).await?.ask(Method::GET, path, Vec::new(), 200).await
    }
}

// === impl Client ===

impl Client {
    async fn connect(
        load: &Load,
        tell: Option<mpsc::UnboundedSender<Registered>>,
    ) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(&load.gateway).await.context("the gateway")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // A connection that breaks fails the request that is on it.
        tokio::spawn(connection);
        Ok(Self { sender, load: load.clone(), answers: Answers::default(), tell })
    }

    async fn send(
        mut self,
        work: Work,
        pace: Pace,
        place: usize,
        until: Instant,
    ) -> anyhow::Result<Answers> {
        let (begun, mut sent) = (Instant::now(), 0_u32);
        loop {
            if let Pace::PerSecond(rate) = pace {
                let every = Duration::from_secs(1) / rate;
                let turn = sent as usize * self.load.connections + place;
                let at = begun + every * u32::try_from(turn)?;
                sleep_until(at.into()).await;
            }
            if Instant::now() >= until {
                return Ok(self.answers);
            }
            self.send_one(&work, sent as usize + place).await?;
            sent += 1;
        }
    }

    async fn send_one(&mut self, work: &Work, turn: usize) -> anyhow::Result<()> {
        let begun = Instant::now();
        match work {
            Work::Get(ids) => {
                let path = format!("/api/patients/{}", ids[turn % ids.len()]);
                self.answer(Method::GET, &path, Vec::new(), 200).await?;
            }
            Work::List => {
                self.answer(Method::GET, PAGE, Vec::new(), 200).await?;
            }
            Work::Search(queries) => {
                let query = json!({"query": queries[turn % queries.len()], "size": 20});
                let (path, body) = ("/api/patients/search", query.to_string().into_bytes());
                let answer = self.answer(Method::POST, path, body, 200).await?;
                let answer: Value = serde_json::from_slice(&answer)?;
                let found = answer["patients"].as_array().is_some_and(|all| !all.is_empty());
                ensure!(found, "a search found nobody");
            }
            Work::Register => {
                let body = Person::next().body();
                let answer = self.answer(Method::POST, "/api/patients", body, 201).await?;
                let at = Instant::now();
                let answer: Value = serde_json::from_slice(&answer)?;
                let id = answer["id"].as_str().context("an answer without an id")?.to_owned();
                let registered = Registered { id, at };
                match &self.tell {
                    Some(tell) => tell.send(registered)?,
                    None => self.answers.registered.push(registered),
                }
                self.answers.took_us.push(u64::try_from((at - begun).as_micros())?);
                return Ok(());
            }
        }
        self.answers.took_us.push(u64::try_from(begun.elapsed().as_micros())?);
        Ok(())
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        status: u16,
    ) -> anyhow::Result<Value> {
        let answer = self.answer(method, path, body, status).await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    /// The body of an answer, which must have this status.
    async fn answer(
        &mut self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        status: u16,
    ) -> anyhow::Result<Bytes> {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(header::HOST, &self.load.gateway);
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.load.token));
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(Bytes::from(body)))?;
        let answered = async {
            self.sender.ready().await?;
            let answer = self.sender.send_request(request).await?;
            let status = answer.status();
            Ok::<_, hyper::Error>((status, answer.into_body().collect().await?.to_bytes()))
        };
        let Ok(answered) = timeout(ANSWERED_WITHIN, answered).await else {
            bail!("{path}: no answer within {} s", ANSWERED_WITHIN.as_secs());
        };
        let (got, body) = answered.with_context(|| format!("{path}: the connection broke"))?;
        let right = got == StatusCode::from_u16(status)?;
        ensure!(right, "{path} was answered {got}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }
}
