//! A lab's control groups: every process of the node is in one from its first instruction on.
//!
//! That is how a lab finds what is its own, however it was left: pid files can be lost, groups cannot. Pods are below `kubepods`
//! (the kubelet's), the lab's own parts below `parts/NAME`. Version 1 and version 2 hierarchies are both served.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const ROOT: &str = "/sys/fs/cgroup";
/// Version 1 hierarchies that can tell whose a process is; the first that is mounted is used.
const TELLING: [&str; 4] = ["pids", "freezer", "systemd", "memory"];
const KILL_DEADLINE: Duration = Duration::from_secs(20);

/// The groups of one lab.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    name: String,
    /// The lab's group in every hierarchy: the kubelet wants its root in all of them.
    roots: Vec<PathBuf>,
    /// The one of them by which processes are found.
    telling: PathBuf,
}

impl Cgroups {
    pub(crate) fn of(lab: &str) -> anyhow::Result<Cgroups> {
        Cgroups::below(Path::new(ROOT), lab)
    }

    fn below(mounted: &Path, lab: &str) -> anyhow::Result<Cgroups> {
        let name = format!("catalyst-lab-{lab}");
        if mounted.join("cgroup.controllers").exists() {
            let root = mounted.join(&name);
            return Ok(Cgroups { name, roots: vec![root.clone()], telling: root });
        }
        let mut hierarchies = Vec::new();
        for entry in
            std::fs::read_dir(mounted).with_context(|| format!("read {}: no control groups here", mounted.display()))?
        {
            let path = entry?.path();
            // Links such as cpu → cpu,cpuacct are other names of the same hierarchy.
            if path.is_dir() && !path.is_symlink() && path.join("cgroup.procs").exists() {
                hierarchies.push(path);
            }
        }
        let telling = TELLING.iter().map(|name| mounted.join(name)).find(|path| hierarchies.contains(path));
        let telling = telling
            .with_context(|| format!("none of the control groups {TELLING:?} is mounted at {}", mounted.display()))?;
        let roots = hierarchies.iter().map(|hierarchy| hierarchy.join(&name)).collect();
        Ok(Cgroups { roots, telling: telling.join(&name), name })
    }

    /// What the kubelet calls `cgroupRoot`.
    pub(crate) fn kubelet_root(&self) -> String {
        format!("/{}", self.name)
    }

    pub(crate) fn create(&self) -> anyhow::Result<()> {
        for root in &self.roots {
            std::fs::create_dir_all(root).with_context(|| format!("make the control group {}", root.display()))?;
            // Version 2 hands controllers down one level at a time.
            if let Some(parent) = root.parent().filter(|parent| parent.join("cgroup.subtree_control").exists()) {
                for group in [parent, root] {
                    hand_down(group)?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn exist(&self) -> bool {
        self.roots.iter().any(|root| root.exists())
    }

    /// The words before a command by which it runs as the part `name`: the process that results has the pid of this one.
    pub(crate) fn enter(&self, name: &str) -> anyhow::Result<Vec<OsString>> {
        let group = self.part(name);
        std::fs::create_dir_all(&group).with_context(|| format!("make the control group {}", group.display()))?;
        let script = r#"echo $$ >"$1/cgroup.procs" && shift && exec "$@""#;
        Ok(vec!["sh".into(), "-c".into(), script.into(), "sh".into(), group.into()])
    }

    /// Processes of the part `name` and what they started.
    pub(crate) fn processes_of(&self, name: &str) -> Vec<i32> {
        processes(&self.part(name))
    }

    /// All processes of the lab's node, pods included.
    pub(crate) fn processes(&self) -> Vec<i32> {
        processes(&self.telling)
    }

    fn part(&self, name: &str) -> PathBuf {
        self.telling.join("parts").join(name)
    }

    /// Kills the part and awaits its end.
    pub(crate) async fn kill_part(&self, name: &str) -> anyhow::Result<()> {
        kill_below(&self.part(name)).await
    }

    /// Kills all and awaits the end: parts first, since they start pods anew.
    pub(crate) async fn kill(&self) -> anyhow::Result<()> {
        kill_below(&self.telling.join("parts")).await?;
        kill_below(&self.telling).await
    }

    /// Removes the groups, which must hold no process.
    pub(crate) async fn remove(&self) -> anyhow::Result<()> {
        for root in &self.roots {
            // The kernel lets go of a group a moment after its last process has ended.
            let deadline = Instant::now() + KILL_DEADLINE;
            while let Err(error) = remove_below(root) {
                if Instant::now() > deadline {
                    return Err(error).with_context(|| format!("remove the control group {}", root.display()));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }
}

fn hand_down(group: &Path) -> anyhow::Result<()> {
    let available = std::fs::read_to_string(group.join("cgroup.controllers")).context("read the controllers")?;
    for controller in available.split_whitespace() {
        // One that cannot be handed down (threaded, or held elsewhere) is missed by the kubelet, which then says which.
        let _ = std::fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"));
    }
    Ok(())
}

fn groups(group: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(group).into_iter().flatten().flatten();
    let below = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .flat_map(|entry| groups(&entry.path()));
    let mut all: Vec<PathBuf> = below.collect();
    all.push(group.to_owned());
    all
}

fn processes(group: &Path) -> Vec<i32> {
    let read = |group: PathBuf| std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    groups(group)
        .into_iter()
        .map(read)
        .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>())
        .collect()
}

async fn kill_below(group: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + KILL_DEADLINE;
    loop {
        let left = processes(group);
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("processes {left:?} of {} do not end", group.display());
        }
        for pid in left {
            match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(error).with_context(|| format!("kill process {pid}")),
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Deepest first; what is gone already is fine.
fn remove_below(root: &Path) -> std::io::Result<()> {
    if !root.exists() {
        return Ok(());
    }
    for group in groups(root) {
        match std::fs::remove_dir(&group) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_hierarchy_is_its_own_telling_one() {
        let mounted = tempfile::tempdir().unwrap();
        std::fs::write(mounted.path().join("cgroup.controllers"), "cpu memory pids").unwrap();
        let groups = Cgroups::below(mounted.path(), "x").unwrap();
        assert_eq!(groups.roots, [mounted.path().join("catalyst-lab-x")]);
        assert_eq!(groups.telling, groups.roots[0]);
    }

    #[test]
    fn links_to_a_hierarchy_are_not_another_one() {
        let mounted = tempfile::tempdir().unwrap();
        for hierarchy in ["cpu,cpuacct", "freezer"] {
            std::fs::create_dir(mounted.path().join(hierarchy)).unwrap();
            std::fs::write(mounted.path().join(hierarchy).join("cgroup.procs"), "").unwrap();
        }
        std::os::unix::fs::symlink("cpu,cpuacct", mounted.path().join("cpu")).unwrap();
        let groups = Cgroups::below(mounted.path(), "x").unwrap();
        assert_eq!(groups.roots.len(), 2);
        assert_eq!(groups.telling, mounted.path().join("freezer/catalyst-lab-x"));
    }
}
