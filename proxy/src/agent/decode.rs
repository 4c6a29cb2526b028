//! From log lines to events: a function of the log's prefix, so that every replica that reads it agrees.
//!
//! Text comes twice, as deltas and in a closing message. It is given once: the closing one is suppressed if its deltas
//! were given. A decoder that begins in the middle of a message gives its closing text, and a late one ([`Decoder::late`])
//! prefers it for every message that is closed in what it reads.

mod claude;
mod delta;
mod large;
mod late;
mod out;
mod state;
mod supervisor;

use super::event::{Event, Seq};
use super::lines::Line;
use super::wire::{Envelope, StreamLine};
use delta::Delta;
use late::Late;
use out::Out;
pub use state::{OpenRequest, State};

/// Decodes one log, line after line.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    late: Late,
}

impl Decoder {
    /// From the beginning of a log, or from where `state` was taken.
    pub fn new(state: State) -> Decoder {
        Decoder { state, late: Late::default() }
    }

    /// The same for a viewer that comes late: closed messages are given whole.
    pub fn late(state: State) -> Decoder {
        Decoder { state, late: Late::on() }
    }

    /// The state after the lines so far.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether a decoder with this one's state may begin at this line, though it has not seen the deltas before it: a
    /// turn, a message or a log begins with it.
    pub fn is_boundary(&self, line: &[u8]) -> bool {
        let begins = [
            &br#"{"type":"system","subtype":"init""#[..],
            br#"{"type":"stream_event","event":{"type":"message_start""#,
            br#"{"type":"catalyst_start""#,
        ];
        // A message of the user may come while Claude is in the midst of one.
        let between = self.state.streaming == 0 && line.starts_with(br#"{"type":"catalyst_turn""#);
        between || begins.iter().any(|beginning| line.starts_with(beginning))
    }

    /// Appends the events of one line.
    pub fn line(&mut self, line: &Line<'_>, events: &mut Vec<(Seq, Event)>) {
        let first = events.len();
        let mut out = Out::new(line.end, events);
        if !line.whole {
            large::line(&mut self.state, line, &mut out);
        } else {
            match delta::read(line.bytes) {
                Some(Delta::Text(text)) => claude::text(&mut self.state, text.to_owned(), &mut out),
                Some(Delta::Thinking(text)) => claude::thinking(&mut self.state, text.to_owned(), &mut out),
                None => self.any(line.bytes, &mut out),
            }
        }
        self.late.hold(&self.state, first, events);
    }

    /// What a late decoder still holds, when there is nothing more to read for now. It is an ordinary one from then on.
    pub fn finish(&mut self, events: &mut Vec<(Seq, Event)>) {
        self.late.finish(events);
    }

    fn any(&mut self, bytes: &[u8], out: &mut Out<'_>) {
        if bytes.first() != Some(&b'{') {
        } else if std::str::from_utf8(bytes).is_ok() {
            self.object(bytes, out);
        } else {
            // Claude writes UTF-8; what else comes (a line cut by a full disk) is shown as well as can be.
            self.object(String::from_utf8_lossy(bytes).as_bytes(), out);
        }
    }

    fn object(&mut self, bytes: &[u8], out: &mut Out<'_>) {
        if bytes.starts_with(br#"{"type":"stream_event""#) {
            if let Ok(line) = serde_json::from_slice::<StreamLine<'_>>(bytes)
                && line.parent_tool_use_id.is_none()
            {
                claude::stream(&mut self.state, line.event, out);
            }
            return;
        }
        let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(bytes) else { return };
        let state = &mut self.state;
        match &*envelope.kind {
            "system" => claude::system(state, envelope, bytes, out),
            "assistant" => claude::assistant(state, &mut self.late, &envelope, out),
            "user" => claude::user(state, &envelope, out),
            "result" => claude::result(state, bytes, out),
            "control_request" => claude::control_request(state, &envelope, out),
            "control_cancel_request" => {
                if let Some(request_id) = envelope.request_id {
                    state.close(|open| open.request_id == request_id, out);
                }
            }
            "catalyst_turn" => supervisor::turn(state, bytes, out),
            "catalyst_exit" => supervisor::exit(state, bytes, out),
            "control_response" => claude::control_response(&mut self.state, &envelope, out),
            // Heartbeats and our own beginning say nothing to a viewer.
            "keep_alive" | "catalyst_start" | "stream_event" | "" => {}
            _ => out.other(bytes),
        }
    }
}
