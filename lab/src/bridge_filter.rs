//! Whether the kernel shows iptables what goes over a bridge: NetworkPolicies between pods of the one node need it.
//!
//! Some kernels have it built in; others, Debian's own among them, have it as the module br_netfilter, which nothing loads by itself. A lab that loads it
//! turns it off again for the host, whose own bridges are none of the lab's business.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;

use crate::{command, preflight};

const MODULE: &str = "br_netfilter";
/// Each network namespace has its own switches here; the folder is there from when the kernel can do it.
const SWITCHES: &str = "/proc/sys/net/bridge";
/// The module turns these on for every namespace.
const ON_BY_DEFAULT: [&str; 3] = ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables"];

/// What it takes for the switches to be there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    There,
    /// By this modprobe.
    ToLoad(PathBuf),
    /// Debian's package kmod, which has modprobe.
    LacksModprobe,
    /// modprobe does not find the module.
    LacksModule,
}

/// How it is on this machine; nothing is changed.
pub(crate) fn look() -> Filter {
    choose(Path::new(SWITCHES), preflight::find_program("modprobe"))
}

fn choose(switches: &Path, modprobe: Option<PathBuf>) -> Filter {
    if switches.exists() {
        return Filter::There;
    }
    let Some(modprobe) = modprobe else { return Filter::LacksModprobe };
    let mut rehearsal = std::process::Command::new(&modprobe);
    rehearsal.args(["--dry-run", "--quiet", MODULE]);
    rehearsal.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if rehearsal.status().is_ok_and(|status| status.success()) { Filter::ToLoad(modprobe) } else { Filter::LacksModule }
}

/// Sees to it that the switches are there.
pub(crate) async fn ensure() -> anyhow::Result<()> {
    ensure_at(Path::new(SWITCHES), look()).await
}

async fn ensure_at(switches: &Path, filter: Filter) -> anyhow::Result<()> {
    match filter {
        Filter::There => Ok(()),
        Filter::ToLoad(modprobe) => {
            command::run(&modprobe.to_string_lossy(), [MODULE]).await?;
            for switch in ON_BY_DEFAULT {
                let switch = switches.join(switch);
                std::fs::write(&switch, "0").with_context(|| format!("write {}", switch.display()))?;
            }
            Ok(())
        }
        Filter::LacksModprobe | Filter::LacksModule => {
            anyhow::bail!("{} is missing; see `catalyst-lab preflight`", switches.display())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder where the switches may come to be, and a modprobe that does `script` there.
    fn machine(script: &str) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (switches, modprobe) = (folder.path().join("bridge"), folder.path().join("modprobe"));
        let text = format!("#!/bin/sh\ncd {}\n{script}\n", folder.path().display());
        // Written by another process: what this one has open for writing, a child of another test could hold open while it is run.
        let mut write = std::process::Command::new("sh");
        write.args(["-c", "printf %s \"$0\" >\"$1\" && chmod 755 \"$1\"", &text]).arg(&modprobe);
        assert!(write.status().unwrap().success());
        (folder, switches, modprobe)
    }

    fn states(switches: &Path) -> Vec<String> {
        ON_BY_DEFAULT.iter().map(|switch| std::fs::read_to_string(switches.join(switch)).unwrap()).collect()
    }

    const LOAD: &str = "[ \"$1\" = br_netfilter ] || exit 0
        mkdir bridge && for f in iptables ip6tables arptables; do printf 1 >bridge/bridge-nf-call-$f; done";

    #[tokio::test]
    async fn a_module_that_is_not_loaded_is_loaded_and_turned_off_for_the_host() {
        let (_folder, switches, modprobe) = machine(LOAD);
        let filter = choose(&switches, Some(modprobe.clone()));
        assert_eq!(filter, Filter::ToLoad(modprobe));
        assert!(!switches.exists(), "looking loaded it");
        ensure_at(&switches, filter).await.unwrap();
        assert_eq!(states(&switches), ["0", "0", "0"]);
    }

    #[tokio::test]
    async fn what_the_kernel_has_already_is_left_as_the_host_has_it() {
        let (_folder, switches, modprobe) = machine(LOAD);
        assert!(std::process::Command::new(&modprobe).arg(MODULE).status().unwrap().success());
        let filter = choose(&switches, Some(modprobe));
        assert_eq!(filter, Filter::There);
        ensure_at(&switches, filter).await.unwrap();
        assert_eq!(states(&switches), ["1", "1", "1"]);
    }

    #[test]
    fn a_machine_without_modprobe_or_without_the_module_is_told_apart() {
        let (_folder, switches, modprobe) = machine("exit 1");
        assert_eq!(choose(&switches, None), Filter::LacksModprobe);
        assert_eq!(choose(&switches, Some(modprobe)), Filter::LacksModule);
    }
}
