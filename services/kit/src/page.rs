//! Lists come in pages; a cursor says where the next one begins.
//!
//! A cursor holds the last row's sort key, which may be a name, and travels in URLs: so it is
//! sealed (ChaCha20-Poly1305, RFC 8439), and opaque to everybody else. The key is kept in the
//! store, so that every replica reads every other's cursors.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom as _, SystemRandom},
};
use serde::{Deserialize, Serialize};
use shared_middleware::error::{ErrorCode, Failure};
use uuid::Uuid;

use crate::{
    db::{Db, DbError},
    params,
};

/// Rows in a page when the client does not say.
pub const SIZE_DEFAULT: u32 = 20;
/// Rows in a page at most.
pub const SIZE_MAX: u32 = 200;

/// The error of a cursor that cannot be used.
pub const NOT_OURS: &str = "is not a cursor of this list";

/// A longer cursor is none of ours.
const CURSOR_BYTES_MAX: usize = 2048;
const KEY_BYTES: usize = 32;

/// Where a list goes on. It may hold a name, and what was searched for: neither is printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Of which list: the sort and the filter that it was made for. Another list refuses it.
    pub list: String,
    /// The last row's sort key.
    pub key: String,
    /// The last row's id: the second part of every sort key.
    pub id: Uuid,
}

/// Seals and opens cursors.
pub struct Cursors {
    key: LessSafeKey,
    random: SystemRandom,
}

// === impl Cursor ===

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor(after {})", self.id)
    }
}

// === impl Cursors ===

impl Cursors {
    /// With the key in this store, made when there is none yet.
    pub async fn open(db: &Db) -> Result<Self, DbError> {
        let random = SystemRandom::new();
        let mut fresh = vec![0; KEY_BYTES];
        random.fill(&mut fresh).map_err(|_| DbError::Corrupt("no randomness"))?;
        let key: Vec<u8> = db
            .write(move |tx| {
                Box::pin(async move {
                    tx.execute(
                        "insert into secret (name, value) values ('cursor', $1)
                         on conflict (name) do nothing",
                        params![fresh],
                    )
                    .await?;
                    tx.query_one("select value from secret where name = 'cursor'", &[])
                        .await?
                        .get(0)
                })
            })
            .await?;
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key)
            .map_err(|_| DbError::Corrupt("a cursor key of another length"))?;
        Ok(Self { key: LessSafeKey::new(key), random })
    }

    /// With this key, and no store.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn with_key(key: &[u8; KEY_BYTES]) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).expect("a key of its length");
        Self { key: LessSafeKey::new(key), random: SystemRandom::new() }
    }

    /// As a client gets it.
    pub fn seal(&self, cursor: &Cursor) -> Result<String, Failure> {
        let mut nonce = [0; NONCE_LEN];
        let mut sealed = serde_json::to_vec(cursor).expect("texts are JSON");
        let done = self.random.fill(&mut nonce).and_then(|()| {
            let nonce = Nonce::assume_unique_for_key(nonce);
            self.key.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed)
        });
        done.map_err(|_| Failure::new(ErrorCode::Internal, "internal error"))?;
        let mut bytes = nonce.to_vec();
        bytes.append(&mut sealed);
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// As a client sent it back.
    ///
    /// # Errors
    /// [`NOT_OURS`] when we did not make it, or made it for another list.
    pub fn unseal(&self, text: &str, list: &str) -> Result<Cursor, &'static str> {
        let opened = self.unseal_any(text)?;
        if opened.list == list { Ok(opened) } else { Err(NOT_OURS) }
    }

    /// As [`Self::unseal`], for a service that asks the cursor which list it is of.
    pub fn unseal_any(&self, text: &str) -> Result<Cursor, &'static str> {
        self.try_unseal(text).ok_or(NOT_OURS)
    }

    fn try_unseal(&self, text: &str) -> Option<Cursor> {
        if text.len() > CURSOR_BYTES_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let opened = self.key.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        serde_json::from_slice(opened).ok()
    }
}

/// A page's size as a client asked for it: 1 to [`SIZE_MAX`].
pub fn size_in_bounds(asked: Option<u32>) -> Result<u32, &'static str> {
    let size = asked.unwrap_or(SIZE_DEFAULT);
    if (1..=SIZE_MAX).contains(&size) { Ok(size) } else { Err("must be from 1 to 200") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursors() -> Cursors {
        Cursors::with_key(&[7; KEY_BYTES])
    }

    proptest! {
        #[test]
        fn a_cursor_is_read_back_and_shows_nothing(key in "\\PC{0,100}", id: u128) {
            let cursor = Cursor { list: "name asc".into(), key, id: Uuid::from_u128(id) };
            let text = cursors().seal(&cursor).unwrap();
            prop_assert_eq!(cursors().unseal(&text, "name asc").unwrap(), cursor.clone());
            prop_assert!(cursors().unseal(&text, "name desc").is_err());
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
        }

        #[test]
        fn a_changed_cursor_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let cursor = Cursor { list: "l".into(), key: "k".into(), id: Uuid::nil() };
            let mut bytes = URL_SAFE_NO_PAD.decode(cursors().seal(&cursor).unwrap()).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(cursors().unseal(&URL_SAFE_NO_PAD.encode(bytes), "l").is_err());
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            prop_assert!(cursors().unseal(&text, "l").is_err());
        }
    }

    #[test]
    fn sizes_out_of_bounds_are_refused() {
        assert_eq!(size_in_bounds(None), Ok(20));
        assert_eq!(size_in_bounds(Some(200)), Ok(200));
        assert!(size_in_bounds(Some(0)).is_err() && size_in_bounds(Some(201)).is_err());
    }
}
