//! The metrics of a process, parsed and added up.
//!
//! The form is Prometheus' text format, of which our own listener writes the plain part:
//! `name{label="value"} number`.

use std::collections::BTreeMap;

const FEED: &str = "route=\"/.well-known/revocations\"";

/// What one answer of `/metrics` said.
pub(crate) struct Scrape(BTreeMap<String, Vec<Sample>>);

struct Sample {
    labels: Vec<(String, String)>,
    value: f64,
}

// === impl Sample ===

impl Sample {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn is(&self, only: &[(&str, &str)]) -> bool {
        only.iter().all(|(name, value)| self.label(name) == Some(value))
    }
}

// === impl Scrape ===

impl Scrape {
    /// Reads what can be read; a line of another form is passed over. So is auth's feed: its
    /// requests are held until there is something to say, and would look like slow ones.
    pub(crate) fn parse(text: &str) -> Self {
        let mut found: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
        let told = |line: &&str| !line.starts_with('#') && !line.contains(FEED);
        for line in text.lines().filter(told) {
            if let Some((name, sample)) = sample(line) {
                found.entry(name.to_owned()).or_default().push(sample);
            }
        }
        Self(found)
    }

    /// Whether there is any such metric.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The sum of all series of a name with these labels.
    pub(crate) fn sum(&self, name: &str, only: &[(&str, &str)]) -> f64 {
        self.all(name).filter(|sample| sample.is(only)).map(|sample| sample.value).sum()
    }

    /// The same, of those whose label begins so.
    pub(super) fn sum_where(
        &self,
        name: &str,
        only: &[(&str, &str)],
        label: &str,
        begins: &str,
    ) -> f64 {
        let begins =
            |sample: &&Sample| sample.label(label).is_some_and(|value| value.starts_with(begins));
        let of = self.all(name).filter(|sample| sample.is(only)).filter(begins);
        of.map(|sample| sample.value).sum()
    }

    /// The sums by a label's value.
    pub(crate) fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for sample in self.all(name) {
            if let Some(value) = sample.label(label) {
                *sums.entry(value.to_owned()).or_default() += sample.value;
            }
        }
        sums
    }

    /// The values of a label.
    pub(super) fn labels(&self, name: &str, label: &str) -> Vec<String> {
        self.by(name, label).into_keys().collect()
    }

    /// A quantile of what a histogram has counted since an earlier scrape; none when that is
    /// nothing. Within a bucket values are taken to be spread evenly, as Prometheus does.
    pub(super) fn quantile_since(
        &self,
        before: &Self,
        name: &str,
        only: &[(&str, &str)],
        quantile: f64,
    ) -> Option<f64> {
        let name = format!("{name}_bucket");
        let mut buckets: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
        for (scrape, sign) in [(self, 1.0), (before, -1.0)] {
            for sample in scrape.all(&name).filter(|sample| sample.is(only)) {
                let le: f64 = sample.label("le")?.parse().ok()?;
                // Bounds are not negative, so that their bits are in their order.
                buckets.entry(le.to_bits()).or_insert((le, 0.0)).1 += sign * sample.value;
            }
        }
        let count = buckets.values().next_back()?.1;
        if count <= 0.0 {
            return None;
        }
        let (wanted, mut low, mut below) = (count * quantile, 0.0, 0.0);
        for &(le, up_to) in buckets.values() {
            if up_to >= wanted {
                let share = (wanted - below) / (up_to - below);
                return Some(if le.is_finite() { low + (le - low) * share } else { low });
            }
            (low, below) = (le, up_to);
        }
        None
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.0.get(name).into_iter().flatten()
    }
}

fn sample(line: &str) -> Option<(&str, Sample)> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, rest)) = series.split_once('{') else {
        return Some((series, Sample { labels: Vec::new(), value }));
    };
    let mut rest = rest.strip_suffix('}')?;
    let mut labels = Vec::new();
    while !rest.is_empty() {
        let (label, quoted) = rest.split_once("=\"")?;
        let (text, after) = unquoted(quoted)?;
        labels.push((label.trim_start_matches(',').to_owned(), text));
        rest = after;
    }
    Some((name, Sample { labels, value }))
}

/// A label's value up to its quote, and what follows that.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            plain => value.push(plain),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BEFORE: &str = "\
# HELP t Time.
t_bucket{part=\"a\",le=\"0.1\"} 10
t_bucket{part=\"a\",le=\"0.5\"} 10
t_bucket{part=\"a\",le=\"+Inf\"} 10
";
    const NOW: &str = "\
t_bucket{part=\"a\",le=\"0.1\"} 10
t_bucket{part=\"a\",le=\"0.5\"} 110
t_bucket{part=\"a\",le=\"+Inf\"} 110
c{part=\"a\",status=\"200\"} 3
c{part=\"a\",status=\"503\"} 1
c{part=\"b \\\"x\\\"\",status=\"200\"} 5
plain 7.5
";

    #[test]
    fn series_are_added_up_by_their_labels() {
        let now = Scrape::parse(NOW);
        assert_eq!(now.sum("plain", &[]), 7.5);
        assert_eq!(now.sum("c", &[("part", "a")]), 4.0);
        assert_eq!(now.sum_where("c", &[], "status", "5"), 1.0);
        assert_eq!(now.by("c", "part").keys().collect::<Vec<_>>(), ["a", "b \"x\""]);
        assert!(now.has("plain") && !now.has("nothing"));
    }

    #[test]
    fn a_quantile_is_of_what_was_counted_since() {
        let (before, now) = (Scrape::parse(BEFORE), Scrape::parse(NOW));
        let found = now.quantile_since(&before, "t", &[("part", "a")], 0.5).unwrap();
        assert!((found - 0.3).abs() < 1e-9, "{found}");
        assert_eq!(now.quantile_since(&now, "t", &[], 0.5), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z{}=\",\\\\ 0-9.\n+]{0,80}") {
            let scrape = Scrape::parse(&text);
            scrape.sum("a", &[]);
            scrape.quantile_since(&scrape, "a", &[], 0.5);
        }
    }
}
