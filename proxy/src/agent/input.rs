//! What is written to Claude's standard input, one JSON object a line, and the command line that makes it read that.

use serde_json::json;
use serde_json::value::RawValue;

use super::{Answer, Mode};

/// Commands of the CLI that a message may call; any other message that begins with a slash is handed over as text.
const SLASH_COMMANDS: &[&str] = &["compact", "context", "cost", "usage", "init", "review", "security-review"];

/// The lines of one message: Claude's, and the log's, which tells every viewer what was asked. Each with its newline.
pub fn turn(id: &str, mode: Mode, text: &str) -> String {
    // The CLI looks for a slash in the first column only.
    let literal = if text.starts_with('/') && !is_allowed_command(text) { format!(" {text}") } else { text.to_owned() };
    let claude = json!({
        "type": "user",
        "message": {"role": "user", "content": [{"type": "text", "text": literal}]},
        "parent_tool_use_id": null,
        "session_id": "",
        "uuid": id,
    });
    // In this order, with the type first: the scripts on the VM look at the beginning of lines.
    let (id, mode, text) = (json!(id), mode.as_str(), json!(text));
    format!("{claude}\n{{\"type\":\"catalyst_turn\",\"id\":{id},\"mode\":\"{mode}\",\"text\":{text}}}\n")
}

/// Asks Claude to end the turn.
pub fn interrupt(request_id: &str) -> String {
    format!("{}\n", json!({"type": "control_request", "request_id": request_id, "request": {"subtype": "interrupt"}}))
}

/// Answers a request for permission; `input` is what the request asked for, and what is allowed.
pub fn permission(request_id: &str, answer: &Answer, input: &RawValue) -> String {
    let response = match answer {
        Answer::Allow => json!({"behavior": "allow", "updatedInput": input}),
        Answer::Deny { message } => {
            let message = if message.trim().is_empty() { "The user said no." } else { message };
            json!({"behavior": "deny", "message": message, "interrupt": false})
        }
    };
    let answer = json!({
        "type": "control_response",
        "response": {"subtype": "success", "request_id": request_id, "response": response},
    });
    format!("{answer}\n")
}

/// Tells Claude what it is about. The idea itself is a user's text and so never part of a command line: Claude reads the file.
const ABOUT_THE_IDEA: &str = "--append-system-prompt=A person captured an idea and talks with you about it. The idea is the file \
    ../idea.md (its title is in ../meta.json): read it before you answer the first message. Work in the current directory; what is \
    above it is kept by the application and must not be changed.";

/// Claude's arguments. The session to resume is added on the VM, where its transcript is.
pub fn arguments(mode: Mode) -> &'static [&'static str] {
    match mode {
        Mode::Chat => &[
            "-p",
            "--verbose",
            "--output-format=stream-json",
            "--input-format=stream-json",
            "--include-partial-messages",
            "--replay-user-messages",
            "--permission-prompt-tool=stdio",
            // The only flag that restricts; hooks and MCP servers of the project would run beside it.
            "--tools=Read,Grep,Glob",
            "--strict-mcp-config",
            "--setting-sources=user",
            // The idea lies beside the working directory; without this, reading it asks for permission.
            "--add-dir=..",
            ABOUT_THE_IDEA,
        ],
        Mode::Build => &[
            "-p",
            "--verbose",
            "--output-format=stream-json",
            "--input-format=stream-json",
            "--include-partial-messages",
            "--replay-user-messages",
            "--permission-prompt-tool=stdio",
            // No --add-dir here: edits would be accepted there too, and the log of the run and meta.json lie there.
            "--permission-mode=acceptEdits",
            ABOUT_THE_IDEA,
        ],
    }
}

fn is_allowed_command(text: &str) -> bool {
    let name = text.get(1..).and_then(|rest| rest.split(char::is_whitespace).next()).unwrap_or_default();
    SLASH_COMMANDS.contains(&name)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn handed_over(text: &str) -> (String, String) {
        let lines = turn("m1", Mode::Chat, text);
        let (claude, log) = lines.trim_end_matches('\n').split_once('\n').unwrap();
        let claude: Value = serde_json::from_str(claude).unwrap();
        let log: Value = serde_json::from_str(log).unwrap();
        let given = claude["message"]["content"][0]["text"].as_str().unwrap().to_owned();
        (given, log["text"].as_str().unwrap().to_owned())
    }

    #[test]
    fn only_listed_commands_begin_with_a_slash_at_claude() {
        assert_eq!(
            handed_over("/etc/passwd is what?"),
            (" /etc/passwd is what?".into(), "/etc/passwd is what?".into())
        );
        assert_eq!(handed_over("/compact now").0, "/compact now");
        assert_eq!(handed_over("/compactor").0, " /compactor");
        assert_eq!(handed_over("/").0, " /");
        assert_eq!(handed_over("--help\n-x").0, "--help\n-x");
    }

    #[test]
    fn a_turn_is_two_lines_whatever_the_text() {
        assert_eq!(turn("m1", Mode::Build, "a\nb\r\u{2028}\"c").lines().count(), 2);
        let log = turn("m1", Mode::Build, "x");
        assert!(
            log.ends_with("\n{\"type\":\"catalyst_turn\",\"id\":\"m1\",\"mode\":\"build\",\"text\":\"x\"}\n"),
            "{log}"
        );
    }

    #[test]
    fn an_allowed_call_runs_with_the_input_that_was_asked_for() {
        let input: Box<RawValue> = serde_json::from_str(r#"{"command":"ls \"a\""}"#).unwrap();
        let line: Value = serde_json::from_str(&permission("r1", &Answer::Allow, &input)).unwrap();
        assert_eq!(line["response"]["response"]["updatedInput"]["command"], "ls \"a\"");
        let line = permission("r1", &Answer::Deny { message: String::new() }, &input);
        assert!(line.contains(r#""message":"The user said no.""#), "{line}");
    }
}
