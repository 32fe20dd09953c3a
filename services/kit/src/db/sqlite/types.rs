//! How values are kept.

use rusqlite::{
    ToSql,
    types::{ToSqlOutput, ValueRef},
};

use super::error::failed_by;
use crate::db::{DbError, Value};

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Int(number) => ToSqlOutput::Borrowed(ValueRef::Integer(*number)),
            Self::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Self::Uuid(id) => ToSqlOutput::from(id.to_string()),
            Self::Time(time) => ToSqlOutput::from(time.as_microsecond()),
            Self::Date(date) => ToSqlOutput::from(date.to_string()),
        })
    }
}

pub(super) fn value(column: ValueRef<'_>) -> Result<Value, DbError> {
    Ok(match column {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Text(text) => {
            Value::Text(std::str::from_utf8(text).map_err(failed_by)?.to_owned())
        }
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
        ValueRef::Real(_) => return Err(DbError::Corrupt("a fraction, which no table has")),
    })
}
