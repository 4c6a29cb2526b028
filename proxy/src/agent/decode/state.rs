//! What the lines so far mean for those that follow.

use std::sync::Arc;

use super::out::Out;
use crate::agent::event::Event;
use crate::agent::permission::Decision;

/// A request for permission that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRequest {
    /// Names it in the answer.
    pub request_id: String,
    /// The call that waits.
    pub tool_use_id: String,
}

/// What the lines so far mean for those that follow. Cheap to clone: frames carry one.
#[derive(Clone, Debug)]
pub struct State {
    /// The message whose deltas are given; 0 if its beginning was not seen.
    pub(super) streaming: u64,
    pub(super) text_given: bool,
    pub(super) thinking_given: bool,
    /// What the process had cost at the last result.
    pub(super) cost: f64,
    pub(super) turn_open: bool,
    pub(super) interrupted: bool,
    /// Messages handed over that Claude has not begun.
    pub(super) pending: u32,
    pub(super) begun: bool,
    open: Option<Arc<Vec<OpenRequest>>>,
}

impl Default for State {
    fn default() -> State {
        State {
            streaming: 0,
            text_given: false,
            thinking_given: false,
            cost: 0.0,
            // A process is only started for a message.
            turn_open: true,
            interrupted: false,
            pending: 0,
            begun: false,
            open: None,
        }
    }
}

impl State {
    /// For a decoder that begins in the midst of a message: who had its beginning, or reads it next, is given what comes of it and not
    /// its closing text.
    pub fn amid(self) -> State {
        State { text_given: true, thinking_given: true, ..self }
    }

    /// Whether a turn runs.
    pub fn turn_open(&self) -> bool {
        self.turn_open
    }

    /// Requests for permission that wait.
    pub fn open_requests(&self) -> &[OpenRequest] {
        self.open.as_deref().map_or(&[], Vec::as_slice)
    }

    /// A request for permission begins to wait.
    pub(super) fn ask(&mut self, request_id: String, tool_use_id: String) {
        let mut open = self.open_requests().to_vec();
        open.push(OpenRequest { request_id, tool_use_id });
        self.open = Some(Arc::new(open));
    }

    /// Those that `which` names wait no more.
    pub(super) fn close(&mut self, which: impl Fn(&OpenRequest) -> bool, out: &mut Out<'_>) {
        self.decide(which, None, out);
    }

    /// The same, where it is known how they were answered.
    pub(super) fn decide(
        &mut self,
        which: impl Fn(&OpenRequest) -> bool,
        decision: Option<Decision>,
        out: &mut Out<'_>,
    ) {
        let Some(open) = self.open.take() else { return };
        let (closed, left): (Vec<OpenRequest>, Vec<OpenRequest>) = open.iter().cloned().partition(which);
        for request in closed {
            out.push(Event::PermissionClosed { request_id: request.request_id, decision });
        }
        self.open = (!left.is_empty()).then(|| Arc::new(left));
    }
}
