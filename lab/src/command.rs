//! Short commands that the lab runs: bounded in time, and their own words are in the error.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

const DEADLINE: Duration = Duration::from_secs(120);

/// Runs a program to its end; an error if it does not succeed.
pub(crate) async fn run<Word: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = Word>,
) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(arguments);
    output(command, b"").await.map(drop)
}

/// What a command prints, given `input`.
pub(crate) async fn output(mut command: Command, input: &[u8]) -> anyhow::Result<String> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let arguments: Vec<_> = command.as_std().get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let shown = format!("{program} {}", arguments.join(" "));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {program}; see `catalyst-lab preflight`"))?;
    let mut stdin = child.stdin.take();
    let feed = async {
        if let Some(pipe) = stdin.as_mut() {
            // A command that ends without reading has its reasons, which its exit and words tell.
            let _ = pipe.write_all(input).await;
        }
        drop(stdin);
    };
    let both = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = match tokio::time::timeout(DEADLINE, both).await {
        Ok(output) => output.with_context(|| format!("run `{shown}`"))?,
        Err(_) => bail!("`{shown}` did not end within {} s", DEADLINE.as_secs()),
    };
    if !output.status.success() {
        bail!("`{shown}` failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_says_what_was_run_and_what_it_said() {
        let error = run("sh", ["-c", "echo because >&2; exit 3"]).await.unwrap_err().to_string();
        assert!(error.contains("because") && error.contains("exit status: 3"), "{error}");
    }

    #[tokio::test]
    async fn input_is_passed_on_whole() {
        let input = vec![b'x'; 1 << 20];
        let mut command = Command::new("wc");
        command.arg("-c");
        assert_eq!(output(command, &input).await.unwrap().trim(), (1 << 20).to_string());
    }
}
