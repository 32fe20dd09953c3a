//! How names are compared, in one place: what a search looks for, and what lists are sorted by.
//!
//! - [`normal`]: a text as searches see it. Unicode NFKD and full case folding (Unicode Standard,
//!   3.13 and chapter 5.18), without marks, invisible signs and separators; Latin letters that do
//!   not decompose are written as `deunicode` transliterates them (ø o, ł l, æ ae).
//! - [`sort_key`]: bytes that sort as ICU's root collation does (UTS #10, CLDR), whatever the
//!   engine. A version with other ICU data needs a migration that sets `search` to null, so that
//!   `store::prepared` computes the keys again.

use std::sync::LazyLock;

use icu_casemap::{CaseMapper, CaseMapperBorrowed};
use icu_collator::{Collator, CollatorBorrowed, options::CollatorOptions};
use icu_normalizer::{
    ComposingNormalizer, ComposingNormalizerBorrowed, DecomposingNormalizer,
    DecomposingNormalizerBorrowed,
};
use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{
        Dash, DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup, QuotationMark,
        Script, WhiteSpace,
    },
};

static DECOMPOSE: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizer::new_nfkd();
static COMPOSE: ComposingNormalizerBorrowed<'static> = ComposingNormalizer::new_nfc();
static FOLD: CaseMapperBorrowed<'static> = CaseMapper::new();
static COLLATOR: LazyLock<CollatorBorrowed<'static>> = LazyLock::new(|| {
    let root = Collator::try_new(Default::default(), CollatorOptions::default());
    root.expect("the root collation is compiled in")
});

/// A text as searches see it. A part of a text has a part of its normal form.
pub(crate) fn normal(text: &str) -> String {
    let text = DECOMPOSE.normalize(text);
    let mut normal = String::with_capacity(text.len());
    for char in FOLD.fold_string(&text).chars().filter(|char| !is_left_out(*char)) {
        push_plain(&mut normal, char);
    }
    // A syllable of Hangul is one sign again.
    COMPOSE.normalize(&normal).into_owned()
}

/// What names are sorted by: without apostrophes, and with one blank for other separators.
pub(crate) fn sort_key(name: &str) -> Vec<u8> {
    let mut plain = String::with_capacity(name.len());
    for char in name.chars().filter(|char| !is_apostrophe(*char)) {
        match is_separator(char) {
            true if plain.ends_with(' ') || plain.is_empty() => {}
            true => plain.push(' '),
            false => plain.push(char),
        }
    }
    let mut key = Vec::with_capacity(2 * name.len());
    let Ok(()) = COLLATOR.write_sort_key_to(plain.trim_end(), &mut key);
    key
}

/// A letter as a receptionist types it.
fn push_plain(normal: &mut String, char: char) {
    let is_plain = |latin: &&str| latin.bytes().all(|byte| byte.is_ascii_alphabetic());
    match char {
        _ if char.is_ascii() => normal.push(char),
        // Alef with wasla is the one form of alef that does not decompose.
        '\u{671}' => normal.push('\u{627}'),
        _ if CodePointMapData::<Script>::new().get(char) == Script::Latin => {
            match deunicode::deunicode_char(char).filter(is_plain) {
                Some(latin) => normal.push_str(&latin.to_ascii_lowercase()),
                None => normal.push(char),
            }
        }
        _ => normal.push(char),
    }
}

/// Marks, what cannot be seen, and separators.
fn is_left_out(char: char) -> bool {
    match char {
        'a'..='z' | '0'..='9' => false,
        // Stretches Arabic words.
        '\u{640}' => true,
        _ => {
            let category = CodePointMapData::<GeneralCategory>::new().get(char);
            let is_mark = matches!(
                category,
                GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark
            );
            is_mark
                || GeneralCategoryGroup::Control.contains(category)
                || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(char)
                || is_separator(char)
                || is_apostrophe(char)
        }
    }
}

fn is_separator(char: char) -> bool {
    matches!(char, '.' | ',' | ';' | '·')
        || CodePointSetData::new::<WhiteSpace>().contains(char)
        || CodePointSetData::new::<Dash>().contains(char)
}

