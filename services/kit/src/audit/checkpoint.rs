//! Signed statements of how far a chain had come: kept elsewhere, they show an audit log that was
//! cut off, or written anew by somebody who has the key.
//!
//! Signed by Ed25519 (RFC 8032) with a key derived from the audit key, so that anyone who keeps one
//! can check it by the public key alone.

use jiff::Timestamp;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use shared_middleware::{
    hex::{hex, unhex},
    identity::Part,
};

use super::{chain::AuditKey, registry::FIRST, rows::Head};

const PURPOSE: &str = "medisync audit checkpoint 1";

/// A statement: one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checkpoint {
    /// Whose audit log.
    pub writer: String,
    /// The number of its chain. Statements of before there were several have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<i64>,
    /// The number of the chain's last entry.
    pub seq: i64,
    /// That entry's link, hexadecimal.
    pub link: String,
    /// When this was stated.
    pub at: Timestamp,
    /// The public key, hexadecimal.
    pub key: String,
    /// The signature of all of the above, hexadecimal.
    pub signature: String,
}

/// Why a checkpoint says nothing.
#[derive(Debug, thiserror::Error)]
pub enum BadCheckpoint {
    /// It is not of its form.
    #[error("it is not a checkpoint")]
    Form(#[from] serde_json::Error),
    /// Its signature is not the one of this mesh's key.
    #[error("its signature is not of this audit key")]
    Signature,
}

// === impl Checkpoint ===

impl Checkpoint {
    /// States how far a chain has come.
    pub fn sign(writer: Part, head: &Head, at: Timestamp, key: &AuditKey) -> Self {
        let pair = pair(key);
        let public = hex(pair.public_key().as_ref());
        let mut stated = Self {
            writer: writer.to_string(),
            chain: Some(head.chain),
            seq: head.seq,
            link: hex(&head.link),
            at,
            key: public,
            signature: String::new(),
        };
        stated.signature = hex(pair.sign(stated.text().as_bytes()).as_ref());
        stated
    }

    /// Reads a line, and checks that this mesh stated it.
    pub fn read(line: &str, key: &AuditKey) -> Result<Self, BadCheckpoint> {
        let read: Self = serde_json::from_str(line)?;
        let ours = pair(key);
        let signature = unhex(&read.signature).ok_or(BadCheckpoint::Signature)?;
        UnparsedPublicKey::new(&ED25519, ours.public_key().as_ref())
            .verify(read.text().as_bytes(), &signature)
            .map_err(|_| BadCheckpoint::Signature)?;
        Ok(read)
    }

    /// How far the chain had come.
    pub fn head(&self) -> Head {
        let (chain, link) = (self.chain.unwrap_or(FIRST), unhex(&self.link).unwrap_or_default());
        Head { chain, seq: self.seq, link }
    }

    /// What is signed.
    fn text(&self) -> String {
        let Self { writer, chain, seq, link, at, key, .. } = self;
        let chain = chain.map(|chain| format!("{chain}/")).unwrap_or_default();
        format!("{PURPOSE}\n{writer}\n{chain}{seq}\n{link}\n{at}\n{key}\n")
    }
}

fn pair(key: &AuditKey) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&key.derive(PURPOSE)).expect("any 32 bytes are a seed")
}
