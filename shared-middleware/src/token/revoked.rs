//! The sign-ins that were ended before their tokens expired.

use std::collections::HashMap;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A sign-in that was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevokedSession {
    /// The sign-in: claim `sid` of its tokens.
    pub session: Uuid,
    /// When the last of its tokens expires, in seconds since 1970; it may be forgotten then.
    pub until_s: i64,
}

/// One answer of auth's feed: everything after the position that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevocationPage {
    /// The sign-ins ended since.
    pub revoked: Vec<RevokedSession>,
    /// The position to ask from next.
    pub next: i64,
    /// Whether there are more, to be asked for from there.
    #[serde(default)]
    pub more: bool,
    /// Changes whenever the key set does.
    pub keys_version: String,
    /// What time it is at auth, in seconds since 1970; 0 where auth is of an earlier version. A
    /// revocation is forgotten by this clock, not by one that may be wrong for a moment.
    #[serde(default)]
    pub now_s: i64,
}

/// The sign-ins known to be ended. Read for every request, written seldom: readers never wait.
#[derive(Default)]
pub(super) struct Revoked(ArcSwap<HashMap<Uuid, i64>>);

// === impl Revoked ===

impl Revoked {
    pub(super) fn contains(&self, session: Uuid) -> bool {
        self.0.load().contains_key(&session)
    }

    /// Adds what was ended, and forgets those whose last token has expired.
    pub(super) fn add(&self, sessions: &[RevokedSession], now_s: i64) {
        if sessions.is_empty() {
            return;
        }
        self.0.rcu(|known| {
            let mut known = HashMap::clone(known);
            known.retain(|_, until_s| *until_s >= now_s);
            known.extend(sessions.iter().map(|revoked| (revoked.session, revoked.until_s)));
            known
        });
    }
}
