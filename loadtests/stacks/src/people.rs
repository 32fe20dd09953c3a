//! Patients to be registered: each another, none of them real.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

const GIVEN: [&str; 16] = [
    "Ada", "Bela", "Chiara", "Dmitri", "Elif", "Femi", "Greta", "Hugo", "Ines", "Jonas", "Kaede",
    "Lucia", "Marek", "Noor", "Oskar", "Priya",
];
const FAMILY: [&str; 16] = [
    "Almeida", "Bauer", "Castell", "Dubois", "Eriksen", "Farkas", "Greco", "Haddad", "Ivanov",
    "Jansen", "Kovac", "Larsen", "Moreau", "Novak", "Okafor", "Petrov",
];

/// A patient's name, email and year of birth.
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) birth_year: u32,
}

// === impl Person ===

impl Person {
    /// One that was never before.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let (given, family) = (GIVEN[(n % 16) as usize], FAMILY[(n / 16 % 16) as usize]);
        Self {
            name: format!("{given} {family}"),
            email: format!("{given}.{family}.{n}@example.com").to_lowercase(),
            birth_year: 1930 + (n % 90) as u32,
        }
    }

    /// What is sent to register them.
    pub(crate) fn body(&self) -> Vec<u8> {
        let born = format!("{}-02-28", self.birth_year);
        let body = json!({
            "name": self.name, "email": self.email, "address": "1 Load Street",
            "dateOfBirth": born,
        });
        body.to_string().into_bytes()
    }
}
