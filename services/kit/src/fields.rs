//! Fields of a request, read one by one: an error lists every one that is wrong, not only
//! the first, as serde would.
//!
//! A field's value never comes back in an error, and its name only if it looks like one.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Number, Value};
use shared_middleware::error::{ErrorCode, Failure, FieldError};

/// This many fields at most: no request of ours has nearly as many.
const FIELDS_MAX: usize = 64;
/// A longer name is not quoted.
const NAME_CHARS_MAX: usize = 40;

/// The fields of a JSON object or of a query string, as they came.
pub struct RequestFields {
    /// In order of appearance; a name may be there twice.
    members: Vec<(String, Value)>,
    /// In a query string every value is a text.
    from_query: bool,
    refused: Vec<FieldError>,
}

/// Gathers what is wrong, field by field, after [`RequestFields`] was read.
pub struct FieldErrors {
    refused: Vec<FieldError>,
    found: Vec<FieldError>,
}

/// An object's members; none when there are too many.
struct Members(Option<Vec<(String, Value)>>);

// === impl RequestFields ===

impl RequestFields {
    /// Of a body, which must be a JSON object. A byte order mark before it, as some programs write
    /// it, is passed over (RFC 8259, 8.1).
    pub fn of_json(body: &[u8]) -> Result<Self, Failure> {
        use serde_json::error::Category;
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let invalid = |detail: Cow<'static, str>| Failure::new(ErrorCode::Invalid, detail);
        let Members(members) = serde_json::from_slice(body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            match error.classify() {
                Category::Data => invalid("the body is not a JSON object".into()),
                _ => {
                    invalid(format!("the body is not JSON at line {line}, column {column}").into())
                }
            }
        })?;
        let members = members.ok_or_else(|| invalid("the body has too many fields".into()))?;
        Ok(Self { members, from_query: false, refused: Vec::new() })
    }

    /// Of a query string, decoded.
    pub fn of_query(params: Vec<(String, String)>) -> Result<Self, Failure> {
        if params.len() > FIELDS_MAX {
            return Err(Failure::new(ErrorCode::Invalid, "the query has too many parameters"));
        }
        let members = params.into_iter().map(|(name, text)| (name, Value::String(text))).collect();
        Ok(Self { members, from_query: true, refused: Vec::new() })
    }

    /// A field that is a text; none when it is absent, null or refused.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            _ => self.refuse(name, "must be a text"),
        }
    }

    /// A field that is a whole number; none when it is absent, null or refused. One that is too
    /// big for a `u32` is the biggest: all that we ask for are smaller.
    pub fn number(&mut self, name: &'static str) -> Option<u32> {
        let number = match self.take(name)? {
            Value::Number(number) => whole(&number),
            Value::String(text) if self.from_query => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) => Some(u32::try_from(number).unwrap_or(u32::MAX)),
            None => self.refuse(name, "must be a whole number, and not negative"),
        }
    }

    /// A field that is true or false; none when it is absent, null or refused.
    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        match self.take(name)? {
            Value::Bool(flag) => Some(flag),
            _ => self.refuse(name, "must be true or false"),
        }
    }

    /// What was made of the fields that were read; or everything that is wrong, with them or with
    /// others.
    pub fn all<T>(self, parsed: Result<T, Vec<FieldError>>) -> Result<T, Failure> {
        let mut faults = FieldErrors::new(self.end());
        let value = match parsed {
            Ok(value) => Some(value),
            Err(wrong) => {
                for FieldError { field, message } in wrong {
                    faults.wrong(field, message);
                }
                None
            }
        };
        faults.all(value)
    }

    /// That no field is there.
    pub fn none(self) -> Result<(), Failure> {
        self.all(Ok(()))
    }

    /// What was refused: fields in the order in which they were read, then those that nobody read.
    pub fn end(mut self) -> Vec<FieldError> {
        for (name, _) in &self.members {
            let name = told(name);
            if self.refused.iter().all(|error| error.field != name) {
                self.refused.push(FieldError::new(name, "is not known here"));
            }
        }
        self.refused
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        let mut values = self.members.extract_if(.., |(member, _)| *member == name);
        let value = values.next().map(|(_, value)| value);
        let twice = values.next().is_some();
        // All of them are taken: what is left is unknown.
        values.for_each(drop);
        if twice {
            return self.refuse(name, "is there twice");
        }
        value.filter(|value| !value.is_null())
    }

    fn refuse<T>(&mut self, name: &'static str, message: &'static str) -> Option<T> {
        self.refused.push(FieldError::new(name, message));
        None
    }
}

// === impl FieldErrors ===

impl FieldErrors {
    /// Begins with what [`RequestFields::end`] gave.
    pub const fn new(refused: Vec<FieldError>) -> Self {
        Self { refused, found: Vec::new() }
    }

    /// A field's value. What was refused when it was read counts, not what became of its absence.
    pub fn field<T, M>(&mut self, name: &'static str, parsed: Result<T, M>) -> Option<T>
    where
        M: Into<Cow<'static, str>>,
    {
        if self.was_refused(name) {
            return None;
        }
        parsed.map_err(|message| self.found.push(FieldError::new(name, message))).ok()
    }

    /// The value that was made of all of them, or everything that is wrong.
    pub fn all<T>(self, value: Option<T>) -> Result<T, Failure> {
        let wrong = self.end();
        match value {
            Some(value) if wrong.is_empty() => Ok(value),
            _ => Err(Failure::invalid_fields(wrong)),
        }
    }

    fn wrong(&mut self, name: Cow<'static, str>, message: Cow<'static, str>) {
        if !self.was_refused(&name) {
            self.found.push(FieldError::new(name, message));
        }
    }

    /// Whether it was refused when it was read: then that is its error.
    fn was_refused(&mut self, name: &str) -> bool {
        let place = self.refused.iter().position(|error| error.field == name);
        self.found.extend(place.map(|place| self.refused.remove(place)));
        place.is_some()
    }

    /// Everything that is wrong: known fields in the order in which they were asked for, then the
    /// others.
    pub fn end(mut self) -> Vec<FieldError> {
        self.found.append(&mut self.refused);
        self.found
    }
}

// === impl Members ===

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while members.len() < FIELDS_MAX {
                    match map.next_entry()? {
                        Some(member) => members.push(member),
                        None => return Ok(Members(Some(members))),
                    }
                }
                let mut more = false;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    more = true;
                }
                Ok(Members((!more).then_some(members)))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// A whole number that is not negative; `20.0` is one as well, as in JSON Schema.
