//! How values are written in PostgreSQL's own types, and read back.

use std::error::Error as StdError;

use bytes::{BufMut as _, BytesMut};
use jiff::{SignedDuration, Timestamp, ToSpan as _, civil::Date};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use crate::db::Value;

/// PostgreSQL counts times and days from here.
fn epoch() -> (Timestamp, Date) {
    (Timestamp::constant(946_684_800, 0), Date::constant(2000, 1, 1))
}

impl ToSql for Value {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match (self, ty) {
            (Self::Null, _) => return Ok(IsNull::Yes),
            (Self::Text(text), &Type::TEXT | &Type::VARCHAR) => return text.to_sql(ty, out),
            (Self::Int(number), &Type::INT4) => return i32::try_from(*number)?.to_sql(ty, out),
            (Self::Int(number), &Type::INT8) => return number.to_sql(ty, out),
            (Self::Bytes(bytes), &Type::BYTEA) => return bytes.to_sql(ty, out),
            (Self::Uuid(id), &Type::UUID) => return id.to_sql(ty, out),
            (Self::Time(time), &Type::TIMESTAMPTZ) => {
                out.put_i64(i64::try_from(time.duration_since(epoch().0).as_micros())?);
            }
            (Self::Date(date), &Type::DATE) => out.put_i32((*date - epoch().1).get_days()),
            // Else the server would read one type's bytes as another's.
            _ => return Err(format!("a parameter is not of the type {ty}").into()),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        // It depends on the value: see above.
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(match *ty {
            Type::INT8 => Self::Int(i64::from_sql(ty, raw)?),
            Type::INT4 => Self::Int(i32::from_sql(ty, raw)?.into()),
            Type::BYTEA => Self::Bytes(raw.to_vec()),
            Type::UUID => Self::Uuid(Uuid::from_sql(ty, raw)?),
            Type::TIMESTAMPTZ => {
                let microseconds = i64::from_sql(&Type::INT8, raw)?;
                Self::Time(epoch().0 + SignedDuration::from_micros(microseconds))
            }
            Type::DATE => Self::Date(epoch().1 + i32::from_sql(&Type::INT4, raw)?.days()),
            _ => Self::Text(String::from_sql(ty, raw)?),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(
            *ty,
            Type::INT8
                | Type::INT4
                | Type::BYTEA
                | Type::UUID
                | Type::TIMESTAMPTZ
                | Type::DATE
                | Type::TEXT
                | Type::VARCHAR
        )
    }
}
