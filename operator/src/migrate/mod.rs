//! From the Helm chart to the operator: values become a `CatalystInstance` ([`values`], pure), and the objects of a running
//! release become the operator's without an interruption ([`adopt`]).
//!
//! `plan` (pure) says which steps are left of what `observe` reads; `carry_out` does one; `adopt` is the driver.

pub mod adopt;
mod carry_out;
pub mod command;
mod fields;
mod observe;
pub mod plan;
pub mod values;
