//! The black-box tests: the real binary on free ports, spoken to as its users do.
//!
//! One file a story. `world` starts and stops the mesh, `caller` has a verb for everything that a
//! story does; no test reaches into a crate for what the outside can tell.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a story that cannot go on fails")]

#[path = "../common/caller.rs"]
mod caller;
mod canary;
mod certificate_forms;
mod certs;
#[path = "../common/containers.rs"]
mod containers;
#[path = "../../../../shared-middleware/tests/common/corpus.rs"]
mod corpus;
mod environment;
mod https;
#[path = "../../../../shared-middleware/tests/common/issuer.rs"]
mod issuer;
#[path = "../../../../shared-middleware/tests/common/key_server.rs"]
mod key_server;
mod meanwhile;
#[path = "../common/processes.rs"]
mod processes;
mod prometheus;
mod servers;
mod waiting;
mod wire;
mod world;

mod accounts;
mod admin;
mod alerts;
mod allowance;
mod audit;
mod backup;
mod bad_servers;
mod bombs;
mod comes_back;
mod commands;
mod cors;
mod crash;
mod crowds;
mod documents;
mod drain;
mod events;
mod external_issuers;
mod front;
mod gate;
mod leaks;
mod mesh;
mod observability;
mod outsiders;
mod patients;
mod policy;
mod public_tls;
mod revocation;
mod rolling;
mod rotation;
mod servers_away;
mod sign_in;
mod signals;
mod tidy;
mod tokens;
mod traces;
mod users;
mod wrong_certificates;
