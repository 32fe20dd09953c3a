//! The search index's terms: every piece of one, two and three characters of a text.
//!
//! A query of up to three characters is one term; a longer one is some of its pieces of three,
//! after which the text itself is compared, since the pieces might stand apart. Some: a piece that
//! most patients have rules out nobody, and to go through all of those costs more than all else.

use std::{cmp::Reverse, collections::BTreeSet};

use shared_middleware::hex::push_hex;

/// Characters in a piece at most.
const CHARS_MAX: usize = 3;
/// Of a query's pieces so many are looked for, the rarest as far as can be told from letters alone;
/// and others that are hardly less rare.
const TERMS_RAREST: usize = 4;
const TERMS_MAX: usize = 12;
/// A word of three letters, and the space after it.
const WORD_BYTES: usize = 2 * CHARS_MAX + 1;
/// Letters by how often they are used in English, the rarest first.
const RAREST_LETTERS: &str = "qzjxkvbpgyfwmuclhdrsnioate";

/// All terms of a patient, in words of hex digits, which every engine takes for plain words.
pub(super) fn of_patient(name_key: &str, email_key: &str) -> String {
    let texts = [name_key, email_key].map(|text| text.chars().collect::<Vec<_>>());
    let mut pieces: Vec<_> = texts
        .iter()
        .flat_map(|text| (1..=CHARS_MAX).flat_map(|chars| text.windows(chars)))
        .collect();
    pieces.sort_unstable();
    pieces.dedup();
    let mut words = String::with_capacity(pieces.len() * WORD_BYTES);
    for piece in pieces {
        if !words.is_empty() {
            words.push(' ');
        }
        push_word(&mut words, piece);
    }
    words
}

/// Terms that a text must have to contain the query, which is not empty.
pub(super) fn of_query(query: &str) -> BTreeSet<String> {
    let chars: Vec<char> = query.chars().collect();
    let length = chars.len().clamp(1, CHARS_MAX);
    // Whole hospitals share what follows the @.
    let shared = chars.iter().position(|&char| char == '@').unwrap_or(chars.len());
    let mut pieces: Vec<_> = chars
        .windows(length)
        .enumerate()
        .map(|(at, piece)| {
            let common: usize = piece.iter().copied().map(commonness).sum();
            (at + length > shared, common, piece)
        })
        .collect();
    pieces.sort_unstable_by_key(|(shared, common, piece)| (*shared, *common, Reverse(*piece)));
    pieces.dedup_by_key(|(.., piece)| *piece);
    let Some(&(shared, common, _)) = pieces.iter().take(TERMS_RAREST).next_back() else {
        return BTreeSet::new();
    };
    let rare = |it: &(bool, usize, &[char])| (it.0, it.1) <= (shared, common + common / 2);
    let pieces = pieces.iter().take(TERMS_MAX).filter(|it| rare(it));
    pieces.map(|(.., piece)| hex(piece)).collect()
}

/// Digits and other scripts are rarer than any letter; what stands in every name or email is not.
fn commonness(char: char) -> usize {
    match char {
        ' ' | '.' | '@' | '-' => RAREST_LETTERS.len(),
        _ => RAREST_LETTERS.find(char).map_or(0, |place| place + 1),
    }
}

fn hex(piece: &[char]) -> String {
    let mut word = String::with_capacity(WORD_BYTES);
    push_word(&mut word, piece);
    word
}

fn push_word(words: &mut String, piece: &[char]) {
    let mut utf8 = [0; 4];
    for char in piece {
        push_hex(words, char.encode_utf8(&mut utf8).as_bytes());
    }
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

    #[test]
    fn a_patient_has_every_piece_once() {
        assert_eq!(of_patient("aé", "a"), "61 61c3a9 c3a9");
        assert_eq!(of_patient("", ""), "");
    }

    #[test]
    fn of_a_long_query_the_rarest_pieces_are_looked_for() {
        let words = |pieces: [&str; 4]| pieces.map(|it| hex(&it.chars().collect::<Vec<_>>()));
        let rare = words(["143", "432", "321", "-14"]);
        assert_eq!(of_query("person-14321@scale.example"), rare.into());
        assert_eq!(of_query("noor petrov").len(), 9);
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
            let terms: BTreeSet<_> = terms.split(' ').map(str::to_owned).collect();
            prop_assert!(of_query(&query).is_subset(&terms));
        }
    }
}
