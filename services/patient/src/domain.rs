//! Patients and what makes one: pure, no I/O, no clock.
//!
//! Parse, don't validate: anyone who holds a [`Name`] holds a valid one.

use std::fmt;

use jiff::{Timestamp, civil::Date};
use kit::{
    email::{EMAIL_BYTES_MAX, Email},
    fields::FieldErrors,
};
use shared_middleware::error::FieldError;
use uuid::Uuid;

/// A name has at most this many characters.
pub const NAME_CHARS_MAX: usize = 100;
/// Nobody who was born before comes to us: an earlier day is a slip of the keyboard.
const BORN_FROM: Date = Date::constant(1850, 1, 1);
/// A postal address has at most this many characters.
pub const ADDRESS_CHARS_MAX: usize = 255;

/// What a client says of a patient: every field as it came, if it came.
#[derive(Clone, Default)]
pub struct Input {
    /// Required.
    pub name: Option<String>,
    /// Required.
    pub email: Option<String>,
    /// Required.
    pub address: Option<String>,
    /// Required: an ISO date.
    pub date_of_birth: Option<String>,
    /// An ISO date; today when absent. On registration only.
    pub registered_date: Option<String>,
    /// Fields that were refused before: unknown, or no texts.
    pub refused: Vec<FieldError>,
}

/// What can change of a patient.
#[derive(Clone, PartialEq, Eq)]
pub struct Details {
    /// 1 to 100 characters.
    pub name: Text,
    /// A valid address; unique regardless of case.
    pub email: Text,
    /// 1 to 255 characters.
    pub address: Text,
    /// Not in the future.
    pub date_of_birth: Date,
}

/// Trimmed, not blank, without control characters. Its text is personal data: it is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(String);

/// A patient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patient {
    /// Whose it is.
    pub id: Uuid,
    /// What can change.
    pub details: Details,
    /// When the patient came to us.
    pub registered_date: Date,
    /// 1 when registered, one more with every change.
    pub version: i64,
    /// When the row was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Whether billing has opened the account.
    pub billing: Billing,
}

/// A patient's account, as far as we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Billing {
    /// Billing has not answered yet; the reconciler asks again.
    Pending,
    /// Billing opened this account.
    Active(Uuid),
}

/// Which versions of a patient a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// One of these; any when none.
    pub(crate) among: Option<Vec<i64>>,
    /// None of these.
    pub(crate) not: Option<Vec<i64>>,
    /// No patient who is there.
    pub(crate) absent: bool,
}

/// Every field that is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("one or more fields are invalid")]
pub struct Invalid(Vec<FieldError>);

// === impl Input ===

impl Input {
    /// A patient to register.
    ///
    /// # Errors
    /// Every field that is wrong, not only the first.
    pub fn register(mut self, today: Date) -> Result<(Details, Date), Invalid> {
        let mut faults = FieldErrors::new(std::mem::take(&mut self.refused));
        let given = self.registered_date.take().filter(|text| !text.trim().is_empty());
        let details = self.details(today, &mut faults);
        let registered = given.map_or(Ok(today), |text| past_day(Some(text), today));
        let born = details.as_ref().map(|details| details.date_of_birth);
        let registered = registered.and_then(|day| match born {
            Some(born) if day < born => Err("must not be before the birth".to_owned()),
            _ => Ok(day),
        });
        let registered = faults.field("registeredDate", registered);
        match (details, registered, faults.end()) {
            (Some(details), Some(registered), wrong) if wrong.is_empty() => {
                Ok((details, registered))
            }
            (_, _, wrong) => Err(Invalid(wrong)),
        }
    }

    /// A patient's new details.
    ///
    /// # Errors
    /// Every field that is wrong, not only the first.
    pub fn update(mut self, today: Date) -> Result<Details, Invalid> {
        let mut faults = FieldErrors::new(std::mem::take(&mut self.refused));
        let registered = match self.registered_date.take() {
            Some(_) => Err("can be given on registration only"),
            None => Ok(()),
        };
        let details = self.details(today, &mut faults);
        faults.field("registeredDate", registered);
        match (details, faults.end()) {
            (Some(details), wrong) if wrong.is_empty() => Ok(details),
            (_, wrong) => Err(Invalid(wrong)),
        }
    }

    fn details(self, today: Date, faults: &mut FieldErrors) -> Option<Details> {
        let name = faults.field("name", Text::parse(self.name, NAME_CHARS_MAX));
        let email = faults.field("email", email(self.email));
        let address = faults.field("address", Text::parse(self.address, ADDRESS_CHARS_MAX));
        let born = faults.field("dateOfBirth", birthday(self.date_of_birth, today));
        Some(Details { name: name?, email: email?, address: address?, date_of_birth: born? })
    }
}

// === impl Text ===

