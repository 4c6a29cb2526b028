//! Finding and signalling the processes of a test's sshd, by /proc.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

struct Process {
    pid: i32,
    parent: i32,
    name: String,
}

fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (before, after) = stat.rsplit_once(')')?;
        let name = before.split_once('(')?.1.to_owned();
        let parent = after.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(Process { pid, parent, name })
    })
    .collect()
}

/// The sshd processes under a server: a monitor and, without root, a child of each session.
pub(super) fn sshd_descendants(server: u32) -> Vec<i32> {
    let Ok(server) = i32::try_from(server) else { return Vec::new() };
    let all = all();
    let mut found = vec![server];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(
            all.iter().filter(|child| child.parent == parent && child.name.starts_with("sshd")).map(|child| child.pid),
        );
        at += 1;
    }
    found.retain(|pid| *pid != server);
    found
}

pub(super) fn signal(pids: &[i32], signal: Signal) {
    for pid in pids {
        let _ = kill(Pid::from_raw(*pid), signal);
    }
}

/// Kills every process with this variable in its environment; again, until none is left that could have forked.
pub(super) fn kill_tagged(variable: &str) {
    for _ in 0..20 {
        let tagged: Vec<i32> =
            all().into_iter().map(|process| process.pid).filter(|pid| is_tagged(*pid, variable)).collect();
        if tagged.is_empty() {
            return;
        }
        signal(&tagged, Signal::SIGKILL);
    }
}

fn is_tagged(pid: i32, variable: &str) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes()))
}
