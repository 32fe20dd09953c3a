//! Signed statements of how far a trail had come: kept elsewhere, they show a trail that was cut
//! off, or written anew by somebody who has the key.
//!
//! Signed by Ed25519 (RFC 8032) with a key derived from the audit key, so that whoever keeps one
//! can check it by the public key alone.

use jiff::Timestamp;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use shared_middleware::identity::Part;

use super::{
    chain::{AuditKey, hex, unhex},
    verify::Known,
};

const PURPOSE: &str = "medisync audit checkpoint 1";

/// A statement: one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checkpoint {
    /// Whose trail.
    pub writer: String,
    /// The number of its last entry.
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
    /// States how far a trail has come.
    pub fn sign(writer: Part, known: &Known, at: Timestamp, key: &AuditKey) -> Self {
        let pair = pair(key);
        let public = hex(pair.public_key().as_ref());
        let (writer, link) = (writer.to_string(), hex(&known.link));
        let stated = stated(&writer, known.seq, &link, at, &public);
        let signature = hex(pair.sign(stated.as_bytes()).as_ref());
        Self { writer, seq: known.seq, link, at, key: public, signature }
    }

    /// Reads a line, and checks that this mesh stated it.
    pub fn read(line: &str, key: &AuditKey) -> Result<Self, BadCheckpoint> {
        let read: Self = serde_json::from_str(line)?;
        let ours = pair(key);
        let stated = stated(&read.writer, read.seq, &read.link, read.at, &read.key);
        let signature = unhex(&read.signature).ok_or(BadCheckpoint::Signature)?;
        UnparsedPublicKey::new(&ED25519, ours.public_key().as_ref())
            .verify(stated.as_bytes(), &signature)
            .map_err(|_| BadCheckpoint::Signature)?;
        Ok(read)
    }

    /// What it knows of its trail.
    pub fn known(&self) -> Known {
        Known { seq: self.seq, link: unhex(&self.link).unwrap_or_default() }
    }
}

/// What is signed.
fn stated(writer: &str, seq: i64, link: &str, at: Timestamp, key: &str) -> String {
    format!("{PURPOSE}\n{writer}\n{seq}\n{link}\n{at}\n{key}\n")
}

fn pair(key: &AuditKey) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&key.derive(PURPOSE)).expect("any 32 bytes are a seed")
}
