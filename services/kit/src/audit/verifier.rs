//! Walks the chains of a log from their first entries to their last, and finds where one is not
//! what was written. Walks on from where it was when it is asked again.

use std::collections::{BTreeMap, BTreeSet};

use shared_middleware::identity::Part;

use super::{
    chain::{AuditKey, Chain},
    registry::{self, Closing, FIRST, Opening, REGISTRY},
    rows::{self, Head, Kept},
    verify::{Fault, Place, Verdict},
};
use crate::db::{Db, DbError};

/// This many entries are read at once.
const PAGE: u64 = 1000;

/// How far a log was verified.
pub(super) struct Verifier {
    chain: Chain,
    copy_of: Option<Part>,
    /// How far each chain was, the registry's too.
    heads: BTreeMap<i64, Head>,
    /// How far each had come, as later openings say.
    told: BTreeMap<i64, Head>,
    /// What a closing excludes; none before it was looked for.
    closing: Option<Option<Closing>>,
}

/// This many entries more may be read.
struct Budget(u64);

/// What a walk stops for.
enum Stop {
    Fault(Fault),
    Db(DbError),
}

impl From<DbError> for Stop {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

// === impl Verifier ===

impl Verifier {
    /// Of a service's own log, or of auth's copy of it.
    pub(super) fn new(writer: Part, key: &AuditKey, copy_of: Option<Part>) -> Self {
        let start = |chain| (chain, Head::before_first(chain, Vec::new()));
        let heads = [REGISTRY, FIRST].map(start).into();
        let (chain, told) = (Chain::new(writer, key), BTreeMap::new());
        Self { chain, copy_of, heads, told, closing: None }
    }

    /// Verifies what was not verified before, this many entries at most, and that the log has what
    /// others know of it.
    pub(super) async fn go_on(
        &mut self,
        db: &Db,
        known: &[Head],
        entries_max: u64,
    ) -> Result<Verdict, DbError> {
        match self.walk_all(db, known, Budget(entries_max)).await {
            Ok(true) => {
                Ok(Verdict::Intact(self.heads.values().filter(|it| it.seq > 0).cloned().collect()))
            }
            Ok(false) => Ok(Verdict::Unfinished),
            Err(Stop::Fault(fault)) => Ok(Verdict::Broken(fault)),
            Err(Stop::Db(error)) => Err(error),
        }
    }

    /// The heads that no opening records.
    pub(super) fn untold(&self) -> Vec<Head> {
        let is_untold = |head: &&Head| head.seq > 0 && self.told.get(&head.chain) != Some(head);
        self.heads.values().filter(is_untold).cloned().collect()
    }

    /// False when there are more entries than may be read.
    async fn walk_all(
        &mut self,
        db: &Db,
        known: &[Head],
        mut budget: Budget,
    ) -> Result<bool, Stop> {
        if self.closing.is_none() {
            self.begin(db).await?;
        }
        let before: Vec<_> = self.heads.values().filter(|head| head.seq > 0).cloned().collect();
        loop {
            // The registry first: whatever it tells of was committed before.
            self.walk(db, REGISTRY, &mut budget).await?;
            let chains: Vec<_> = self.heads.keys().copied().filter(|it| *it != REGISTRY).collect();
            for chain in &chains {
                let walked = self.walk(db, *chain, &mut budget).await;
                if walked.is_err() && *chain == FIRST && self.heads[&REGISTRY].seq == 0 {
                    // It was not registered when the registry was read, and may be by now.
                    self.walk(db, REGISTRY, &mut budget).await?;
                    self.walk(db, FIRST, &mut budget).await?;
                } else {
                    walked?;
                }
            }
            if budget.0 == 0 {
                return Ok(false);
            }
            let (copy_of, last) = (self.copy_of, chains.last().copied().unwrap_or(FIRST));
            let outside = db.read(move |tx| Box::pin(rows::outside(tx, copy_of, last))).await?;
            let Some((chain, seq)) = outside else { break };
            self.walk(db, REGISTRY, &mut budget).await?;
            if !self.heads.contains_key(&chain) {
                return Err(self.fault(Fault::Inserted, chain, seq));
            }
            // It was opened meanwhile.
        }
        let known: BTreeSet<_> =
            before.iter().chain(known).chain(self.told.values()).cloned().collect();
        for head in known {
            self.expect(db, head).await?;
        }
        Ok(true)
    }

