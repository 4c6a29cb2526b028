//! What the script needs of a request: what was asked, how far the answer has come, what may be used.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

/// A request to `/v1/messages`, read.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// The text of the last message that a person wrote (the CLI's own reminders are left out).
    pub(super) prompt: String,
    /// What that turn's tools gave so far, one entry for each of our messages in it.
    pub(super) results: Vec<Vec<ToolResult>>,
    /// Names of the tools that are offered; empty for the CLI's side requests such as a session's title.
    pub(super) tools: Vec<String>,
    /// The working directory, as the CLI tells it.
    pub(super) directory: Option<String>,
    /// How often this request was refused before.
    pub(super) attempt: u32,
    pub(super) streaming: bool,
    pub(super) model: String,
    /// Tells this point of this conversation from others; ids are made from it.
    pub(super) fingerprint: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ToolResult {
    pub(super) text: String,
    pub(super) failed: bool,
}

impl Conversation {
    pub(super) fn read(request: &Value, attempt: u32) -> Conversation {
        let messages = request.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut conversation = Conversation {
            attempt,
            streaming: request.get("stream").and_then(Value::as_bool).unwrap_or(false),
            model: text_of(request.get("model")),
            tools: array(request.get("tools")).iter().map(|tool| text_of(tool.get("name"))).collect(),
            directory: working_directory(request),
            ..Conversation::default()
        };
        for message in messages {
            if message.get("role").and_then(Value::as_str) != Some("user") {
                continue;
            }
            let results: Vec<ToolResult> = array(message.get("content")).iter().filter_map(tool_result).collect();
            let said = said(message);
            // Text beside a tool's result is a reminder or a refusal's reason, not a new turn.
            if !results.is_empty() {
                conversation.results.push(results);
            } else if !said.is_empty() {
                conversation.prompt = said;
                conversation.results.clear();
            }
        }
        let mut hasher = DefaultHasher::new();
        (conversation.prompt.as_str(), messages.len()).hash(&mut hasher);
        conversation.fingerprint = hasher.finish();
        conversation
    }

    pub(super) fn offers(&self, tool: &str) -> bool {
        self.tools.iter().any(|name| name == tool)
    }
}

fn array(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text_of(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The text of a user message without what the CLI adds in tags of its own.
fn said(message: &Value) -> String {
    let content = message.get("content");
    if let Some(text) = content.and_then(Value::as_str) {
        return without_reminders(text);
    }
    let texts = array(content).iter().filter_map(|block| block.get("text").and_then(Value::as_str));
    texts.map(without_reminders).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
}

fn without_reminders(text: &str) -> String {
    let (open, close) = ("<system-reminder>", "</system-reminder>");
    let mut rest = text;
    let mut kept = String::new();
    while let Some((before, after)) = rest.split_once(open) {
        kept.push_str(before);
        rest = after.split_once(close).map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    kept.trim().to_owned()
}

fn tool_result(block: &Value) -> Option<ToolResult> {
    if block.get("type").and_then(Value::as_str) != Some("tool_result") {
        return None;
    }
    let content = block.get("content");
    let text = match content.and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => array(content).iter().map(|part| text_of(part.get("text"))).collect::<Vec<_>>().join("\n"),
    };
    Some(ToolResult { text, failed: block.get("is_error").and_then(Value::as_bool).unwrap_or(false) })
}

/// The CLI names its working directory in the system prompt.
fn working_directory(request: &Value) -> Option<String> {
    let system = request.get("system");
    let whole = text_of(system);
    let blocks = array(system).iter().map(|block| text_of(block.get("text")));
    std::iter::once(whole).chain(blocks).find_map(|text| {
        let (_, after) = text.split_once("orking directory: ")?;
        after.lines().next().map(|line| line.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_prompt_is_the_last_thing_a_person_wrote_and_results_count_from_there() {
        let request = json!({ "model": "m", "stream": true, "tools": [{"name": "Bash"}],
        "system": [{"type": "text", "text": "# Environment\n - Primary working directory: /home/dev/x\n - Other: y"}],
        "messages": [
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t0", "name": "Bash", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t0", "content": "old"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "done"}]},
            {"role": "user", "content": [
                {"type": "text", "text": "<system-reminder>\nnot said\n</system-reminder>"},
                {"type": "text", "text": "second"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "Bash", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "no"}], "is_error": true},
                {"type": "text", "text": "<system-reminder>x</system-reminder>"}]},
        ]});
        let conversation = Conversation::read(&request, 0);
        assert_eq!(conversation.prompt, "second");
        assert_eq!(conversation.results, [[ToolResult { text: "no".into(), failed: true }]]);
        assert_eq!(conversation.directory.as_deref(), Some("/home/dev/x"));
        assert!(conversation.offers("Bash") && !conversation.offers("Write"));
    }

    #[test]
    fn a_request_of_another_shape_is_an_empty_conversation_not_a_panic() {
        for request in
            [json!(null), json!([]), json!({"messages": 3, "tools": {}, "system": 1}), json!({"messages": [1, {}]})]
        {
            assert_eq!(Conversation::read(&request, 0).prompt, "");
        }
    }
}
