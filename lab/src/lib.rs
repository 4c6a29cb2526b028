//! The lab: what the demo, the end-to-end tests and the benchmarks run on.

pub mod claude;
pub mod messages_api;
pub mod network;
pub mod vm;
