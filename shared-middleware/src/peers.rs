//! Which part may call what, by its certificate: all of it, in one place.
//!
//! | what is called | by whom |
//! |---|---|
//! | what users ask for, of every service | the gateway |
//! | signing in, of auth | the gateway |
//! | revocations of tokens, of auth | every part |
//! | handing in entries of its own audit log, to auth | every part that keeps a store |
//! | handing in what it refused, to auth | the gateway |
//! | accounts, of billing by gRPC, with its health and reflection | patient |
//!
//! Who is not listed may not. A service's rules say of each route which of these it is
//! ([`crate::access`]), and a route without a rule is nobody's.

use crate::identity::Part;

/// May ask for what a user may do, with that user's token.
pub const FOR_USERS: &[Part] = &[Part::Gateway];

/// May ask whether somebody may sign in: it is where attempts are counted.
pub const SIGN_IN: &[Part] = &[Part::Gateway];

/// May ask which tokens are good no more: anyone who verifies any.
pub const REVOCATIONS: &[Part] = &Part::ALL;

/// Hand in their audit logs: each its own, as its certificate says.
pub const AUDIT_COPIES: &[Part] =
    &[Part::Patient, Part::Billing, Part::Analytics, Part::Notification];

/// Hands in what it refused, for it keeps no store.
pub const AUDIT_REFUSALS: &[Part] = &[Part::Gateway];

/// May open and look up accounts.
pub const ACCOUNTS: &[Part] = &[Part::Patient];
