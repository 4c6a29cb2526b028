//! What a turn's end means to the user: the closing text, which is never empty, and a sentence if something failed.

use super::wire::{ExitLine, ResultLine};

/// The closing text of a turn that the user ended.
pub(super) const STOPPED: &str = "Stopped.";

/// In place of a closing text that is too long to be shown.
pub(super) const TOO_LONG: &str = "The answer is too long to be shown again here.";

/// Closing text and error of a `result` line. A failed API call comes as `success` with `is_error`.
pub(super) fn of_result(line: &ResultLine<'_>, interrupted: bool) -> (String, Option<String>) {
    let text = line.result.clone().unwrap_or_default();
    if interrupted {
        return (filled(text, STOPPED), Some(STOPPED.to_owned()));
    }
    if line.subtype == "success" && !line.is_error {
        return (filled(text, "Done."), None);
    }
    let errors = line.errors.as_deref().unwrap_or_default().join("\n");
    let error = match &*line.subtype {
        "error_max_turns" => "Claude reached its limit of turns.".to_owned(),
        "error_max_budget_usd" => "Claude reached its limit of costs.".to_owned(),
        _ => filled(filled(text.clone(), &errors), "Claude failed while it was working, and did not say why."),
    };
    (filled(text, &error), Some(error))
}

/// Closing text and error of a process that ended in mid-turn.
pub(super) fn of_exit(line: &ExitLine) -> (String, Option<String>) {
    let said = line.stderr.trim();
    let error = match line.reason.as_str() {
        "stopped" => return (STOPPED.to_owned(), None),
        "silent" => "Claude printed nothing for so long that it was ended. Send the message again to go on.".to_owned(),
        "overtime" => {
            "Claude worked for longer than the limit for one message and was ended. Send another message to go on from \
             there."
                .to_owned()
        }
        "full" => "The VM's disk is full, so this was ended: what is not shown here could not be kept. Free some space \
                   there, then send the message again."
            .to_owned(),
        "rebooted" => {
            "The VM was restarted while Claude was working. Send the message again to go on from there.".to_owned()
        }
        "lost" => "Claude was ended because its supervisor on the VM was killed. Send the message again to go on from \
                   there."
            .to_owned(),
        "missing" if !said.is_empty() => said.to_owned(),
        _ if said.contains("cannot be used with root") => {
            "Claude Code does not build without asking where it is root. Choose another way to build, or have the proxy \
             sign in to the VM as another user (ssh.user)."
                .to_owned()
        }
        _ if said.is_empty() => format!("Claude ended without an answer (exit status {}).", line.code),
        _ => format!("Claude ended without an answer (exit status {}): {said}", line.code),
    };
    (error.clone(), Some(error))
}

fn filled(text: String, otherwise: &str) -> String {
    if text.trim().is_empty() { otherwise.to_owned() } else { text }
}
