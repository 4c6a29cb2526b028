//! Confines the proxy to what a pod has by the Helm chart's values: half a processor and 512 MiB, in a control group of its own.
//! The VM, ssh and the reader have the rest of the machine, as they do in a cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

const MOUNTED: &str = "/sys/fs/cgroup";
/// Microseconds of each period in which the group may run: 500m.
const QUOTA: u32 = 50_000;
const PERIOD: u32 = 100_000;
/// 512Mi.
const MEMORY: u64 = 512 << 20;

/// Called with a program, how many groups there are, the groups, and the program's arguments.
const ENTER: &str = r#"groups=$1; shift
while [ "$groups" -gt 0 ]; do echo $$ >"$1/cgroup.procs" || exit 1; shift; groups=$((groups - 1)); done; exec "$0" "$@""#;

/// The groups; removed with this, when nothing is in them any more.
#[derive(Debug)]
pub(crate) struct Limits(Vec<PathBuf>);

impl Limits {
    /// Makes the groups, of version 1 or 2. Needs root.
    pub(crate) fn new() -> anyhow::Result<Limits> {
        let name = format!("catalyst-bench-{}", std::process::id());
        let mounted = Path::new(MOUNTED);
        let mut limits = Limits(Vec::new());
        if mounted.join("cgroup.controllers").exists() {
            fs::write(mounted.join("cgroup.subtree_control"), "+cpu +memory").context("hand cpu and memory down")?;
            let settings = [("cpu.max", format!("{QUOTA} {PERIOD}")), ("memory.max", MEMORY.to_string())];
            limits.make(mounted.join(name), &settings)?;
        } else {
            let cpu = [("cpu.cfs_period_us", PERIOD.to_string()), ("cpu.cfs_quota_us", QUOTA.to_string())];
            limits.make(mounted.join("cpu").join(&name), &cpu)?;
            limits.make(mounted.join("memory").join(&name), &[("memory.limit_in_bytes", MEMORY.to_string())])?;
        }
        Ok(limits)
    }

    fn make(&mut self, group: PathBuf, settings: &[(&str, String)]) -> anyhow::Result<()> {
        fs::create_dir_all(&group).with_context(|| format!("make the control group {}", group.display()))?;
        for (setting, value) in settings {
            fs::write(group.join(setting), value).with_context(|| format!("{}/{setting}", group.display()))?;
        }
        self.0.push(group);
        Ok(())
    }

    /// A command that runs `program` in the groups from its first instruction on, with the pid that it begins with. It takes
    /// arguments.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", ENTER]).arg(program).arg(self.0.len().to_string()).args(&self.0);
        command
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        for group in &self.0 {
            let _still_used = fs::remove_dir(group);
        }
    }
}
