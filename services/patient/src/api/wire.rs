//! What goes over the wire: JSON, camelCase.

use jiff::{Timestamp, civil::Date};
use kit::fields::RequestFields;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::domain::{Billing, Input, Patient};

/// What makes a registration safe to repeat.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "a document of what `http` reads")]
pub(super) struct Repeatable {
    /// A name for this request, of the client's own.
    #[param(
        rename = "Idempotency-Key",
        value_type = String,
        required = false,
        min_length = 1,
        max_length = 255,
        pattern = "^[!-~]+$"
    )]
    idempotency_key: Option<String>,
}

/// Which version of a patient is meant.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "a document of what `etag` reads")]
pub(super) struct OfVersion {
    /// An `ETag`: nothing is done when the patient was changed since.
    #[param(rename = "If-Match", value_type = String, required = false)]
    if_match: Option<String>,
    /// An `ETag`: nothing is done while it is the patient's.
    #[param(rename = "If-None-Match", value_type = String, required = false)]
    if_none_match: Option<String>,
}

/// Which version the caller has.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "a document of what `etag` reads")]
pub(super) struct Known {
    /// An `ETag`: the answer is 304, without the patient, while it is this one.
    #[param(rename = "If-None-Match", value_type = String, required = false)]
    if_none_match: Option<String>,
}

/// A patient to register.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "a document of what `input` reads")]
pub(super) struct NewPatientIn {
    /// 1 to 100 characters.
    #[schema(
        value_type = String,
        min_length = 1,
        max_length = 100,
        pattern = r"\S",
        example = "Jane Roe"
    )]
    name: Option<String>,
    /// A valid address, of no other patient.
    #[schema(
        value_type = String,
        format = Email,
        max_length = 254,
        example = "jane.roe@example.com"
    )]
    email: Option<String>,
    /// 1 to 255 characters.
    #[schema(
        value_type = String,
        min_length = 1,
        max_length = 255,
        pattern = r"\S",
        example = "1 Demo Street"
    )]
    address: Option<String>,
    /// ISO 8601, not in the future and not before 1850.
    #[schema(value_type = String, format = Date, example = "1990-02-28")]
    date_of_birth: Option<String>,
    /// ISO 8601, not in the future and not before the birth; today when absent.
    #[schema(value_type = Option<String>, format = Date, example = "2026-01-31")]
    registered_date: Option<String>,
}

/// A patient's new details: all of them.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "a document of what `input` reads")]
pub(super) struct PatientIn {
    /// 1 to 100 characters.
    #[schema(
        value_type = String,
        min_length = 1,
        max_length = 100,
        pattern = r"\S",
        example = "Jane Roe"
    )]
    name: Option<String>,
    /// A valid address, of no other patient.
    #[schema(
        value_type = String,
        format = Email,
        max_length = 254,
        example = "jane.roe@example.com"
    )]
    email: Option<String>,
    /// 1 to 255 characters.
    #[schema(
        value_type = String,
        min_length = 1,
        max_length = 255,
        pattern = r"\S",
        example = "2 Demo Street"
    )]
    address: Option<String>,
    /// ISO 8601, not in the future and not before 1850.
    #[schema(value_type = String, format = Date, example = "1990-02-28")]
    date_of_birth: Option<String>,
}

/// A patient.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PatientOut {
    id: Uuid,
    #[schema(example = "Jane Roe")]
    name: String,
    #[schema(example = "jane.roe@example.com")]
    email: String,
    #[schema(example = "1 Demo Street")]
    address: String,
    #[schema(value_type = String, format = Date, example = "1990-02-28")]
    date_of_birth: Date,
    #[schema(value_type = String, format = Date, example = "2026-01-31")]
    registered_date: Date,
    /// 1 when registered, one more with every change; the `ETag` is this in quotes.
    #[schema(example = 1)]
    version: i64,
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T08:15:00Z")]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T08:15:00Z")]
    updated_at: Timestamp,
    billing: BillingOut,
}

/// A patient's billing account, as far as it is known.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BillingOut {
    /// `ACTIVE`, or `PENDING` while billing has not answered; it becomes active by itself.
    #[schema(example = "ACTIVE")]
    status: &'static str,
    account_id: Option<Uuid>,
}

/// A page of patients.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PatientsOut {
    pub(super) patients: Vec<PatientOut>,
    /// Patients in a page at most, as asked for.
    #[schema(example = 20)]
    pub(super) size: u32,
    /// Ask for the next page with this; null on the last one.
    pub(super) next_cursor: Option<String>,
}

/// Reads a [`NewPatientIn`] or a [`PatientIn`], and what is wrong with it.
pub(super) fn input(mut fields: RequestFields) -> Input {
    Input {
        name: fields.text("name"),
        email: fields.text("email"),
        address: fields.text("address"),
        date_of_birth: fields.text("dateOfBirth"),
        registered_date: fields.text("registeredDate"),
        refused: fields.end(),
    }
}

impl From<Patient> for PatientOut {
    fn from(patient: Patient) -> Self {
        Self {
            id: patient.id,
            name: patient.details.name.as_str().to_owned(),
            email: patient.details.email.as_str().to_owned(),
            address: patient.details.address.as_str().to_owned(),
            date_of_birth: patient.details.date_of_birth,
            registered_date: patient.registered_date,
            version: patient.version,
            created_at: patient.created_at,
            updated_at: patient.updated_at,
            billing: patient.billing.into(),
        }
    }
}

impl From<Billing> for BillingOut {
    fn from(billing: Billing) -> Self {
        Self { status: billing.as_str(), account_id: billing.account_id() }
    }
}
