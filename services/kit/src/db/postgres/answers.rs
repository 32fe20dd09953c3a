//! A connection's stream, which fails when an answer of the server is overdue.
//!
//! A balancer, a pooler or a server that hangs leaves both ends of a TCP connection open and
//! acknowledges whatever is sent: no time-out of TCP ends such a connection, and the server's own
//! `statement_timeout` never arrives. So the client has a time-out of its own, and it is here,
//! below every statement of every task: none can be forgotten. It counts the requests that were
//! sent (`Query` and `Sync` messages) and the answers that came (`ReadyForQuery`), as PostgreSQL's
//! documentation describes under "Message Flow". While there are more of the first, and not a byte
//! was read for the time that is allowed, reading fails; so does every statement that waits, and
//! the pool makes another connection.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// How long the answers of one connection may take, and when the last bytes came.
#[derive(Clone)]
pub(super) struct Answers(Arc<Shared>);

struct Shared {
    owner: &'static str,
    within_ms: AtomicU64,
    heard_ms: AtomicU64,
    silence: Silence,
}

/// Since when a connection of this store was silent that was given up: others that received nothing
/// of since are likely to be no better.
#[derive(Clone)]
pub(super) struct Silence {
    began: Instant,
    since_ms: Arc<AtomicU64>,
}

/// The stream.
pub(super) struct Watched<S> {
    inner: S,
    answers: Answers,
    sent: Messages,
    received: Messages,
    unanswered: u64,
    /// The last byte was read, or the first request sent after all others were answered.
    since: Instant,
    timer: Pin<Box<Sleep>>,
    timer_runs: bool,
}

/// Where a way of the stream is among its messages: a type (one byte), a length that counts itself
/// (four bytes), and the rest.
struct Messages {
    header: [u8; 5],
    /// This many bytes of the header are there.
    have: usize,
    /// This many bytes of the message are still to come.
    rest: usize,
}

// === impl Silence ===

impl Silence {
    pub(super) fn none() -> Self {
        Self { began: Instant::now(), since_ms: Arc::default() }
    }

    fn ms(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }
}

// === impl Answers ===

impl Answers {
    /// Of a connection whose answers may take so long.
    pub(super) fn within(owner: &'static str, within: Duration, silence: &Silence) -> Self {
        let heard_ms = silence.ms(Instant::now()).into();
        let shared =
            Shared { owner, within_ms: AtomicU64::new(0), heard_ms, silence: silence.clone() };
        let answers = Self(Arc::new(shared));
        answers.allow(within);
        answers
    }

    /// From now on they may take so long.
    pub(super) fn allow(&self, within: Duration) {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        self.0.within_ms.store(within_ms, Ordering::Relaxed);
    }

    /// Whether another connection was given up that had been silent since before this one received
    /// of last.
    pub(super) fn are_doubtful(&self) -> bool {
        let heard_ms = self.0.heard_ms.load(Ordering::Relaxed);
        heard_ms < self.0.silence.since_ms.load(Ordering::Relaxed)
    }

    pub(super) fn allowed(&self) -> Duration {
        Duration::from_millis(self.0.within_ms.load(Ordering::Relaxed))
    }

    fn heard(&self, at: Instant) {
        self.0.heard_ms.store(self.0.silence.ms(at), Ordering::Relaxed);
    }

    /// The error of a connection whose answer is overdue.
    pub(super) fn give_up(&self) -> io::Error {
        let (owner, silence) = (self.0.owner, &self.0.silence);
        let since = Instant::now().checked_sub(self.allowed()).unwrap_or(silence.began);
        // Who was last heard of in the same millisecond is doubtful, too.
        silence.since_ms.fetch_max(silence.ms(since) + 1, Ordering::Relaxed);
        let silent_ms = self.0.within_ms.load(Ordering::Relaxed);
        tracing::warn!(owner, silent_ms, "PostgreSQL does not answer, closing the connection");
        io::Error::new(io::ErrorKind::TimedOut, "the server did not answer in time")
    }
}

// === impl Watched ===

impl<S> Watched<S> {
    /// Watches a stream from its first message on, which the server answers, too.
    pub(super) fn new(inner: S, answers: Answers) -> Self {
        let since = Instant::now();
        Self {
            inner,
            answers,
            sent: Messages::after_untyped(),
            received: Messages::typed(),
            unanswered: 1,
            since,
            timer: Box::pin(sleep_until(since)),
            timer_runs: false,
        }
    }

    pub(super) const fn inner(&self) -> &S {
        &self.inner
    }

