//! What is written to Claude's standard input, one JSON object a line, and the command line that makes it read that.

use serde_json::json;

use super::Mode;

/// Commands of the CLI that a message may call; any other message that begins with a slash is handed over as text.
const SLASH_COMMANDS: &[&str] = &["compact", "context", "cost", "usage", "init", "review", "security-review"];

/// A message as a person sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prompt<'a> {
    /// What it lets the agent do.
    pub mode: Mode,
    /// How much of that without asking; counts in a build only.
    pub permissions: Permissions,
    /// The message.
    pub text: &'a str,
    /// Who says it, where people are known by name.
    pub by: Option<&'a str>,
}

impl<'a> Prompt<'a> {
    /// With the usual permissions, and of nobody in particular.
    pub fn new(mode: Mode, text: &'a str) -> Prompt<'a> {
        Prompt { mode, permissions: Permissions::default(), text, by: None }
    }
}

/// The lines of one message: Claude's, and the log's, which tells every viewer what was asked and by whom. Each with its newline.
pub fn turn(id: &str, prompt: &Prompt<'_>) -> String {
    let Prompt { mode, permissions, text, by } = *prompt;
    // The CLI looks for a slash in the first column only.
    let literal = if text.starts_with('/') && !is_allowed_command(text) { format!(" {text}") } else { text.to_owned() };
    let claude = json!({
        "type": "user",
        "message": {"role": "user", "content": [{"type": "text", "text": literal}]},
        "parent_tool_use_id": null,
        "session_id": "",
        "uuid": id,
    });
    // In this order, with the type first: the scripts on the VM look at the beginning of lines, and of a long one only that is kept.
    let (id, text) = (json!(id), json!(text));
    let by = by.map(|name| format!(",\"by\":{}", json!(name))).unwrap_or_default();
    let mode = match mode {
        Mode::Chat => "\"chat\"".to_owned(),
        Mode::Build => format!("\"build\",\"permissions\":\"{}\"", permissions.as_str()),
    };
    format!("{claude}\n{{\"type\":\"catalyst_turn\",\"id\":{id},\"mode\":{mode}{by},\"text\":{text}}}\n")
}

/// Asks Claude to end the turn.
pub fn interrupt(request_id: &str) -> String {
    format!("{}\n", json!({"type": "control_request", "request_id": request_id, "request": {"subtype": "interrupt"}}))
}

/// How much a build may do without asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Permissions {
    /// Every change and every command is asked for.
    Ask,
    /// Files of the project are changed without asking; commands and everything else are asked for.
    #[default]
    AcceptEdits,
    /// Nothing is asked for. The CLI refuses this to root.
    All,
    /// Nothing is changed until a plan is approved; from then on as [`Permissions::AcceptEdits`].
    Plan,
}

impl Permissions {
    /// As logs, scripts and browsers call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Permissions::Ask => "ask",
            Permissions::AcceptEdits => "acceptEdits",
            Permissions::All => "all",
            Permissions::Plan => "plan",
        }
    }

    /// The ones that are called so.
    pub fn named(word: &str) -> Option<Permissions> {
        let all = [Permissions::Ask, Permissions::AcceptEdits, Permissions::All, Permissions::Plan];
        all.into_iter().find(|permissions| permissions.as_str() == word)
    }

    fn flag(self) -> &'static str {
        match self {
            Permissions::Ask => "--permission-mode=default",
            Permissions::AcceptEdits => "--permission-mode=acceptEdits",
            Permissions::All => "--permission-mode=bypassPermissions",
            Permissions::Plan => "--permission-mode=plan",
        }
    }
}

/// Of every run: stream-json both ways, in pieces, with delivery proven and permission asked for on standard output.
pub const STREAMING: &[&str] = &[
    "-p",
    "--verbose",
    "--output-format=stream-json",
    "--input-format=stream-json",
    "--include-partial-messages",
    "--replay-user-messages",
    "--permission-prompt-tool=stdio",
    // What lies in the project is the agent's own work: its settings could give it leave, its hooks would run unasked.
    "--setting-sources=user",
    ABOUT_THE_IDEA,
];

/// Tells Claude what it is about. The idea itself is a user's text and so never part of a command line: Claude reads the file.
const ABOUT_THE_IDEA: &str = "--append-system-prompt=A person captured an idea and talks with you about it. The idea is the file \
    ../idea.md (its title is in ../meta.json): read it before you answer the first message, and CLAUDE.md if there is one in the \
    current directory. Work in the current directory; what is above it is kept by the application and must not be changed.";

/// Claude's arguments: the one list of them. The session to resume and the file of standing allowances are added on the
/// VM, where they are. `permissions` counts in a build only.
pub fn arguments(mode: Mode, permissions: Permissions) -> Vec<&'static str> {
    let own: &[&str] = match mode {
        Mode::Chat => &[
            // The only flag that restricts; servers beside it would be tools beside it.
            "--tools=Read,Grep,Glob",
            "--strict-mcp-config",
            // The idea lies beside the working directory; without this, reading it asks for permission.
            "--add-dir=..",
        ],
        // No --add-dir here: edits would be accepted there too, and the log of the run and meta.json lie there.
        // MCP servers are those that the VM's user has set up; those of the project are left out by the setting sources.
        Mode::Build => &[permissions.flag()],
    };
    [STREAMING, own].concat()
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
        let lines = turn("m1", &Prompt::new(Mode::Chat, text));
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
        let prompt = |text| Prompt { permissions: Permissions::Ask, ..Prompt::new(Mode::Build, text) };
        assert_eq!(turn("m1", &prompt("a\nb\r\u{2028}\"c")).lines().count(), 2);
        let log = turn("m1", &prompt("x"));
        assert!(
            log.ends_with("\n{\"type\":\"catalyst_turn\",\"id\":\"m1\",\"mode\":\"build\",\"permissions\":\"ask\",\"text\":\"x\"}\n"),
            "{log}"
        );
    }

    #[test]
    fn who_says_it_stands_before_what_is_said_and_claude_is_not_told() {
        let said = "word ".repeat(1000);
        let lines = turn("m1", &Prompt { by: Some("Zoë \"Z\" \\ O'Neil"), ..Prompt::new(Mode::Chat, &said) });
        let (claude, log) = lines.split_once('\n').unwrap();
        assert!(!claude.contains("Zoë"), "{claude}");
        let named = r#"{"type":"catalyst_turn","id":"m1","mode":"chat","by":"Zoë \"Z\" \\ O'Neil","text":"word "#;
        assert!(log.starts_with(named), "{log}");
    }
}
