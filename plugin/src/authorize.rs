//! `authorize`: the line by which the VM lets the pods in, printed, or put into authorized_keys with the user's own ssh.

use std::process::Stdio;

use anyhow::{Context as _, bail};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{
    args,
    context::{Context, place},
};

/// Run on the VM by a POSIX shell; the line comes on standard input, so nothing of it is ever a command. A last line without its
/// end gets one first, or the two would be one.
const INSTALL: &str = r#"umask 077 && mkdir -p "$HOME/.ssh" && IFS= read -r line && file="$HOME/.ssh/authorized_keys" && touch "$file" &&
if grep -qxF -e "$line" "$file"; then echo present; else
{ [ ! -s "$file" ] || [ -z "$(tail -c 1 "$file")" ] || echo >> "$file"; } && printf '%s\n' "$line" >> "$file" && echo added; fi"#;

/// Prints the line, or installs it.
pub(crate) async fn run(context: &Context, args: &args::Authorize) -> anyhow::Result<bool> {
    let instance = context.instance(&args.which).await?;
    // While a new key waits for the VM, its line is the one that is missing there.
    let lines =
        instance.status.iter().flat_map(|status| [&status.next_authorized_keys_line, &status.authorized_keys_line]);
    let Some(line) = lines.flatten().next().cloned() else {
        bail!("{} has no key yet; `{}` says why", place(&instance), context.hints.ours("status", &instance));
    };
    let ssh = &instance.spec.ssh;
    if !args.install {
        println!("{line}");
        eprintln!(
            "Add this line to ~/.ssh/authorized_keys of {} on {}, or have it done with your own ssh: {}",
            ssh.user,
            ssh.host,
            context.hints.ours("authorize --install", &instance)
        );
        return Ok(true);
    }
    let destination = args.destination.clone().unwrap_or_else(|| format!("{}@{}", ssh.user, ssh.host));
    if destination.starts_with('-') {
        bail!("{destination} is no destination; write [USER@]HOST");
    }
    let mut arguments = args.ssh.clone();
    let port = ssh.port.as_ref().and_then(|port| port.number()).filter(|_| args.destination.is_none());
    if let Some(port) = port {
        arguments.extend(["-p".to_owned(), port.to_string()]);
    }
    arguments.extend(["--".to_owned(), destination.clone(), INSTALL.to_owned()]);
    let by_hand = context.hints.ours("authorize", &instance);
    let said = ssh_with(&arguments, &line, &by_hand).await?;
    match said.trim() {
        "added" => println!("The key of {} is authorised on {destination}.", place(&instance)),
        "present" => println!("The key of {} was authorised on {destination} already.", place(&instance)),
        other => bail!("{destination} answered {other:?}; look at ~/.ssh/authorized_keys there"),
    }
    Ok(true)
}

/// What ssh prints; its questions and errors go to the terminal. `by_hand`: the command that only prints the line.
async fn ssh_with(arguments: &[String], line: &str, by_hand: &str) -> anyhow::Result<String> {
    let mut child = Command::new("ssh")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| {
            format!("ssh cannot be started; install OpenSSH's client, or add the line by hand: {by_hand}")
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that could not sign in reads nothing; its exit says so.
        let _ = stdin.write_all(format!("{line}\n").as_bytes()).await;
    }
    let output = child.wait_with_output().await.context("ssh cannot be waited for")?;
    if !output.status.success() {
        bail!(
            "ssh ended with {}; it must be able to sign in there by itself (a key, or -- OPTIONS). Or add the line by hand: {by_hand}",
            output.status
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
