//! The plaintext port that only says where to go: the same path, by https.
//!
//! What it reads is held to the same rules and bounds as at the public port, and nothing is served
//! here: whoever sends a token in plaintext learns from the first answer not to.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header::LOCATION};
use shared_middleware::error::{ErrorCode, Failure};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    answer::Answer,
    connection::{Common, refuse_head, waited_for_request, write_answer},
    downstream::Downstream,
    head::{self, Head, NoHead},
    headers::Scheme,
    host, metrics,
    refuse::{PASSED_OVER_BYTES_MAX, PASSED_OVER_WITHIN},
    wire::Wire,
};

/// The port that goes without saying.
const HTTPS: u16 = 443;

/// Answers one request; the connection ends with it.
pub(crate) async fn serve(socket: TcpStream, remote: SocketAddr, port: u16, common: &Common) {
    let _ = socket.set_nodelay(true);
    let _open = metrics::Open::begin();
    let mut client = Downstream::new(Wire::Plain(socket), remote);
    if !waited_for_request(&mut client, &common.closing, common.keep_alive_timeout).await {
        return;
    }
    let head = match head::read(&mut client, &common.bounds).await {
        Ok(head) => head,
        Err(NoHead::Gone) => return,
        Err(NoHead::Refused(failure)) => {
            return refuse_head(&mut client, failure, Scheme::Http, common).await;
        }
    };
    let Some(place) = place(&head, port) else {
        let failure = Failure::new(ErrorCode::Invalid, "the host of the request is malformed");
        return refuse_head(&mut client, failure, Scheme::Http, common).await;
    };
    let answer = Answer {
        status: StatusCode::PERMANENT_REDIRECT,
        content_type: HeaderValue::from_static("text/plain"),
        body: Bytes::new(),
        headers: vec![(LOCATION, place)],
    };
    write_answer(&mut client, |_| answer, Scheme::Http, common).await;
    let _ = timeout(PASSED_OVER_WITHIN, client.close_gently(PASSED_OVER_BYTES_MAX)).await;
}

/// Where the request belongs; none when it does not say at which host.
fn place(head: &Head, port: u16) -> Option<HeaderValue> {
    let (host, _) = host::parse(std::str::from_utf8(head.host()?).ok()?)?;
    let target = std::str::from_utf8(head.target()?).ok()?;
    let place = match port {
        HTTPS => format!("https://{host}{target}"),
        port => format!("https://{host}:{port}{target}"),
    };
    HeaderValue::from_str(&place).ok()
}
