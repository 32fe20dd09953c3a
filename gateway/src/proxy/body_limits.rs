//! How long a request's body may be, and how long it may take: checked as it comes, for a chunked
//! body has no length in its head, and any may come slowly.

use std::time::Duration;

use bytes::Bytes;
use pingora_core::{Error, ErrorType, Result};

use crate::proxy::request_context::RequestContext;

/// The bounds of every body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyBounds {
    pub(crate) bytes_max: usize,
    pub(crate) timeout: Duration,
}

impl BodyBounds {
    /// Counts what was read.
    pub(crate) fn check(&self, read: &Bytes, ctx: &mut RequestContext) -> Result<()> {
        ctx.body_bytes += read.len();
        if ctx.body_bytes > self.bytes_max {
            return Error::err_down(ErrorType::HTTPStatus(413));
        }
        if ctx.started.elapsed() > self.timeout {
            return Error::err_down(ErrorType::HTTPStatus(408));
        }
        Ok(())
    }
}
