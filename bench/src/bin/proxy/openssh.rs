//! OpenSSH doing the same: a command on the VM, its output read here.

use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::stage::Stage;

/// Runs a command on the VM with OpenSSH's client and its defaults.
pub(crate) fn run(stage: &Stage, command: &str) -> std::io::Result<Child> {
    let endpoint = stage.sshd.endpoint();
    Command::new("ssh")
        .args(["-T", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
        .args(["-o", "LogLevel=ERROR", "-F", "none"])
        .arg("-i")
        .arg(stage.sshd.key_path())
        .args(["-p", &endpoint.port.to_string(), "-l", &endpoint.user, &endpoint.host, command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}
