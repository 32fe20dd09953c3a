//! The keyed hash chain: an entry's link is HMAC-SHA-256 (RFC 2104) of the link before it, its
//! number and its contents. Anyone who changes, removes, inserts or moves an entry needs the key,
//! or breaks the chain. Which chain it is in follows from the link before: each chain begins with
//! the link of its own opening.
//!
//! Each writer's key is derived from the mesh's one, so that the chain of one service is none of
//! another's. What is hashed is distinguished by lengths: no two entries have the same bytes.

use std::{fmt, str::FromStr};

use ring::hmac::{HMAC_SHA256, Key, sign};
use shared_middleware::{
    audit::Entry,
    hex::{hex, unhex},
    identity::Part,
};

use super::rows::Head;

const KEY_BYTES: usize = 32;
const CHAIN: &str = "medisync audit chain 1 ";

/// The mesh's audit key: 256 secret bits.
#[derive(Clone)]
pub struct AuditKey([u8; KEY_BYTES]);

/// A text that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 64 hexadecimal digits")]
pub struct BadAuditKey;

/// One service's chain.
pub(super) struct Chain {
    writer: Part,
    key: Key,
}

/// What is hashed, in the making.
struct Contents(Vec<u8>);

// === impl AuditKey ===

impl AuditKey {
    /// These bits.
    pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// As it is configured.
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    pub(super) const fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// A key for one purpose.
    pub(super) fn derive(&self, purpose: &str) -> [u8; KEY_BYTES] {
        let derived = sign(&Key::new(HMAC_SHA256, &self.0), purpose.as_bytes());
        derived.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

impl FromStr for AuditKey {
    type Err = BadAuditKey;

    fn from_str(text: &str) -> Result<Self, BadAuditKey> {
        let bytes = unhex(text.trim()).ok_or(BadAuditKey)?;
        bytes.try_into().map(Self).map_err(|_| BadAuditKey)
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditKey")
    }
}

// === impl Chain ===

impl Chain {
    pub(super) fn new(writer: Part, key: &AuditKey) -> Self {
        let key = key.derive(&format!("{CHAIN}{writer}"));
        Self { writer, key: Key::new(HMAC_SHA256, &key) }
    }

    pub(super) const fn writer(&self) -> Part {
        self.writer
    }

    /// The head of a chain after this entry was appended.
    pub(super) fn next(&self, head: &Head, entry: &Entry) -> Head {
        let seq = head.seq + 1;
        Head { chain: head.chain, seq, link: self.link(&head.link, seq, entry) }
    }

    /// The link of the entry with this number, after the one with this link.
    pub(super) fn link(&self, before: &[u8], seq: i64, entry: &Entry) -> Vec<u8> {
        let Entry { at, actor, role, action, outcome, record, patients, source, trace, changed } =
            entry;
        let mut contents = Contents(Vec::with_capacity(256));
        contents.bytes(before);
        contents.bytes(&seq.to_be_bytes());
        contents.bytes(&at.as_microsecond().to_be_bytes());
        contents.bytes(actor.as_bytes());
        contents.optional(role.as_deref());
        contents.bytes(action.as_bytes());
        contents.bytes(outcome.as_str().as_bytes());
        contents.optional(record.as_deref());
        for patient in patients {
            contents.bytes(patient.as_bytes());
        }
        contents.bytes(&[]);
        contents.optional(source.as_deref());
        contents.optional(trace.as_deref());
        // Nothing where there is nothing: entries of before have the links that they had.
        changed.iter().for_each(|field| contents.bytes(field.as_bytes()));
        sign(&self.key, &contents.0).as_ref().to_vec()
    }
}

// === impl Contents ===

impl Contents {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend((bytes.len() as u64).to_be_bytes());
        self.0.extend(bytes);
    }

    fn optional(&mut self, text: Option<&str>) {
        self.0.push(u8::from(text.is_some()));
        self.bytes(text.unwrap_or_default().as_bytes());
    }
}
