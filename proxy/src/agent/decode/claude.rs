//! The lines that Claude writes: messages, results, requests for permission.

use serde_json::value::RawValue;

use super::late::{Kind, Late};
use super::out::Out;
use super::state::State;
use crate::agent::event::{Event, TurnResult};
use crate::agent::permission::{CanUseTool, Decision};
use crate::agent::wire::{AnswerLine, Block, Envelope, Message, ResultLine, StreamEvent};
use crate::agent::{flatten, outcome};

/// A piece of the answer.
pub(super) fn text(state: &mut State, text: String, out: &mut Out<'_>) {
    if state.streaming != 0 && !text.is_empty() {
        state.text_given = true;
        out.push(Event::Text { text });
    }
}

/// A piece of the thinking.
pub(super) fn thinking(state: &mut State, text: String, out: &mut Out<'_>) {
    if state.streaming != 0 && !text.is_empty() {
        state.thinking_given = true;
        out.push(Event::Thinking { text });
    }
}

pub(super) fn stream(state: &mut State, event: StreamEvent<'_>, out: &mut Out<'_>) {
    match &*event.kind {
        "message_start" => {
            let id = event.message.map(|message| fingerprint(&message.id));
            state.streaming = id.unwrap_or(1);
            state.text_given = false;
            state.thinking_given = false;
            state.turn_open = true;
        }
        "content_block_delta" => {
            let Some(delta) = event.delta else { return };
            match (delta.kind.as_deref(), delta.text, delta.thinking) {
                (Some("text_delta"), Some(text), _) => self::text(state, text, out),
                (Some("thinking_delta"), _, Some(text)) => self::thinking(state, text, out),
                _ => {}
            }
        }
        _ => {}
    }
}

pub(super) fn system(state: &mut State, envelope: Envelope<'_>, bytes: &[u8], out: &mut Out<'_>) {
    match &*envelope.subtype {
        "init" => {
            // Whatever was under way is so no more.
            state.streaming = 0;
            state.turn_open = true;
            state.begun = false;
            state.interrupted = false;
            out.push(Event::System {
                session_id: envelope.session_id.unwrap_or_default(),
                model: envelope.model.unwrap_or_default(),
            });
        }
        "status" | "hook_started" | "hook_progress" | "hook_response" => {}
        _ => out.other(bytes),
    }
}

pub(super) fn assistant(state: &mut State, late: &mut Late, envelope: &Envelope<'_>, out: &mut Out<'_>) {
    let Some(message) = parse::<Message<'_>>(envelope.message) else { return };
    let main = envelope.parent_tool_use_id.is_none();
    let streamed = state.streaming != 0 && state.streaming == fingerprint(&message.id);
    if main {
        state.turn_open = true;
    }
    for block in blocks(message.content) {
        match &*block.kind {
            // What a sub-agent says is for the agent; its tool calls are shown.
            "text" if main => {
                let given = std::mem::take(&mut state.text_given) && streamed;
                let text = block.text.unwrap_or_default();
                late.closing(given, text, Kind::Text, out);
            }
            "thinking" if main => {
                let given = std::mem::take(&mut state.thinking_given) && streamed;
                let text = block.thinking.unwrap_or_default();
                late.closing(given, text, Kind::Thinking, out);
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

pub(super) fn user(state: &mut State, envelope: &Envelope<'_>, out: &mut Out<'_>) {
    let Some(message) = parse::<Message<'_>>(envelope.message) else { return };
    if envelope.is_replay {
        state.pending = state.pending.saturating_sub(1);
        state.begun = true;
        state.turn_open = true;
        return;
    }
    for block in blocks(message.content) {
        match &*block.kind {
            "tool_result" => {
                let tool_use_id = block.tool_use_id.unwrap_or_default();
                state.close(|open| open.tool_use_id == tool_use_id, out);
                out.push(Event::ToolResult {
                    tool_use_id,
                    content: flatten::tool_result(block.content),
                    is_error: block.is_error.unwrap_or(false),
                });
            }
            "text" if block.text.as_deref().is_some_and(|text| text.starts_with("[Request interrupted")) => {
                state.interrupted = true;
            }
            _ => {}
        }
    }
}

pub(super) fn result(state: &mut State, bytes: &[u8], out: &mut Out<'_>) {
    let Ok(line) = serde_json::from_slice::<ResultLine<'_>>(bytes) else { return };
    let (cost_usd, interrupted) = turn_over(state, line.total_cost_usd, out);
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

/// A turn is over, when its process had cost `total`: what it cost, and whether the user ended it.
pub(super) fn turn_over(state: &mut State, total: Option<f64>, out: &mut Out<'_>) -> (f64, bool) {
    state.close(|_| true, out);
    let total = total.unwrap_or(state.cost);
    let cost_usd = (total - state.cost).max(0.0);
    state.cost = total;
    state.streaming = 0;
    let interrupted = std::mem::take(&mut state.interrupted);
    if !std::mem::replace(&mut state.begun, false) {
        // Some slash commands are answered without the message coming back, and a long one comes back unread.
        state.pending = state.pending.saturating_sub(1);
    }
    if interrupted {
        state.pending = 0;
    }
    state.turn_open = state.pending > 0;
    (cost_usd, interrupted)
}

pub(super) fn control_request(state: &mut State, envelope: &Envelope<'_>, out: &mut Out<'_>) {
    let (Some(request_id), Some(request)) = (&envelope.request_id, parse::<CanUseTool<'_>>(envelope.request)) else {
        return;
    };
    if request.subtype != "can_use_tool" {
        return;
    }
    state.ask(request_id.clone(), request.tool_use_id.clone());
    let always = request.rules().iter().map(ToString::to_string).collect();
    out.push(Event::Permission {
        always,
        request_id: request_id.clone(),
        tool_use_id: request.tool_use_id,
        name: request.tool_name,
        input: raw(request.input),
    });
}

/// An answer that was handed over comes back in the log; one to our own requests says nothing to a viewer.
pub(super) fn control_response(state: &mut State, envelope: &Envelope<'_>, out: &mut Out<'_>) {
    let Some(answer) = parse::<AnswerLine<'_>>(envelope.response) else { return };
    let decision = answer.response.and_then(|response| Decision::named(&response.behavior));
    state.decide(|open| open.request_id == answer.request_id, decision, out);
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

/// Tells messages apart (FNV-1a); never 0.
fn fingerprint(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)) | 1
}
