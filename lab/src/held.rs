//! The processes of a test's control plane. Each hangs on a pipe of this process's, and ends with it however it ends.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::{Child, ChildStdin, Command};

use crate::components::Plane;
use crate::parts::Built;

/// Starts components under a holder each.
#[derive(Clone, Debug)]
pub(crate) struct Launcher {
    pub(crate) labtool: Built,
    pub(crate) kubelab: Built,
}

impl Launcher {
    /// Starts a part of kubelab, which is told by the first of its arguments.
    pub(crate) fn start(&self, name: &'static str, arguments: &[String], plane: &Plane) -> anyhow::Result<Held> {
        self.start_program(name, &self.kubelab.program(), arguments, plane)
    }

    /// Starts any program.
    pub(crate) fn start_program(
        &self,
        name: &'static str,
        program: &Path,
        arguments: &[String],
        plane: &Plane,
    ) -> anyhow::Result<Held> {
        let path = log_path(name, plane);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&path).context("open a log")?;
        let mut holder = Command::new(self.labtool.program())
            .arg("hold")
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().context("share a log")?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let pipe = holder.stdin.take();
        Ok(Held { name, holder, _pipe: pipe })
    }
}

/// A component that ends with this value, and with this process.
pub(crate) struct Held {
    name: &'static str,
    holder: Child,
    /// The holder kills the component when this end is closed, as the kernel does when this process is killed.
    _pipe: Option<ChildStdin>,
}

impl Held {
    /// The holder's process id.
    pub(crate) fn id(&self) -> Option<u32> {
        self.holder.id()
    }

    /// Processor time of the component so far, by its name.
    pub(crate) fn processor_time(&self) -> anyhow::Result<(&'static str, Duration)> {
        let holder = self.holder.id().context("the component has ended")?;
        let children = std::fs::read_to_string(format!("/proc/{holder}/task/{holder}/children"))?;
        let mut children = children.split_whitespace();
        let (Some(child), None) = (children.next(), children.next()) else { bail!("{} does not run", self.name) };
        Ok((self.name, processor_time_of(child.parse().context("a process id")?)?))
    }

    /// An error with the end of the log if the component has ended.
    pub(crate) fn still_runs(&mut self, plane: &Plane) -> anyhow::Result<()> {
        match self.holder.try_wait().context("look after a component")? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}):\n{}", self.name, log_end(self.name, plane)),
        }
    }

    /// Ends it, and returns when it has ended.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        // The pipe first: the holder kills the component and waits for it, so its port is free when this returns.
        drop(self._pipe.take());
        self.holder.wait().await.with_context(|| format!("end {}", self.name))?;
        Ok(())
    }
}

/// Processor time that a process has taken so far.
///
/// # Errors
/// When there is no such process.
pub fn processor_time_of(process: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields = stat.rsplit(')').next().context("stat has no name")?;
    // User and system time, in hundredths of a second (proc_pid_stat(5)).
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(Duration::from_millis(ticks.sum::<Result<u64, _>>()? * 10))
}

fn log_path(name: &str, plane: &Plane) -> PathBuf {
    plane.folder.join(format!("{name}.log"))
}

/// The last lines of a component's log.
pub(crate) fn log_end(name: &str, plane: &Plane) -> String {
    let log = std::fs::read(log_path(name, plane)).unwrap_or_default();
    let end = log.len().saturating_sub(4000);
    String::from_utf8_lossy(log.get(end..).unwrap_or_default()).into_owned()
}
