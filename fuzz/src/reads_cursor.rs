//! Cursors: ours come back as they were, and there are no others.

use std::sync::LazyLock;

use kit::page::{Cursor, Cursors};
use uuid::Uuid;

static CURSORS: LazyLock<Cursors> = LazyLock::new(|| Cursors::with_key(&[7; 32]));

/// Bytes that come back as a cursor are refused; sealed as what one holds they come back, to their
/// list only, and not when a bit of them was changed.
pub fn cursor(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    assert!(CURSORS.unseal_any(&text).is_err(), "a cursor that nobody sealed is accepted");
    // What is longer is no cursor of ours: names are bounded.
    let (list, key) = text.split_once('\n').unwrap_or(("", &text));
    if text.len() > 500 {
        return;
    }
    let id = Uuid::from_u64_pair(7, bytes.len() as u64);
    let cursor = Cursor { list: list.to_owned(), key: key.to_owned(), id };
    let Ok(sealed) = CURSORS.seal(&cursor) else { panic!("it is not sealed") };
    if sealed.len() <= 2048 {
        assert!(CURSORS.unseal(&sealed, list).is_ok_and(|opened| opened == cursor));
    }
    assert!(CURSORS.unseal(&sealed, &format!("{list}x")).is_err(), "a cursor of another list");
    let at = bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>() % sealed.len();
    let mut changed = sealed.into_bytes();
    // Of the last digit not all bits count.
    changed[at] = if changed[at] == b'A' { b'w' } else { b'A' };
    let changed = String::from_utf8_lossy(&changed);
    assert!(CURSORS.unseal_any(&changed).is_err(), "a changed cursor is accepted");
}
