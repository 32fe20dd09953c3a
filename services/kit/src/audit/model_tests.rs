//! The protocol of the chains, explored in every interleaving of three processes: commits that are
//! acknowledged, refused, lost and late, kills at any moment, and a verification meanwhile.
//!
//! The model keeps what matters: a link is the id of the entry before. What the code does by
//! [`super::append_lock`] and [`super::registry`] is `append`, `end` and `opening` here.

use std::collections::{BTreeMap, BTreeSet};

use stateright::{Checker as _, Model, Property};

/// This many processes at once.
const PROCESSES: usize = 3;
/// So much happens at most, of each kind.
const ENTRIES_MAX: u8 = 4;
const STARTS_MAX: u8 = 4;
const FAILURES_MAX: u8 = 2;

type Id = u8;
/// Chain and number.
type Seat = (u8, u8);

/// An entry, and the one before it as its writer knew it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Row {
    id: Id,
    before: Option<Id>,
}

/// An opening: the heads that it tells, with their entries.
type Opening = BTreeMap<Seat, Id>;

/// What is committed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Store {
    registry: BTreeMap<u8, Opening>,
    rows: BTreeMap<Seat, Row>,
}

/// A transaction that was sent, and whose outcome its process does not know yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Flight {
    opening: Option<(u8, Opening)>,
    seat: Seat,
    row: Row,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Process {
    is_alive: bool,
    /// The last entry of its chain.
    head: Option<(Seat, Id)>,
    flight: Option<Flight>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    store: Store,
    processes: [Process; PROCESSES],
    /// What may still be committed, with nobody there to hear of it.
    in_doubt: Vec<Flight>,
    acknowledged: BTreeSet<Id>,
    /// The registry as a verification read it, which now reads the chains.
    seen: Option<BTreeMap<u8, Opening>>,
    entries: Id,
    starts: u8,
    failures: u8,
    /// A commit met rows of another.
    has_collided: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    Start(usize),
    Append(usize),
    Acknowledge(usize),
    Refuse(usize),
    LoseConnection(usize),
    Kill(usize),
    CommitLate(usize),
    RollBackLate(usize),
    ReadRegistry,
}

/// What is wrong with a store.
#[derive(Debug)]
struct Broken;

struct Protocol;

// === impl Store ===

impl Store {
    fn chain(&self, chain: u8) -> impl Iterator<Item = (&Seat, &Row)> {
        self.rows.range((chain, 0)..=(chain, u8::MAX))
    }

    fn heads(&self) -> Opening {
        let last = |chain: &u8| self.chain(*chain).last().map(|(seat, row)| (*seat, row.id));
        self.registry.keys().filter_map(last).collect()
    }

    /// Opens a chain under the registry's lock.
    fn opening(&self) -> (u8, Opening) {
        let told: BTreeMap<_, _> = self.registry.values().flatten().collect();
        let news = self.heads().into_iter().filter(|(seat, _)| !told.contains_key(seat));
        (self.registry.len() as u8 + 1, news.collect())
    }

    /// False when another transaction has been there.
    fn commit(&mut self, flight: Flight) -> bool {
        let Flight { opening, seat, row } = flight;
        let is_first = opening.is_none_or(|(chain, told)| {
            self.registry.insert(chain, told).is_none() && self.registry.len() == usize::from(chain)
        });
        is_first && self.rows.insert(seat, row).is_none()
    }

    /// Verifies, by a registry that may have been read earlier.
    fn verify(&self, registry: &BTreeMap<u8, Opening>, known: &Opening) -> Result<(), Broken> {
        let expect = |holds: bool| if holds { Ok(()) } else { Err(Broken) };
        expect(registry.keys().copied().eq(1..=registry.len() as u8))?;
        for chain in registry.keys() {
            let mut before = None;
            for (place, ((_, seq), row)) in self.chain(*chain).enumerate() {
                expect(usize::from(*seq) == place + 1 && row.before == before)?;
                before = Some(row.id);
            }
        }
        // A chain that the registry did not have is looked for in it again.
        let is_registered = |(chain, _): &Seat| self.registry.contains_key(chain);
        expect(self.rows.keys().all(is_registered))?;
        let mut known = registry.values().chain([known]).flatten();
        expect(known.all(|(seat, id)| self.rows.get(seat).is_some_and(|row| row.id == *id)))
    }

    fn without(&self, removed: impl Fn(&Seat) -> bool) -> Self {
        let mut less = self.clone();
        less.rows.retain(|seat, _| !removed(seat));
        less
    }
}

// === impl State ===

impl State {
    /// Whether somebody has the registry's lock: until its transaction ends, wherever it is.
    fn is_registry_locked(&self) -> bool {
        let flights = self.processes.iter().filter_map(|process| process.flight.as_ref());
        flights.chain(&self.in_doubt).any(|flight| flight.opening.is_some())
    }

    fn append(&mut self, process: usize) {
        self.entries += 1;
        let id = self.entries;
        let flight = match self.processes[process].head {
            Some(((chain, seq), before)) => Flight {
                opening: None,
                seat: (chain, seq + 1),
                row: Row { id, before: Some(before) },
            },
            None => {
                let opening = self.store.opening();
                Flight {
                    seat: (opening.0, 1),
                    opening: Some(opening),
                    row: Row { id, before: None },
                }
            }
        };
        self.processes[process].flight = Some(flight);
    }

