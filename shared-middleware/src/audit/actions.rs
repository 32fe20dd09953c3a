//! What the audit log calls what is done. Every action is on this list, so that a search for
//! another is refused and does not read as if nothing had been done.

/// Every action, in order.
pub const ACTIONS: [&str; 29] = [
    "account.list",
    "account.open",
    "account.read",
    "analytics.read",
    "audit.close",
    "audit.read",
    "demo.remove",
    "log_level.change",
    "notification.list",
    "patient.create",
    "patient.delete",
    "patient.list",
    "patient.read",
    "patient.search",
    "patient.update",
    "service_account.create",
    "service_account.delete",
    "service_account.list",
    "session.begin",
    "session.begin_by_key",
    "session.end",
    "session.refresh",
    "system",
    "user.change_password",
    "user.create",
    "user.delete",
    "user.list",
    "user.read",
    "user.update",
];

/// Whether it is one of them.
pub const fn is_action(name: &str) -> bool {
    let mut at = 0;
    while at < ACTIONS.len() {
        if same(ACTIONS[at].as_bytes(), name.as_bytes()) {
            return true;
        }
        at += 1;
    }
    false
}

/// `==`, which a constant cannot use yet.
const fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order_and_nothing_near_an_action_is_one() {
        assert!(ACTIONS.is_sorted_by(|one, next| one < next));
        assert!(ACTIONS.into_iter().all(is_action));
        for name in ["", "nope", "patient", "patient.reads", "Patient.read", "patient.rea"] {
            assert!(!is_action(name), "{name}");
        }
    }
}
