//! The command lines that are sent to the VM's login shell.
//!
//! They hold for sh, bash, zsh and fish: single quotes around everything but quotes and backslashes themselves.

/// Printed before the output of every script, so that what `.bashrc` prints is told apart.
pub(crate) const MARKER: &[u8] = b"--catalyst-output-begins--\n";

/// One word of a POSIX (or fish) command line that stands for `text` exactly.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 8);
    quoted.push('\'');
    for character in text.chars() {
        match character {
            '\'' => quoted.push_str(r"'\''"),
            '\\' => quoted.push_str(r"'\\'"),
            other => quoted.push(other),
        }
    }
    quoted.push('\'');
    quoted
}

/// The command line that runs `script` under `sh` with `args` as its `$1…`, printing the marker first.
pub(crate) fn shell(script: &str, args: &[&str]) -> String {
    let mut line = String::from("exec sh -c ");
    line.push_str(&quote(&format!("echo --catalyst-output-begins--\n{script}")));
    line.push_str(" catalyst");
    for arg in args {
        line.push(' ');
        line.push_str(&quote(arg));
    }
    line
}

/// What follows the marker, if it was printed.
pub(crate) fn after_marker(output: &[u8]) -> Option<&[u8]> {
    let start = memchr::memmem::find(output, MARKER)?;
    output.get(start + MARKER.len()..)
}

/// The same of output that is not copied for it, as it may be megabytes.
pub(crate) fn cut_after_marker(mut output: Vec<u8>) -> Option<Vec<u8>> {
    let before = output.len() - after_marker(&output)?.len();
    output.drain(..before);
    Some(output)
}

/// How an exec ended, in words.
pub(crate) fn exit_words(status: Option<u32>) -> String {
    match status {
        Some(code) => format!("exit status {code}"),
        None => "no exit status".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echoed(shell_program: &[&str], text: &str) -> String {
        let (program, rest) = shell_program.split_first().unwrap();
        let output = std::process::Command::new(program)
            .args(rest)
            .arg("-c")
            .arg(shell(r#"printf '%s' "$1""#, &[text]))
            .output()
            .unwrap();
        String::from_utf8(after_marker(&output.stdout).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn every_shell_hands_on_an_argument_unchanged() {
        let hostile = "a'b\\c\"d$(id)`id`\n;&|!*? -x ü \\' '\\''";
        for shell_program in [&["dash"][..], &["bash"], &["busybox", "sh"]] {
            assert_eq!(echoed(shell_program, hostile), hostile, "{shell_program:?}");
        }
    }

    #[test]
    fn what_start_up_files_print_is_not_output() {
        let output = b"Welcome!--catalyst-output-begins--\nreal";
        assert_eq!(after_marker(output).unwrap(), b"real");
        assert_eq!(cut_after_marker(output.to_vec()).unwrap(), b"real");
        let refused = b"This account is currently not available.";
        assert!(after_marker(refused).is_none() && cut_after_marker(refused.to_vec()).is_none());
    }
}
