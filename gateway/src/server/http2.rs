//! A client's connection that speaks HTTP/2: many requests at once, each handed to pingora.
//!
//! What `head` does for HTTP/1 is done by the frames here: where a head or a body ends cannot be
//! read in two ways. What is left is the target, which is held to the same form (`path`), and the
//! bounds: of streams, of heads, of what a client may get wrong before it has to go.

use std::{sync::Arc, time::Duration};

use pingora_core::apps::HttpServerApp as _;
use pingora_core::protocols::{
    Digest, GetSocketDigest as _,
    http::{
        ServerSession,
        v2::server::{H2Accept, H2Options, HttpSession, handshake},
    },
};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::server::{
    context::{Proxy, REQUEST_WITHIN, ServerContext},
    downstream::Downstream,
};

/// This many requests of one connection are worked on at once.
const STREAMS_MAX: u32 = 100;

/// This many requests that are none are passed over; then the connection is closed.
const MALFORMED_MAX: usize = 32;

/// Serves a client until either side ends the connection.
pub(crate) async fn serve(mut client: Box<Downstream>, proxy: &Proxy, server: &ServerContext) {
    client.pass_through();
    let digest =
        Arc::new(Digest { socket_digest: client.get_socket_digest(), ..Digest::default() });
    let opened =
        timeout(server.head_limits.timeout, handshake(client, Some(options(server)))).await;
    let Ok(Ok(mut connection)) = opened else { return };
    // Closed at once, which says no more than that it may be waited for.
    let requests = TaskTracker::new();
    requests.close();
    let (mut malformed, mut leaving) = (0, false);
    // Its own, so that threads do not wait for one another to listen to it.
    let stop = server.stop.child_token();
    loop {
        let idle = async {
            requests.wait().await;
            sleep(server.keep_alive_timeout).await;
        };
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled(), if !leaving => {
                // Requests on the way are served; for others the client connects anew.
                connection.graceful_shutdown();
                leaving = true;
                continue;
            }
            accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => accepted,
            () = idle => return,
        };
        match accepted {
            Ok(Some(H2Accept::Session(session))) => {
                requests.spawn(request(session, proxy.clone(), server.client_timeout));
            }
            Ok(Some(H2Accept::Rejected)) => {
                malformed += 1;
                if malformed >= MALFORMED_MAX {
                    return;
                }
            }
            Ok(None) | Err(_) => return,
        }
    }
}

async fn request(mut session: HttpSession, proxy: Proxy, client_timeout: Duration) {
    session.set_write_timeout(Some(client_timeout));
    let session = ServerSession::new_http2(session);
    // What was begun and is dropped is asked to the client as a reset.
    let served = proxy.http.process_new_http(session, &proxy.stopping);
    let _ = timeout(REQUEST_WITHIN, served).await;
}

fn options(server: &ServerContext) -> H2Options {
    let mut options = H2Options::new();
    options
        .max_concurrent_streams(STREAMS_MAX)
        .max_local_error_reset_streams(Some(MALFORMED_MAX))
        .max_header_list_size(u32::try_from(server.head_limits.head_bytes_max).unwrap_or(u32::MAX));
    options
}
