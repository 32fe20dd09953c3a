//! A bad network: a TCP proxy in front of any server, whose behaviour is switched while it runs.
//!
//! Each connection has two threads, one for each way. What they draw comes from the seed, the
//! number of the connection and the way, so a run can be had again.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    ops::RangeInclusive,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::net::sockopt::set_socket_linger;

use crate::{free_port, random::Random};

const PIECE_BYTES: usize = 16 * 1024;
/// A server on this machine accepts at once, or not at all.
const CONNECTS_WITHIN: Duration = Duration::from_secs(5);
const BINDS_WITHIN: Duration = Duration::from_secs(5);
/// So often a writer that cannot go on looks whether it still should.
const WRITER_LOOKS_EVERY: Duration = Duration::from_millis(100);

/// What becomes of connections, those that are open included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// All that is sent arrives.
    Pass,
    /// Each piece arrives this many milliseconds later.
    DelayMs(RangeInclusive<u64>),
    /// After this many bytes one way, counted from the switch, the connection is closed both ways.
    TruncateAfter(u64),
    /// Connections are reset: those that are open now, and new ones as soon as they are.
    Reset,
    /// Connections are made, stay open, and nothing arrives; afterwards what was held goes on.
    BlackHole,
    /// Connections that are open now stay so, and nothing arrives; new ones pass all. Afterwards
    /// what was held goes on.
    StallOpen,
    /// Nobody listens, and open connections are reset: the server is gone.
    Refuse,
}

/// A proxy on a port of its own of 127.0.0.1. When it is dropped all is closed.
pub struct Proxy {
    shared: Arc<Shared>,
    accepting: Option<thread::JoinHandle<()>>,
}

struct Shared {
    port: u16,
    target: SocketAddr,
    seed: u64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    behaviour: Behaviour,
    /// Counts the switches.
    switches: u64,
    /// Whether somebody listens; why not, if it failed.
    listening: Result<bool, io::ErrorKind>,
    accepted: u64,
    open: Vec<Weak<Pair>>,
    ended: bool,
}

/// A connection: its two ends. Closed when both its threads have left it.
struct Pair {
    client: TcpStream,
    server: TcpStream,
    /// How many switches there were before it.
    born: u64,
    over: AtomicBool,
}

/// One way of a connection.
struct Way {
    pair: Arc<Pair>,
    upwards: bool,
    random: Random,
    /// Bytes since that switch.
    counted: (u64, u64),
}

/// What to do with a piece that was read.
enum Fate {
    Forward,
    /// Forward this many bytes, then close.
    Cut(usize),
    Drop,
}

// === impl Proxy ===

