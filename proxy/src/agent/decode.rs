//! From log lines to events: a function of the log's prefix, so that every replica that reads it agrees.
//!
//! Text comes twice, as deltas and in a closing message. It is given once: the closing one is suppressed if its deltas
//! were given. A decoder that begins in the middle of a message gives its closing text, and a late one ([`Decoder::late`])
//! prefers it for every message that is closed in what it reads.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::event::{Event, Seq};
use super::lines::Line;
use super::wire::{Block, CanUseTool, Envelope, ExitLine, Message, ResultLine, StreamEvent, StreamLine, TurnLine};
use super::{TurnResult, flatten, outcome};

/// Longest line of an unknown type that is passed through, in bytes.
const OTHER_LIMIT: usize = 16 * 1024;

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
    streaming: u64,
    text_given: bool,
    thinking_given: bool,
    /// What the process had cost at the last result.
    cost: f64,
    turn_open: bool,
    interrupted: bool,
    /// Messages handed over that Claude has not begun.
    pending: u32,
    begun: bool,
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
    /// For a decoder that begins at a boundary within a log, after a result with this `total_cost_usd`.
    pub fn after_cost(total_cost_usd: f64) -> State {
        State { cost: total_cost_usd, ..State::default() }
    }

    /// Whether a turn runs.
    pub fn turn_open(&self) -> bool {
        self.turn_open
    }

    /// Requests for permission that wait.
    pub fn open_requests(&self) -> &[OpenRequest] {
        self.open.as_deref().map_or(&[], Vec::as_slice)
    }
}

/// Decodes one log, line after line.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    late: bool,
    /// Deltas of a message that may still be closed in what a late decoder reads.
    held: Vec<(Seq, Event)>,
}

impl Decoder {
    /// From the beginning of a log, or from where `state` was taken.
    pub fn new(state: State) -> Decoder {
        Decoder { state, late: false, held: Vec::new() }
    }

    /// The same for a viewer that comes late: closed messages are given whole.
    pub fn late(state: State) -> Decoder {
        Decoder { state, late: true, held: Vec::new() }
    }

    /// The state after the lines so far.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether a decoder may begin at this line without losing anything: a turn, a message or a log begins with it.
    pub fn is_boundary(line: &[u8]) -> bool {
        [
            &br#"{"type":"system","subtype":"init""#[..],
            br#"{"type":"stream_event","event":{"type":"message_start""#,
            br#"{"type":"catalyst_start""#,
            br#"{"type":"catalyst_turn""#,
        ]
        .iter()
        .any(|beginning| line.starts_with(beginning))
    }

    /// The `total_cost_usd` of a result line.
    pub fn cost_of(line: &[u8]) -> Option<f64> {
        serde_json::from_slice::<ResultLine<'_>>(line).ok()?.total_cost_usd
    }

    /// Appends the events of one line.
    pub fn line(&mut self, line: &Line<'_>, events: &mut Vec<(Seq, Event)>) {
        let first = events.len();
        let mut out = Out { end: line.end, sub: 0, events };
        if !line.whole {
            self.large(line, &mut out);
        } else if line.bytes.first() == Some(&b'{') {
            if std::str::from_utf8(line.bytes).is_ok() {
                self.object(line.bytes, &mut out);
            } else {
                // Claude writes UTF-8; what else comes (a line cut by a full disk) is shown as well as can be.
                self.object(String::from_utf8_lossy(line.bytes).as_bytes(), &mut out);
            }
        }
        if self.late {
            self.hold(first, events);
        }
    }

    /// What a late decoder still holds, when there is nothing more to read for now. It is an ordinary one from then on.
    pub fn finish(&mut self, events: &mut Vec<(Seq, Event)>) {
        events.append(&mut self.held);
        self.late = false;
    }

