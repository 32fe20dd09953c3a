//! Lists by the time at which their rows were added: what a cursor of them says.

use jiff::Timestamp;
use kit::page::{self, Cursor};
use shared_middleware::error::{ErrorCode, Failure};

use super::{Api, words::PageQuery};
use crate::store::Place;

/// So many rows of this list, after this place.
pub(super) fn asked(
    api: &Api,
    query: &PageQuery,
    list: &str,
) -> Result<(u32, Option<Place>), Failure> {
    let size = page::size(query.size)?;
    let Some(text) = &query.cursor else { return Ok((size, None)) };
    Ok((size, Some(place(&api.cursors.unseal(text, list)?)?)))
}

/// The cursor of the page after this place.
pub(super) fn next(api: &Api, list: &str, (at, id): Place) -> Result<String, Failure> {
    let cursor = Cursor { list: list.to_owned(), key: at.as_microsecond().to_string(), id };
    api.cursors.seal(&cursor)
}

/// Where a cursor's page begins.
fn place(cursor: &Cursor) -> Result<Place, Failure> {
    let at = cursor.key.parse().ok().and_then(|at| Timestamp::from_microsecond(at).ok());
    let odd = || Failure::new(ErrorCode::Invalid, "the cursor is not of this list");
    Ok((at.ok_or_else(odd)?, cursor.id))
}
