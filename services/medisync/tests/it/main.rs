//! The black-box tests: the real binary on free ports, spoken to as its users do.
//!
//! One file a story; its folder says on which stacks it is played. `world` starts and stops the
//! mesh, `shared` has meshes that several tests use, `caller` has a verb for everything that a
//! story does; no test reaches into a crate for what the outside can tell.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a story that cannot go on fails")]

mod background_load;
mod before;
#[path = "../common/caller.rs"]
mod caller;
mod certificate_forms;
mod certs;
#[path = "../common/containers.rs"]
mod containers;
#[path = "../../../../shared-middleware/tests/common/corpus.rs"]
mod corpus;
mod environment;
mod grpc;
mod heavy;
mod https;
#[path = "../../../../shared-middleware/tests/common/issuer.rs"]
mod issuer;
#[path = "../../../../shared-middleware/tests/common/key_server.rs"]
mod key_server;
mod mesh;
mod pii_scan;
#[path = "../common/processes.rs"]
mod processes;
mod prometheus;
mod servers;
mod sessions;
mod shared;
mod test_mesh;
mod waiting;
mod wire;

/// What is the same on every stack, or chooses its own: played once, on the embedded default.
mod once {
    mod admin;
    mod alerts;
    mod audit;
    mod backup;
    mod bad_servers;
    mod clinic_days;
    mod commands;
    mod connection_floods;
    mod cut_off;
    mod descriptors;
    mod drain;
    mod external_scanners;
    mod hanging;
    mod nothing_there;
    mod observability;
    mod openapi;
    mod payload_bombs;
    mod pii_scan;
    mod processes;
    mod public_tls;
    mod repository_rules;
    mod rolling;
    mod slow_bodies;
    mod unix_signals;
    mod upgrade;
    mod wrong_certificates;
    mod wrong_words;
}

/// Rules that no store, event log or number of processes can change: of REST, tokens, policy,
/// limits. Played on the embedded default, and on servers where there is time for all.
mod rules {
    mod accounts;
    mod admin;
    mod cors;
    mod every_fault;
    mod external_issuers;
    mod login_limits;
    mod mesh;
    mod metrics;
    mod patients;
    mod policy;
    mod request_smuggling;
    mod response_headers;
    mod shift_change;
    mod sign_in;
    mod tokens;
    mod traces;
    mod users;
    mod wrong_certificates;
}

/// What touches the stores, the event log or several processes: played on every stack.
mod stacks {
    mod accounts;
    pub(crate) mod audit;
    mod comes_back;
    pub(crate) mod crash;
    mod demo_off;
    mod documents;
    mod drain;
    mod events;
    mod leaks;
    mod mesh;
    mod observability;
    mod patients;
    mod revocation;
    mod rotation;
    mod servers_away;
    mod sign_in;
    mod signals;
    mod small_print;
    mod status;
    mod tokens;
    mod traces;
    mod users;
}
