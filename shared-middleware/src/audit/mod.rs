//! The audit log, as requests know it: who asked for what, and what came of it.
//!
//! - here: an [`Entry`], and what the running request will leave behind ([`AuditContext`]);
//! - [`layer`]: records whatever a service was asked for and had not recorded itself;
//! - [`denials`]: how the gateway, which has no store, forwards its denials.
//!
//! Where entries are kept, and how they are chained, is not known here ([`AuditSink`]).
//!
//! **Invariant:** an entry holds ids, times, addresses of machines and names of actions; no name,
//! email, search text or other personal data.

mod actions;
pub mod denials;
pub mod layer;

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::actions::{ACTIONS, is_action};
use crate::{
    error::Failure,
    identity::{Caller, Peer, Role, TRUST_DOMAIN},
    trace_context::TraceContext,
};

/// Who acted, when nobody has shown who they are.
pub const ANONYMOUS: &str = "anonymous";
/// Who acted, when it was a command on the machine.
pub const SHELL: &str = "shell";
/// Who acted, when the mesh did by itself.
pub const SYSTEM: &str = "system";

tokio::task_local! {
    static CURRENT: AuditContext;
}

/// What came of what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done, or shown.
    Allowed,
    /// The actor may not, or not so often.
    Refused,
    /// It could not be done: nothing there, not valid, something broken.
    Failed,
}

/// One line of the audit log, but for its place in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When, to the microsecond.
    pub at: Timestamp,
    /// Who: a user's id, a part's SPIFFE id, or one of [`ANONYMOUS`], [`SHELL`], [`SYSTEM`].
    pub actor: String,
    /// The user's role then.
    pub role: Option<String>,
    /// What, such as `patient.read`.
    pub action: String,
    /// What came of it.
    pub outcome: Outcome,
    /// The id of what it was done to.
    pub record: Option<String>,
    /// Whose data were concerned, or shown.
    pub patients: Vec<Uuid>,
    /// The address that it came from.
    pub source: Option<String>,
    /// The request's trace, by which logs are found: 32 hex digits.
    pub trace: Option<String>,
    /// Which fields of the record were set: a name, such as `password`; or `name=value`, such as
    /// `role=ADMIN`, where the value is one of a closed set. Without blanks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
}

/// Where entries are kept.
pub trait AuditSink: Send + Sync {
    /// Keeps an entry: it is on disk when this is `Ok`.
    fn record(&self, entry: Entry) -> BoxFuture<'_, Result<(), Failure>>;
}

/// Whose data an answer shows: put into its extensions by handlers of lists and searches.
#[derive(Clone, Debug, Default)]
pub struct Shown(pub Vec<Uuid>);

/// What the running task was asked to do, and by whom.
#[derive(Clone, Debug)]
pub struct AuditContext(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    action: Cow<'static, str>,
    record: Option<String>,
    source: Option<IpAddr>,
    trace: Option<String>,
    actor: OnceLock<Actor>,
    noted: OnceLock<Outcome>,
}

#[derive(Clone, Debug)]
struct Actor {
    name: Cow<'static, str>,
    role: Option<Role>,
}

// === impl Outcome ===

impl Outcome {
    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    /// The outcome of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Allowed, Self::Refused, Self::Failed].into_iter().find(|one| one.as_str() == name)
    }
}

// === impl Shown ===

impl Shown {
    /// Each of them once.
    pub fn each_once(mut self) -> Self {
        self.0.sort_unstable();
        self.0.dedup();
        self
    }
}

// === impl AuditContext ===

impl AuditContext {
    /// By a request from there.
    pub fn new(
        action: impl Into<Cow<'static, str>>,
        record: Option<String>,
        source: Option<IpAddr>,
        trace: Option<String>,
    ) -> Self {
        let action = action.into();
        let (actor, noted) = (OnceLock::new(), OnceLock::new());
        Self(Arc::new(Inner { action, record, source, trace, actor, noted }))
    }

    /// By a command on the machine.
    pub fn by_shell(action: &'static str) -> Self {
        debug_assert!(is_action(action), "an action that is not on the list");
        let asked = Self::new(action, None, None, None);
        asked.by(Actor { name: SHELL.into(), role: None });
        asked
    }

    /// By nobody: the mesh does it by itself.
    pub fn by_system(action: &'static str) -> Self {
        debug_assert!(is_action(action), "an action that is not on the list");
        let asked = Self::new(action, None, None, None);
        asked.by(Actor { name: SYSTEM.into(), role: None });
        asked
    }

    /// The same request, made by the same actor, of which this is another trace: one call may be
    /// made for several requests.
    #[must_use]
    pub fn in_trace(&self, trace: Option<&TraceContext>) -> Self {
        let Inner { action, record, source, trace: own, actor, .. } = &*self.0;
        let trace = trace.map(TraceContext::trace_id).or_else(|| own.clone());
        let (action, record, actor) = (action.clone(), record.clone(), actor.clone());
        let noted = OnceLock::new();
        Self(Arc::new(Inner { action, record, source: *source, trace, actor, noted }))
    }

    /// A user with a token asks.
    pub fn by_caller(&self, caller: &Caller) {
        self.by_user(&caller.subject, Some(caller.role));
    }

    /// A user asks, who has shown it in another way than by a token, or failed to.
    pub fn by_user(&self, id: impl ToString, role: Option<Role>) {
        self.by(Actor { name: id.to_string().into(), role });
    }

    /// A part asks, as named by its certificate.
    pub fn by_peer(&self, peer: Peer) {
        self.by(Actor { name: format!("{TRUST_DOMAIN}{}", peer.as_str()).into(), role: None });
    }

    /// Who was known first stays.
    fn by(&self, actor: Actor) {
        let _ = self.0.actor.set(actor);
    }

    /// Whether anybody is known to ask.
    pub fn is_known(&self) -> bool {
        self.0.actor.get().is_some()
    }

    /// Whether this outcome was recorded in the transaction of the effect.
    pub fn is_noted_as(&self, outcome: Outcome) -> bool {
        self.0.noted.get() == Some(&outcome)
    }

    /// Says that it was, or will be when the transaction commits.
    pub fn note(&self, outcome: Outcome) {
        let _ = self.0.noted.set(outcome);
    }

    /// The id that was asked for, if the request named one.
    pub fn record(&self) -> Option<&str> {
        self.0.record.as_deref()
    }

    /// What is kept of it.
    pub fn entry(
        &self,
        at: Timestamp,
        outcome: Outcome,
        record: Option<String>,
        patients: Vec<Uuid>,
    ) -> Entry {
        let Inner { action, source, trace, actor, .. } = &*self.0;
        let actor = actor.get();
        Entry {
            at,
            actor: actor.map_or(ANONYMOUS, |actor| &actor.name).to_owned(),
            role: actor.and_then(|actor| actor.role).map(|role| role.as_str().to_owned()),
            action: action.clone().into_owned(),
            outcome,
            record: record.or_else(|| self.0.record.clone()),
            patients,
            source: source.map(|address| address.to_string()),
            trace: trace.clone(),
            changed: Vec::new(),
        }
    }

    /// Runs the future as part of it: [`current`] answers with it.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// The same for what is done before there is a future to run.
    pub fn scope_sync<R>(self, work: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self, work)
    }
}

/// What the running task was asked to do, if it was asked.
pub fn current() -> Option<AuditContext> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Runs the future as part of what was asked for, if anything was: for tasks that outlive anyone
/// who started them.
pub async fn scope<F: Future>(asked: Option<AuditContext>, future: F) -> F::Output {
    match asked {
        Some(asked) => asked.scope(future).await,
        None => future.await,
    }
}
