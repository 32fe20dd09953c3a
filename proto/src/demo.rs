//! The demo's patients, known by their ids: nobody else is ever given one of these, so that every
//! service tells them from real patients by itself.

/// As many as [`PATIENTS`] names.
pub const COUNT: u32 = PATIENTS.len() as u32;

/// Their ids.
pub const PATIENTS: [u128; 15] = [
    0x123e4567_e89b_12d3_a456_426614174000,
    0x123e4567_e89b_12d3_a456_426614174001,
    0x123e4567_e89b_12d3_a456_426614174002,
    0x123e4567_e89b_12d3_a456_426614174003,
    0x123e4567_e89b_12d3_a456_426614174004,
    0x223e4567_e89b_12d3_a456_426614174005,
    0x223e4567_e89b_12d3_a456_426614174006,
    0x223e4567_e89b_12d3_a456_426614174007,
    0x223e4567_e89b_12d3_a456_426614174008,
    0x223e4567_e89b_12d3_a456_426614174009,
    0x223e4567_e89b_12d3_a456_426614174010,
    0x223e4567_e89b_12d3_a456_426614174011,
    0x223e4567_e89b_12d3_a456_426614174012,
    0x223e4567_e89b_12d3_a456_426614174013,
    0x223e4567_e89b_12d3_a456_426614174014,
];

/// Whether a patient is one of the demo's.
pub fn is_patient(id: u128) -> bool {
    PATIENTS.contains(&id)
}
