//! Which processes of the host are the dev-VM's, found in /proc alone: no pid file can be stale, none can be lost.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process of the VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    /// As the host sees it.
    pub(super) pid: i32,
    /// As the VM sees it.
    pub(super) inner_pid: i32,
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
}

impl Process {
    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        match kill(Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
            Err(error) => Err(anyhow::anyhow!("cannot send {signal} to process {} ({}): {error}", self.pid, self.name)),
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        read(self.pid).is_some_and(|now| now.name == self.name)
    }

    /// A path of the VM as the host can open it.
    pub(super) fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/{}", self.pid, inside.trim_start_matches('/')))
    }
}

/// The first process of the VM whose state is in `state`: its argument is that path and it is number 1 of a namespace.
pub(super) fn init_of(state: &Path) -> Option<Process> {
    let is_init = |process: &Process| {
        process.inner_pid == 1
            && process.pid != 1
            && process.arguments.iter().any(|argument| argument.as_bytes() == state.as_os_str().as_bytes())
    };
    all().find(is_init)
}

/// All processes in the VM of `init`, `init` among them.
pub(super) fn inside(init: &Process) -> Vec<Process> {
    let Some(namespace) = namespace(init.pid) else { return Vec::new() };
    all().filter(|process| self::namespace(process.pid).as_ref() == Some(&namespace)).collect()
}

fn namespace(pid: i32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

fn all() -> impl Iterator<Item = Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?))
}

/// `None` for what is gone, is gone but not yet reaped, or is of the kernel.
fn read(pid: i32) -> Option<Process> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    if field("State")?.starts_with(['Z', 'X']) {
        return None;
    }
    let inner_pid = field("NSpid")?.split_whitespace().next_back()?.parse().ok()?;
    let command_line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let arguments =
        command_line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    Some(Process { pid, inner_pid, name: field("Name")?.to_owned(), arguments })
}
