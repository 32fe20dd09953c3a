//! What goes into a statement and comes out of a row: one set of types for both engines.
//!
//! | type | SQLite | PostgreSQL |
//! |---|---|---|
//! | text | `text` | `text` |
//! | whole number | `integer` | `bigint` |
//! | bytes | `blob` | `bytea` |
//! | [`Uuid`] | `text` | `uuid` |
//! | [`Timestamp`] | `integer`, microseconds since 1970 | `timestamptz` |
//! | [`Date`] | `text`, ISO 8601 | `date` |

use std::fmt;

use jiff::{Timestamp, civil::Date};
use uuid::Uuid;

use super::DbError;

/// A parameter, or a column of a row. It may be of a person: its type is printed, and not its
/// value.
#[derive(Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table above says it")]
pub enum Value {
    Null,
    Text(String),
    Int(i64),
    Bytes(Vec<u8>),
    Uuid(Uuid),
    Time(Timestamp),
    Date(Date),
}

/// A row of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(pub(super) Vec<Value>);

/// A type that a column can be read as.
pub trait FromValue: Sized {
    /// `None` when the column holds something else.
    fn from_value(value: &Value) -> Option<Self>;
}

/// A slice of [`Value`]s, each made from what it is given.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::db::Value::from($value)),*] };
}

// === impl Value ===

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Int(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Uuid> for Value {
    fn from(id: Uuid) -> Self {
        Self::Uuid(id)
    }
}

impl From<Timestamp> for Value {
    fn from(time: Timestamp) -> Self {
        Self::Time(time)
    }
}

impl From<Date> for Value {
    fn from(date: Date) -> Self {
        Self::Date(date)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "Null",
            Self::Text(_) => "Text",
            Self::Int(_) => "Int",
            Self::Bytes(_) => "Bytes",
            Self::Uuid(_) => "Uuid",
            Self::Time(_) => "Time",
            Self::Date(_) => "Date",
        })
    }
}

// === impl Row ===

impl Row {
    /// The column at this place, counted from 0.
    ///
    /// # Errors
    /// When there is none, or it holds something else: the statement and the code do not agree.
    pub fn get<T: FromValue>(&self, column: usize) -> Result<T, DbError> {
        self.0.get(column).and_then(T::from_value).ok_or(DbError::Column(column))
    }
}

// === impl FromValue ===

impl FromValue for String {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bytes(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }
}

impl FromValue for Uuid {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Uuid(id) => Some(*id),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl FromValue for Timestamp {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Time(time) => Some(*time),
            Value::Int(microseconds) => Self::from_microsecond(*microseconds).ok(),
            _ => None,
        }
    }
}

impl FromValue for Date {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Date(date) => Some(*date),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_row_holds_is_not_printed() {
        let row = Row(vec!["Jane Roe".into(), 1990.into(), vec![74_u8].into(), None::<i64>.into()]);
        assert_eq!(format!("{row:?}"), "Row([Text, Int, Bytes, Null])");
    }
}
