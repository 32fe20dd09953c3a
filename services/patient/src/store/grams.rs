//! The search index's terms: every piece of one, two and three characters of a text.
//!
//! A query of up to three characters is one term; a longer one is all its pieces of three, after
//! which the text itself is compared, since the pieces might stand apart.

use std::{collections::BTreeSet, fmt::Write as _};

/// Characters in a piece at most.
const CHARS_MAX: usize = 3;

/// All terms of a patient, in words of hex digits, which every engine takes for plain words.
pub(super) fn of_patient(name_key: &str, email_key: &str) -> BTreeSet<String> {
    let mut terms = BTreeSet::new();
    for text in [name_key, email_key] {
        for chars in 1..=CHARS_MAX {
            terms.extend(pieces(text, chars));
        }
    }
    terms
}

/// The terms that a text must have to contain the query, which is not empty.
pub(super) fn of_query(query: &str) -> BTreeSet<String> {
    let chars = query.chars().count().min(CHARS_MAX);
    pieces(query, chars).collect()
}

fn pieces(text: &str, chars: usize) -> impl Iterator<Item = String> {
    let all: Vec<char> = text.chars().collect();
    let last = (all.len() + 1).saturating_sub(chars);
    (0..last).map(move |at| hex(&all[at..at + chars]))
}

fn hex(piece: &[char]) -> String {
    let mut word = String::with_capacity(8);
    let mut utf8 = [0; 4];
    for char in piece {
        for byte in char.encode_utf8(&mut utf8).bytes() {
            let _ = write!(word, "{byte:02x}");
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_short_query_is_one_term_and_a_long_one_its_pieces() {
        assert_eq!(of_query("a"), ["61".to_owned()].into());
        assert_eq!(of_query("jo"), ["6a6f".to_owned()].into());
        assert_eq!(of_query("john"), ["6a6f68".to_owned(), "6f686e".to_owned()].into());
    }

    proptest! {
        #[test]
        fn whoever_contains_the_query_has_its_terms(
            before in "\\PC{0,8}",
            query in "\\PC{1,8}",
            after in "\\PC{0,8}",
            email in "[a-z@.]{0,9}",
        ) {
            let terms = of_patient(&format!("{before}{query}{after}"), &email);
            prop_assert!(of_query(&query).is_subset(&terms));
        }
    }
}
