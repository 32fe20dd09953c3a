//! The registry of chains: chain 0, each of whose entries opens the chain of its number.
//!
//! An opening is linked to the one before, as every entry is, and the first entry of the chain that
//! it opens is linked to it. It says how far other chains had come, so that the end of one whose
//! process is gone cannot be cut off unseen. A store of before the registry has one chain: the
//! registry's first entry adopts it.
//!
//! A log that is broken can be closed: by an opening that says from where on its chains count.

use std::collections::BTreeMap;

use jiff::Timestamp;
use shared_middleware::{
    audit::{Entry, Outcome, SYSTEM},
    hex::{hex, unhex},
    identity::Part,
};

use super::{
    chain::Chain,
    rows::{self, Head, Kept},
};
use crate::db::{DbError, Tx};

/// The registry's own number.
pub const REGISTRY: i64 = 0;
/// The first chain, and the only one that may have begun before the registry.
pub(super) const FIRST: i64 = 1;

/// What an opening is called.
const ACTION: &str = "audit.open_chain";
/// What an opening is called that closes what was before.
const CLOSING: &str = "audit.close_chains";
/// What the opening of a chain of before the registry says.
const ADOPTED: &str = "adopted";
/// An opening records at most this many heads. The next one records others.
pub const HEADS_TOLD_MAX: usize = 500;
/// This many openings are read at once.
const PAGE: u32 = 100;

/// Anyone who opens a chain waits for anyone else who does, until that transaction ends.
const LOCK: &str =
    "select pg_advisory_xact_lock(hashtextextended(current_schema() || '.audit', 0))";

/// What an opening says.
pub(super) struct Opening {
    /// The chain that it opens, before its first entry.
    pub(super) opened: Head,
    /// How far others had come.
    pub(super) heads: Vec<Head>,
    /// Whether chains count from those heads on only, and all others not at all.
    pub(super) closes: bool,
}

/// An opening that closes what was before, at its place.
#[derive(Clone, Debug)]
pub struct Closing {
    /// The chain that it opened. Earlier ones are closed.
    pub chain: i64,
    /// From where on earlier chains count, the registry too.
    pub from: BTreeMap<i64, Head>,
}

// === impl Opening ===

impl Opening {
    /// None of an entry that is no opening.
    pub(super) fn read(kept: &Kept) -> Option<Self> {
        let Entry { action, changed, .. } = &kept.entry;
        let closes = action == CLOSING;
        if kept.chain != REGISTRY || (action != ACTION && !closes) {
            return None;
        }
        let is_adopted = changed.first().is_some_and(|first| first == ADOPTED);
        let link = if is_adopted { Vec::new() } else { kept.link.clone() };
        let opened = Head::before_first(kept.seq, link);
        let heads = changed.iter().skip(usize::from(is_adopted)).map(|text| head_of(text));
        Some(Self { opened, heads: heads.collect::<Option<_>>()?, closes })
    }
}

// === impl Closing ===

impl Closing {
    /// None of an entry that closes nothing.
    pub fn read(kept: &Kept) -> Option<Self> {
        let opening = Opening::read(kept).filter(|opening| opening.closes)?;
        let from = opening.heads.into_iter().map(|head| (head.chain, head)).collect();
        Some(Self { chain: opening.opened.chain, from })
    }

    /// What the closing entry itself follows.
    pub fn before(&self) -> Head {
        let start = || Head::before_first(REGISTRY, Vec::new());
        self.from.get(&REGISTRY).cloned().unwrap_or_else(start)
    }

    /// Whether an entry is closed: nothing is said of it any more.
    pub fn covers(&self, chain: i64, seq: i64) -> bool {
        match self.from.get(&chain) {
            Some(head) => seq <= head.seq,
            None => chain < self.chain && chain != REGISTRY,
        }
    }
}

/// The last closing of a log, if it was ever closed.
pub async fn closing(
    tx: &mut Tx<'_>,
    copy_of: Option<Part>,
) -> Result<Option<(Kept, Closing)>, DbError> {
    let kept = rows::last_of_action(tx, copy_of, REGISTRY, CLOSING).await?;
    Ok(kept.and_then(|kept| Closing::read(&kept).map(|closing| (kept, closing))))
}