    /// Keeps deltas back, and lets them go when something other than their closing message comes.
    fn hold(&mut self, first: usize, events: &mut Vec<(Seq, Event)>) {
        if events.len() == first {
            return;
        }
        let fresh = events.split_off(first);
        for (seq, event) in fresh {
            let delta = matches!(event, Event::Text { .. } | Event::Thinking { .. });
            if delta && self.state.streaming != 0 && (self.state.text_given || self.state.thinking_given) {
                self.held.push((seq, event));
            } else {
                events.append(&mut self.held);
                events.push((seq, event));
            }
        }
    }

    fn object(&mut self, bytes: &[u8], out: &mut Out<'_>) {
        if bytes.starts_with(br#"{"type":"stream_event""#) {
            if let Ok(line) = serde_json::from_slice::<StreamLine<'_>>(bytes)
                && line.parent_tool_use_id.is_none()
            {
                self.stream(line.event, out);
            }
            return;
        }
        let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(bytes) else { return };
        match &*envelope.kind {
            "system" => self.system(envelope, bytes, out),
            "assistant" => self.assistant(&envelope, out),
            "user" => self.user(&envelope, out),
            "result" => self.result(bytes, out),
            "control_request" => self.control_request(&envelope, out),
            "control_cancel_request" => {
                if let Some(request_id) = envelope.request_id {
                    self.close(|open| open.request_id == request_id, out);
                }
            }
            "catalyst_turn" => self.turn(bytes, out),
            "catalyst_exit" => self.exit(bytes, out),
            // Answers to our own requests, heartbeats, and our own beginning say nothing to a viewer.
            "control_response" | "keep_alive" | "catalyst_start" | "stream_event" | "" => {}
            _ => other(bytes, out),
        }
    }

