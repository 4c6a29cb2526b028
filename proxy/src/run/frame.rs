//! What viewers are sent: an event of a run's log with its place, encoded once.

use bytes::Bytes;

use crate::agent::{Event, Seq};

/// A place among the frames of an idea.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Number of the run, from 1.
    pub run: u64,
    /// Place in its log.
    pub seq: Seq,
}

/// One event, placed and encoded.
#[derive(Debug)]
pub struct Frame {
    /// Number of the run.
    pub run: u64,
    /// Place in the run's log.
    pub seq: Seq,
    /// What happened.
    pub event: Event,
    /// JSON members that follow `ideaId`, without braces: `"type":"claude:text","run":3,"seq":"120.0","text":"…"`.
    pub body: Bytes,
}

impl Frame {
    /// Where the frame stands.
    pub fn position(&self) -> Position {
        Position { run: self.run, seq: self.seq }
    }
}
