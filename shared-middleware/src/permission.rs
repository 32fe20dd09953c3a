//! Who may do what: the one table of users' rights, read by the gateway and by every service.

use crate::identity::Role;

/// Something that only some roles may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Permission {
    ReadPatients,
    WritePatients,
    DeletePatients,
    ReadBilling,
    WriteBilling,
    ReadAnalytics,
    ReadNotifications,
    ManageUsers,
    ReadAudit,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 9] = [
        Self::ReadPatients,
        Self::WritePatients,
        Self::DeletePatients,
        Self::ReadBilling,
        Self::WriteBilling,
        Self::ReadAnalytics,
        Self::ReadNotifications,
        Self::ManageUsers,
        Self::ReadAudit,
    ];

    /// Whether a user of this role has it. A role that a row does not name is refused.
    pub const fn allows(self, role: Role) -> bool {
        use Role::{Admin, Auditor, Billing, Clinician, Receptionist};
        match self {
            Self::ReadPatients => matches!(role, Admin | Clinician | Receptionist | Billing),
            Self::WritePatients => matches!(role, Admin | Clinician | Receptionist),
            Self::DeletePatients => matches!(role, Admin),
            Self::ReadBilling => matches!(role, Admin | Receptionist | Billing),
            Self::WriteBilling => matches!(role, Admin | Billing),
            Self::ReadAnalytics => matches!(role, Admin | Clinician | Billing | Auditor),
            Self::ReadNotifications => matches!(role, Admin | Clinician | Receptionist),
            Self::ManageUsers => matches!(role, Admin),
            Self::ReadAudit => matches!(role, Admin | Auditor),
        }
    }
}