/// Closes a log, in the transaction that appends to it next: what is there, and what others know,
/// is where its chains count from. Says what is to be appended to the registry, and which chain it
/// opens.
pub(super) async fn close(
    tx: &mut Tx<'_>,
    chain: &Chain,
    now: Timestamp,
    known: Vec<Head>,
) -> Result<(Head, Kept), DbError> {
    let heads = tx.query_locked(LOCK, &rows::heads_sql(None)).await?;
    let heads = heads.iter().map(Head::read).collect::<Result<Vec<_>, _>>()?;
    let mut from = BTreeMap::<i64, Head>::new();
    for head in heads.into_iter().chain(known) {
        let furthest = from.entry(head.chain).or_insert_with(|| head.clone());
        if furthest.seq < head.seq {
            *furthest = head;
        }
    }
    let registry = from.remove(&REGISTRY);
    // The latest: of these some processes may still live.
    let latest = from.into_values().rev().take(HEADS_TOLD_MAX - 1);
    let told = registry.iter().cloned().chain(latest).map(|head| text_of(&head)).collect();
    let entry = Entry { action: CLOSING.to_owned(), ..opening(now, told) };
    let before = registry.unwrap_or_else(|| Head::before_first(REGISTRY, Vec::new()));
    let Head { chain, seq, link } = chain.next(&before, &entry);
    Ok((Head::before_first(seq, link.clone()), Kept { chain, seq, entry, link }))
}

/// Opens a chain, in the transaction that appends to it first; also says what is to be appended to
/// the registry for it.
pub(super) async fn open(
    tx: &mut Tx<'_>,
    chain: &Chain,
    now: Timestamp,
) -> Result<(Head, Vec<Kept>), DbError> {
    let heads = tx.query_locked(LOCK, &rows::heads_sql(None)).await?;
    let heads = heads.iter().map(Head::read).collect::<Result<Vec<_>, _>>()?;
    let mut told = told(tx).await?;
    let (registry, chains): (Vec<_>, Vec<_>) =
        heads.into_iter().partition(|head| head.chain == REGISTRY);
    let begun = registry.into_iter().next();
    let mut registry = begun.unwrap_or_else(|| Head::before_first(REGISTRY, Vec::new()));
    let mut openings = Vec::new();
    let mut append = |entry: Entry| {
        registry = chain.next(&registry, &entry);
        let Head { chain, seq, link } = registry.clone();
        openings.push(Kept { chain, seq, entry, link });
    };
    if let Some(first) = chains.first().filter(|_| told.is_none()) {
        append(opening(now, [ADOPTED.to_owned(), text_of(first)].into()));
        told.get_or_insert_default().insert(first.chain, first.seq);
    }
    let told = told.unwrap_or_default();
    let is_news = |head: &&Head| told.get(&head.chain) != Some(&head.seq);
    let news = chains.iter().filter(is_news).take(HEADS_TOLD_MAX);
    append(opening(now, news.map(text_of).collect()));
    Ok((Head::before_first(registry.seq, registry.link), openings))
}

/// What a chain's first entry is linked to, as this table's registry says; none where it does not
/// know the chain.
pub async fn start_of(
    tx: &mut Tx<'_>,
    copy_of: Option<Part>,
    chain: i64,
) -> Result<Option<Head>, DbError> {
    if chain == REGISTRY {
        return Ok(Some(Head::before_first(REGISTRY, Vec::new())));
    }
    let found = rows::after(tx, copy_of, (REGISTRY, chain - 1), 1).await?;
    let opened = found.first().and_then(Opening::read).map(|opening| opening.opened);
    // There are chains without a registry.
    let unregistered = || (chain == FIRST).then(|| Head::before_first(FIRST, Vec::new()));
    Ok(opened.filter(|opened| opened.chain == chain).or_else(unregistered))
}

/// The last number that was recorded of each chain; none where the registry has not begun.
async fn told(tx: &mut Tx<'_>) -> Result<Option<BTreeMap<i64, i64>>, DbError> {
    let (mut told, mut after) = (None, 0);
    loop {
        let page = rows::read(tx, None, (REGISTRY, after), PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(told) };
        after = *last;
        let told: &mut BTreeMap<_, _> = told.get_or_insert_default();
        // What cannot be read is found by anyone who verifies.
        let openings = page.iter().filter_map(|(_, kept)| Opening::read(kept.as_ref().ok()?));
        told.extend(openings.flat_map(|it| it.heads).map(|head| (head.chain, head.seq)));
    }
}

fn opening(at: Timestamp, changed: Vec<String>) -> Entry {
    Entry {
        at,
        actor: SYSTEM.to_owned(),
        role: None,
        action: ACTION.to_owned(),
        outcome: Outcome::Allowed,
        record: None,
        patients: Vec::new(),
        source: None,
        trace: None,
        changed,
    }
}

fn text_of(head: &Head) -> String {
    format!("{}/{}/{}", head.chain, head.seq, hex(&head.link))
}

fn head_of(text: &str) -> Option<Head> {
    let mut fields = text.splitn(3, '/');
    let (chain, seq) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Head { chain, seq, link: unhex(fields.next()?)? })
}
