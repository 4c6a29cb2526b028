//! What a client sees that sends a message without having subscribed: its own turn and all that follows, not the past.

use std::sync::Arc;

use crate::agent::Event;
use crate::run::Frame;

/// Passes frames from the turn of one message on.
pub(super) struct FromTurn {
    run: u64,
    message_id: String,
    passing: bool,
    /// Since the end of the turn before: what belongs to our turn if our message comes next.
    held: Vec<Arc<Frame>>,
}

impl FromTurn {
    /// The turn of the message `message_id`, taken by the run `run`.
    pub(super) fn new(run: u64, message_id: String) -> FromTurn {
        FromTurn { run, message_id, passing: false, held: Vec::new() }
    }

    /// The frames to send now that `frame` has come.
    pub(super) fn pass(&mut self, frame: Arc<Frame>) -> Vec<Arc<Frame>> {
        if self.passing {
            return vec![frame];
        }
        // Without the message ever being delivered, the end of its run tells why.
        let ours = match &frame.event {
            Event::User { message_id, .. } => message_id.as_deref() == Some(&self.message_id),
            Event::Exit { .. } => frame.run >= self.run,
            _ => false,
        } || frame.run > self.run;
        match &frame.event {
            _ if ours => {
                self.passing = true;
                self.held.push(frame);
                return std::mem::take(&mut self.held);
            }
            Event::System { .. } => {
                self.held.clear();
                self.held.push(frame);
            }
            Event::Error { .. } if frame.run == self.run && self.held.len() < 16 => self.held.push(frame),
            Event::Result(_) | Event::Exit { .. } | Event::User { .. } => self.held.clear(),
            _ => {}
        }
        Vec::new()
    }
}
