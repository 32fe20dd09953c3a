//! The mesh's own small HTTP client: one request, over mTLS or in plaintext as the URL says.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderValue, Request, StatusCode, Uri,
    header::{CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    client::conn::http1,
    rt::{Read, Write},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{identity::Part, tls::MeshTls};

/// A longer answer is an error.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL has no host.
    #[error("{0} is not a URL with a host")]
    Url(Uri),
    /// Nobody listens there, or the handshake failed.
    #[error("cannot connect to {1}")]
    Connect(#[source] std::io::Error, String),
    /// The connection broke.
    #[error("the connection broke")]
    Http(#[from] hyper::Error),
    /// The answer is too long, or broke off.
    #[error("cannot read the answer")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is not 200.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// The path cannot be sent.
    #[error("the path is not valid")]
    Path(#[from] http::Error),
}

/// Fetches `path` from the host of `url`. An `https` URL is called by mTLS, and must show the
/// certificate of `part`.
pub async fn get(
    url: &Uri,
    path: &str,
    part: Part,
    tls: &Arc<MeshTls>,
) -> Result<Vec<u8>, ClientError> {
    send(url, part, tls, get_request(path)?).await
}

/// Sends JSON to `path` of the host of `url`, as [`get`] does.
pub async fn post(
    url: &Uri,
    path: &str,
    part: Part,
    tls: &Arc<MeshTls>,
    json: Vec<u8>,
) -> Result<Vec<u8>, ClientError> {
    let request = Request::post(path).header(CONTENT_TYPE, "application/json");
    send(url, part, tls, request.body(Full::from(json))?).await
}

async fn send(
    url: &Uri,
    part: Part,
    tls: &Arc<MeshTls>,
    request: Request<Full<Bytes>>,
) -> Result<Vec<u8>, ClientError> {
    if url.scheme_str() != Some("https") {
        return send_plain(url, request).await;
    }
    let (stream, address) = connect(url, 443).await?;
    let shaken = tls.connect(part, stream).await;
    let stream = shaken.map_err(|error| ClientError::Connect(error, address.clone()))?;
    exchange(TokioIo::new(stream), &address, request, ANSWER_BYTES_MAX).await
}

/// Fetches `path` from the host of `url` in plaintext.
pub async fn get_plain(url: &Uri, path: &str) -> Result<Vec<u8>, ClientError> {
    send_plain(url, get_request(path)?).await
}

async fn send_plain(url: &Uri, request: Request<Full<Bytes>>) -> Result<Vec<u8>, ClientError> {
    let (stream, address) = connect(url, 80).await?;
    exchange(TokioIo::new(stream), &address, request, ANSWER_BYTES_MAX).await
}

pub(crate) async fn connect(
    url: &Uri,
    default_port: u16,
) -> Result<(TcpStream, String), ClientError> {
    let host = url.host().ok_or_else(|| ClientError::Url(url.clone()))?;
    let address = format!("{host}:{}", url.port_u16().unwrap_or(default_port));
    match TcpStream::connect(&address).await {
        Ok(stream) => Ok((stream, address)),
        Err(error) => Err(ClientError::Connect(error, address)),
    }
}

pub(crate) fn get_request(path: &str) -> Result<Request<Full<Bytes>>, ClientError> {
    Ok(Request::get(path).body(Full::default())?)
}

/// Sends the request, and reads the answer: 200, and no longer than this. A redirect is not 200.
pub(crate) async fn exchange(
    io: impl Read + Write + Send + Unpin + 'static,
    address: &str,
    mut request: Request<Full<Bytes>>,
    answer_bytes_max: usize,
) -> Result<Vec<u8>, ClientError> {
    let host = HeaderValue::from_str(address).map_err(http::Error::from)?;
    request.headers_mut().insert(HOST, host);
    let (mut sender, connection) = http1::handshake(io).await?;
    let answer = async {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(ClientError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), answer_bytes_max);
        Ok(body.collect().await.map_err(ClientError::Body)?.to_bytes().to_vec())
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The connection may end with the answer already read.
        ended = connection => { ended?; answer.await }
    }
}
