//! What the benchmarks share: the table that they print.

pub mod table;
