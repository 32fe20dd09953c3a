//! How a service calls another by gRPC: mTLS, a deadline, the caller's trace, a metric.

use std::{
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
    tls::MeshTls,
    trace_context::{self, TRACEPARENT},
};
use tokio::{net::TcpStream, time::Instant};
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
    /// How long it may take; the peer is told.
    pub deadline: Duration,
}

/// A channel to a part's gRPC listener. It connects when it is first used, and again when the
/// connection broke: to the next of the addresses, with the certificate of that moment.
pub fn channel(part: Part, urls: Vec<Uri>, tls: Arc<MeshTls>, connect: Duration) -> Channel {
    let next = Arc::new(AtomicUsize::new(0));
    let connector = tower::service_fn(move |_: Uri| {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let url = urls.get(at % urls.len().max(1)).cloned();
        let tls = Arc::clone(&tls);
        async move {
            let url = url.ok_or_else(|| io::Error::other("no address is configured"))?;
            let host = url.host().ok_or_else(|| io::Error::other("the address has no host"))?;
            let port = url.port_u16().unwrap_or(443);
            let connecting = async {
                let stream = TcpStream::connect((host, port)).await?;
                tls.connect_alpn(part, stream, &[b"h2"]).await
            };
            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
            let stream = tokio::time::timeout(connect, connecting).await.map_err(late)??;
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    // The scheme is plain because TLS is the connector's business.
    Endpoint::from_static("http://mesh")
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(5))
        .connect_with_connector_lazy(connector)
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
    if let Some(trace) = trace_context::current()
        && let Ok(value) = trace.traceparent().parse()
    {
        request.metadata_mut().insert(TRACEPARENT, value);
    }
    let answer = tokio::time::timeout(call.deadline, send(request))
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("the answer took too long")));
    let code = answer.as_ref().map_or_else(Status::code, |_| Code::Ok);
    RPC_CLIENT
        .with_label_values(&[
            call.service.as_str(),
            call.peer.as_str(),
            call.method,
            code_label(code),
        ])
        .observe(started.elapsed().as_secs_f64());
    answer.map(Response::into_inner)
}