fn whole(number: &Number) -> Option<u64> {
    let written_otherwise = || {
        let value = number.as_f64().filter(|value| value.fract() == 0.0 && *value >= 0.0)?;
        Some(value as u64)
    };
    number.as_u64().or_else(written_otherwise)
}

/// A field's name, or a coding's, as errors quote it: it is the client's text, and may be anything.
pub(crate) fn told(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let told = plain && !name.is_empty() && name.len() <= NAME_CHARS_MAX;
    if told { name.to_owned() } else { "?".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(errors: &[FieldError]) -> Vec<&str> {
        errors.iter().map(|error| error.field.as_ref()).collect()
    }

    #[test]
    fn every_field_that_is_wrong_is_told_and_no_value() {
        let body = br#"{"zzz":1,"b":7,"<i>":"12345678","c":"x","c":"y","zzz":2,"n":null}"#;
        let mut fields = RequestFields::of_json(body).unwrap();
        assert_eq!((fields.text("a"), fields.text("n")), (None, None));
        assert_eq!((fields.text("b"), fields.text("c")), (None, None));
        let mut faults = FieldErrors::new(fields.end());
        assert_eq!(faults.field("c", Ok::<_, &str>(1)), None, "it was refused already");
        faults.field("a", Err::<(), _>("is required"));
        let told = faults.end();
        assert_eq!(names(&told), ["c", "a", "b", "zzz", "?"]);
        assert!(!format!("{told:?}").contains("12345678"));
    }

    #[test]
    fn what_is_made_of_the_fields_is_told_with_what_was_refused() {
        let fields = |body: &[u8]| {
            let mut fields = RequestFields::of_json(body).unwrap();
            (fields.text("email"), fields.flag("on"), fields)
        };
        let (email, on, read) = fields(br#"{"email":"x","on":true}"#);
        assert_eq!((email.as_deref(), on), (Some("x"), Some(true)));
        assert_eq!(read.all(Ok(7)).unwrap(), 7);
        let (.., read) = fields(br#"{"email":5,"on":"yes","zzz":1}"#);
        let required = ["role", "email"].map(|name| FieldError::new(name, "is required"));
        let told = read.all(Err::<(), _>(required.to_vec())).unwrap_err();
        let told = String::from_utf8(told.body(None)).unwrap();
        let places = ["\"role\"", "\"email\"", "\"on\"", "\"zzz\""].map(|name| told.find(name));
        assert!(places.is_sorted() && places[0].is_some(), "{told}");
        assert!(
            told.contains("must be a text") && told.matches("\"email\"").count() == 1,
            "{told}"
        );
        let (.., read) = fields(br#"{"zzz":1}"#);
        assert!(read.none().is_err());
    }

    #[test]
    fn a_byte_order_mark_before_json_is_passed_over() {
        let mut fields = RequestFields::of_json(b"\xef\xbb\xbf{\"a\":\"b\"}").unwrap();
        assert_eq!(fields.text("a").as_deref(), Some("b"));
        assert!(RequestFields::of_json(b"\xef\xbb\xbf\xef\xbb\xbf{}").is_err());
        assert!(RequestFields::of_json(b"\xef\xbb{}").is_err());
    }

    #[test]
    fn numbers_are_numbers_in_json_and_digits_in_a_query() {
        let number = |mut fields: RequestFields| (fields.number("size"), fields.end().len());
        let json = |text: &str| number(RequestFields::of_json(text.as_bytes()).unwrap());
        assert_eq!(json(r#"{"size":20}"#), (Some(20), 0));
        assert_eq!(json(r#"{"size":20.0}"#), (Some(20), 0));
        assert_eq!(json(r#"{"size":99999999999}"#), (Some(u32::MAX), 0));
        for wrong in [r#"{"size":"20"}"#, r#"{"size":-1}"#, r#"{"size":1.5}"#, r#"{"size":[]}"#] {
            assert_eq!(json(wrong), (None, 1), "{wrong}");
        }
        let query = |text: &str| {
            number(RequestFields::of_query(vec![("size".to_owned(), text.to_owned())]).unwrap())
        };
        assert_eq!(query("20"), (Some(20), 0));
        for wrong in ["abc", "-1", "", "1.5"] {
            assert_eq!(query(wrong), (None, 1), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_object_or_too_long_is_refused() {
        for body in ["", "{", "[]", "null", "7", "[\"a\"]", "{} {}", "{\"a\":1,}"] {
            assert!(RequestFields::of_json(body.as_bytes()).is_err(), "{body}");
        }
        let object = |members: usize| {
            let members: Vec<_> = (0..members).map(|n| format!("\"f{n}\":0")).collect();
            RequestFields::of_json(format!("{{{}}}", members.join(",")).as_bytes())
        };
        assert_eq!(object(FIELDS_MAX).map(|fields| fields.end().len()).unwrap(), FIELDS_MAX);
        assert!(object(FIELDS_MAX + 1).is_err());
    }
}
