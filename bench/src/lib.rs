//! What the benchmarks share: the table that they print, and the event that streams are made of.

pub mod event;
pub mod table;
