//! An answer of the gateway's own: a refusal, or one of its few pages.

use bytes::{Bytes, BytesMut};
use http::{
    HeaderName, HeaderValue, Method, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE},
};
use pingora_core::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::proxy::headers::{self, ResponseContext};

/// An answer of the gateway's own.
pub(crate) struct LocalResponse {
    pub(crate) status: StatusCode,
    pub(crate) content_type: HeaderValue,
    pub(crate) body: Bytes,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

// === impl LocalResponse ===

impl LocalResponse {
    /// One without a body.
    pub(crate) const fn empty(status: StatusCode, headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        let content_type = HeaderValue::from_static("text/plain");
        Self { status, content_type, body: Bytes::new(), headers }
    }

    /// Writes it to a request's session.
    pub(crate) async fn write_to_session(
        self,
        session: &mut Session,
        response_context: &ResponseContext<'_>,
    ) -> Result<()> {
        let head = Box::new(self.head(response_context)?);
        let without_body = session.req_header().method == Method::HEAD || self.body.is_empty();
        session.write_response_header(head, without_body).await?;
        let body = (!without_body).then_some(self.body);
        session.write_response_body(body, true).await
    }

    /// Writes it to a connection on which no request could be read, and which ends with it.
    pub(crate) async fn write_to_connection(
        self,
        connection: &mut (impl AsyncWrite + Unpin),
        response_context: &ResponseContext<'_>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut head = self.head(response_context)?;
        head.insert_header(CONNECTION, HeaderValue::from_static("close"))?;
        let reason = self.status.canonical_reason().unwrap_or_default();
        let mut bytes = BytesMut::with_capacity(1024);
        let line = format!("HTTP/1.1 {} {reason}\r\n", self.status.as_u16());
        bytes.extend_from_slice(line.as_bytes());
        head.header_to_h1_wire(&mut bytes);
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        connection.write_all(&bytes).await?;
        Ok(connection.flush().await?)
    }

    fn head(&self, response_context: &ResponseContext<'_>) -> Result<ResponseHeader> {
        let mut head = ResponseHeader::build(self.status, Some(16))?;
        // 204 and 304 have no length, not even zero (RFC 9110, 8.6).
        if !matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            head.insert_header(CONTENT_LENGTH, HeaderValue::from(self.body.len()))?;
        }
        if !self.body.is_empty() {
            head.insert_header(CONTENT_TYPE, self.content_type.clone())?;
        }
        for (name, value) in &self.headers {
            head.insert_header(name.clone(), value.clone())?;
        }
        headers::set_response_headers(&mut head, response_context)?;
        Ok(head)
    }
}
