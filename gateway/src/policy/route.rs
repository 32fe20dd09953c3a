//! The table: which path goes to which part, who may ask for it, and which limit counts it.
//!
//! What has no row is refused. A path is matched whole, as bytes; `{name}` stands for one segment.

use std::sync::LazyLock;

use shared_middleware::{
    access::Access,
    identity::Part,
    permission::Permission::{
        self, DeletePatients, ManageUsers, ReadAnalytics, ReadAudit, ReadBilling,
        ReadNotifications, ReadPatients, WritePatients,
    },
};

/// Which limit counts a request, beside the one of its client address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateClass {
    /// No other.
    Client,
    /// Sign-ins from an address.
    Login,
    /// Refreshes of sign-ins from an address.
    Refresh,
    /// Requests of a user.
    User,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A part, which sees the path with `prefix` at its beginning replaced by `rewrite_to`.
    Upstream {
        /// Which.
        part: Part,
        /// What the path begins with here.
        prefix: &'static str,
        /// What it begins with there.
        rewrite_to: &'static str,
    },
    /// The gateway: that it is alive.
    Health,
    /// The gateway: the OpenAPI document of all parts together.
    Document,
    /// The gateway: Swagger UI.
    Swagger,
}

/// One method of one path.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The method. A row for GET is one for HEAD, too.
    pub method: &'static str,
    /// The path's pattern.
    pub path: &'static str,
    /// Who may.
    pub access: Access,
    /// Which limit counts it.
    pub rate: RateClass,
    /// Who answers.
    pub target: Target,
    /// What the audit log calls it, where a role may be too little.
    pub action: Option<&'static str>,
}

/// Every row.
#[rustfmt::skip]
pub static ROWS: &[Row] = &[
    Row::login("POST", "/auth/login", AUTH),
    Row::refresh("POST", "/auth/refresh", AUTH),
    Row::login("POST", "/auth/token", AUTH),
    Row::any_user("POST", "/auth/logout", AUTH),
    Row::any_user("POST", "/auth/password", AUTH),
    Row::any_user("GET", "/auth/validate", AUTH),
    Row::any_user("GET", "/auth/me", AUTH),
    Row::open("GET", "/auth/.well-known/jwks.json", AUTH),

    Row::user("GET", "/api/users", ManageUsers, USERS, "user.list"),
    Row::user("POST", "/api/users", ManageUsers, USERS, "user.create"),
    Row::user("GET", "/api/users/{id}", ManageUsers, USERS, "user.read"),
    Row::user("PATCH", "/api/users/{id}", ManageUsers, USERS, "user.update"),
    Row::user("DELETE", "/api/users/{id}", ManageUsers, USERS, "user.delete"),
    Row::user("GET", "/api/service-accounts", ManageUsers, USERS, "service_account.list"),
    Row::user("POST", "/api/service-accounts", ManageUsers, USERS, "service_account.create"),
    Row::user("DELETE", "/api/service-accounts/{id}", ManageUsers, USERS, "service_account.delete"),

    Row::user("GET", "/api/patients", ReadPatients, PATIENTS, "patient.list"),
    Row::user("POST", "/api/patients", WritePatients, PATIENTS, "patient.create"),
    Row::user("POST", "/api/patients/search", ReadPatients, PATIENTS, "patient.search"),
    Row::user("GET", "/api/patients/{id}", ReadPatients, PATIENTS, "patient.read"),
    Row::user("PUT", "/api/patients/{id}", WritePatients, PATIENTS, "patient.update"),
    Row::user("DELETE", "/api/patients/{id}", DeletePatients, PATIENTS, "patient.delete"),

    Row::user("GET", "/api/billing/accounts", ReadBilling, BILLING, "account.list"),
    Row::user("GET", "/api/billing/accounts/{id}", ReadBilling, BILLING, "account.read"),
    Row::user("GET", "/api/analytics/summary", ReadAnalytics, ANALYTICS, "analytics.read"),
    Row::user("GET", "/api/notifications", ReadNotifications, NOTIFICATIONS, "notification.list"),

    Row::user("GET", "/api/audit", ReadAudit, USERS, "audit.read"),

    Row::document("/api-docs/auth", Part::Auth),
    Row::document("/api-docs/patients", Part::Patient),
    Row::document("/api-docs/billing", Part::Billing),
    Row::document("/api-docs/analytics", Part::Analytics),
    Row::document("/api-docs/notifications", Part::Notification),

    Row::open("GET", "/v3/api-docs", Target::Document),
    Row::open("GET", "/healthz", Target::Health),
    Row::open("GET", "/swagger-ui", Target::Swagger),
    Row::open("GET", "/swagger-ui/", Target::Swagger),
    Row::open("GET", "/swagger-ui/{file}", Target::Swagger),
];

const AUTH: Target = Target::Upstream { part: Part::Auth, prefix: "/auth", rewrite_to: "" };
const USERS: Target = Target::Upstream { part: Part::Auth, prefix: "/api", rewrite_to: "" };
pub(crate) const PATIENTS: Target =
    Target::Upstream { part: Part::Patient, prefix: "/api", rewrite_to: "" };
