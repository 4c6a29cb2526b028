//! Finding and signalling the processes of a test's sshd, by /proc.

use std::fs;
use std::time::Duration;

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

/// All processes with this variable in their environment; `NAME=value`.
pub(super) fn tagged(variable: &str) -> Vec<i32> {
    let is_tagged = |pid: &i32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes()))
    };
    all().into_iter().map(|process| process.pid).filter(is_tagged).collect()
}

/// Kills them; again, until two looks in a row find none that was forked meanwhile.
pub(super) fn kill_tagged(variable: &str) {
    let mut clean = 0;
    for _ in 0..100 {
        let tagged = tagged(variable);
        clean = if tagged.is_empty() { clean + 1 } else { 0 };
        if clean == 2 {
            return;
        }
        signal(&tagged, Signal::SIGKILL);
        std::thread::sleep(Duration::from_millis(5));
    }
}