    /// The flight is over for its process, which does not go on with that chain.
    fn end(&mut self, process: usize) -> Option<Flight> {
        self.failures += 1;
        self.processes[process].head = None;
        self.processes[process].flight.take()
    }

    /// What the processes that live have in memory.
    fn in_memory(&self) -> Opening {
        self.processes.iter().filter(|process| process.is_alive).filter_map(|it| it.head).collect()
    }

    fn verify(&self) -> Result<(), Broken> {
        self.store.verify(&self.store.registry, &self.in_memory())
    }

    fn is_found(&self, tampered: &Store) -> bool {
        tampered.verify(&tampered.registry, &self.in_memory()).is_err()
    }
}

// === impl Protocol ===

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (number, process) in state.processes.iter().enumerate() {
            let may_fail = state.failures < FAILURES_MAX;
            match process {
                Process { is_alive: false, .. } if state.starts < STARTS_MAX => {
                    actions.push(Action::Start(number));
                }
                Process { is_alive: false, .. } => {}
                Process { flight: Some(_), .. } => {
                    actions.push(Action::Acknowledge(number));
                    if may_fail {
                        let failing = [Action::Refuse, Action::LoseConnection, Action::Kill];
                        actions.extend(failing.map(|action| action(number)));
                    }
                }
                Process { head, .. } => {
                    let must_wait = head.is_none() && state.is_registry_locked();
                    if state.entries < ENTRIES_MAX && !must_wait {
                        actions.push(Action::Append(number));
                    }
                    if may_fail {
                        actions.push(Action::Kill(number));
                    }
                }
            }
        }
        for late in 0..state.in_doubt.len() {
            actions.extend([Action::CommitLate(late), Action::RollBackLate(late)]);
        }
        if state.seen.is_none() {
            actions.push(Action::ReadRegistry);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Start(number) => {
                state.starts += 1;
                state.processes[number].is_alive = true;
            }
            Action::Append(number) => state.append(number),
            Action::Acknowledge(number) => {
                let flight = state.processes[number].flight.take()?;
                state.acknowledged.insert(flight.row.id);
                state.processes[number].head = Some((flight.seat, flight.row.id));
                state.has_collided |= !state.store.commit(flight);
            }
            Action::Refuse(number) => drop(state.end(number)),
            Action::LoseConnection(number) => {
                let flight = state.end(number);
                state.in_doubt.extend(flight);
            }
            Action::Kill(number) => {
                let flight = state.end(number);
                state.in_doubt.extend(flight);
                state.processes[number].is_alive = false;
            }
            Action::CommitLate(number) => {
                let flight = state.in_doubt.remove(number);
                state.has_collided |= !state.store.commit(flight);
            }
            Action::RollBackLate(number) => drop(state.in_doubt.remove(number)),
            Action::ReadRegistry => state.seen = Some(state.store.registry.clone()),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no commit meets another's rows", |_, state: &State| {
                !state.has_collided
            }),
            Property::always("nothing that happens is taken for tampering", |_, state: &State| {
                state.verify().is_ok()
            }),
            Property::always("not by a verification that began earlier", |_, state: &State| {
                let seen = state.seen.as_ref();
                seen.is_none_or(|seen| state.store.verify(seen, &Opening::new()).is_ok())
            }),
            Property::always("what was acknowledged is there, once", |_, state: &State| {
                let ids: Vec<_> = state.store.rows.values().map(|row| row.id).collect();
                let distinct: BTreeSet<_> = ids.iter().copied().collect();
                ids.len() == distinct.len() && state.acknowledged.is_subset(&distinct)
            }),
            Property::always("what is removed before others is found", |_, state: &State| {
                let heads = state.store.heads();
                let inner = state.store.rows.keys().filter(|seat| !heads.contains_key(seat));
                inner.clone().all(|gone| state.is_found(&state.store.without(|it| it == gone)))
            }),
            Property::always("a cut end is found, but in the window", |_, state: &State| {
                let told: BTreeSet<_> = state.store.registry.values().flatten().collect();
                let (memory, mut heads) = (state.in_memory(), state.store.heads().into_iter());
                // The window: whose process is gone, and of which no opening tells.
                heads.all(|(seat, id)| {
                    let is_vouched = told.contains(&(&seat, &id)) || memory.contains_key(&seat);
                    !is_vouched || state.is_found(&state.store.without(|it| *it == seat))
                })
            }),
            Property::always("a chain without its opening is found", |_, state: &State| {
                let written: BTreeSet<_> = state.store.rows.keys().map(|seat| seat.0).collect();
                written.iter().all(|chain| {
                    let mut tampered = state.store.clone();
                    tampered.registry.remove(chain);
                    state.is_found(&tampered)
                })
            }),
            Property::sometimes("three chains", |_, state: &State| state.store.registry.len() == 3),
            Property::sometimes("a commit that came late", |_, state: &State| {
                state.store.rows.values().any(|row| !state.acknowledged.contains(&row.id))
                    && state.in_doubt.is_empty()
            }),
        ]
    }
}

#[test]
fn no_interleaving_of_three_processes_loses_an_entry_or_raises_a_false_alarm() {
    let checker = Protocol.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.unique_state_count() > 100_000, "{}", checker.unique_state_count());
}
