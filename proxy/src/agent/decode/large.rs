//! Lines that are too long to be kept: their beginning tells what they are.

use serde_json::value::RawValue;

use super::out::Out;
use super::state::State;
use super::{claude, supervisor};
use crate::agent::event::{Event, Mode, TurnResult};
use crate::agent::input::Permissions;
use crate::agent::lines::Line;
use crate::agent::outcome;
use crate::agent::wire::TurnLine;

/// What viewers are told of such a line's beginning, in bytes at most.
const HEAD_TOLD: usize = 1024;

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
            let turn = TurnLine {
                id: member("id"),
                mode: member("mode").and_then(|word| Mode::named(&word)),
                permissions: member("permissions").and_then(|word| Permissions::named(&word)),
                by: name(&head),
                text: format!("{}…\n\n({} in all)", beginning(&head), size(line.end - line.start)),
            };
            supervisor::taken(state, turn, out);
        }
        "user" => {
            if let Some(id) = member("tool_use_id") {
                state.close(|open| open.tool_use_id == id, out);
            }
        }
        "result" => {
            let (_, interrupted) = claude::turn_over(state, None, out);
            out.push(Event::Result(TurnResult {
                result: outcome::TOO_LONG.to_owned(),
                error: None,
                session_id: member("session_id").unwrap_or_default(),
                cost_usd: 0.0,
                duration_ms: 0,
                turns: 0,
                interrupted,
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
    let told = head.get(..head.floor_char_boundary(HEAD_TOLD)).unwrap_or_default().to_owned();
    out.push(Event::Large { kind, start: line.start, length: line.end - line.start, head: told });
}

/// Who said it. Unlike the other members, a name may have escapes.
fn name(head: &str) -> Option<String> {
    const NAME: &str = "\"by\":";
    let rest = head.get(head.find(NAME)? + NAME.len()..)?;
    serde_json::Deserializer::from_str(rest).into_iter().next()?.ok()
}

/// What a line's beginning has of its text.
fn beginning(head: &str) -> String {
    const NAME: &str = "\"text\":\"";
    let text = head.find(NAME).and_then(|at| head.get(at + NAME.len()..)).unwrap_or_default();
    // It may be cut within a character or an escape; the longest is a pair of surrogates.
    let text = text.trim_end_matches('\u{fffd}');
    let cuts = text.char_indices().rev().map(|(at, _)| at).take(12);
    let whole = |cut: usize| serde_json::from_str(&format!("\"{}\"", text.get(..cut)?)).ok();
    std::iter::once(text.len()).chain(cuts).find_map(whole).unwrap_or_default()
}

fn size(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
