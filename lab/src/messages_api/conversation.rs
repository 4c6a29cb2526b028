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
    pub(super) fn read(request: &Value) -> Conversation {
        let messages = request.get("messages").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut conversation = Conversation {
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
            conversation.hear(message);
        }
        let mut hasher = DefaultHasher::new();
        (conversation.prompt.as_str(), messages.len()).hash(&mut hasher);
        conversation.fingerprint = hasher.finish();
        conversation
    }

    /// Takes in a user message. The CLI sends what follows each other without an answer as blocks of one message: results of tools,
    /// a note that the turn was interrupted, then the next turn. Other text beside results is a reminder.
    fn hear(&mut self, message: &Value) {
        let content = message.get("content");
        if let Some(text) = content.and_then(Value::as_str) {
            self.ask(without_notes(text));
            return;
        }
        let results: Vec<ToolResult> = array(content).iter().filter_map(tool_result).collect();
        let mut is_new_turn = results.is_empty();
        if !results.is_empty() {
            self.results.push(results);
        }
        for text in array(content).iter().filter_map(|block| block.get("text").and_then(Value::as_str)) {
            if text.starts_with("[Request interrupted by user") {
                is_new_turn = true;
            } else if is_new_turn {
                self.ask(without_notes(text));
            }
        }
    }

    fn ask(&mut self, prompt: String) {
        if !prompt.is_empty() {
            self.prompt = prompt;
            self.results.clear();
        }
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

/// A text without what the CLI adds to it in tags of its own.
fn without_notes(text: &str) -> String {
    const NOTES: [&str; 6] = [
        "system-reminder",
        "local-command-stdout",
        "local-command-caveat",
        "command-name",
        "command-message",
        "command-args",
    ];
    let mut text = text.to_owned();
    for note in NOTES {
        let (open, close) = (format!("<{note}>"), format!("</{note}>"));
        while let Some((before, after)) = text.split_once(&open) {
            let after = after.split_once(&close).map_or("", |(_, after)| after);
            text = format!("{before}{after}");
        }
    }
    text.trim().to_owned()
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
        let conversation = Conversation::read(&request);
        assert_eq!(conversation.prompt, "second");
        assert_eq!(conversation.results, [[ToolResult { text: "no".into(), failed: true }]]);
        assert_eq!(conversation.directory.as_deref(), Some("/home/dev/x"));
        assert!(conversation.offers("Bash") && !conversation.offers("Write"));
    }

    #[test]
    fn a_turn_after_an_interrupted_one_is_what_is_answered() {
        let result = json!({"type": "tool_result", "tool_use_id": "t0", "content": "stopped", "is_error": true});
        let text = |text: &str| json!({"type": "text", "text": text});
        let request = json!({ "messages": [
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t0", "name": "Bash", "input": {}}]},
            {"role": "user", "content": [result, text("[Request interrupted by user for tool use]"),
                text("<local-command-stdout>x</local-command-stdout>"), text("second")]}]});
        let conversation = Conversation::read(&request);
        assert_eq!((conversation.prompt.as_str(), conversation.results.len()), ("second", 0));
    }

    #[test]
    fn a_request_of_another_shape_is_an_empty_conversation_not_a_panic() {
        for request in
            [json!(null), json!([]), json!({"messages": 3, "tools": {}, "system": 1}), json!({"messages": [1, {}]})]
        {
            assert_eq!(Conversation::read(&request).prompt, "");
        }
    }
}
