//! An event as the members of a message to the browser.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{Decision, Event, Seq};

/// The members that follow `ideaId`, without braces; events without a place of their own leave out `run` and `seq`.
pub fn members(event: &Event, place: Option<(u64, Seq)>) -> Bytes {
    let mut out = Members(Vec::with_capacity(96 + size_hint(event)));
    out.0.extend_from_slice(br#""type":"#);
    out.value(kind(event).as_bytes());
    if let Some((run, seq)) = place {
        out.raw("run", run.to_string().as_bytes());
        out.name("seq");
        out.value(seq.to_string().as_bytes());
    }
    body(event, &mut out);
    Bytes::from(out.0)
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::System { .. } => "claude:system",
        Event::Text { .. } => "claude:text",
        Event::Thinking { .. } => "claude:thinking",
        Event::ToolUse { .. } => "claude:tool_use",
        Event::ToolResult { .. } => "claude:tool_result",
        Event::Result(_) => "claude:result",
        Event::Error { .. } => "claude:error",
        Event::User { .. } => "claude:user",
        Event::Permission { .. } => "claude:permission",
        Event::PermissionClosed { .. } => "claude:permission_closed",
        Event::Exit { .. } => "run:exit",
        Event::Other { .. } => "claude:other",
        Event::Large { .. } => "claude:large",
    }
}

fn body(event: &Event, out: &mut Members) {
    match event {
        Event::System { session_id, model } => {
            out.text("sessionId", session_id);
            out.text("model", model);
        }
        Event::Text { text } | Event::Thinking { text } => out.text("text", text),
        Event::ToolUse { tool_use_id, name, input, parent } => {
            out.text("toolUseId", tool_use_id);
            out.text("name", name);
            out.json("input", input);
            if let Some(parent) = parent {
                out.text("parentToolUseId", parent);
            }
        }
        Event::ToolResult { tool_use_id, content, is_error } => {
            out.text("toolUseId", tool_use_id);
            out.text("content", content);
            if *is_error {
                out.raw("isError", b"true");
            }
        }
        Event::Result(turn) => {
            out.text("result", &turn.result);
            if let Some(error) = &turn.error {
                out.text("error", error);
            }
            out.text("sessionId", &turn.session_id);
            // Differences of sums of cents carry noise far behind the point.
            let cost = (turn.cost_usd * 1e9).round() / 1e9;
            // JSON has no infinity; a sum that large says nothing anyway.
            out.raw("costUsd", if cost.is_finite() { cost } else { 0.0 }.to_string().as_bytes());
            out.raw("durationMs", turn.duration_ms.to_string().as_bytes());
            out.raw("turns", turn.turns.to_string().as_bytes());
            if turn.interrupted {
                out.raw("interrupted", b"true");
            }
        }
        Event::Error { error } => out.text("error", error),
        Event::User { text, message_id, mode, permissions, by } => {
            out.text("text", text);
            if let Some(id) = message_id {
                out.text("messageId", id);
            }
            if let Some(mode) = mode {
                out.text("mode", mode.as_str());
            }
            if let Some(permissions) = permissions {
                out.text("buildMode", permissions.as_str());
            }
            if let Some(by) = by {
                out.text("by", by);
            }
        }
        Event::Permission { request_id, tool_use_id, name, input, always } => {
            out.text("requestId", request_id);
            out.text("toolUseId", tool_use_id);
            out.text("name", name);
            out.json("input", input);
            if !always.is_empty() {
                out.name("always");
                // Writing strings into a Vec cannot fail.
                let _ = serde_json::to_writer(&mut out.0, always);
            }
        }
        Event::PermissionClosed { request_id, decision } => {
            out.text("requestId", request_id);
            match decision {
                Some(Decision::Allow) => out.text("decision", "allow"),
                Some(Decision::Deny) => out.text("decision", "deny"),
                None => {}
            }
        }
        Event::Exit { code, reason } => {
            out.raw("code", code.to_string().as_bytes());
            out.text("reason", reason);
        }
        Event::Other { line } => out.json("event", line),
        Event::Large { kind, start, length, head } => {
            out.text("kind", kind);
            out.raw("start", start.to_string().as_bytes());
            out.raw("length", length.to_string().as_bytes());
            out.text("head", head);
        }
    }
}

fn size_hint(event: &Event) -> usize {
    match event {
        Event::Text { text } | Event::Thinking { text } | Event::User { text, .. } => text.len(),
        Event::ToolUse { input, .. } | Event::Permission { input, .. } => input.get().len(),
        Event::ToolResult { content, .. } => content.len(),
        Event::Result(turn) => turn.result.len(),
        Event::Other { line } => line.get().len(),
        _ => 0,
    }
}

struct Members(Vec<u8>);

impl Members {
    fn name(&mut self, name: &str) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    /// A string that needs no escaping.
    fn value(&mut self, plain: &[u8]) {
        self.0.push(b'"');
        self.0.extend_from_slice(plain);
        self.0.push(b'"');
    }

    fn raw(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        self.0.extend_from_slice(value);
    }

    fn json(&mut self, name: &str, value: &RawValue) {
        self.raw(name, value.get().as_bytes());
    }

    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        // Writing a string into a Vec cannot fail.
        let _ = serde_json::to_writer(&mut self.0, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_json_and_name_their_place() {
        let event = Event::Text { text: "\"quoted\"\n\u{1}ü".to_owned() };
        let body = members(&event, Some((3, Seq { offset: 120, sub: 0 })));
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.starts_with(r#""type":"claude:text","run":3,"seq":"120.0","text":"#), "{text}");
        let value: serde_json::Value = serde_json::from_str(&format!("{{{text}}}")).unwrap();
        assert_eq!(value["text"], "\"quoted\"\n\u{1}ü");
    }

    #[test]
    fn a_cost_is_written_without_the_noise_of_subtraction() {
        let turn = super::super::TurnResult {
            result: "r".into(),
            error: None,
            session_id: String::new(),
            cost_usd: 0.000_33 - 0.000_115,
            duration_ms: 1,
            turns: 1,
            interrupted: false,
        };
        let text = String::from_utf8(members(&Event::Result(turn), None).to_vec()).unwrap();
        assert!(text.contains(r#""costUsd":0.000215,"#), "{text}");
    }
}
