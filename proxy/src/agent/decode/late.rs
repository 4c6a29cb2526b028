//! What a viewer that comes late is spared: deltas of messages that are closed in what it reads.

use super::out::Out;
use super::state::State;
use crate::agent::event::{Event, Seq};

/// Deltas of a message that may still be closed.
#[derive(Clone, Debug, Default)]
pub(super) struct Late {
    on: bool,
    held: Vec<(Seq, Event)>,
}

impl Late {
    /// For a viewer that comes late.
    pub(super) fn on() -> Late {
        Late { on: true, held: Vec::new() }
    }

    /// Keeps deltas back, and lets them go when something other than their closing message comes. `first`: the first
    /// event of the line.
    pub(super) fn hold(&mut self, state: &State, first: usize, events: &mut Vec<(Seq, Event)>) {
        if !self.on || events.len() == first {
            return;
        }
        let fresh = events.split_off(first);
        for (seq, event) in fresh {
            let delta = matches!(event, Event::Text { .. } | Event::Thinking { .. });
            if delta && state.streaming != 0 && (state.text_given || state.thinking_given) {
                self.held.push((seq, event));
            } else {
                events.append(&mut self.held);
                events.push((seq, event));
            }
        }
    }

    /// The text of a closing message. `given`: whether its deltas were seen.
    pub(super) fn closing(&mut self, given: bool, text: String, event: impl Fn(String) -> Event, out: &mut Out<'_>) {
        // For whoever had its deltas, or whose decoder was not late when they came, it says nothing new.
        if given && (!self.on || self.held.is_empty()) {
            // Whoever comes late is given it: what follows in the line has the same name for both.
            if !text.is_empty() {
                out.skip();
            }
            return;
        }
        self.held.clear();
        if !text.is_empty() {
            out.push(event(text));
        }
    }

    /// What is still held, when there is nothing more to read for now. Nothing is held from then on.
    pub(super) fn finish(&mut self, events: &mut Vec<(Seq, Event)>) {
        events.append(&mut self.held);
        self.on = false;
    }
}