impl Proxy {
    /// Starts one that passes everything.
    pub fn start(target: impl ToSocketAddrs, seed: u64) -> io::Result<Self> {
        let target = target.to_socket_addrs()?.next().ok_or(io::ErrorKind::InvalidInput)?;
        let state = State {
            behaviour: Behaviour::Pass,
            switches: 0,
            listening: Ok(false),
            accepted: 0,
            open: Vec::new(),
            ended: false,
        };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let shared = Arc::new(Shared { port: free_port()?, target, seed, state, changed });
        let kept = Arc::clone(&shared);
        let accepting = thread::Builder::new().spawn(move || kept.accept())?;
        let proxy = Self { shared, accepting: Some(accepting) };
        proxy.shared.wait_listening(true)?;
        Ok(proxy)
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.shared.port).into()
    }

    /// The port of the address.
    pub fn port(&self) -> u16 {
        self.shared.port
    }

    /// How many connections there were.
    pub fn accepted(&self) -> u64 {
        self.shared.state().accepted
    }

    /// Switches. What was refused before is listened to again when this returns, and the other
    /// way round.
    pub fn set(&self, behaviour: Behaviour) -> io::Result<()> {
        let listening = behaviour != Behaviour::Refuse;
        let reset = matches!(behaviour, Behaviour::Reset | Behaviour::Refuse);
        let mut state = self.shared.state();
        state.behaviour = behaviour;
        state.switches += 1;
        self.shared.changed.notify_all();
        let open: Vec<_> = state.open.iter().filter_map(Weak::upgrade).collect();
        drop(state);
        if reset {
            open.iter().for_each(|pair| pair.reset());
        }
        drop(open);
        if !listening {
            // Wakes the one that accepts.
            let _ = TcpStream::connect(self.address());
        }
        self.shared.wait_listening(listening)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state().ended = true;
        let _ = self.set(Behaviour::Refuse);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

// === impl Shared ===

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_listening(&self, wanted: bool) -> io::Result<()> {
        let mut state = self.state();
        loop {
            match state.listening {
                Ok(listening) if listening == wanted => return Ok(()),
                Ok(_) => state = self.wait(state),
                Err(kind) => return Err(kind.into()),
            }
        }
    }

    fn listens(&self, listening: Result<bool, io::ErrorKind>) {
        self.state().listening = listening;
        self.changed.notify_all();
    }

    /// Listens whenever it should.
    fn accept(self: &Arc<Self>) {
        loop {
            let mut state = self.state();
            while state.behaviour == Behaviour::Refuse && !state.ended {
                state = self.wait(state);
            }
            if state.ended {
                return;
            }
            drop(state);
            let listener = match self.bind() {
                Ok(listener) => listener,
                Err(error) => return self.listens(Err(error.kind())),
            };
            self.listens(Ok(true));
            while let Ok((client, _)) = listener.accept() {
                let mut state = self.state();
                if state.behaviour == Behaviour::Refuse {
                    break;
                }
                state.accepted += 1;
                let number = state.accepted;
                drop(state);
                let shared = Arc::clone(self);
                thread::spawn(move || shared.serve(client, number));
            }
            drop(listener);
            self.listens(Ok(false));
        }
    }

    /// Listens. A process that another thread has just started may still have the socket of before.
    fn bind(&self) -> io::Result<TcpListener> {
        let until = Instant::now() + BINDS_WITHIN;
        loop {
            match TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)) {
                Err(error)
                    if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until =>
                {
                    thread::sleep(Duration::from_millis(10));
                }
                other => return other,
            }
        }
    }

    fn serve(self: &Arc<Self>, client: TcpStream, number: u64) {
        let mut state = self.state();
        while state.behaviour == Behaviour::BlackHole {
            state = self.wait(state);
        }
        let refused = matches!(state.behaviour, Behaviour::Reset | Behaviour::Refuse);
        drop(state);
        let connected = if refused {
            Err(io::ErrorKind::ConnectionReset.into())
        } else {
            TcpStream::connect_timeout(&self.target, CONNECTS_WITHIN)
        };
        let Ok(server) = connected else { return abort(&client) };
        for stream in [&client, &server] {
            let _ = stream.set_nodelay(true);
            let _ = stream.set_write_timeout(Some(WRITER_LOOKS_EVERY));
        }
        let mut state = self.state();
        let (born, over) = (state.switches, AtomicBool::new(false));
        let pair = Arc::new(Pair { client, server, born, over });
        state.open.retain(|pair| pair.strong_count() > 0);
        state.open.push(Arc::downgrade(&pair));
        // It was switched while we connected.
        if matches!(state.behaviour, Behaviour::Reset | Behaviour::Refuse) {
            return pair.reset();
        }
        drop(state);
        let way = |upwards| {
            let seed = self.seed ^ (number << 1 | u64::from(upwards)).wrapping_mul(Random::STEP);
            Way { pair: Arc::clone(&pair), upwards, random: Random(seed), counted: (0, 0) }
        };
        let (up, down, shared) = (way(true), way(false), Arc::clone(self));
        drop(pair);
        thread::spawn(move || up.pump(&shared));
        down.pump(self);
    }
}

// === impl Pair ===

impl Pair {
    /// Ends it so that both sides get a reset once its threads have left it.
    fn reset(&self) {
        self.over.store(true, Ordering::SeqCst);
        for stream in [&self.client, &self.server] {
            abort(stream);
            // Wakes the reader, and is not told to the other side.
            let _ = stream.shutdown(Shutdown::Read);
        }
    }