    /// Whether an answer is overdue; else the task is woken when one is.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        if self.unanswered == 0 {
            return false;
        }
        loop {
            // The timer runs on while answers come: to set it anew for each would cost more.
            if !self.timer_runs {
                self.timer.as_mut().reset(self.since + self.answers.allowed());
                self.timer_runs = true;
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.timer_runs = false;
            if self.since + self.answers.allowed() <= Instant::now() {
                return true;
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let it = self.get_mut();
        let filled = buf.filled().len();
        // What has come counts before what has not, however late this task is.
        if Pin::new(&mut it.inner).poll_read(cx, buf)?.is_ready() {
            let read = &buf.filled()[filled..];
            if !read.is_empty() {
                let answered = it.received.count(read, b"Z");
                it.unanswered = it.unanswered.saturating_sub(answered);
                it.since = Instant::now();
                it.answers.heard(it.since);
            }
            return Poll::Ready(Ok(()));
        }
        if it.is_overdue(cx) {
            return Poll::Ready(Err(it.answers.give_up()));
        }
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let it = self.get_mut();
        let written = ready!(Pin::new(&mut it.inner).poll_write(cx, buf))?;
        let asked = it.sent.count(&buf[..written], b"QS");
        if asked > 0 {
            if it.unanswered == 0 {
                it.since = Instant::now();
            }
            it.unanswered += asked;
            // The task that reads is this one; it was not told yet that it waits for an answer.
            if it.is_overdue(cx) {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

// === impl Messages ===

impl Messages {
    const fn typed() -> Self {
        Self { header: [0; 5], have: 0, rest: 0 }
    }

    /// A client's first message has no type.
    const fn after_untyped() -> Self {
        Self { header: [0; 5], have: 1, rest: 0 }
    }

    /// How many messages of these types begin in these bytes, which follow those before.
    fn count(&mut self, mut bytes: &[u8], types: &[u8]) -> u64 {
        let mut counted = 0;
        while !bytes.is_empty() {
            if self.rest > 0 {
                let skipped = self.rest.min(bytes.len());
                self.rest -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = (self.header.len() - self.have).min(bytes.len());
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == self.header.len() {
                let [kind, length @ ..] = self.header;
                self.rest = (u32::from_be_bytes(length) as usize).saturating_sub(length.len());
                self.have = 0;
                counted += u64::from(types.contains(&kind));
            }
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const READY: &[u8] = b"Z\0\0\0\x05I";
    const QUERY: &[u8] = b"Q\0\0\0\x06;\0";

    fn answers() -> Answers {
        Answers::within("test", Duration::from_secs(10), &Silence::none())
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_in_time_is_an_error() {
        let (client, mut server) = duplex(1024);
        let answers = answers();
        let mut stream = Watched::new(client, answers.clone());
        stream.write_all(b"\0\0\0\x08\0\x03\0\0").await.unwrap();
        server.write_all(READY).await.unwrap();
        stream.read_exact(&mut [0; 6]).await.unwrap();
        // Nothing is asked: silence is right, for however long.
        let idle = tokio::time::timeout(Duration::from_secs(3600), stream.read_u8()).await;
        assert!(idle.is_err() && !answers.are_doubtful());
        stream.write_all(QUERY).await.unwrap();
        stream.write_all(QUERY).await.unwrap();
        // One answer of two, in two pieces: each is a sign of life.
        for piece in [&READY[..2], &READY[2..]] {
            let read = tokio::time::timeout(Duration::from_secs(9), stream.read_u8()).await;
            assert!(read.is_err(), "it is not overdue yet");
            server.write_all(piece).await.unwrap();
            stream.read_exact(&mut vec![0; piece.len()]).await.unwrap();
        }
        let asked = Instant::now();
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!((error.kind(), asked.elapsed().as_secs()), (io::ErrorKind::TimedOut, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_greets_is_given_up() {
        let (client, _server) = duplex(1024);
        let error = Watched::new(client, answers()).read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_not_heard_of_since_the_silence_began_is_doubtful() {
        let silence = Silence::none();
        let of = || Answers::within("test", Duration::from_secs(10), &silence);
        let (before, after) = (of(), of());
        tokio::time::advance(Duration::from_secs(1)).await;
        let (client, _server) = duplex(1024);
        let mut silent = Watched::new(client, of());
        let silent = tokio::spawn(async move { silent.read_u8().await });
        tokio::time::sleep(Duration::from_secs(5)).await;
        after.heard(Instant::now());
        assert!(!before.are_doubtful());
        silent.await.unwrap().unwrap_err();
        assert!(before.are_doubtful() && !after.are_doubtful());
    }

    proptest! {
        #[test]
        fn messages_are_counted_however_they_are_cut(
            sent in prop::collection::vec((any::<u8>(), 0_u8..20), 0..20),
            piece in 1_usize..30,
        ) {
            let mut bytes = b"\0\0\0\x06ab".to_vec();
            for (kind, length) in &sent {
                bytes.extend([*kind, 0, 0, 0, length + 4]);
                bytes.extend(vec![b'Q'; (*length).into()]);
            }
            let mut messages = Messages::after_untyped();
            let counted: u64 = bytes.chunks(piece).map(|it| messages.count(it, b"QS")).sum();
            let meant = sent.iter().filter(|(kind, _)| b"QS".contains(kind)).count();
            prop_assert_eq!(counted, meant as u64);
        }
    }
}
