//! The black-box tests: the real binary on free ports, spoken to as its users do.
//!
//! One file a story. `world` starts and stops the mesh, `caller` has a verb for everything that a
//! story does; no test reaches into a crate for what the outside can tell.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a story that cannot go on fails")]

#[path = "../common/caller.rs"]
mod caller;
mod canary;
mod certs;
#[path = "../common/containers.rs"]
mod containers;
mod environment;
mod forged;
mod issuer;
mod meanwhile;
#[path = "../common/processes.rs"]
mod processes;
mod prometheus;
mod servers;
mod wire;
mod world;

mod admin;
mod alerts;
mod allowance;
mod backup;
mod bad_servers;
mod comes_back;
mod commands;
mod crash;
mod documents;
mod drain;
mod events;
mod front;
mod gate;
mod leaks;
mod mesh;
mod observability;
mod patients;
mod policy;
mod public_tls;
mod rolling;
mod servers_away;
mod sign_in;
mod signals;
mod tidy;
mod tokens;
mod traces;
mod users;
