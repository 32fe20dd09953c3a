//! The words that the services share: calls and events, generated from the `.proto` files beside.
//!
//! This is the only place where two services meet. Field numbers are for ever: add, never reuse.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::too_many_lines,
    reason = "generated code"
)]

pub mod demo;

/// Calls to billing.
pub mod billing {
    /// Version 1 of the billing calls.
    pub mod v1 {
        tonic::include_proto!("medisync.billing.v1");
    }
}

/// Facts about patients, as published on the topic [`TOPIC`](patient_events::TOPIC).
pub mod patient_events {
    tonic::include_proto!("patient.events");

    /// The topic of [`PatientEvent`], keyed by the patient's id.
    pub const TOPIC: &str = "patient";
    /// [`PatientEvent::event_type`] of a registration.
    pub const PATIENT_CREATED: &str = "PATIENT_CREATED";
    /// [`PatientEvent::event_type`] of a change.
    pub const PATIENT_UPDATED: &str = "PATIENT_UPDATED";
    /// [`PatientEvent::event_type`] of a removal.
    pub const PATIENT_DELETED: &str = "PATIENT_DELETED";
}

/// Every file's descriptor, encoded, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
