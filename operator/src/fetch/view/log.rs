//! What the end of a log, and the words of others, say: one bounded line. Pure.

use catalyst_ssh::{
    Reason as SshReason,
    health_log::{FOLDER_USABLE, IDEAS_PATH_UNWRITABLE, VM_USABLE},
};
use serde_json::Value;

/// Longest last words that are kept, in characters.
const LAST_WORDS: usize = 300;

/// Of the end of a log, what names the cause: an `Error: …` with what its chain (`Caused by:`) adds, a panic's message, the
/// last line of a JSON log that is an error; or else the last line.
pub(super) fn cause_in(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let error = |line: &&str| {
        let word = line.split(':').next().unwrap_or_default();
        word.len() < line.len() && !word.contains(char::is_whitespace) && word.ends_with("Error")
    };
    if let Some(at) = lines.iter().rposition(error) {
        return chain(lines.get(at..).unwrap_or_default());
    }
    if let Some(at) = lines.iter().rposition(|line| line.contains("panicked at")) {
        let message = lines.get(at + 1).filter(|line| !line.starts_with("note:"));
        return message.or(lines.get(at)).copied().unwrap_or_default().to_owned();
    }
    let grave = lines.iter().rev().find(|line| is_error_entry(line));
    grave.or(lines.last()).map(|line| said(line)).unwrap_or_default()
}

/// An error and the causes below it, as `error: cause: cause of the cause`; a stack trace is left out.
fn chain(lines: &[&str]) -> String {
    let mut causes: Vec<&str> = lines.iter().take(1).copied().collect();
    let below = lines.iter().skip(1).skip_while(|line| !line.starts_with("Caused by")).skip(1);
    for line in below.take_while(|line| !line.starts_with("at ") && !line.starts_with("Stack backtrace")) {
        // Where there are several, anyhow numbers them.
        let (number, words) = line.split_once(": ").unwrap_or(("", line));
        causes.push(if number.parse::<u32>().is_ok() { words } else { line });
    }
    causes.join(": ")
}

fn is_error_entry(line: &str) -> bool {
    let entry: Option<Value> = serde_json::from_str(line).ok();
    entry
        .as_ref()
        .and_then(|entry| entry.get("level")?.as_str())
        .is_some_and(|level| level.eq_ignore_ascii_case("error") || level.eq_ignore_ascii_case("fatal"))
}

/// The sentence in a line of a JSON log, with its cause if it has one; or the line itself.
fn said(line: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(line).ok();
    let member = |names: &[&str]| {
        let entry = parsed.as_ref()?;
        names.iter().find_map(|at| entry.pointer(at)?.as_str()).map(str::to_owned)
    };
    let message = member(&["/message", "/fields/message", "/msg", "/error", "/fields/error"]);
    let cause = member(&["/cause", "/fields/cause", "/error", "/fields/error"]);
    match (message, cause) {
        (Some(message), Some(cause)) if !message.contains(&cause) => format!("{message}: {cause}"),
        (Some(message), _) => message,
        (None, _) => line.to_owned(),
    }
}

/// What may stand in a status message: one line, no control characters, bounded.
pub(super) fn plain(text: &str) -> String {
    let clean = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    clean.take(LAST_WORDS).collect::<String>().trim().to_owned()
}

/// The last word of the server's JSON log on the VM: a member `reason` with one of the names that we share with it, unless
/// a later line says that the VM can be reached.
pub(in crate::fetch) fn ssh_reason_in(log: &str) -> Option<SshReason> {
    for line in log.lines().rev() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
        if said(line) == VM_USABLE {
            return None;
        }
        let word = ["/reason", "/fields/reason"].iter().find_map(|at| entry.pointer(at)?.as_str());
        let Some(word) = word else { continue };
        if let Some(reason) = SshReason::all().iter().find(|reason| reason.as_str() == word) {
            return Some(*reason);
        }
    }
    None
}

/// The last word of the server's JSON log against the ideas folder, unless a later line says that it can be used.
pub(in crate::fetch) fn ideas_path_in(log: &str) -> Option<String> {
    for line in log.lines().rev() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
        let member = |name: &str| {
            let nested = || entry.get("fields")?.get(name)?.as_str();
            entry.get(name).and_then(Value::as_str).or_else(nested)
        };
        if member("message") == Some(FOLDER_USABLE) {
            return None;
        }
        if member("reason") == Some(IDEAS_PATH_UNWRITABLE) {
            return Some(plain(member("cause").unwrap_or("the server says no more")));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use catalyst_ssh::health_log::FOLDER_UNUSABLE;
    use serde_json::json;

    use super::*;

    #[test]
    fn of_an_error_with_a_chain_of_causes_or_a_trace_what_names_the_cause_is_kept() {
        let anyhow = "starting\nError: cannot listen on 0.0.0.0:3001\n\nCaused by:\n    0: bind\n    1: Address already in use (os error 98)\n";
        assert_eq!(
            cause_in(anyhow),
            "Error: cannot listen on 0.0.0.0:3001: bind: Address already in use (os error 98)"
        );
        let one = "Error: no key\n\nCaused by:\n    SSH_KEY_PATH: no such file\n";
        assert_eq!(cause_in(one), "Error: no key: SSH_KEY_PATH: no such file");
        let node = "/app/server.js:3\nTypeError: SSH_HOST is undefined\n    at start (/app/server.js:3:9)\n    at main\n\nNode.js v20\n";
        assert_eq!(cause_in(node), "TypeError: SSH_HOST is undefined");
        let panic = "thread 'main' panicked at src/main.rs:1:2:\nno secret\nnote: run with `RUST_BACKTRACE=1`\n";
        assert_eq!(cause_in(panic), "no secret");
        let log = "{\"level\":\"ERROR\",\"message\":\"cannot start\",\"error\":\"no secret\"}\n{\"level\":\"INFO\",\"message\":\"bye\"}\n";
        assert_eq!(cause_in(log), "cannot start: no secret");
        assert_eq!(cause_in("sh: catalyst: not found"), "sh: catalyst: not found");
    }

    #[test]
    fn the_pods_word_on_the_vm_is_the_last_known_reason_in_its_log() {
        let log =
            "{\"reason\":\"TimedOut\"}\nnot json\n{\"fields\":{\"reason\":\"HostUnreachable\"}}\n{\"reason\":\"x\"}\n";
        assert_eq!(ssh_reason_in(log), Some(SshReason::HostUnreachable));
        assert_eq!(ssh_reason_in(&format!("{log}{{\"message\":\"{VM_USABLE}\"}}\n")), None);
        assert_eq!(ssh_reason_in("nothing\n"), None);
    }

    #[test]
    fn the_servers_last_word_on_the_ideas_folder_counts() {
        let bad = json!({"fields": {"message": FOLDER_UNUSABLE, "reason": IDEAS_PATH_UNWRITABLE, "cause": "no room"}});
        let good = json!({"fields": {"message": FOLDER_USABLE}});
        assert_eq!(ideas_path_in(&format!("{bad}\nother\n")).as_deref(), Some("no room"));
        assert_eq!(ideas_path_in(&format!("{bad}\n{good}\n")), None);
        assert_eq!(ideas_path_in(&format!("{good}\n{bad}\n")).as_deref(), Some("no room"));
    }

    #[test]
    fn text_of_others_is_one_bounded_line_without_control_characters() {
        assert_eq!(plain("a\u{1b}[31mb\nc"), "a [31mb c");
        assert_eq!(plain(&"x".repeat(5000)).len(), LAST_WORDS);
    }
}
