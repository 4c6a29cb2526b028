//! Lines that are too long to be kept: their beginning tells what they are.

use serde_json::value::RawValue;

use super::out::Out;
use super::state::State;
use crate::agent::event::{Event, TurnResult};
use crate::agent::lines::Line;
use crate::agent::outcome;

/// A line that is too long to be kept still counts for what it is.
pub(super) fn line(state: &mut State, line: &Line<'_>, out: &mut Out<'_>) {
    let head = String::from_utf8_lossy(line.bytes);
    let member = |name: &str| {
        let at = head.find(&format!("\"{name}\":\""))? + name.len() + 4;
        head.get(at..)?.split('"').next().map(str::to_owned)
    };
    let kind = head.starts_with("{\"type\":\"").then(|| member("type")).flatten().unwrap_or_default();
    match kind.as_str() {
        "catalyst_turn" => {
            state.pending = state.pending.saturating_add(1);
            state.turn_open = true;
        }
        "result" => {
            state.close(|_| true, out);
            state.turn_open = false;
            state.streaming = 0;
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
            state.ask(request_id.clone(), String::new());
            let name = member("tool_name").unwrap_or_default();
            let input = RawValue::NULL.to_owned();
            out.push(Event::Permission { request_id, tool_use_id: String::new(), name, input, always: Vec::new() });
        }
        _ => {}
    }
    let kind = kind.chars().take(64).collect();
    out.push(Event::Large { kind, start: line.start, length: line.end - line.start });
}
