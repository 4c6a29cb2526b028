//! The files that a test's sshd runs with.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

pub(super) const SFTP_SERVER: &str = "/usr/lib/openssh/sftp-server";
/// In the environment of everything that the server starts, so that it can all be found again.
pub(super) const TAG: &str = "CATALYST_TEST_SSHD";

/// How a [`super::TestSshd`] differs from the default.
#[derive(Clone, Debug)]
pub struct TestSshdOptions {
    /// sshd's MaxSessions, the channels of one connection.
    pub max_sessions: usize,
    /// sshd's MaxStartups, the connections that are not signed in yet.
    pub max_startups: String,
    /// Whether it has the sftp subsystem.
    pub sftp: bool,
    /// Lines for the end of sshd_config; not SetEnv, of which sshd heeds the first only: see `environment`.
    pub config: Vec<String>,
    /// Variables for the commands that are run, such as PATH.
    pub environment: Vec<(String, String)>,
    /// Options before the key in authorized_keys, such as `restrict,pty`.
    pub key_options: String,
}

impl Default for TestSshdOptions {
    fn default() -> TestSshdOptions {
        TestSshdOptions {
            max_sessions: 10,
            max_startups: "100".to_owned(),
            sftp: true,
            config: Vec::new(),
            environment: Vec::new(),
            key_options: String::new(),
        }
    }
}

pub(super) fn write_config(place: &Path, port: u16, options: &TestSshdOptions) -> Result<(), String> {
    let dir = place.display();
    let mut config = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {dir}/host_ed25519\nAuthorizedKeysFile {dir}/authorized_keys\nPidFile none\n\
             StrictModes no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PrintMotd no\nSetEnv {TAG}={dir} HOME={dir}/home\nLogLevel VERBOSE\nMaxSessions {sessions}\nMaxStartups {startups}\n\
             ForceCommand exec /bin/sh {dir}/session\n",
        sessions = options.max_sessions,
        startups = options.max_startups,
    );
    if options.sftp {
        let _ = writeln!(config, "Subsystem sftp {SFTP_SERVER}");
    }
    for line in &options.config {
        let _ = writeln!(config, "{line}");
    }
    let mut session = String::new();
    for (name, value) in &options.environment {
        let _ = writeln!(session, "export {name}='{}'", value.replace('\'', "'\\''"));
    }
    // As sshd would: a subsystem is executed, a command goes to the user's shell, nothing is a login shell.
    let _ = write!(
        session,
        "cd \"$HOME\" || exit 1\ncase \"${{SSH_ORIGINAL_COMMAND-}}\" in\n{SFTP_SERVER}*) exec $SSH_ORIGINAL_COMMAND ;;\n\
             '') exec /bin/sh -l ;;\n*) exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\" ;;\nesac\n"
    );
    if nix::unistd::geteuid().is_root() {
        // The place that a server run by root insists on.
        let mut separation = fs::DirBuilder::new();
        separation.recursive(true).mode(0o755).create("/run/sshd").map_err(told("/run/sshd"))?;
    }
    write(&place.join("session"), &session, 0o644)?;
    write(&place.join("sshd_config"), &config, 0o644)
}

pub(super) fn write(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    let written = fs::write(path, text).and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

pub(super) fn told(what: &str) -> impl Fn(std::io::Error) -> String + '_ {
    move |error| format!("{what}: {error}")
}