    fn close(&self) {
        self.over.store(true, Ordering::SeqCst);
        for stream in [&self.client, &self.server] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

// === impl Way ===

impl Way {
    fn pump(mut self, shared: &Shared) {
        let pair = Arc::clone(&self.pair);
        let (mut from, to) =
            if self.upwards { (&pair.client, &pair.server) } else { (&pair.server, &pair.client) };
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = from.read(&mut piece).unwrap_or(0);
            match self.fate(shared, read) {
                Fate::Drop => return,
                Fate::Cut(bytes) => {
                    self.write(to, &piece[..bytes]);
                    return self.pair.close();
                }
                // The end: it goes on to the other side, which may still answer.
                Fate::Forward if read == 0 => return drop(to.shutdown(Shutdown::Write)),
                Fate::Forward => {
                    if !self.write(to, &piece[..read]) {
                        return self.pair.reset();
                    }
                }
            }
        }
    }

    /// What becomes of this many bytes; waits until they may go.
    fn fate(&mut self, shared: &Shared, bytes: usize) -> Fate {
        let mut state = shared.state();
        loop {
            if self.pair.is_over() {
                return Fate::Drop;
            }
            match &state.behaviour {
                Behaviour::Pass => return Fate::Forward,
                // This connection is about to be told so.
                Behaviour::Reset | Behaviour::Refuse => {
                    drop(state);
                    self.pair.reset();
                    return Fate::Drop;
                }
                Behaviour::StallOpen if self.pair.born == state.switches => return Fate::Forward,
                Behaviour::BlackHole | Behaviour::StallOpen => state = shared.wait(state),
                Behaviour::DelayMs(range) => {
                    let delay = Duration::from_millis(self.random.within(range));
                    let since = state.switches;
                    let same = |state: &mut State| state.switches == since && !self.pair.is_over();
                    let waited = shared.changed.wait_timeout_while(state, delay, same);
                    let (waited, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                    if timeout.timed_out() {
                        return Fate::Forward;
                    }
                    state = waited;
                }
                Behaviour::TruncateAfter(most) => {
                    if self.counted.0 != state.switches {
                        self.counted = (state.switches, 0);
                    }
                    let left = usize::try_from(most - self.counted.1).unwrap_or(usize::MAX);
                    if bytes >= left {
                        return Fate::Cut(left);
                    }
                    self.counted.1 += bytes as u64;
                    return Fate::Forward;
                }
            }
        }
    }

    /// Whether all of it was taken. A side that does not read is waited for.
    fn write(&self, mut to: &TcpStream, mut piece: &[u8]) -> bool {
        while !piece.is_empty() && !self.pair.is_over() {
            match to.write(piece) {
                Ok(written) => piece = &piece[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
        piece.is_empty()
    }
}

/// When it is closed, the other side gets a reset instead of an end.
fn abort(stream: &TcpStream) {
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends back what it gets, and an end when it gets one.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                thread::spawn(move || io::copy(&mut stream.try_clone().unwrap(), &mut stream));
            }
        });
        address
    }

    fn proxy() -> Proxy {
        Proxy::start(echo(), 7).unwrap()
    }

    fn connect(proxy: &Proxy) -> TcpStream {
        let stream = TcpStream::connect(proxy.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends, and reads as much.
    fn talk(mut stream: &TcpStream, text: &str) -> io::Result<String> {
        stream.write_all(text.as_bytes())?;
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer)?;
        Ok(String::from_utf8(answer).unwrap())
    }

    fn is_reset(mut stream: &TcpStream) -> bool {
        let read = stream.read(&mut [0]);
        read.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
    }

    #[test]
    fn what_is_sent_arrives_and_so_does_the_end() {
        let proxy = proxy();
        let mut stream = connect(&proxy);
        let many = "x".repeat(10 * PIECE_BYTES);
        assert_eq!(talk(&stream, &many).unwrap(), many);
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        assert_eq!(proxy.accepted(), 1);
    }

    #[test]
    fn open_connections_and_new_ones_are_delayed() {
        let proxy = proxy();
        let open = connect(&proxy);
        assert_eq!(talk(&open, "now").unwrap(), "now");
        proxy.set(Behaviour::DelayMs(30..=50)).unwrap();
        for stream in [open, connect(&proxy)] {
            let begun = Instant::now();
            assert_eq!(talk(&stream, "later").unwrap(), "later");
            // Both ways.
            assert!(begun.elapsed() >= Duration::from_millis(60), "{:?}", begun.elapsed());
        }
    }

    #[test]
    fn a_switch_ends_a_delay() {
        let proxy = proxy();
        proxy.set(Behaviour::DelayMs(3_600_000..=3_600_000)).unwrap();
        let stream = connect(&proxy);
        thread::scope(|scope| {
            let talking = scope.spawn(|| talk(&stream, "at last").unwrap());
            proxy.set(Behaviour::Pass).unwrap();
            assert_eq!(talking.join().unwrap(), "at last");
        });
    }

    #[test]
    fn a_connection_is_cut_after_so_many_bytes() {
        let proxy = proxy();
        let mut open = connect(&proxy);
        assert_eq!(talk(&open, "uncounted").unwrap(), "uncounted");
        proxy.set(Behaviour::TruncateAfter(6)).unwrap();
        assert_eq!(talk(&open, "four").unwrap(), "four");
        open.write_all(b"four").unwrap();
        let mut rest = Vec::new();
        // The request was cut, before its answer could be.
        let _ = open.read_to_end(&mut rest);
        assert!(rest.len() <= 2, "{rest:?}");
        assert_eq!(talk(&connect(&proxy), "new").unwrap(), "new");
    }

    #[test]
    fn open_connections_and_new_ones_are_reset() {
        let proxy = proxy();
        let open = connect(&proxy);
        assert_eq!(talk(&open, "a").unwrap(), "a");
        proxy.set(Behaviour::Reset).unwrap();
        assert!(is_reset(&open));
        assert!(is_reset(&connect(&proxy)));
        proxy.set(Behaviour::Pass).unwrap();
        assert_eq!(talk(&connect(&proxy), "b").unwrap(), "b");
    }

    #[test]
    fn a_black_hole_keeps_what_is_sent_until_it_is_none() {
        let proxy = proxy();
        let open = connect(&proxy);
        assert_eq!(talk(&open, "a").unwrap(), "a");
        proxy.set(Behaviour::BlackHole).unwrap();
        let new = connect(&proxy);
        for mut stream in [&open, &new] {
            stream.write_all(b"held").unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let kind = stream.read(&mut [0]).unwrap_err().kind();
            assert_eq!(kind, io::ErrorKind::WouldBlock);
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        }
        proxy.set(Behaviour::Pass).unwrap();
        for mut stream in [&open, &new] {
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"held");
        }
    }

    #[test]
    fn open_connections_stall_and_new_ones_do_not() {
        let proxy = proxy();
        let mut open = connect(&proxy);
        assert_eq!(talk(&open, "a").unwrap(), "a");
        proxy.set(Behaviour::StallOpen).unwrap();
        open.write_all(b"held").unwrap();
        let new = connect(&proxy);
        assert_eq!(talk(&new, "b").unwrap(), "b");
        open.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert_eq!(open.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        open.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        proxy.set(Behaviour::Pass).unwrap();
        let mut answer = [0; 4];
        open.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"held");
        assert_eq!(talk(&new, "c").unwrap(), "c");
    }

    #[test]
    fn nobody_listens_and_then_somebody_does_again() {
        let proxy = proxy();
        let open = connect(&proxy);
        assert_eq!(talk(&open, "a").unwrap(), "a");
        for _ in 0..3 {
            proxy.set(Behaviour::Refuse).unwrap();
            let refused = TcpStream::connect(proxy.address()).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            proxy.set(Behaviour::Pass).unwrap();
            assert_eq!(talk(&connect(&proxy), "b").unwrap(), "b");
        }
        assert!(is_reset(&open));
    }

    #[test]
    fn a_server_that_is_gone_is_a_reset_and_a_proxy_that_is_gone_a_refusal() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let proxy = Proxy::start(gone, 7).unwrap();
        assert!(is_reset(&connect(&proxy)));
        let address = proxy.address();
        drop(proxy);
        assert!(TcpStream::connect(address).is_err());
    }
}
