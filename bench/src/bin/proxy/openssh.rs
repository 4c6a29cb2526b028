//! OpenSSH doing the same: a command on the VM, its output read here.

use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::stage::Stage;

/// Runs a command on the VM with OpenSSH's client and its defaults.
pub(crate) fn run(stage: &Stage, command: &str) -> std::io::Result<Child> {
    ssh(stage, "-T").arg(command).stdin(Stdio::null()).spawn()
}

/// The same with something to write to.
pub(crate) fn talk(stage: &Stage, command: &str) -> std::io::Result<Child> {
    ssh(stage, "-T").arg(command).stdin(Stdio::piped()).spawn()
}

/// A shell on a pseudo-terminal.
pub(crate) fn shell(stage: &Stage) -> std::io::Result<Child> {
    ssh(stage, "-tt").env("TERM", "xterm-256color").arg("exec bash -l").stdin(Stdio::piped()).spawn()
}

fn ssh(stage: &Stage, terminal: &str) -> Command {
    let endpoint = stage.sshd.endpoint();
    let mut ssh = Command::new("ssh");
    ssh.args([terminal, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
        .args(["-o", "LogLevel=ERROR", "-F", "none"])
        .arg("-i")
        .arg(stage.sshd.key_path())
        .args(["-p", &endpoint.port.to_string(), "-l", &endpoint.user, &endpoint.host])
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    ssh
}
