//! Who may call which route of a service. A route without a row is refused.

use std::collections::HashMap;

use http::Method;

use crate::{audit::is_action, identity::Part, permission::Permission};

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody: public documents only.
    Open,
    /// These parts of [`crate::peers`], by certificate; no user is asked for.
    Parts(&'static [Part]),
    /// Those of [`crate::peers::FOR_USERS`] (or, when permissive, a caller without certificate) on
    /// behalf of any user.
    AnyUser,
    /// As [`Access::AnyUser`], for users whose role has the permission.
    User(Permission),
}

/// One row of a service's policy.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// HTTP method; `POST` for gRPC.
    pub method: &'static str,
    /// The route as axum matches it (`/patients/{id}`), or a gRPC method's whole path.
    pub path: &'static str,
    /// Who may.
    pub access: Access,
    /// Whether the answer is held back until there is something to say.
    pub long_poll: bool,
    /// What the audit log calls it; none for what it does not have.
    pub action: Option<&'static str>,
}

/// A service's rules, by path.
#[derive(Debug)]
pub struct Rules(HashMap<&'static str, Vec<Rule>>);

// === impl Rule ===

impl Rule {
    /// A row.
    pub const fn new(method: &'static str, path: &'static str, access: Access) -> Self {
        Self { method, path, access, long_poll: false, action: None }
    }

    /// The same, kept in the audit log as this action.
    pub const fn audited(self, action: &'static str) -> Self {
        assert!(is_action(action), "an action that is not on the list (`audit::actions`)");
        Self { action: Some(action), ..self }
    }

    /// Whether it serves the mesh itself: key sets, feeds, audit replication, gRPC health. Nothing
    /// of it is audited, since no patient's data is concerned.
    pub const fn is_housekeeping(&self) -> bool {
        self.action.is_none() && matches!(self.access, Access::Open | Access::Parts(_))
    }

    /// The same, for an answer that is held back on purpose: its deadline is longer by that time.
    pub const fn long_poll(self) -> Self {
        Self { long_poll: true, ..self }
    }
}

// === impl Rules ===

impl Rules {
    /// Indexes the rows.
    pub fn new(rows: &[Rule]) -> Self {
        let mut by_path: HashMap<_, Vec<_>> = HashMap::new();
        for row in rows {
            by_path.entry(row.path).or_default().push(*row);
        }
        Self(by_path)
    }

    /// The row of a request: by the route that axum matched, else (gRPC) by its whole path.
    ///
    /// HEAD has the rule of GET, as axum serves it by the same handler.
    pub fn find(&self, method: &Method, matched: Option<&str>, path: &str) -> Option<Rule> {
        let method = if method == Method::HEAD { "GET" } else { method.as_str() };
        matched
            .and_then(|route| self.0.get(route))
            .or_else(|| self.0.get(path))?
            .iter()
            .find(|rule| rule.method == method)
            .copied()
    }

    /// The methods that a route has rows for.
    pub fn methods(&self, route: &str) -> Vec<&'static str> {
        self.0.get(route).into_iter().flatten().map(|rule| rule.method).collect()
    }
}
