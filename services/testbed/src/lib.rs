//! The real servers that tests need, each test's own: started, hurt, started again, gone with it.
//!
//! - [`postgres`]: PostgreSQL, of two major versions.
//! - [`kafka`]: Apache Kafka, of one broker or three.
//! - [`prometheus`]: Prometheus, with the project's own rules.
//! - [`proxy`]: a bad network in front of any of them.
//! - [`corpora`]: hostile requests; and [`frames`], in which those of HTTP/2 are written.
//! - [`with_servers`]: the command that `make test` runs the tests by.
//! - `process`: what is started dies with anyone who started it, even by `kill -9`; and `folder`,
//!   which is gone then, too.
//! - `certs`: an authority, and the certificates by which servers show themselves.
//! - `installed`: where all that lies; `install.sh` puts it there.
//!
//! All of it is blocking, for servers are slow and tests few. Failures say what was missing.

pub mod postgres;

pub mod kafka;

pub mod prometheus;

pub mod proxy;

pub mod corpora;
pub mod frames;

pub mod with_servers;

mod certs;
mod folder;
mod installed;
mod process;
mod random;

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::net;

pub use self::{
    folder::keep_in,
    kafka::{Kafka, Listener, Right, Security},
    postgres::{Postgres, Version},
    prometheus::Prometheus,
    proxy::{Behaviour, Proxy},
};

/// A server that is not up by then will not be. Machines of CI are slow and shared.
const UP_WITHIN: Duration = Duration::from_secs(120);
const LOOKS_EVERY: Duration = Duration::from_millis(20);

/// Ports for servers. The system gives those above to anyone who asks for any, so a server that is
/// down keeps its own.
const PORTS: std::ops::Range<u16> = 11_000..32_000;

/// A port of 127.0.0.1 that nobody listens on, given out once.
///
/// # Errors
/// When there is none.
pub fn free_port() -> io::Result<u16> {
    static NEXT: OnceLock<AtomicUsize> = OnceLock::new();
    // Not from the first one on: other processes look for theirs at the same time.
    let begin = || AtomicUsize::new(RandomState::new().hash_one(std::process::id()) as usize);
    let next = NEXT.get_or_init(begin);
    let mut free = PORTS.filter_map(|_| {
        let at = next.fetch_add(1, Ordering::Relaxed) % PORTS.len();
        let port = PORTS.start + u16::try_from(at).expect("it is less than their number");
        is_free(port).is_ok().then_some(port)
    });
    free.next().ok_or_else(|| io::Error::other("there is no free port"))
}

/// Whether a server could listen on a port. A socket that listens would keep it for longer: a
/// process that another thread starts meanwhile has it, too, until it is another program.
fn is_free(port: u16) -> io::Result<()> {
    let socket = net::socket_with(
        net::AddressFamily::INET,
        net::SocketType::STREAM,
        net::SocketFlags::CLOEXEC,
        None,
    )?;
    net::sockopt::set_socket_reuseaddr(&socket, true)?;
    Ok(net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?)
}

/// Looks again and again until there is an answer.
fn until<T>(what: &str, mut look: impl FnMut() -> io::Result<Option<T>>) -> io::Result<T> {
    let since = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if since.elapsed() > UP_WITHIN {
            let message = format!("{what}: not within {} s", UP_WITHIN.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        thread::sleep(LOOKS_EVERY);
    }
}
