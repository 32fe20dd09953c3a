//! What must be told nowhere: values of people and secrets, looked for in every form in which a
//! program could write them.

use std::{fs, path::Path};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use testbed::{Kafka, Postgres};

/// What every story's people have in common, `test_mesh::a_patient` and the demo data, and the
/// servers' passwords: no log may hold any of it.
const OF_ALL_STORIES: [&str; 11] = [
    "Test Person",
    "test.person.",
    "1 Test Street",
    "1990-02-28",
    "testuser@test.com",
    "clinician@test.com",
    "receptionist@test.com",
    "john.doe@example.com",
    "password123",
    Postgres::PASSWORD,
    Kafka::PASSWORD,
];
/// What `up` prints for people who try it out: the one place where an account may be named.
pub(crate) const DEMO_LINE: &str = "demo accounts are on: ";

/// A value, in one form.
struct Form {
    value: String,
    /// In lower case, as what is searched is.
    text: String,
}

/// Values that exist nowhere else.
#[derive(Default)]
pub(crate) struct Canaries(Vec<Form>);

// === impl Canaries ===

impl Canaries {
    pub(crate) fn new<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        let mut canaries = Self::default();
        values.into_iter().for_each(|value| canaries.add(value));
        canaries
    }

    pub(crate) fn add(&mut self, value: &str) {
        let lower = value.to_lowercase();
        let mut forms = vec![
            lower.clone(),
            percent_encoded(&lower, "%20"),
            percent_encoded(&lower, "+"),
            // As Rust prints bytes.
            value.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", "),
        ];
        for text in [value, &lower] {
            let aligned = (0..3).flat_map(|before| base64(text.as_bytes(), before));
            forms.extend(aligned.map(|form| form.to_lowercase()));
        }
        forms.sort_unstable();
        forms.dedup();
        let form = |text| Form { value: value.to_owned(), text };
        self.0.extend(forms.into_iter().map(form));
    }

    /// Those that are told there, and how.
    pub(crate) fn seen_in(&self, place: &str, told: &[u8]) -> Vec<String> {
        let told = String::from_utf8_lossy(told).to_lowercase();
        let seen = self.0.iter().filter_map(|form| {
            let at = told.find(&form.text)?;
            let line = told[..at].rfind('\n').map_or(0, |end| end + 1);
            let around: String =
                told[line.max(at.saturating_sub(200))..].chars().take(300).collect();
            Some(format!("{place} tells {:?} as {:?}: {around}", form.value, form.text))
        });
        seen.collect()
    }
}

/// What a story's processes printed, when it ends: nobody is named there, whatever it was about.
pub(crate) fn seen_in_folder(folder: &Path) -> Vec<String> {
    let canaries = Canaries::new(OF_ALL_STORIES);
    let mut seen = Vec::new();
    for name in ["log", "out"] {
        let told = fs::read_to_string(folder.join(name)).unwrap_or_default();
        let told: Vec<_> = told.lines().filter(|line| !line.starts_with(DEMO_LINE)).collect();
        seen.extend(canaries.seen_in(name, told.join("\n").as_bytes()));
    }
    seen
}

fn percent_encoded(text: &str, space: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte {
        b' ' => space.to_owned(),
        byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02x}"),
    });
    encoded.collect()
}

/// In both alphabets, as it reads in the middle of a longer text after this many bytes: without the
/// digits at both ends that depend on what stands beside it.
fn base64(bytes: &[u8], before: usize) -> [String; 2] {
    let padded = [&[0; 2][..before], bytes].concat();
    let own = (before * 8).div_ceil(6)..padded.len() * 8 / 6;
    [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)]
        .map(|text| text[own.clone()].to_owned())
}