const BILLING: Target =
    Target::Upstream { part: Part::Billing, prefix: "/api/billing", rewrite_to: "" };
const ANALYTICS: Target =
    Target::Upstream { part: Part::Analytics, prefix: "/api/analytics", rewrite_to: "" };
const NOTIFICATIONS: Target =
    Target::Upstream { part: Part::Notification, prefix: "/api", rewrite_to: "" };

/// The rows of one path.
pub(crate) struct Route {
    /// Where it stands among the routes: what metrics are kept under.
    pub(crate) index: usize,
    /// The pattern.
    pub(crate) path: &'static str,
    /// What of the pattern is matched as it stands; a segment follows it when there is a parameter.
    literal: &'static str,
    has_parameter: bool,
    rows: Vec<&'static Row>,
    /// The methods that it has, for `Allow`.
    pub(crate) methods: Vec<&'static str>,
}

/// What was found for a request.
pub(crate) enum RouteMatch {
    /// Its row.
    Row(&'static Route, &'static Row),
    /// The path is there, with other methods.
    OtherMethods(&'static Route),
    /// Nothing.
    Nothing,
}

static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(routes);

/// The routes: the rows, by path.
pub(crate) fn all() -> &'static [Route] {
    &ROUTES
}

/// The row of a request, by its method and checked path.
pub(crate) fn find(method: &str, path: &str) -> RouteMatch {
    let Some(route) = ROUTES.iter().find(|route| route.matches(path)) else {
        return RouteMatch::Nothing;
    };
    let method = if method == "HEAD" { "GET" } else { method };
    match route.rows.iter().find(|row| row.method == method) {
        Some(row) => RouteMatch::Row(route, row),
        None => RouteMatch::OtherMethods(route),
    }
}

// === impl Row ===

impl Row {
    const fn new(
        method: &'static str,
        path: &'static str,
        access: Access,
        rate: RateClass,
        target: Target,
    ) -> Self {
        Self { method, path, access, rate, target, action: None }
    }

    const fn open(method: &'static str, path: &'static str, target: Target) -> Self {
        Self::new(method, path, Access::Open, RateClass::Client, target)
    }

    const fn document(path: &'static str, part: Part) -> Self {
        Self::open("GET", path, Target::Upstream { part, prefix: path, rewrite_to: "/v3/api-docs" })
    }

    const fn refresh(method: &'static str, path: &'static str, target: Target) -> Self {
        Self::new(method, path, Access::Open, RateClass::Refresh, target)
    }

    const fn login(method: &'static str, path: &'static str, target: Target) -> Self {
        Self::new(method, path, Access::Open, RateClass::Login, target)
    }

    const fn any_user(method: &'static str, path: &'static str, target: Target) -> Self {
        Self::new(method, path, Access::AnyUser, RateClass::User, target)
    }

    const fn user(
        method: &'static str,
        path: &'static str,
        permission: Permission,
        target: Target,
        action: &'static str,
    ) -> Self {
        let row = Self::new(method, path, Access::User(permission), RateClass::User, target);
        Self { action: Some(action), ..row }
    }
}

// === impl Route ===

impl Route {
    fn matches(&self, path: &str) -> bool {
        if !self.has_parameter {
            return path == self.literal;
        }
        path.strip_prefix(self.literal)
            .is_some_and(|segment| !segment.is_empty() && !segment.contains('/'))
    }
}