    fn stream(&mut self, event: StreamEvent<'_>, out: &mut Out<'_>) {
        match &*event.kind {
            "message_start" => {
                let id = event.message.map(|message| fingerprint(&message.id));
                self.state.streaming = id.unwrap_or(1);
                self.state.text_given = false;
                self.state.thinking_given = false;
                self.state.turn_open = true;
            }
            "content_block_delta" if self.state.streaming != 0 => {
                let Some(delta) = event.delta else { return };
                match (delta.kind.as_deref(), delta.text, delta.thinking) {
                    (Some("text_delta"), Some(text), _) if !text.is_empty() => {
                        self.state.text_given = true;
                        out.push(Event::Text { text });
                    }
                    (Some("thinking_delta"), _, Some(text)) if !text.is_empty() => {
                        self.state.thinking_given = true;
                        out.push(Event::Thinking { text });
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn system(&mut self, envelope: Envelope<'_>, bytes: &[u8], out: &mut Out<'_>) {
        match &*envelope.subtype {
            "init" => {
                self.state.turn_open = true;
                self.state.begun = false;
                self.state.interrupted = false;
                out.push(Event::System {
                    session_id: envelope.session_id.unwrap_or_default(),
                    model: envelope.model.unwrap_or_default(),
                });
            }
            "status" | "hook_started" | "hook_progress" | "hook_response" => {}
            _ => other(bytes, out),
        }
    }

    fn assistant(&mut self, envelope: &Envelope<'_>, out: &mut Out<'_>) {
        let Some(message) = parse::<Message<'_>>(envelope.message) else { return };
        let main = envelope.parent_tool_use_id.is_none();
        let streamed = self.state.streaming != 0 && self.state.streaming == fingerprint(&message.id);
        if main {
            self.state.turn_open = true;
        }
        for block in blocks(message.content) {
            match &*block.kind {
                // What a sub-agent says is for the agent; its tool calls are shown.
                "text" if main => {
                    let given = std::mem::take(&mut self.state.text_given) && streamed;
                    let text = block.text.unwrap_or_default();
                    self.closing(given, text, |text| Event::Text { text }, out);
                }
                "thinking" if main => {
                    let given = std::mem::take(&mut self.state.thinking_given) && streamed;
                    let text = block.thinking.unwrap_or_default();
                    self.closing(given, text, |text| Event::Thinking { text }, out);
                }
                "tool_use" => out.push(Event::ToolUse {
                    tool_use_id: block.id.unwrap_or_default(),
                    name: block.name.unwrap_or_default(),
                    input: raw(block.input),
                    parent: envelope.parent_tool_use_id.clone(),
                }),
                _ => {}
            }
        }
    }

    fn closing(&mut self, given: bool, text: String, event: impl Fn(String) -> Event, out: &mut Out<'_>) {
        if given && !self.late {
            return;
        }
        if given && self.held.is_empty() {
            // Its deltas went out before this decoder became late.
            return;
        }
        self.held.clear();
        if !text.is_empty() {
            out.push(event(text));
        }
    }

    fn user(&mut self, envelope: &Envelope<'_>, out: &mut Out<'_>) {
        let Some(message) = parse::<Message<'_>>(envelope.message) else { return };
        if envelope.is_replay {
            self.state.pending = self.state.pending.saturating_sub(1);
            self.state.begun = true;
            self.state.turn_open = true;
            return;
        }
        for block in blocks(message.content) {
            match &*block.kind {
                "tool_result" => {
                    let tool_use_id = block.tool_use_id.unwrap_or_default();
                    self.close(|open| open.tool_use_id == tool_use_id, out);
                    out.push(Event::ToolResult {
                        tool_use_id,
                        content: flatten::tool_result(block.content),
                        is_error: block.is_error.unwrap_or(false),
                    });
                }
                "text" if block.text.as_deref().is_some_and(|text| text.starts_with("[Request interrupted")) => {
                    self.state.interrupted = true;
                }
                _ => {}
            }
        }
    }

    fn result(&mut self, bytes: &[u8], out: &mut Out<'_>) {
        let Ok(line) = serde_json::from_slice::<ResultLine<'_>>(bytes) else { return };
        self.close(|_| true, out);
        let total = line.total_cost_usd.unwrap_or(self.state.cost);
        let cost_usd = (total - self.state.cost).max(0.0);
        self.state.cost = total;
        self.state.streaming = 0;
        let interrupted = std::mem::take(&mut self.state.interrupted);
        if !std::mem::replace(&mut self.state.begun, false) {
            // Some slash commands are answered without the message coming back.
            self.state.pending = self.state.pending.saturating_sub(1);
        }
        if interrupted {
            self.state.pending = 0;
        }
        self.state.turn_open = self.state.pending > 0;
        let (result, error) = outcome::of_result(&line, interrupted);
        if let (Some(error), false) = (&error, interrupted) {
            out.push(Event::Error { error: error.clone() });
        }
        out.push(Event::Result(TurnResult {
            result,
            error,
            session_id: line.session_id,
            cost_usd,
            duration_ms: line.duration_ms.max(0.0) as u64,
            turns: line.num_turns,
            interrupted,
        }));
    }

    fn control_request(&mut self, envelope: &Envelope<'_>, out: &mut Out<'_>) {
        let (Some(request_id), Some(request)) = (&envelope.request_id, parse::<CanUseTool<'_>>(envelope.request))
        else {
            return;
        };
        if request.subtype != "can_use_tool" {
            return;
        }
        let mut open = self.state.open_requests().to_vec();
        open.push(OpenRequest { request_id: request_id.clone(), tool_use_id: request.tool_use_id.clone() });
        self.state.open = Some(Arc::new(open));
        out.push(Event::Permission {
            request_id: request_id.clone(),
            tool_use_id: request.tool_use_id,
            name: request.tool_name,
            input: raw(request.input),
        });
    }

    fn turn(&mut self, bytes: &[u8], out: &mut Out<'_>) {
        let Ok(turn) = serde_json::from_slice::<TurnLine>(bytes) else { return };
        self.state.pending = self.state.pending.saturating_add(1);
        self.state.turn_open = true;
        out.push(Event::User { text: turn.text, message_id: turn.id, mode: turn.mode });
    }

    fn exit(&mut self, bytes: &[u8], out: &mut Out<'_>) {
        let Ok(line) = serde_json::from_slice::<ExitLine>(bytes) else { return };
        self.close(|_| true, out);
        if std::mem::replace(&mut self.state.turn_open, false) {
            let (result, error) = outcome::of_exit(&line);
            let interrupted = error.is_none();
            if let Some(error) = &error {
                out.push(Event::Error { error: error.clone() });
            }
            out.push(Event::Result(TurnResult {
                result,
                error: error.or_else(|| Some(outcome::STOPPED.to_owned())),
                session_id: String::new(),
                cost_usd: 0.0,
                duration_ms: 0,
                turns: 0,
                interrupted,
            }));
        }
        out.push(Event::Exit { code: line.code, reason: line.reason });
    }

    /// A line that is too long to be kept still counts for what it is.
    fn large(&mut self, line: &Line<'_>, out: &mut Out<'_>) {
        let head = String::from_utf8_lossy(line.bytes);
        let member = |name: &str| {
            let at = head.find(&format!("\"{name}\":\""))? + name.len() + 4;
            head.get(at..)?.split('"').next().map(str::to_owned)
        };
        let kind = head.starts_with("{\"type\":\"").then(|| member("type")).flatten().unwrap_or_default();
        match kind.as_str() {
            "catalyst_turn" => {
                self.state.pending = self.state.pending.saturating_add(1);
                self.state.turn_open = true;
            }
            "result" => {
                self.close(|_| true, out);
                self.state.turn_open = false;
                self.state.streaming = 0;
                out.push(Event::Result(TurnResult {
                    result: outcome::TOO_LONG.to_owned(),
                    error: None,
                    session_id: member("session_id").unwrap_or_default(),
                    cost_usd: 0.0,
                    duration_ms: 0,
                    turns: 0,
                    interrupted: false,
                }));
            }
            "control_request" if head.contains("\"can_use_tool\"") => {
                let request_id = member("request_id").unwrap_or_default();
                let mut open = self.state.open_requests().to_vec();
                open.push(OpenRequest { request_id: request_id.clone(), tool_use_id: String::new() });
                self.state.open = Some(Arc::new(open));
                let name = member("tool_name").unwrap_or_default();
                let input = RawValue::NULL.to_owned();
                out.push(Event::Permission { request_id, tool_use_id: String::new(), name, input });
            }
            _ => {}
        }
        let kind = kind.chars().take(64).collect();
        out.push(Event::Large { kind, start: line.start, length: line.end - line.start });
    }

    fn close(&mut self, which: impl Fn(&OpenRequest) -> bool, out: &mut Out<'_>) {
        let Some(open) = self.state.open.take() else { return };
        let (closed, left): (Vec<OpenRequest>, Vec<OpenRequest>) = open.iter().cloned().partition(which);
        for request in closed {
            out.push(Event::PermissionClosed { request_id: request.request_id, decision: None });
        }
        self.state.open = (!left.is_empty()).then(|| Arc::new(left));
    }
}

/// Numbers the events of one line.
struct Out<'a> {
    end: u64,
    sub: u32,
    events: &'a mut Vec<(Seq, Event)>,
}

impl Out<'_> {
    fn push(&mut self, event: Event) {
        self.events.push((Seq { offset: self.end, sub: self.sub }, event));
        self.sub += 1;
    }
}

fn parse<'a, T: serde::Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// A message's content is a string or a list of blocks.
fn blocks(content: Option<&RawValue>) -> Vec<Block<'_>> {
    let Some(content) = content else { return Vec::new() };
    serde_json::from_str(content.get()).unwrap_or_default()
}

fn raw(value: Option<&RawValue>) -> Box<RawValue> {
    value.map_or_else(|| RawValue::NULL.to_owned(), ToOwned::to_owned)
}

fn other(bytes: &[u8], out: &mut Out<'_>) {
    if bytes.len() > OTHER_LIMIT {
        return;
    }
    if let Ok(line) = serde_json::from_slice::<Box<RawValue>>(bytes) {
        out.push(Event::Other { line });
    }
}

/// Tells messages apart (FNV-1a); never 0.
fn fingerprint(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)) | 1
}