    /// Begins where the log was closed last, if it was.
    async fn begin(&mut self, db: &Db) -> Result<(), DbError> {
        let copy_of = self.copy_of;
        let found = db.read(move |tx| Box::pin(registry::closing(tx, copy_of))).await;
        // One that cannot be read, or is none of ours, is found on the walk.
        let is_ours = |(kept, closing): &(Kept, Closing)| {
            self.chain.next(&closing.before(), &kept.entry) == kept.head()
        };
        let found = match found {
            Err(DbError::Unavailable(why)) => return Err(DbError::Unavailable(why)),
            found => found.ok().flatten().filter(is_ours),
        };
        if let Some((kept, closing)) = &found {
            self.heads = closing.from.clone();
            self.heads.insert(REGISTRY, kept.head());
            let opened = Head::before_first(closing.chain, kept.link.clone());
            self.heads.insert(closing.chain, opened);
        }
        self.closing = Some(found.map(|(_, closing)| closing));
        Ok(())
    }

    /// Walks a chain to its end.
    async fn walk(&mut self, db: &Db, chain: i64, budget: &mut Budget) -> Result<(), Stop> {
        let copy_of = self.copy_of;
        loop {
            let head = self.heads.entry(chain).or_insert(Head::before_first(chain, Vec::new()));
            // What has no right number is found, too.
            let after = if head.seq == 0 { i64::MIN } else { head.seq };
            let count = u32::try_from(budget.0.min(PAGE)).unwrap_or(u32::MAX);
            let page = db.read(move |tx| Box::pin(rows::read(tx, copy_of, (chain, after), count)));
            let page = page.await?;
            if page.is_empty() {
                return Ok(());
            }
            budget.0 -= page.len() as u64;
            for (found, kept) in page {
                let head = self.heads[&chain].clone();
                if found < 1 {
                    return Err(self.fault(Fault::Inserted, chain, found));
                }
                if found != head.seq + 1 {
                    return Err(self.fault(Fault::Removed, chain, head.seq + 1));
                }
                let changed = || self.fault(Fault::Changed, chain, found);
                let kept = kept.map_err(|_| changed())?;
                let next = self.chain.next(&head, &kept.entry);
                if next.link != kept.link {
                    return Err(changed());
                }
                if chain == REGISTRY {
                    let opening = Opening::read(&kept).ok_or_else(changed)?;
                    self.opened(opening);
                }
                self.heads.insert(chain, next);
            }
        }
    }

    fn opened(&mut self, Opening { opened, heads, .. }: Opening) {
        let known = self.heads.entry(opened.chain).or_insert_with(|| opened.clone());
        if known.seq == 0 {
            *known = opened;
        }
        self.told.extend(heads.into_iter().map(|head| (head.chain, head)));
    }

    /// Expects an entry that somebody knows, in a log that was walked.
    async fn expect(&self, db: &Db, known: Head) -> Result<(), Stop> {
        let Head { chain, seq, link } = known;
        if self.closing.iter().flatten().any(|closing| closing.covers(chain, seq)) {
            return Ok(());
        }
        let copy_of = self.copy_of;
        let found = db.read(move |tx| {
            Box::pin(async move {
                let last = rows::head(tx, copy_of, chain).await?;
                let entry = rows::read(tx, copy_of, (chain, seq - 1), 1).await?;
                Ok::<_, DbError>((last.map_or(0, |head| head.seq), entry))
            })
        });
        let (last, entry) = found.await?;
        if seq > last {
            return Err(self.fault(Fault::CutOff, chain, last + 1));
        }
        match entry.first() {
            Some((found, Ok(kept))) if *found == seq && kept.link == link => Ok(()),
            Some((found, Ok(_))) if *found == seq => Err(self.fault(Fault::Rewritten, chain, seq)),
            Some((found, Err(_))) if *found == seq => Err(self.fault(Fault::Changed, chain, seq)),
            _ => Err(self.fault(Fault::Removed, chain, seq)),
        }
    }

    fn fault(&self, of: impl FnOnce(Place) -> Fault, chain: i64, seq: i64) -> Stop {
        let is_only_one = chain == FIRST && self.heads.keys().all(|it| *it <= FIRST);
        Stop::Fault(of(Place { chain: (!is_only_one).then_some(chain), seq }))
    }
}
