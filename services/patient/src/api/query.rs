//! What a client asks of the list, and the cursor that goes on with it.

use kit::{
    fields::{FieldErrors, RequestFields},
    page::{self, Cursor, Cursors, NOT_OURS},
};
use serde::{Deserialize, Serialize};
use shared_middleware::error::{Failure, FieldError};
use utoipa::{IntoParams, ToSchema};

use crate::{
    domain::Patient,
    names::sort_key,
    store::{After, List, Order, Search, Sort},
};

/// What cursors remember has changed so often. Those of before sorted and searched otherwise.
const FORM: u8 = 1;
/// A search has at most this many characters.
const SEARCH_CHARS_MAX: usize = 100;

/// Which page, asked by query string.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "a document of what `ListRequest` reads")]
pub(super) struct ListQuery {
    /// Patients in a page, 1 to 200; 20 when absent.
    #[param(minimum = 1, maximum = 200, default = 20)]
    size: Option<u32>,
    /// The `nextCursor` of the page before; it remembers sort, order and search.
    cursor: Option<String>,
    /// `name` when absent.
    #[param(inline, value_type = Option<SortName>)]
    sort: Option<String>,
    /// `asc` when absent.
    #[param(inline, value_type = Option<OrderName>)]
    order: Option<String>,
    /// Words that are parts of a name or an email, in any order, case and writing. Prefer
    /// `POST /patients/search`, which keeps names out of URLs.
    #[param(max_length = 100, pattern = r"^[^\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]*$")]
    search: Option<String>,
}

/// Which page, asked by body: keeps names out of URLs.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "a document of what `ListRequest` reads")]
pub(super) struct SearchIn {
    /// Words that are parts of a name or an email, in any order, and without regard to case,
    /// accents, hyphens, apostrophes and the like: `oneill` finds `O’Neill`.
    #[schema(
        example = "roe",
        max_length = 100,
        pattern = r"^[^\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]*$"
    )]
    query: Option<String>,
    /// Patients in a page, 1 to 200; 20 when absent.
    #[schema(example = 20, minimum = 1, maximum = 200)]
    size: Option<u32>,
    /// The `nextCursor` of the page before; it remembers sort, order and query.
    cursor: Option<String>,
    /// `name` when absent.
    #[schema(value_type = Option<SortName>, example = "name")]
    sort: Option<String>,
    /// `asc` when absent.
    #[schema(value_type = Option<OrderName>, example = "asc")]
    order: Option<String>,
}

/// What a list may be sorted by.
#[derive(ToSchema)]
#[schema(as = Sort, rename_all = "camelCase")]
#[expect(dead_code, reason = "a document of what `sort` reads")]
enum SortName {
    Name,
    RegisteredDate,
    CreatedAt,
}

/// Which end comes first.
#[derive(ToSchema)]
#[schema(as = Order, rename_all = "camelCase")]
#[expect(dead_code, reason = "a document of what `order` reads")]
enum OrderName {
    Asc,
    Desc,
}

/// Which page, asked in either way: every field as it came, if it came.
pub(super) struct ListRequest {
    /// What its text to search for is called.
    searched_by: &'static str,
    size: Option<u32>,
    search: Option<String>,
    sort: Option<String>,
    order: Option<String>,
    cursor: Option<String>,
    /// What is wrong already.
    refused: Vec<FieldError>,
}

/// A list without its page: what a cursor is made for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Listing {
    /// See [`FORM`].
    #[serde(default)]
    form: u8,
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
    /// One more patient than the page has is asked for: it shows whether there is a next one.
    pub(super) list: List,
}

/// Where a list goes on, as its cursor remembers it.
struct Opened {
    listing: Listing,
    sort: Sort,
    order: Order,
    after: (After, uuid::Uuid),
}

// === impl ListRequest ===

impl ListRequest {
    pub(super) fn read(mut fields: RequestFields, searched_by: &'static str) -> Self {
        Self {
            searched_by,
            size: fields.number("size"),
            search: fields.text(searched_by),
            sort: fields.text("sort"),
            order: fields.text("order"),
            cursor: fields.text("cursor"),
            refused: fields.end(),
        }
    }
}

// === impl Page ===

