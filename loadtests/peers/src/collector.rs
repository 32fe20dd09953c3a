//! A collector of traces that takes whatever comes: what sending spans costs the gateway is
//! measured against somebody who takes them.

use std::{io, thread};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

struct Takes;

#[tonic::async_trait]
impl TraceService for Takes {
    async fn export(
        &self,
        _: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// Starts it on a thread that ends with us; where it is.
pub(crate) fn start() -> io::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let url = format!("http://{}", listener.local_addr()?);
    thread::Builder::new().name("collector".to_owned()).spawn(move || {
        let incoming = TcpIncoming::from(listener);
        let served = Server::builder().add_service(TraceServiceServer::new(Takes));
        let _ = runtime.block_on(served.serve_with_incoming(incoming));
    })?;
    Ok(url)
}
