//! Lists by the time at which their rows were added: what a cursor of them says.

use jiff::Timestamp;
use kit::{
    fields::{FieldErrors, RequestFields},
    page::{self, Cursor, NOT_OURS},
};
use shared_middleware::error::Failure;

use super::Api;
use crate::store::Place;

/// This many rows of this list, after this place.
pub(super) fn asked(
    api: &Api,
    mut query: RequestFields,
    list: &str,
) -> Result<(u32, Option<Place>), Failure> {
    let (size, cursor) = (query.number("size"), query.text("cursor"));
    let mut faults = FieldErrors::new(query.end());
    let size = faults.field("size", page::size_in_bounds(size));
    let after = cursor.map(|text| place(&api.cursors.unseal(&text, list)?)).transpose();
    let after = faults.field("cursor", after);
    faults.all(size.zip(after))
}

/// The cursor of the page after this place.
pub(super) fn next(api: &Api, list: &str, (at, id): Place) -> Result<String, Failure> {
    let cursor = Cursor { list: list.to_owned(), key: at.as_microsecond().to_string(), id };
    api.cursors.seal(&cursor)
}

/// Where a cursor's page begins.
fn place(cursor: &Cursor) -> Result<Place, &'static str> {
    let at = cursor.key.parse().ok().and_then(|at| Timestamp::from_microsecond(at).ok());
    Ok((at.ok_or(NOT_OURS)?, cursor.id))
}