impl Page {
    /// What was asked.
    ///
    /// # Errors
    /// Every field that is wrong, not only the first.
    pub(super) fn parse(asked: ListRequest, cursors: &Cursors) -> Result<Self, Failure> {
        let ListRequest { searched_by, .. } = asked;
        let mut faults = FieldErrors::new(asked.refused);
        let size = faults.field("size", page::size_in_bounds(asked.size));
        let searched = faults.field(searched_by, search(asked.search));
        let sorted = faults.field("sort", asked.sort.as_deref().map(sort).transpose());
        let ordered = faults.field("order", asked.order.as_deref().map(order).transpose());
        // What is asked beside a cursor may only repeat what the cursor remembers.
        let repeats = |opened: &Opened| {
            let search = searched.as_ref().and_then(Option::as_ref);
            sorted.flatten().is_none_or(|sort| sort == opened.sort)
                && ordered.flatten().is_none_or(|order| order == opened.order)
                && search.is_none_or(|search| Some(search) == opened.listing.search.as_ref())
        };
        let opened = asked.cursor.map(|text| {
            let opened = Opened::unseal(&text, cursors)?;
            if repeats(&opened) { Ok(opened) } else { Err(NOT_OURS) }
        });
        let opened = faults.field("cursor", opened.transpose()).flatten();
        let wrong = faults.end();
        let Some(size) = size.filter(|_| wrong.is_empty()) else {
            return Err(Failure::invalid_fields(wrong));
        };
        if let Some(Opened { listing, sort, order, after }) = opened {
            let search = listing.search.as_deref().and_then(Search::parse);
            let list = List { sort, order, search, after: Some(after), count: size + 1 };
            return Ok(Self { listing, sort, size, list });
        }
        let listing = Listing {
            form: FORM,
            sort: asked.sort.unwrap_or_else(|| "name".to_owned()),
            order: asked.order.unwrap_or_else(|| "asc".to_owned()),
            search: searched.flatten(),
        };
        let sort = sorted.flatten().unwrap_or(Sort::Name);
        let order = ordered.flatten().unwrap_or(Order::Asc);
        let search = listing.search.as_deref().and_then(Search::parse);
        let list = List { sort, order, search, after: None, count: size + 1 };
        Ok(Self { listing, sort, size, list })
    }

    /// The cursor of the page after this one, whose last patient this is.
    pub(super) fn next(&self, last: &Patient, cursors: &Cursors) -> Result<String, Failure> {
        let key = match self.sort {
            // Its sort key is longer.
            Sort::Name => last.details.name.as_str().to_owned(),
            Sort::RegisteredDate => last.registered_date.to_string(),
            Sort::CreatedAt => last.created_at.as_microsecond().to_string(),
        };
        let list = serde_json::to_string(&self.listing).expect("texts are JSON");
        cursors.seal(&Cursor { list, key, id: last.id })
    }
}

// === impl Opened ===

impl Opened {
    fn unseal(text: &str, cursors: &Cursors) -> Result<Self, &'static str> {
        let cursor = cursors.unseal_any(text)?;
        let listing: Listing = serde_json::from_str(&cursor.list).map_err(|_| NOT_OURS)?;
        if listing.form != FORM {
            return Err("is of an earlier version: begin with the first page");
        }
        let (sort, order) = (sort(&listing.sort)?, order(&listing.order)?);
        let after = (after(cursor.key, sort).ok_or(NOT_OURS)?, cursor.id);
        Ok(Self { listing, sort, order, after })
    }
}

fn after(key: String, sort: Sort) -> Option<After> {
    match sort {
        Sort::Name => Some(After::Name(sort_key(&key))),
        Sort::RegisteredDate => key.parse().ok().map(After::RegisteredDate),
        Sort::CreatedAt => {
            let time = jiff::Timestamp::from_microsecond(key.parse().ok()?);
            time.ok().map(After::CreatedAt)
        }
    }
}

fn search(text: Option<String>) -> Result<Option<String>, &'static str> {
    let Some(text) = text else { return Ok(None) };
    // A tab comes along from a spreadsheet.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() > SEARCH_CHARS_MAX || text.chars().any(char::is_control) {
        return Err("must have at most 100 characters, and no control characters");
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn sort(name: &str) -> Result<Sort, &'static str> {
    match name {
        "name" => Ok(Sort::Name),
        "registeredDate" => Ok(Sort::RegisteredDate),
        "createdAt" => Ok(Sort::CreatedAt),
        _ => Err("must be name, registeredDate or createdAt"),
    }
}

fn order(name: &str) -> Result<Order, &'static str> {
    match name {
        "asc" => Ok(Order::Asc),
        "desc" => Ok(Order::Desc),
        _ => Err("must be asc or desc"),
    }
}
