//! Times in tokens: seconds since 1970, perhaps with a fraction (RFC 7519, 2: NumericDate).
//!
//! The fraction is cut off: a token ends within its last second, as others count it.

use serde::{Deserialize as _, Deserializer};
use serde_json::Number;

const SECONDS_MAX: f64 = (1_u64 << 52) as f64;

/// A time that must be there.
pub(super) fn required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    seconds(&Number::deserialize(deserializer)?)
}

/// A time that may be there.
pub(super) fn optional<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<i64>, D::Error> {
    Option::<Number>::deserialize(deserializer)?.as_ref().map(seconds).transpose()
}

fn seconds<E: serde::de::Error>(number: &Number) -> Result<i64, E> {
    if let Some(whole) = number.as_i64() {
        return Ok(whole);
    }
    // Beyond this no fraction is left, and no time that anybody means.
    let with_fraction = number.as_f64().filter(|number| number.abs() < SECONDS_MAX);
    with_fraction.map(|number| number.floor() as i64).ok_or_else(|| E::custom("no time"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Times {
        #[serde(deserialize_with = "required")]
        exp: i64,
        #[serde(default, deserialize_with = "optional")]
        nbf: Option<i64>,
    }

    fn read(json: &str) -> Option<(i64, Option<i64>)> {
        serde_json::from_str(json).ok().map(|Times { exp, nbf }| (exp, nbf))
    }

    #[test]
    fn times_are_numbers_with_or_without_a_fraction() {
        assert_eq!(read(r#"{"exp":1700000000}"#), Some((1_700_000_000, None)));
        let both = read(r#"{"exp":1700000000.987,"nbf":1700000000.0}"#);
        assert_eq!(both, Some((1_700_000_000, Some(1_700_000_000))));
        assert_eq!(read(r#"{"exp":1.7e9,"nbf":null}"#), Some((1_700_000_000, None)));
        assert_eq!(read(r#"{"exp":-0.5}"#), Some((-1, None)));
        assert_eq!(read(&format!(r#"{{"exp":{}}}"#, i64::MAX)), Some((i64::MAX, None)));
    }

    #[test]
    fn what_is_no_number_is_no_time() {
        for json in [r#"{}"#, r#"{"exp":"1700000000"}"#, r#"{"exp":null}"#, r#"{"exp":[1]}"#] {
            assert_eq!(read(json), None, "{json}");
        }
        for json in
            [r#"{"exp":1e300}"#, r#"{"exp":18446744073709551615}"#, r#"{"exp":1,"nbf":"1"}"#]
        {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
