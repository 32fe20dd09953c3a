//! Whether two parts of one process would accept each other's certificates.
//!
//! Between them no handshake happens, so what it would find out is found out here: authority,
//! validity, revocation lists, names. The verdict is kept until one of the two reads its files
//! again.

use std::{ops::Range, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use rustls_pki_types::UnixTime;

use super::{
    Credentials, MeshTls,
    live_connections::{PresentedChain, Side},
    peer_of,
};
use crate::{clock::Clock, identity::Peer};

/// Two parts of this process.
pub(crate) struct MutualTrust {
    client: Arc<MeshTls>,
    server: Arc<MeshTls>,
    clock: Clock,
    last: ArcSwapOption<Verdict>,
}

struct Verdict {
    client: Arc<Credentials>,
    server: Arc<Credentials>,
    /// When both certificates are valid, in seconds since 1970; empty when one was refused.
    holds_s: Range<i64>,
}

// === impl MutualTrust ===

impl MutualTrust {
    pub(crate) const fn new(client: Arc<MeshTls>, server: Arc<MeshTls>, clock: Clock) -> Self {
        Self { client, server, clock, last: ArcSwapOption::const_empty() }
    }

    /// As whom the server knows the client.
    pub(crate) fn client(&self) -> Peer {
        Peer::Part(self.client.part())
    }

    /// Whether a handshake between the two would succeed now.
    pub(crate) fn holds(&self) -> bool {
        let now_s = self.clock.unix_s();
        let (client, server) = (self.client.credentials.load(), self.server.credentials.load());
        if let Some(last) = &*self.last.load()
            && Arc::ptr_eq(&last.client, &client)
            && Arc::ptr_eq(&last.server, &server)
        {
            return last.holds_s.contains(&now_s);
        }
        let valid_s = client.valid_from_s.max(server.valid_from_s)
            ..client.expires_at_s.min(server.expires_at_s);
        if !valid_s.contains(&now_s) {
            // Not kept: what is verified is verified at a moment when it can succeed.
            return false;
        }
        let verified = self.verify(&client, &server, now_s);
        let holds_s = if verified { valid_s } else { 0..0 };
        let verdict = Verdict { client: Arc::clone(&client), server: Arc::clone(&server), holds_s };
        self.last.store(Some(Arc::new(verdict)));
        verified
    }

    fn verify(&self, client: &Arc<Credentials>, server: &Arc<Credentials>, now_s: i64) -> bool {
        let now = Duration::from_secs(u64::try_from(now_s).unwrap_or_default());
        let now = UnixTime::since_unix_epoch(now);
        let accepts = |verifier: &Credentials, of: &Credentials, by| {
            verifier.verify(&PresentedChain { chain: of.chain.clone(), by }, now).is_ok()
        };
        let names = |of: &Credentials, tls: &MeshTls| {
            of.chain.first().is_some_and(|leaf| peer_of(leaf) == Peer::Part(tls.part()))
        };
        accepts(server, client, Side::Client)
            && accepts(client, server, Side::Server(self.server.part()))
            && names(client, &self.client)
            && names(server, &self.server)
    }
}
