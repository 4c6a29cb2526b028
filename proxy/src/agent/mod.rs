//! Claude Code's stream-json, in both directions, without any input or output of its own.
//!
//! Decoding is a function of the log's prefix: any replica that reads the same bytes gets the same events.

mod event;

pub use event::{Decision, Event, Seq, SeqParseError, TurnResult};
