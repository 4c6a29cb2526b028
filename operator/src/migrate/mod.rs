//! From the Helm chart to the operator: values become a `CatalystInstance` ([`values`], pure), and the objects of a running
//! release become the operator's without an interruption ([`adopt`]).
//!
//! One direction: `adopt` (the driver) has `observe` read, `plan` (pure) say which steps are left of what was `seen`, and
//! `carry_out` do the first, by `write`, which touches only the very object that was planned for.

pub mod adopt;
pub mod adoption;
mod carry_out;
pub mod command;
mod fields;
mod kinds;
mod observe;
pub mod plan;
pub mod seen;
pub mod step;
pub mod values;
mod write;
