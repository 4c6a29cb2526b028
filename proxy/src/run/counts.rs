//! What this replica's followers have read since it started, in numbers.
//!
//! Invariant: an event counts when it is followed, once a replica; what is read again for viewers and pages does not.

use std::sync::atomic::{AtomicU64, Ordering};

use super::frame::Frame;
use super::{RUN_ENDINGS, RunStats, TURN_ENDINGS};
use crate::agent::Event;

#[derive(Default)]
pub(super) struct Counts {
    events: AtomicU64,
    turns: [AtomicU64; TURN_ENDINGS.len()],
    runs: [AtomicU64; RUN_ENDINGS.len()],
}

impl Counts {
    /// So many events were decoded, and made these frames.
    pub(super) fn followed<'a>(&self, events: u64, frames: impl IntoIterator<Item = &'a Frame>) {
        self.events.fetch_add(events, Ordering::Relaxed);
        for frame in frames {
            match &frame.event {
                Event::Result(turn) if turn.interrupted => count(&self.turns, TURN_ENDINGS, "stopped"),
                Event::Result(turn) if turn.error.is_some() => count(&self.turns, TURN_ENDINGS, "failed"),
                Event::Result(_) => count(&self.turns, TURN_ENDINGS, "succeeded"),
                Event::Exit { reason, .. } => count(&self.runs, RUN_ENDINGS, reason),
                _ => {}
            }
        }
    }

    /// Adds what was counted.
    pub(super) fn tell(&self, stats: &mut RunStats) {
        stats.events = self.events.load(Ordering::Relaxed);
        stats.turns_ended = self.turns.each_ref().map(|count| count.load(Ordering::Relaxed));
        stats.runs_ended = self.runs.each_ref().map(|count| count.load(Ordering::Relaxed));
    }
}

/// One more of `what`; a word that is not among `words` counts as the last of them.
fn count(counts: &[AtomicU64], words: &[&str], what: &str) {
    let counted = words.iter().zip(counts).find(|(word, _)| **word == what).map(|(_, count)| count);
    if let Some(count) = counted.or(counts.last()) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}
