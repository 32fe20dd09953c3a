//! What `fuzz` calls: how a request is read, without a connection.

use std::time::Duration;

use crate::{
    policy::path,
    server::{
        downstream::Framing,
        request_head::{self, HeadLimits},
    },
};

/// Longer targets are refused.
pub const TARGET_BYTES_MAX: usize = 8192;

const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 65_536,
    uri_bytes_max: TARGET_BYTES_MAX,
    headers_max: 100,
    timeout: Duration::ZERO,
};

/// A head that is accepted.
#[derive(Debug)]
pub struct Head {
    /// Where the body begins.
    pub end: usize,
    /// How long the body is; none when it comes in chunks.
    pub length: Option<u64>,
}

/// Whether this target is matched and forwarded.
pub fn accepts_target(target: &[u8]) -> bool {
    path::check(target, TARGET_BYTES_MAX).is_ok()
}

/// The head that these bytes begin with; none when it is not whole, or refused.
pub fn head(bytes: &[u8]) -> Option<Head> {
    let (end, framing) = request_head::of_bytes(bytes, &LIMITS)?;
    let length = match framing {
        Framing::Length(length) => Some(length),
        Framing::Chunked => None,
    };
    Some(Head { end, length })
}
