//! A long-running process of a lab, known across invocations by its pid, start time and the machine's boot.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::cgroup::Cgroups;
use crate::folders;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How much of a log an error shows.
const LOG_END_BYTES: usize = 3000;

/// Where a daemon's record and log are.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    pub(crate) name: &'static str,
    record: PathBuf,
    pub(crate) log: PathBuf,
}

impl Daemon {
    pub(crate) fn new(state: &Path, name: &'static str) -> Daemon {
        Daemon { name, record: state.join(format!("run/{name}.pid")), log: state.join(format!("log/{name}.log")) }
    }

    /// The process's id, if the very process that was started still runs.
    pub(crate) fn pid(&self) -> Option<i32> {
        let record = std::fs::read_to_string(&self.record).ok()?;
        let (pid, identity) = record.split_once(' ')?;
        let pid = pid.parse().ok()?;
        (self::identity(pid)? == identity).then_some(pid)
    }

    /// Starts it, detached from this process and its terminal; `place` are the words that bring it where it belongs.
    pub(crate) fn start(&self, groups: &Cgroups, place: &[OsString], command: &[OsString]) -> anyhow::Result<i32> {
        for file in [&self.record, &self.log] {
            folders::make(file.parent().context("a folder for records")?)?;
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("write {}", self.log.display()))?;
        // setsid does not fork here: the child is no leader of a group yet. So the pid stays the same through all of them.
        let mut words = groups.enter(self.name)?;
        words.push("setsid".into());
        words.extend_from_slice(place);
        words.extend_from_slice(command);
        let (program, arguments) = words.split_first().context("a program")?;
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", "/root")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share the log")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", self.name))?;
        // Dropped, not awaited: the runtime reaps it if it ends before this process does.
        let pid = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .with_context(|| format!("{} ended at once", self.name))?;
        let identity =
            identity(pid).with_context(|| format!("{} ended at once; its log is {}", self.name, self.log.display()))?;
        folders::write_whole(&self.record, format!("{pid} {identity}"))?;
        Ok(pid)
    }

    /// An error with the end of the log if the process has ended.
    pub(crate) fn still_runs(&self) -> anyhow::Result<()> {
        match self.pid() {
            Some(_) => Ok(()),
            None => bail!("{} ended; the end of its log {}:\n{}", self.name, self.log.display(), self.log_end()),
        }
    }

    /// The last lines of its log.
    pub(crate) fn log_end(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(log.get(log.len().saturating_sub(LOG_END_BYTES)..).unwrap_or_default()).into_owned()
    }
}

/// What no later process of the same number has: the boot and the time of its start. `None` if there is no such process any more.
fn identity(pid: i32) -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; what follows the last one is numbers, beginning with the state (field 3).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let (state, started) = (fields.first()?, fields.get(19)?);
    (*state != "Z" && *state != "X").then(|| format!("{started} {}", boot.trim()))
}

/// Resident memory of the processes together, in bytes; pages that they share are counted once for each.
pub(crate) fn resident_bytes(pids: &[i32]) -> u64 {
    let resident = |pid: &i32| -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    pids.iter().filter_map(resident).sum::<u64>() * 1024
}

/// Words for a command line.
pub(crate) fn words<Word: AsRef<OsStr>>(words: impl IntoIterator<Item = Word>) -> Vec<OsString> {
    words.into_iter().map(|word| word.as_ref().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_that_another_process_has_now_is_not_the_daemons() {
        let state = tempfile::tempdir().unwrap();
        let daemon = Daemon::new(state.path(), "part");
        std::fs::create_dir(state.path().join("run")).unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        let record = |text: String| std::fs::write(state.path().join("run/part.pid"), text).unwrap();
        record(format!("{me} {}", identity(me).unwrap()));
        assert_eq!(daemon.pid(), Some(me));
        record(format!("{me} 1 {}", identity(me).unwrap().split_once(' ').unwrap().1));
        assert_eq!(daemon.pid(), None);
        record("half a rec".to_owned());
        assert_eq!(daemon.pid(), None);
    }
}
