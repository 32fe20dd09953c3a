//! Between a request that was read and its answer: pingora's phases, and what they call.
//!
//! - `phases` implements pingora's `ProxyHttp`, phase by phase; what they pass on to one another is
//!   in the `request_context`;
//! - `gateway` is what they share;
//! - `forward` makes a client's request one to a part, `headers` sanitizes it and sets those of the
//!   response, `body_limits` bounds its body;
//! - `in_process` calls a part of the same process;
//! - `local_response` is a response of the gateway's own, `error_response` one that reports an
//!   error; `swagger` has the pages of the API's documentation.

pub(crate) mod body_limits;
pub(crate) mod error_response;
mod forward;
mod gateway;
pub(crate) mod headers;
pub(crate) mod in_process;
pub(crate) mod local_response;
mod phases;
pub(crate) mod request_context;
pub(crate) mod swagger;

pub(crate) use self::gateway::Gateway;
