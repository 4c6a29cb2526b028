//! Claude Code's stream-json, in both directions, without any input or output of its own.
//!
//! Decoding is a function of the log's prefix: any replica that reads the same bytes gets the same events.

mod decode;
mod encode;
mod event;
mod flatten;
pub mod input;
mod lines;
mod outcome;
mod permission;
mod wire;

pub use decode::{Decoder, OpenRequest, State};
pub use encode::members;
pub use event::{Event, Mode, Seq, SeqParseError, TurnResult};
pub use lines::{HEAD, LINE_LIMIT, Line, Lines};
pub use permission::{Answer, CanUseTool, Decision, PLAN, Rule};
