//! The plaintext port that only says where to go: the same path, by https.
//!
//! What it reads is held to the same rules and bounds as at the public port, and nothing is served
//! here: anyone who sends a token in plaintext learns from the first answer not to.

use std::net::SocketAddr;

use http::{HeaderValue, StatusCode, header::LOCATION};
use shared_middleware::error::{ErrorCode, Failure};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    metrics,
    policy::host,
    proxy::{
        error_response::{DISCARD_WITHIN, DISCARDED_BYTES_MAX},
        headers::Scheme,
        local_response::LocalResponse,
    },
    server::{
        client_stream::ClientStream,
        connection::{refuse_head, wait_for_request, write_response},
        context::ServerContext,
        downstream::Downstream,
        request_head::{self, HeadError, RequestHead},
    },
};

/// The port that goes without saying.
const HTTPS: u16 = 443;

/// Answers one request; the connection ends with it.
pub(crate) async fn serve(
    socket: TcpStream,
    remote: SocketAddr,
    port: u16,
    server: &ServerContext,
) {
    let _ = socket.set_nodelay(true);
    let _open = metrics::OpenConnection::begin();
    let mut client = Downstream::new(ClientStream::Plain(socket), remote);
    if !wait_for_request(&mut client, &server.closing, server.keep_alive_timeout).await {
        return;
    }
    let head = match request_head::read(&mut client, &server.head_limits).await {
        Ok(head) => head,
        Err(HeadError::Gone) => return,
        Err(HeadError::Refused(failure)) => {
            return refuse_head(&mut client, failure, Scheme::Http, server).await;
        }
    };
    let Some(location) = location(&head, port) else {
        let failure = Failure::new(ErrorCode::Invalid, "the host of the request is malformed");
        return refuse_head(&mut client, failure, Scheme::Http, server).await;
    };
    let answer = LocalResponse::empty(StatusCode::PERMANENT_REDIRECT, vec![(LOCATION, location)]);
    write_response(&mut client, |_| answer, Scheme::Http, server).await;
    let _ = timeout(DISCARD_WITHIN, client.lingering_close(DISCARDED_BYTES_MAX)).await;
}

/// Where the request belongs; none when it does not say at which host.
fn location(head: &RequestHead, port: u16) -> Option<HeaderValue> {
    let (host, _) = host::parse(std::str::from_utf8(head.host()?).ok()?)?;
    let target = std::str::from_utf8(head.target()?).ok()?;
    let location = match port {
        HTTPS => format!("https://{host}{target}"),
        port => format!("https://{host}:{port}{target}"),
    };
    HeaderValue::from_str(&location).ok()
}
