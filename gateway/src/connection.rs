//! One client's connection, from its first byte to its end: a head is read and checked, the request
//! is handed to pingora, and the connection comes back for the next one.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderMap, Method};
use pingora_core::{
    apps::HttpServerApp as _, protocols::http::ServerSession, server::ShutdownWatch,
};
use pingora_proxy::HttpProxy;
use shared_middleware::{clock::Ids, error::Failure, trace_context::TraceContext};
use tokio::{net::TcpStream, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    answer::Answer,
    certificate::PublicTls,
    context::Context,
    downstream::Downstream,
    head::{self, Bounds, Head, NoHead},
    headers::Scheme,
    http2, metrics,
    proxy::Gateway,
    refuse::{self, PASSED_OVER_BYTES_MAX, PASSED_OVER_WITHIN},
    wire::Wire,
};

/// When the gateway stops, an idle connection is listened to so much longer: a request may have
/// been sent that was not noticed yet.
const LAST_LOOK: Duration = Duration::from_millis(25);

/// A request, its answer included, takes no longer: whoever takes an answer byte by byte is cut
/// off. Parts give up long before.
pub(crate) const REQUEST_WITHIN: Duration = Duration::from_secs(120);

/// A client for whom there is no room gets so long to read that, and so much of what it says is
/// passed over.
const TURNED_AWAY_WITHIN: Duration = Duration::from_millis(200);
const HEAD_BYTES: usize = 16 << 10;

/// What all connections have in common.
pub(crate) struct Common {
    pub(crate) bounds: Bounds,
    pub(crate) keep_alive_timeout: Duration,
    pub(crate) client_timeout: Duration,
    pub(crate) ids: Ids,
    /// None: clients speak plaintext.
    pub(crate) tls: Option<Arc<PublicTls>>,
    /// The gateway was told to stop.
    pub(crate) stop: CancellationToken,
    /// It has been for long enough: connections without a request are closed.
    pub(crate) closing: CancellationToken,
}

/// Pingora, on one thread: what its connections have in common, and no others.
#[derive(Clone)]
pub(crate) struct Proxy {
    /// Keeps the connections to the parts.
    pub(crate) http: Arc<HttpProxy<Gateway>>,
    /// The same as `closing`, as pingora wants it.
    pub(crate) stopping: ShutdownWatch,
}

// === impl Common ===

impl Common {
    /// What clients speak.
    pub(crate) fn scheme(&self) -> Scheme {
        Scheme::of(self.tls.as_deref())
    }
}

/// Serves a client until one of the two has enough.
pub(crate) async fn serve(socket: TcpStream, remote: SocketAddr, proxy: &Proxy, common: &Common) {
    // Answers are gathered before they are written, so waiting for more would only delay them.
    let _ = socket.set_nodelay(true);
    let _open = metrics::Open::begin();
    let Some(wire) = opened(socket, common).await else { return };
    let http2 = wire.speaks_http2();
    let mut client = Box::new(Downstream::new(wire, remote));
    if http2 {
        return http2::serve(client, proxy, common).await;
    }
    // Its own, so that threads do not wait for one another to listen to it.
    let closing = common.closing.child_token();
    while waited_for_request(&mut client, &closing, common.keep_alive_timeout).await {
        let head = match head::read(&mut client, &common.bounds).await {
            Ok(head) => head,
            Err(NoHead::Gone) => return,
            Err(NoHead::Refused(failure)) => {
                return refuse_head(&mut client, failure, common.scheme(), common).await;
            }
        };
        match request(client, head, proxy, common).await {
            Some(again) => client = again,
            None => return,
        }
    }
}

/// Shakes hands, where clients are to.
async fn opened(socket: TcpStream, common: &Common) -> Option<Wire> {
    let Some(tls) = &common.tls else { return Some(Wire::Plain(socket)) };
    let shaken = tokio::select! {
        shaken = timeout(common.bounds.timeout, tls.acceptor().accept(socket)) => shaken,
        () = common.closing.cancelled() => return None,
    };
    match shaken {
        Ok(Ok(tls)) => {
            metrics::TLS_HANDSHAKES.with_label_values(&["ok"]).inc();
            Some(Wire::Tls(Box::new(tls)))
        }
        // Whoever is too slow, speaks plaintext, or does not trust us.
        Ok(Err(_)) | Err(_) => {
            metrics::TLS_HANDSHAKES.with_label_values(&["failed"]).inc();
            None
        }
    }
}

/// Tells a client for whom there is no room, without waiting for what it has to say. Where clients
/// speak TLS it is cut off: a handshake is more than there is room for.
pub(crate) async fn turn_away(socket: TcpStream, remote: SocketAddr, common: &Common) {
    if common.tls.is_some() {
        return;
    }
    let mut client = Downstream::new(Wire::Plain(socket), remote);
    write_refusal(&mut client, refuse::unavailable(), Scheme::Http, common).await;
    // Its request is on the way; to close before it is here would take the answer back.
    let _ = timeout(TURNED_AWAY_WITHIN, client.close_gently(HEAD_BYTES)).await;
}

/// Whether a request has come, and not the end: of the connection, of patience, of the gateway.
pub(crate) async fn waited_for_request(
    client: &mut Downstream,
    closing: &CancellationToken,
    patience: Duration,
) -> bool {
    let come = tokio::select! {
        // What has come is served, even if the end has come with it.
        biased;
        come = timeout(patience, client.first_bytes()) => come,
        () = closing.cancelled() => timeout(LAST_LOOK, client.first_bytes()).await,
    };
    matches!(come, Ok(Ok(1..)))
}

/// Has pingora serve one request; gives the connection back when it can be used again.
async fn request(
    mut client: Box<Downstream>,
    head: Head,
    proxy: &Proxy,
    common: &Common,
) -> Option<Box<Downstream>> {
    client.begin_body(head.rest, head.framing);
    let mut session = ServerSession::new_http1(client);
    session.set_pipelined_prefix(head.bytes);
    session.set_read_timeout(Some(common.client_timeout));
    session.set_write_timeout(Some(common.client_timeout));
    session.set_total_drain_timeout(Some(PASSED_OVER_WITHIN));
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
    common: &Common,
) {
    write_refusal(client, failure, scheme, common).await;
    let _ = timeout(PASSED_OVER_WITHIN, client.close_gently(PASSED_OVER_BYTES_MAX)).await;
}

async fn write_refusal(client: &mut Downstream, failure: Failure, scheme: Scheme, common: &Common) {
    write_answer(client, |trace| refuse::answer(&failure, trace), scheme, common).await;
}

/// Writes an answer with which the connection ends, and counts it.
pub(crate) async fn write_answer(
    client: &mut Downstream,
    answer: impl FnOnce(&TraceContext) -> Answer,
    scheme: Scheme,
    common: &Common,
) {
    let mut ctx = Context::new(scheme);
    ctx.name(&HeaderMap::new(), &common.ids);
    let trace = ctx.trace();
    let answer = answer(&trace);
    let status = answer.status;
    let written =
        timeout(PASSED_OVER_WITHIN, answer.write_to_connection(client, &ctx.marks())).await;
    let written = matches!(written, Ok(Ok(())));
    // The method was not understood, or does not matter: the label is that of any odd one.
    ctx.end(&Method::CONNECT, written.then_some(status));
}
