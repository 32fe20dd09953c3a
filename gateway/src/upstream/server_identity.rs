//! Whether a server that pingora has connected to is the part that was called.
//!
//! Of the server's certificate pingora hands out the digest. So it is compared with the digests of
//! certificates that our own handshakes have verified whole: authority, validity, revocation lists,
//! DNS name and SPIFFE id. The health checks make such handshakes all the time. A certificate that
//! none of them has met is looked for by handshakes with the same socket: by several, since behind
//! one address there may be several replicas.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use shared_middleware::{identity::Part, tls::MeshTls};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

/// This many handshakes look for one certificate.
const HANDSHAKES_MAX: usize = 16;
/// After this many that failed none is made: nobody there seems to be the part.
const FAILURES_MAX: usize = 3;

/// Whether the certificate with this SHA-256, shown by the server at this socket, is the part's.
pub(super) async fn is_part(
    tls: &Arc<MeshTls>,
    part: Part,
    sha256: &[u8],
    socket: Option<SocketAddr>,
    within: Duration,
) -> bool {
    if tls.knows_server(part, sha256) {
        return true;
    }
    let (Some(socket), false) = (socket, sha256.is_empty()) else { return false };
    let until = Instant::now() + within;
    let mut failures = 0;
    for _ in 0..HANDSHAKES_MAX {
        let handshake = async { tls.connect(part, TcpStream::connect(socket).await?).await };
        let shaken = timeout_at(until, handshake).await;
        if tls.knows_server(part, sha256) {
            return true;
        }
        failures += usize::from(!matches!(shaken, Ok(Ok(_))));
        if failures == FAILURES_MAX {
            break;
        }
    }
    tracing::warn!(upstream = %part, address = %socket, "upstream refused: wrong certificate");
    false
}
