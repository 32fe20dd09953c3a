//! What is searched for, and how it is found by an index of trigrams: `pg_trgm`'s on PostgreSQL,
//! FTS5's `trigram` tokenizer on SQLite. Each patient has one text for it: the name in its normal
//! form, a blank, the email.

use crate::{
    domain::{Details, in_any_case},
    names::normal,
};

/// Shorter texts have no trigram.
const TRIGRAM_CHARS: usize = 3;

/// Words, all of which must be parts of a name or an email. Personal data: it is not printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Search(Vec<Word>);

/// A word in the forms in which it may be found: one or two.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Word(Vec<String>);

/// What patients are found by.
pub(super) fn text_of(details: &Details) -> String {
    format!("{} {}", normal(details.name.as_str()), details.email.key())
}

// === impl Search ===

impl Search {
    /// The words of a query; none when it has none.
    pub(crate) fn parse(query: &str) -> Option<Self> {
        let all: Vec<_> = query.split_whitespace().map(Word::parse).collect();
        // Commas and hyphens between words say nothing, unless there is nothing else.
        let some = |word: &&Word| !word.is_separator();
        let words: Vec<_> = all.iter().filter(some).cloned().collect();
        let words = if words.is_empty() { all } else { words };
        Some(Self(words)).filter(|search| !search.0.is_empty())
    }

    pub(super) fn words(&self) -> &[Word] {
        &self.0
    }

    /// Those words by which an index finds something.
    pub(super) fn indexed(&self) -> impl Iterator<Item = &Word> {
        self.0.iter().filter(|word| word.is_indexed())
    }

    /// A query of FTS5: trigrams, since a piece may be longer than what the index keeps.
    pub(super) fn fts(&self) -> String {
        self.indexed().map(Word::fts).collect::<Vec<_>>().join(" AND ")
    }
}

// === impl Word ===

impl Word {
    fn parse(word: &str) -> Self {
        let email = in_any_case(word);
        // No name has an @.
        let name = if email.contains('@') { String::new() } else { normal(word) };
        let forms = [name, email].into_iter().filter(|form| !form.is_empty());
        let mut forms: Vec<_> = forms.collect();
        forms.dedup();
        Self(forms)
    }

    fn is_separator(&self) -> bool {
        self.0.iter().all(|form| normal(form).is_empty())
    }

    fn is_indexed(&self) -> bool {
        self.0.iter().all(|form| has_trigram(form))
    }

    /// Patterns of `like`, one of which a text must match.
    pub(super) fn patterns(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|form| pattern(form))
    }

    /// A pattern that narrows an address down: many share what follows the @, and whatever matches
    /// it must be gone through.
    pub(super) fn narrower(&self) -> Option<String> {
        self.local_part().map(pattern)
    }

    fn local_part(&self) -> Option<&str> {
        let [address] = &*self.0 else { return None };
        let (local_part, _) = address.split_once('@')?;
        has_trigram(local_part).then_some(local_part)
    }

    fn fts(&self) -> String {
        let trigrams = |form: &str| {
            let chars: Vec<char> = form.chars().collect();
            let quoted = chars
                .windows(TRIGRAM_CHARS)
                .map(|trigram| format!("\"{}\"", String::from_iter(trigram).replace('"', "\"\"")));
            format!("({})", quoted.collect::<Vec<_>>().join(" AND "))
        };
        let forms: Vec<_> = match self.local_part() {
            Some(local_part) => vec![trigrams(local_part)],
            None => self.0.iter().map(|form| trigrams(form)).collect(),
        };
        format!("({})", forms.join(" OR "))
    }
}

fn has_trigram(text: &str) -> bool {
    text.chars().nth(TRIGRAM_CHARS - 1).is_some()
}

/// Anything that contains the text, taken literally.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for char in text.chars() {
        if matches!(char, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_words_in_the_forms_of_a_name_and_of_an_email() {
        let forms = |query: &str| {
            let search = Search::parse(query);
            search.map(|it| it.0.into_iter().map(|word| word.0).collect::<Vec<_>>())
        };
        assert_eq!(forms(" \t"), None);
        assert_eq!(forms("Jones, Jacky").unwrap(), [vec!["jones", "jones,"], vec!["jacky"]]);
        assert_eq!(forms("Anna - O’Neill").unwrap(), [vec!["anna"], vec!["oneill", "o’neill"]]);
        assert_eq!(forms("-").unwrap(), [vec!["-"]]);
    }

    #[test]
    fn words_of_three_characters_are_found_by_their_trigrams() {
        let fts = |query: &str| Search::parse(query).unwrap().fts();
        assert_eq!(fts("jo"), "");
        assert_eq!(fts("jo roe"), "((\"roe\"))");
        assert_eq!(fts("anna@example.com"), "((\"ann\" AND \"nna\"))");
        assert_eq!(
            fts("a\"bcd"),
            "((\"abc\" AND \"bcd\") OR (\"a\"\"b\" AND \"\"\"bc\" AND \"bcd\"))"
        );
    }
}
