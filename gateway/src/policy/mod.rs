//! Who may ask for what, and how often: decided before anything is sent to a part.
//!
//! - `client_ip` finds the client's address behind trusted proxies;
//! - `path` refuses a target that could be read in two ways; `host` reads host names;
//! - `route` is the route table;
//! - `token` verifies the caller's token and role;
//! - `rate_limit` counts requests, failed sign-ins and refreshes; `in_flight` counts concurrent
//!   requests;
//! - `cors` decides which pages of other origins may call the API; `origin` reads an origin.

pub(crate) mod client_ip;
pub(crate) mod cors;
pub(crate) mod host;
pub(crate) mod in_flight;
pub(crate) mod origin;
pub(crate) mod path;
pub(crate) mod rate_limit;
pub mod route;
pub(crate) mod token;