fn routes() -> Vec<Route> {
    let mut routes: Vec<Route> = Vec::new();
    for row in ROWS {
        let route = match routes.iter_mut().find(|route| route.path == row.path) {
            Some(route) => route,
            None => {
                let literal = row.path.find('{').map_or(row.path, |at| &row.path[..at]);
                let has_parameter = literal.len() < row.path.len();
                let (rows, methods) = (Vec::new(), Vec::new());
                let index = routes.len();
                routes.push(Route { index, path: row.path, literal, has_parameter, rows, methods });
                &mut routes[index]
            }
        };
        route.rows.push(row);
        route.methods.push(row.method);
        if row.method == "GET" {
            route.methods.push("HEAD");
        }
    }
    // What is written out comes before what a parameter would also match.
    routes.sort_by_key(|route| route.has_parameter);
    for (index, route) in routes.iter_mut().enumerate() {
        route.index = index;
    }
    routes
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use shared_middleware::identity::Role;

    use super::*;

    fn example(path: &str) -> String {
        path.replace("{id}", "123e4567-e89b-12d3-a456-426614174000").replace("{file}", "index.css")
    }

    /// What the interfaces say, written down a second time: who may, role by role.
    #[rustfmt::skip]
    const MATRIX: &[(&str, &str, &str)] = &[
        // none = without a token; A C R B U = ADMIN, CLINICIAN, RECEPTIONIST, BILLING, AUDITOR
        ("POST",   "/auth/login",                "none A C R B U"),
        ("POST",   "/auth/refresh",              "none A C R B U"),
        ("POST",   "/auth/token",                "none A C R B U"),
        ("POST",   "/auth/logout",               "A C R B U"),
        ("POST",   "/auth/password",             "A C R B U"),
        ("GET",    "/auth/validate",             "A C R B U"),
        ("GET",    "/auth/me",                   "A C R B U"),
        ("GET",    "/auth/.well-known/jwks.json", "none A C R B U"),
        ("GET",    "/api/users",                 "A"),
        ("POST",   "/api/users",                 "A"),
        ("GET",    "/api/users/{id}",            "A"),
        ("PATCH",  "/api/users/{id}",            "A"),
        ("DELETE", "/api/users/{id}",            "A"),
        ("GET",    "/api/service-accounts",      "A"),
        ("POST",   "/api/service-accounts",      "A"),
        ("DELETE", "/api/service-accounts/{id}", "A"),
        ("GET",    "/api/patients",              "A C R B"),
        ("POST",   "/api/patients",              "A C R"),
        ("POST",   "/api/patients/search",       "A C R B"),
        ("GET",    "/api/patients/{id}",         "A C R B"),
        ("PUT",    "/api/patients/{id}",         "A C R"),
        ("DELETE", "/api/patients/{id}",         "A"),
        ("GET",    "/api/billing/accounts",      "A R B"),
        ("GET",    "/api/billing/accounts/{id}", "A R B"),
        ("GET",    "/api/analytics/summary",     "A C B U"),
        ("GET",    "/api/notifications",         "A C R"),
        ("GET",    "/api/audit",                 "A U"),
        ("GET",    "/api-docs/auth",             "none A C R B U"),
        ("GET",    "/api-docs/patients",         "none A C R B U"),
        ("GET",    "/api-docs/billing",          "none A C R B U"),
        ("GET",    "/api-docs/analytics",        "none A C R B U"),
        ("GET",    "/api-docs/notifications",    "none A C R B U"),
        ("GET",    "/v3/api-docs",               "none A C R B U"),
        ("GET",    "/healthz",                   "none A C R B U"),
        ("GET",    "/swagger-ui",                "none A C R B U"),
        ("GET",    "/swagger-ui/",               "none A C R B U"),
        ("GET",    "/swagger-ui/{file}",         "none A C R B U"),
    ];

    fn may(access: Access, role: Option<Role>) -> bool {
        match (access, role) {
            (Access::Open, _) | (Access::AnyUser, Some(_)) => true,
            (Access::User(permission), Some(role)) => permission.allows(role),
            _ => false,
        }
    }

    #[test]
    fn every_row_admits_exactly_the_roles_of_the_matrix() {
        assert_eq!(ROWS.len(), MATRIX.len());
        for (method, path, allowed) in MATRIX {
            let RouteMatch::Row(_, row) = find(method, &example(path)) else {
                panic!("{method} {path} has no row")
            };
            assert_eq!(row.path, *path);
            let callers = std::iter::once((None, "none"))
                .chain(Role::ALL.map(Some).into_iter().zip(["A", "C", "R", "B", "U"]));
            for (role, letter) in callers {
                let wanted = allowed.split(' ').any(|one| one == letter);
                assert_eq!(may(row.access, role), wanted, "{method} {path} {role:?}");
            }
        }
    }

    #[test]
    fn no_row_stands_twice_and_every_row_is_found() {
        let mut seen = HashSet::new();
        for row in ROWS {
            assert!(seen.insert((row.method, row.path)), "{} {}", row.method, row.path);
            let RouteMatch::Row(route, found) = find(row.method, &example(row.path)) else {
                panic!("{} is not found", row.path)
            };
            assert!(std::ptr::eq(found, row));
            assert_eq!(all()[route.index].path, row.path);
        }
    }

    #[test]
    fn a_row_that_needs_a_user_is_counted_for_that_user() {
        for row in ROWS {
            let needs_user = !matches!(row.access, Access::Open);
            assert_eq!(row.rate == RateClass::User, needs_user, "{}", row.path);
        }
    }

    #[test]
    fn what_is_stripped_is_what_the_path_begins_with() {
        for row in ROWS {
            if let Target::Upstream { prefix, rewrite_to, .. } = row.target {
                let rest = row.path.strip_prefix(prefix).unwrap();
                assert!(format!("{rewrite_to}{rest}").starts_with('/'), "{}", row.path);
            }
        }
    }

    #[test]
    fn head_goes_like_get_and_other_methods_are_named() {
        assert!(
            matches!(find("HEAD", "/api/patients"), RouteMatch::Row(_, row) if row.method == "GET")
        );
        for method in ["TRACE", "CONNECT", "OPTIONS", "FOO", "get", "PUT", ""] {
            let RouteMatch::OtherMethods(route) = find(method, "/api/patients") else {
                panic!("{method} is not refused")
            };
            assert_eq!(route.methods, ["GET", "HEAD", "POST"]);
        }
        let RouteMatch::OtherMethods(route) = find("GET", "/api/patients/search") else {
            panic!("a search by GET is not refused")
        };
        assert_eq!(route.methods, ["POST"]);
    }
}
