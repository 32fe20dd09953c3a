//! What every service of the mesh is wrapped in: who may call, for whom, for how long, and what is
//! logged of it. Knows no domain, no store and no wire format but HTTP and gRPC.
//!
//! A request meets the layers in the order of [`stack::wrap`]:
//!
//! | layer | reads | writes | rejects |
//! |---|---|---|---|
//! | [`ready`] | path, `Readiness` | `Connection: close` while leaving | `unavailable` |
//! | tower-http's | | `Authorization` marked sensitive; `Cache-Control: no-store` | |
//! | [`trace`] | `traceparent` | the task's trace | |
//! | [`metrics`] | route, answer | | |
//! | [`catch_panic`] | | | `internal` |
//! | [`load_shed`] | | | `unavailable` |
//! | [`find_rule`] | route, method | `Access` | `method_not_allowed`, `forbidden` |
//! | [`audit`] | rule, `Connection`, answer | an entry of the audit log | `unavailable` |
//! | [`require_peer`] | `Connection`, `Access` | | `unauthenticated`, `forbidden` |
//! | [`require_token`] | `Authorization`, `Access` | `Caller` | `unauthenticated`, `forbidden` |
//! | [`deadline`] | `grpc-timeout` | | `deadline_exceeded` |
//!
//! **Invariant:** a service adds no layer of its own, and a route without an access row is refused.
//! What [`ready`] answers is no route: every service has it, and none can give it away.

pub mod stack;

pub mod ready;

pub mod trace;

pub mod metrics;

pub mod catch_panic;

pub mod load_shed;
pub mod log_lines;

pub mod find_rule;

pub mod audit;

pub mod require_peer;

pub mod require_token;

pub mod deadline;

pub mod access;
pub mod back_off;
pub mod peers;
pub mod permission;

pub mod descriptors;

pub mod hex;

pub mod gather_body;
pub mod identity;

pub mod error;

pub mod token;

pub mod tls;

pub mod listen;

pub mod client_address;
pub mod rate_limit;

pub mod client;
mod external_http;
pub mod in_process;
pub mod secret_file;
pub mod spans;
pub mod trace_context;

pub mod clock;

#[cfg(test)]
#[path = "../tests/common/key_server.rs"]
mod key_server;