impl Text {
    /// Text from outside.
    fn parse(text: Option<String>, chars_max: usize) -> Result<Self, String> {
        let text = text.unwrap_or_default();
        let text = text.trim();
        if !text.chars().any(is_visible) {
            return Err("is required".to_owned());
        }
        if text.chars().any(is_control) {
            return Err("must not have control characters".to_owned());
        }
        if text.chars().count() > chars_max {
            return Err(format!("must have at most {chars_max} characters"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Text from our own store, which holds only what was parsed.
    pub(crate) const fn stored(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In lower case: what is compared.
    pub fn key(&self) -> String {
        in_any_case(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl fmt::Debug for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Details(…)")
    }
}

// === impl Billing ===

impl Billing {
    /// Its name in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Active(_) => "ACTIVE",
        }
    }

    /// The account, once there is one.
    pub const fn account_id(self) -> Option<Uuid> {
        match self {
            Self::Pending => None,
            Self::Active(id) => Some(id),
        }
    }
}

// === impl Condition ===

impl Condition {
    /// Whether it holds for a patient who has this version.
    pub(crate) fn holds(&self, version: i64) -> bool {
        let among = self.among.as_ref().is_none_or(|them| them.contains(&version));
        let not = self.not.as_ref().is_none_or(|them| !them.contains(&version));
        among && not && !self.absent
    }
}

// === impl Invalid ===

impl Invalid {
    /// A birth after the day on which the patient was registered.
    pub(crate) fn born_after_registration() -> Self {
        let message = "must not be after the day of registration";
        Self(vec![FieldError::new("dateOfBirth", message)])
    }

    /// What is wrong, field by field.
    pub fn fields(&self) -> Vec<FieldError> {
        self.0.clone()
    }
}

/// A text as it is compared with others: in lower case. So is each part of it: a sigma that ends a
/// word is written as any other.
pub(crate) fn in_any_case(text: &str) -> String {
    text.to_lowercase().replace('ς', "σ")
}

/// Control characters, line and paragraph separators, and what turns the direction of writing:
/// with it a text reads as another than it is.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

/// Whether it leaves a mark: no space, and nothing of Unicode's `Default_Ignorable_Code_Point`
/// (or that is drawn blank all the same). What joins letters may stand among them.
fn is_visible(c: char) -> bool {
    let ignorable = matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    !(ignorable || c.is_whitespace() || c.is_control())
}

fn email(text: Option<String>) -> Result<Text, String> {
    let text = Text::parse(text, EMAIL_BYTES_MAX)?;
    let email = Email::parse(text.as_str())?;
    // As mail to patients needs.
    if !email.is_public() {
        return Err("must be a valid email address".to_owned());
    }
    Ok(Text(email.as_str().to_owned()))
}

fn birthday(text: Option<String>, today: Date) -> Result<Date, String> {
    let day = past_day(text, today)?;
    if day < BORN_FROM {
        return Err("must not be before 1850".to_owned());
    }
    Ok(day)
}

/// An ISO date (`YYYY-MM-DD`) of a day that has come.
fn past_day(text: Option<String>, today: Date) -> Result<Date, String> {
    let text = text.unwrap_or_default();
    let text = text.trim();
    if text.is_empty() {
        return Err("is required".to_owned());
    }
    let day = iso_date(text).ok_or("must be a real day, written YYYY-MM-DD")?;
    if day > today {
        return Err("must not be in the future".to_owned());
    }
    Ok(day)
}

/// Only the extended calendar form of ISO 8601: the library would read more.
fn iso_date(text: &str) -> Option<Date> {
    let form = text.len() == 10
        && text.bytes().enumerate().all(|(place, b)| match place {
            4 | 7 => b == b'-',
            _ => b.is_ascii_digit(),
        });
    if form { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    const TODAY: Date = date(2026, 3, 1);

    fn jane() -> Input {
        let text = |text: &str| Some(text.to_owned());
        Input {
            name: text("  Jane Roe "),
            email: text("Jane.Roe@Example.com"),
            address: text("1 Demo Street"),
            date_of_birth: text("1990-02-28"),
            registered_date: None,
            refused: Vec::new(),
        }
    }

    fn refused(input: Input) -> Vec<String> {
        let invalid = input.register(TODAY).unwrap_err();
        invalid.fields().into_iter().map(|error| error.field.into_owned()).collect()
    }

    #[test]
    fn text_is_trimmed_and_the_day_of_registration_is_today() {
        let (details, registered) = jane().register(TODAY).unwrap();
        assert_eq!(details.name.as_str(), "Jane Roe");
        assert_eq!(details.email.key(), "jane.roe@example.com");
        assert_eq!(registered, TODAY);
    }

    #[test]
    fn every_field_that_is_wrong_is_named() {
        assert_eq!(refused(Input::default()), ["name", "email", "address", "dateOfBirth"]);
        let blank = Input { name: Some(" \t ".to_owned()), ..jane() };
        assert_eq!(refused(blank), ["name"]);
        let long = Input { name: Some("é".repeat(101)), ..jane() };
        assert_eq!(refused(long), ["name"]);
        let control = Input { address: Some("1\nDemo".to_owned()), ..jane() };
        assert_eq!(refused(control), ["address"]);
        Input { name: Some("é".repeat(100)), ..jane() }.register(TODAY).unwrap();
    }

    #[test]
    fn fields_that_were_refused_before_are_named_in_their_place() {
        let refused_before = ["email", "zzz"].map(|field| FieldError::new(field, "is refused"));
        let input = Input {
            email: None,
            address: None,
            refused: refused_before.to_vec(),
            registered_date: Some("x".to_owned()),
            ..jane()
        };
        assert_eq!(refused(input.clone()), ["email", "address", "registeredDate", "zzz"]);
        assert_eq!(input.update(TODAY).unwrap_err().fields()[0].message, "is refused");
        let unknown = Input { refused: refused_before[1..].to_vec(), ..jane() };
        assert_eq!(refused(unknown.clone()), ["zzz"]);
        unknown.update(TODAY).unwrap_err();
    }

    #[test]
    fn names_can_be_seen_and_read_as_they_are_written() {
        for name in [
            "\u{200b}",
            "\u{feff}",
            "\u{200d}\u{ad}",
            "\u{3164}",
            "A\u{202e}B",
            "A\u{2066}B",
            "A\u{200e}",
            "A\u{200f}B",
            "A\u{61c}B",
            "A\u{2028}B",
            "A\u{2029}B",
            "\u{202d}A",
        ] {
            let input = Input { name: Some(name.to_owned()), ..jane() };
            assert_eq!(refused(input), ["name"], "{}", name.escape_unicode());
        }
        for name in ["न\u{200d}म", "می\u{200c}خواهم", "José", "李", "O\u{2019}Neil"] {
            Input { name: Some(name.to_owned()), ..jane() }.register(TODAY).unwrap();
        }
    }

    #[test]
    fn days_are_real_and_have_come() {
        for day in ["2026-03-02", "2025-02-29", "1990-2-28", "19900228", "28.02.1990", "x", ""] {
            let input = Input { date_of_birth: Some(day.to_owned()), ..jane() };
            assert_eq!(refused(input), ["dateOfBirth"], "{day}");
        }
        let later = Input { registered_date: Some("2026-03-02".to_owned()), ..jane() };
        assert_eq!(refused(later), ["registeredDate"]);
        Input { date_of_birth: Some("2024-02-29".to_owned()), ..jane() }.register(TODAY).unwrap();
    }

    #[test]
    fn nobody_is_born_before_1850_or_registered_before_the_birth() {
        let born = |day: &str| Input { date_of_birth: Some(day.to_owned()), ..jane() };
        for day in ["0000-01-01", "1066-10-14", "1849-12-31"] {
            assert_eq!(refused(born(day)), ["dateOfBirth"], "{day}");
            assert_eq!(born(day).update(TODAY).unwrap_err().fields()[0].field, "dateOfBirth");
        }
        born("1850-01-01").register(TODAY).unwrap();
        let registered =
            |day: &str| Input { registered_date: Some(day.to_owned()), ..born("2020-02-29") };
        assert_eq!(refused(registered("2020-02-28")), ["registeredDate"]);
        registered("2020-02-29").register(TODAY).unwrap();
    }

    #[test]
    fn emails_are_addresses() {
        let long = format!("{}@example.com", "x".repeat(243));
        // What no mail can be built for: it is longer in the form in which mail writes it.
        let wide = format!("a@{}.org", vec!["ä".repeat(40); 6].join("."));
        let odd = ["jane", "jane@", "@x.com", "a b@x.com", "jane@x", "J <j@x.com>", &long, &wide];
        for email in odd {
            let input = Input { email: Some(email.to_owned()), ..jane() };
            assert_eq!(refused(input), ["email"], "{email}");
        }
    }

    #[test]
    fn the_day_of_registration_cannot_be_changed() {
        let input = Input { registered_date: Some("2020-01-01".to_owned()), ..jane() };
        assert_eq!(input.update(TODAY).unwrap_err().fields()[0].field, "registeredDate");
        jane().update(TODAY).unwrap();
    }

    #[test]
    fn personal_data_is_not_printed() {
        let (details, _) = jane().register(TODAY).unwrap();
        assert!(!format!("{details:?}{:?}", details.name).contains("Jane"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(name in ".*", email in ".*", address in ".*", day in ".*") {
            let input = Input {
                name: Some(name),
                email: Some(email),
                address: Some(address),
                date_of_birth: Some(day.clone()),
                registered_date: Some(day),
                refused: Vec::new(),
            };
            let _ = input.clone().register(TODAY);
            let _ = input.update(TODAY);
        }

        #[test]
        fn what_was_parsed_parses_again_to_the_same(name in "\\PC{1,100}") {
            if let Ok(text) = Text::parse(Some(name), 100) {
                let again = Text::parse(Some(text.as_str().to_owned()), 100);
                prop_assert!(again == Ok(text));
            }
        }
    }
}
