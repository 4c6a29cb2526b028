//! Where the events of one line go: each gets its place.

use serde_json::value::RawValue;

use crate::agent::event::{Event, Seq};

/// Longest line of an unknown type that is passed through, in bytes.
const OTHER_LIMIT: usize = 16 * 1024;

/// Numbers the events of one line.
pub(super) struct Out<'a> {
    end: u64,
    sub: u32,
    events: &'a mut Vec<(Seq, Event)>,
}

impl<'a> Out<'a> {
    /// For the line that ends before byte `end` of the log.
    pub(super) fn new(end: u64, events: &'a mut Vec<(Seq, Event)>) -> Out<'a> {
        Out { end, sub: 0, events }
    }

    pub(super) fn push(&mut self, event: Event) {
        self.events.push((Seq { offset: self.end, sub: self.sub }, event));
        self.sub += 1;
    }

    /// Leaves out a place that another decoder of the same log gives.
    pub(super) fn skip(&mut self) {
        self.sub += 1;
    }

    /// A line of a type that is not known here, as Claude wrote it; none if it is too long or no JSON.
    pub(super) fn other(&mut self, bytes: &[u8]) {
        if bytes.len() > OTHER_LIMIT {
            return;
        }
        if let Ok(line) = serde_json::from_slice::<Box<RawValue>>(bytes) {
            self.push(Event::Other { line });
        }
    }
}
