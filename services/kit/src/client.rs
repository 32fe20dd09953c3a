//! How a service calls another by gRPC: mTLS, a deadline, the caller's trace, a metric.

use std::{
    error::Error as _,
    future::Future,
    io,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use prometheus::HistogramVec;
use shared_middleware::{
    identity::Part,
    metrics::{code_label, histogram},
    spans::{self, Kind, Span, Value},
    tls::{ClientStream, HTTP_2, MeshTls},
    trace_context::{self, TRACEPARENT},
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use tonic::{
    Code, Request, Response, Status,
    transport::{Channel, Endpoint},
};

static RPC_CLIENT: LazyLock<HistogramVec> = LazyLock::new(|| {
    histogram(
        "rpc_client_duration_seconds",
        "Time to the end of a call, by gRPC method.",
        &["service", "peer", "method", "code"],
    )
});

/// A call, as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Who calls.
    pub service: Part,
    /// Whom.
    pub peer: Part,
    /// The gRPC method's name.
    pub method: &'static str,
    /// How long it may take; the peer gets it, too.
    pub deadline: Duration,
}

/// A channel to a part's gRPC listener. It connects when it is first used, and again when the
/// connection broke: to the first of the addresses that takes it, beginning with another one each
/// time, with the certificate of that moment.
pub fn channel(part: Part, urls: Vec<Uri>, tls: Arc<MeshTls>, connect: Duration) -> Channel {
    let (urls, next) = (Arc::new(urls), AtomicUsize::new(0));
    let connector = tower::service_fn(move |_: Uri| {
        let first = next.fetch_add(1, Ordering::Relaxed);
        let (urls, tls) = (Arc::clone(&urls), Arc::clone(&tls));
        async move {
            let connect_to = |url| connect_to(url, part, &tls);
            let stream = first_to_take(&urls, first, connect, connect_to).await?;
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    // The scheme is plain because TLS is the connector's business.
    Endpoint::from_static("http://mesh")
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(5))
        .connect_with_connector_lazy(connector)
}

/// A replica that is away must not cost the call that found it out: the next one is asked at once,
/// and one that says nothing has only its share of the time.
async fn first_to_take<T, F: Future<Output = io::Result<T>>>(
    urls: &[Uri],
    first: usize,
    within: Duration,
    connect: impl Fn(Uri) -> F,
) -> io::Result<T> {
    let share = within / u32::try_from(urls.len().max(1)).unwrap_or(u32::MAX);
    let mut failed = io::Error::other("no address is configured");
    for at in 0..urls.len() {
        let url = urls[first.wrapping_add(at) % urls.len()].clone();
        let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut));
        match timeout(share, connect(url)).await.unwrap_or_else(late) {
            Ok(connected) => return Ok(connected),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

async fn connect_to(url: Uri, part: Part, tls: &MeshTls) -> io::Result<ClientStream> {
    let host = url.host().ok_or_else(|| io::Error::other("the address has no host"))?;
    let stream = TcpStream::connect((host, url.port_u16().unwrap_or(443))).await?;
    tls.connect_alpn(part, stream, &[HTTP_2]).await
}

/// Makes a call, in the caller's trace and within its deadline.
pub async fn call<M, T, F>(
    call: Call,
    message: M,
    send: impl FnOnce(Request<M>) -> F,
) -> Result<T, Status>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let started = Instant::now();
    let mut request = Request::new(message);
    request.set_timeout(call.deadline);
    let trace = trace_context::current().map(|trace| trace.child());
    if let Some(Ok(value)) = trace.map(|trace| trace.traceparent().parse()) {
        request.metadata_mut().insert(TRACEPARENT, value);
    }
    let answer = timeout(call.deadline, send(request))
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("the answer took too long")))
        .map_err(unless_the_peer_said_it);
    let code = answer.as_ref().map_or_else(Status::code, |_| Code::Ok);
    RPC_CLIENT
        .with_label_values(&[
            call.service.as_str(),
            call.peer.as_str(),
            call.method,
            code_label(code),
        ])
        .observe(started.elapsed().as_secs_f64());
    if let Some(trace) = trace {
        spans::ended(&trace, started.elapsed(), || call.span(code));
    }
    answer.map(Response::into_inner)
}

// === impl Call ===

impl Call {
    fn span(&self, code: Code) -> Span {
        Span {
            service: self.service,
            name: self.method.to_owned(),
            kind: Kind::Client,
            failed: code != Code::Ok,
            attributes: vec![
                ("rpc.system", Value::Text("grpc")),
                ("rpc.method", Value::Text(self.method)),
                ("rpc.grpc.status_code", Value::Number((code as i32).into())),
                ("peer.service", Value::Text(self.peer.as_str())),
            ],
        }
    }
}

/// A status that has a source comes from the connection, which broke under the call or was closed
/// before it was sent: whatever the transport calls that, the peer is unavailable. Whether the call
/// may be made again is for the caller to know.
fn unless_the_peer_said_it(status: Status) -> Status {
    let vague = matches!(status.code(), Code::Cancelled | Code::Internal | Code::Unknown);
    if vague && status.source().is_some() {
        return Status::unavailable("the connection broke");
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(1);

    fn urls(hosts: &[&str]) -> Vec<Uri> {
        hosts.iter().map(|host| format!("https://{host}").parse().unwrap()).collect()
    }

    /// Takes, refuses or says nothing, as the host is called.
    async fn connect(url: Uri) -> io::Result<String> {
        match url.host().unwrap() {
            "refuses" => Err(io::ErrorKind::ConnectionRefused.into()),
            "silent" => std::future::pending().await,
            host => Ok(host.to_owned()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_connection_begins_with_another_address() {
        let urls = urls(&["a", "b"]);
        for (first, host) in [(0, "a"), (1, "b"), (2, "a"), (usize::MAX, "b")] {
            assert_eq!(first_to_take(&urls, first, WITHIN, connect).await.unwrap(), host);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_one_address_refuses_the_next_is_asked_at_once() {
        let begun = Instant::now();
        let found = first_to_take(&urls(&["refuses", "b"]), 0, WITHIN, connect).await;
        assert_eq!(found.unwrap(), "b");
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_says_nothing_leaves_the_others_time() {
        let begun = Instant::now();
        let found = first_to_take(&urls(&["silent", "b"]), 0, WITHIN, connect).await;
        assert_eq!(found.unwrap(), "b");
        assert!(begun.elapsed() < WITHIN);
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_takes_it_the_last_error_is_told() {
        for (hosts, told) in [
            (&["silent", "refuses"][..], io::ErrorKind::ConnectionRefused),
            (&["refuses", "silent"], io::ErrorKind::TimedOut),
            (&[], io::ErrorKind::Other),
        ] {
            let failed = first_to_take(&urls(hosts), 0, WITHIN, connect).await.unwrap_err();
            assert_eq!(failed.kind(), told);
        }
    }

    #[test]
    fn what_the_connection_says_is_unavailable_and_what_the_peer_says_is_kept() {
        let broken = Status::from_error(Box::new(io::Error::from(io::ErrorKind::BrokenPipe)));
        assert_eq!(unless_the_peer_said_it(broken).code(), Code::Unavailable);
        let said = unless_the_peer_said_it(Status::internal("it broke"));
        assert_eq!((said.code(), said.message()), (Code::Internal, "it broke"));
    }
}