/// Also what is typed for one, and modifier letters that look like it.
fn is_apostrophe(char: char) -> bool {
    matches!(char, '`' | '´' | '′' | 'ʹ' | 'ʻ' | 'ʼ' | 'ʽ' | 'ʾ' | 'ʿ' | 'ˈ')
        || CodePointSetData::new::<QuotationMark>().contains(char)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_in_different_ways_is_the_same() {
        for (ways, same) in [
            (
                &["Béatrice Bélanger", "BEATRICE  BELANGER", "Be\u{301}atrice-Bélanger"][..],
                "beatricebelanger",
            ),
            (&["O'Connor", "O’Connor", "O Connor", "OʼConnor", "oconnor", "O`Connor"], "oconnor"),
            (&["Großmann", "GROSSMANN", "großmann", "GROẞMANN"], "grossmann"),
            (&["Łukasz Øvergård", "lukasz overgard"], "lukaszovergard"),
            (&["Æsa", "aesa", "ǢSA"], "aesa"),
            (&["Ümit Işık", "umit isik", "ÜMİT IŞIK"], "umitisik"),
            (&["Đorđe", "dorde"], "dorde"),
            (&["ﾔﾏﾀﾞ ﾊﾅｺ", "ヤマダ　ハナコ"], "ヤマタハナコ"),
            (&["Ｊｏｈｎ", "john"], "john"),
            (&["山田 太郎", "山田太郎", "山田\u{3000}太郎"], "山田太郎"),
            (&["Ёлкин Пётр", "елкин петр"], "елкинпетр"),
            (&["أحمد", "احمد", "ٱحمد", "أحـمد"], "احمد"),
            (&["ΟΔΥΣΣΕΥΣ", "Οδυσσεύς", "οδυσσευσ"], "οδυσσευσ"),
            (
                &["Mary\u{a0}Ann", "mary\u{200b} ann", "Mary\tAnn", "Mary–Ann", "Mary,Ann"],
                "maryann",
            ),
            (&["한글", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}"], "한글"),
        ] {
            for way in ways {
                assert_eq!(normal(way), same, "{way}");
            }
        }
    }

    #[test]
    fn what_is_no_separator_stays() {
        assert_eq!(normal(r"100% B\s a_b 🦀"), r"100%b\sa_b🦀");
        for none in ["", " ", "-", "’", "\u{301}", ". ,"] {
            assert_eq!(normal(none), "", "{none}");
        }
    }

    #[test]
    fn names_are_sorted_as_people_expect() {
        let mut names = [
            "Zulu",
            "éva",
            "zoe",
            "Élodie",
            "Adam",
            "eve",
            "Ärmel",
            "Øyvind",
            "O’Shea",
            "Oshan",
            "O'Sullivan",
            "Anna Maria",
            "Anna-Marta",
            "Annabel",
            "Eva",
        ];
        names.sort_by_key(|name| sort_key(name));
        assert_eq!(
            names,
            [
                "Adam",
                "Anna Maria",
                "Anna-Marta",
                "Annabel",
                "Ärmel",
                "Élodie",
                "Eva",
                "éva",
                "eve",
                "Oshan",
                "O’Shea",
                "O'Sullivan",
                "Øyvind",
                "zoe",
                "Zulu"
            ]
        );
        assert_eq!(sort_key("O'Connor"), sort_key("O’Connor"));
        assert_eq!(sort_key(" Anna -  Maria "), sort_key("Anna Maria"));
    }

    proptest! {
        #[test]
        fn a_part_of_a_text_has_a_part_of_its_normal_form(
            before in "[a-zßøæşÉÅ '’ıİ-]{0,8}",
            part in "[a-zßøæşÉÅ '’ıİ-]{0,8}",
            after in "[a-zßøæşÉÅ '’ıİ-]{0,8}",
        ) {
            let whole = [before, part.clone(), after].concat();
            prop_assert!(normal(&whole).contains(&normal(&part)));
        }

        #[test]
        fn the_normal_form_is_its_own(text in "\\PC{0,20}") {
            let once = normal(&text);
            prop_assert_eq!(normal(&once), once);
        }
    }
}
