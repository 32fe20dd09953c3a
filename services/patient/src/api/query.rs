//! What a client asks of the list, and the cursor that goes on with it.

use kit::page::{self, Cursor, Cursors, not_ours};
use serde::{Deserialize, Serialize};
use shared_middleware::error::{Failure, FieldError};
use utoipa::{IntoParams, ToSchema};

use crate::{
    domain::{Patient, in_any_case},
    store::{After, List, Order, Sort},
};

/// A search has at most so many characters.
const SEARCH_CHARS_MAX: usize = 100;

/// Which page, asked by query string.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Patients in a page, 1 to 200; 20 when absent.
    size: Option<u32>,
    /// The `nextCursor` of the page before; it remembers sort, order and search.
    cursor: Option<String>,
    /// `name` (the default), `registeredDate` or `createdAt`.
    sort: Option<String>,
    /// `asc` (the default) or `desc`.
    order: Option<String>,
    /// Part of a name or an email, in any case. Prefer `POST /patients/search`, which keeps names
    /// out of URLs.
    search: Option<String>,
}

/// Which page, asked by body: keeps names out of URLs.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SearchIn {
    /// Part of a name or an email, in any case.
    #[schema(example = "roe")]
    query: Option<String>,
    /// Patients in a page, 1 to 200; 20 when absent.
    #[schema(example = 20, minimum = 1, maximum = 200)]
    size: Option<u32>,
    /// The `nextCursor` of the page before; it remembers sort, order and query.
    cursor: Option<String>,
    /// `name` (the default), `registeredDate` or `createdAt`.
    #[schema(example = "name")]
    sort: Option<String>,
    /// `asc` (the default) or `desc`.
    #[schema(example = "asc")]
    order: Option<String>,
}

/// A list without its page: what a cursor is made for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Listing {
    sort: String,
    order: String,
    search: Option<String>,
}

/// A page that was asked for and understood.
pub(super) struct Page {
    listing: Listing,
    sort: Sort,
    /// Patients in it at most.
    pub(super) size: u32,
    /// One more patient than the page has is asked for: it tells whether there is a next one.
    pub(super) list: List,
}

impl From<ListQuery> for SearchIn {
    fn from(query: ListQuery) -> Self {
        let ListQuery { size, cursor, sort, order, search } = query;
        Self { query: search, size, cursor, sort, order }
    }
}

// === impl Page ===

impl Page {
    /// What was asked; `searched_by` is what its text to search for is called there.
    pub(super) fn parse(
        asked: SearchIn,
        searched_by: &'static str,
        cursors: &Cursors,
    ) -> Result<Self, Failure> {
        let size = page::size(asked.size)?;
        let search = search(searched_by, asked.query)?;
        let cursor = asked.cursor.map(|text| cursors.unseal_any(&text)).transpose()?;
        let remembered = cursor
            .as_ref()
            .map(|cursor| serde_json::from_str::<Listing>(&cursor.list).map_err(|_| not_ours()))
            .transpose()?;
        let listing = match remembered {
            None => Listing {
                sort: asked.sort.unwrap_or_else(|| "name".to_owned()),
                order: asked.order.unwrap_or_else(|| "asc".to_owned()),
                search,
            },
            // What is asked beside a cursor may only repeat what the cursor remembers.
            Some(listing) => {
                let same = asked.sort.is_none_or(|sort| sort == listing.sort)
                    && asked.order.is_none_or(|order| order == listing.order)
                    && search.is_none_or(|search| Some(search) == listing.search);
                if same { listing } else { return Err(not_ours()) }
            }
        };
        let (sort, order) = (sort(&listing.sort)?, order(&listing.order)?);
        let after = cursor.map(|cursor| after(&cursor, sort)).transpose()?;
        let search = listing.search.clone();
        let list = List { sort, order, search, after, count: size + 1 };
        Ok(Self { listing, sort, size, list })
    }

    /// The cursor of the page after this one, whose last patient this is.
    pub(super) fn next(&self, last: &Patient, cursors: &Cursors) -> Result<String, Failure> {
        let key = match After::of(last, self.sort) {
            After::Name(key) => key,
            After::RegisteredDate(date) => date.to_string(),
            After::CreatedAt(time) => time.as_microsecond().to_string(),
        };
        let list = serde_json::to_string(&self.listing).expect("texts are JSON");
        cursors.seal(&Cursor { list, key, id: last.id })
    }
}

fn after(cursor: &Cursor, sort: Sort) -> Result<(After, uuid::Uuid), Failure> {
    let key = &cursor.key;
    let time = || jiff::Timestamp::from_microsecond(key.parse().ok()?).ok();
    let after = match sort {
        Sort::Name => Some(After::Name(key.clone())),
        Sort::RegisteredDate => key.parse().ok().map(After::RegisteredDate),
        Sort::CreatedAt => time().map(After::CreatedAt),
    };
    Ok((after.ok_or_else(not_ours)?, cursor.id))
}

fn search(field: &'static str, text: Option<String>) -> Result<Option<String>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let text = in_any_case(text.trim());
    if text.chars().count() > SEARCH_CHARS_MAX || text.chars().any(char::is_control) {
        let message = "must have at most 100 characters, and no control characters";
        return Err(Failure::invalid_fields(vec![FieldError::new(field, message)]));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn sort(name: &str) -> Result<Sort, Failure> {
    match name {
        "name" => Ok(Sort::Name),
        "registeredDate" => Ok(Sort::RegisteredDate),
        "createdAt" => Ok(Sort::CreatedAt),
        _ => {
            let message = "must be name, registeredDate or createdAt";
            Err(Failure::invalid_fields(vec![FieldError::new("sort", message)]))
        }
    }
}

fn order(name: &str) -> Result<Order, Failure> {
    match name {
        "asc" => Ok(Order::Asc),
        "desc" => Ok(Order::Desc),
        _ => Err(Failure::invalid_fields(vec![FieldError::new("order", "must be asc or desc")])),
    }
}
