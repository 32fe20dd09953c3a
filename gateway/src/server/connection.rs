//! One client's connection, from its first byte to its end: a head is read and checked, the request
//! is handed to pingora, and the connection comes back for the next one.

use std::{net::SocketAddr, time::Duration};

use http::{HeaderMap, Method};
use pingora_core::{apps::HttpServerApp as _, protocols::http::ServerSession};
use shared_middleware::{error::Failure, trace_context::TraceContext};
use tokio::{net::TcpStream, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    metrics,
    proxy::{
        error_response::{self, DISCARD_WITHIN, DISCARDED_BYTES_MAX},
        headers::Scheme,
        local_response::LocalResponse,
        request_context::RequestContext,
    },
    server::{
        client_stream::ClientStream,
        context::{Proxy, REQUEST_WITHIN, ServerContext},
        downstream::Downstream,
        http2,
        request_head::{self, HeadError, RequestHead},
    },
};

/// When the gateway stops, an idle connection is listened to so much longer: a request may have
/// been sent that was not noticed yet.
const LAST_READ_WITHIN: Duration = Duration::from_millis(25);

/// A client over the connection limit has this long to read the refusal, and this much of its
/// request is passed over.
const REJECTION_READ_WITHIN: Duration = Duration::from_millis(200);
const HEAD_BYTES: usize = 16 << 10;

/// Serves a client until either side ends the connection.
pub(crate) async fn serve(
    socket: TcpStream,
    remote: SocketAddr,
    proxy: &Proxy,
    server: &ServerContext,
) {
    // Answers are gathered before they are written, so waiting for more would only delay them.
    let _ = socket.set_nodelay(true);
    let _open = metrics::OpenConnection::begin();
    let Some(stream) = accept_tls(socket, server).await else { return };
    let http2 = stream.speaks_http2();
    let mut client = Box::new(Downstream::new(stream, remote));
    if http2 {
        return http2::serve(client, proxy, server).await;
    }
    // Its own, so that threads do not wait for one another to listen to it.
    let closing = server.closing.child_token();
    while wait_for_request(&mut client, &closing, server.keep_alive_timeout).await {
        let head = match request_head::read(&mut client, &server.head_limits).await {
            Ok(head) => head,
            Err(HeadError::Gone) => return,
            Err(HeadError::Refused(failure)) => {
                return refuse_head(&mut client, failure, server.scheme(), server).await;
            }
        };
        match request(client, head, proxy, server).await {
            Some(again) => client = again,
            None => return,
        }
    }
}

/// Shakes hands, where clients are to.
async fn accept_tls(socket: TcpStream, server: &ServerContext) -> Option<ClientStream> {
    let Some(tls) = &server.tls else { return Some(ClientStream::Plain(socket)) };
    let shaken = tokio::select! {
        shaken = timeout(server.head_limits.timeout, tls.acceptor().accept(socket)) => shaken,
        () = server.closing.cancelled() => return None,
    };
    match shaken {
        Ok(Ok(tls)) => {
            metrics::TLS_HANDSHAKES.with_label_values(&["ok"]).inc();
            Some(ClientStream::Tls(Box::new(tls)))
        }
        // Anyone who is too slow, speaks plaintext, or does not trust us.
        Ok(Err(_)) | Err(_) => {
            metrics::TLS_HANDSHAKES.with_label_values(&["failed"]).inc();
            None
        }
    }
}

/// Answers 503 over the connection limit, without waiting for the request. Where clients
/// speak TLS it is cut off: a handshake is more than there is room for.
pub(crate) async fn reject_over_capacity(
    socket: TcpStream,
    remote: SocketAddr,
    server: &ServerContext,
) {
    if server.tls.is_some() {
        return;
    }
    let mut client = Downstream::new(ClientStream::Plain(socket), remote);
    write_refusal(&mut client, error_response::unavailable(), Scheme::Http, server).await;
    // Its request is on the way; to close before it is here would take the answer back.
    let _ = timeout(REJECTION_READ_WITHIN, client.lingering_close(HEAD_BYTES)).await;
}

/// Whether a request has come, and not the end: of the connection, of patience, of the gateway.
pub(crate) async fn wait_for_request(
    client: &mut Downstream,
    closing: &CancellationToken,
    patience: Duration,
) -> bool {
    let come = tokio::select! {
        // What has come is served, even if the end has come with it.
        biased;
        come = timeout(patience, client.first_bytes()) => come,
        () = closing.cancelled() => timeout(LAST_READ_WITHIN, client.first_bytes()).await,
    };
    matches!(come, Ok(Ok(1..)))
}

/// Has pingora serve one request; gives the connection back when it can be used again.
async fn request(
    mut client: Box<Downstream>,
    head: RequestHead,
    proxy: &Proxy,
    server: &ServerContext,
) -> Option<Box<Downstream>> {
    client.begin_body(head.rest, head.framing);
    let mut session = ServerSession::new_http1(client);
    session.set_pipelined_prefix(head.bytes);
    session.set_read_timeout(Some(server.client_timeout));
    session.set_write_timeout(Some(server.client_timeout));
    session.set_total_drain_timeout(Some(DISCARD_WITHIN));
    let served = proxy.http.process_new_http(session, &proxy.stopping);
    let reusable = timeout(REQUEST_WITHIN, served).await.ok()??;
    let (stream, _) = reusable.consume();
    stream.into_any().downcast().ok()
}

/// Refuses a request that was not, or not well, understood; the connection ends with that.
pub(crate) async fn refuse_head(
    client: &mut Downstream,
    failure: Failure,
    scheme: Scheme,
    server: &ServerContext,
) {
    write_refusal(client, failure, scheme, server).await;
    let _ = timeout(DISCARD_WITHIN, client.lingering_close(DISCARDED_BYTES_MAX)).await;
}

async fn write_refusal(
    client: &mut Downstream,
    failure: Failure,
    scheme: Scheme,
    server: &ServerContext,
) {
    write_response(client, |trace| error_response::answer(&failure, trace), scheme, server).await;
}

/// Writes an answer with which the connection ends, and counts it.
pub(crate) async fn write_response(
    client: &mut Downstream,
    answer: impl FnOnce(&TraceContext) -> LocalResponse,
    scheme: Scheme,
    server: &ServerContext,
) {
    let mut ctx = RequestContext::new(scheme);
    ctx.name(&HeaderMap::new(), &server.ids);
    let trace = ctx.trace();
    let answer = answer(&trace);
    let status = answer.status;
    let written =
        timeout(DISCARD_WITHIN, answer.write_to_connection(client, &ctx.response_context())).await;
    let written = matches!(written, Ok(Ok(())));
    // The method was not understood, or does not matter: the label is that of any odd one.
    ctx.log_and_count(&Method::CONNECT, written.then_some(status));
}
