//! The number and the port that a lab has and no other has. Chosen once, kept in the lab's folder until the lab is taken down.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::folders;

const FILE: &str = "lab.json";
/// Where browsers are sent if nothing else has it.
const PREFERRED_PORT: u16 = 8080;
/// Ports above it, before any free one.
const NEARBY_PORTS: u16 = 40;

/// What a lab was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Assignment {
    /// N of 198.18.N.0/24.
    pub(crate) number: u8,
    /// The host's port on 127.0.0.1 that leads to the ingress.
    pub(crate) ingress_port: u16,
}

impl Assignment {
    /// What the lab in `state` was given, if it was given anything.
    pub(crate) fn of(state: &Path) -> Option<Assignment> {
        serde_json::from_slice(&std::fs::read(state.join(FILE)).ok()?).ok()
    }

    /// What a lab `name` would be given now; nothing is kept of it.
    pub(crate) fn choose(labs: &Path, name: &str) -> anyhow::Result<Assignment> {
        let others: Vec<Assignment> =
            names(labs).into_iter().filter_map(|other| Assignment::of(&labs.join(other))).collect();
        let taken_port = |port| others.iter().any(|other| other.ingress_port == port);
        let free_port = |port: &u16| !taken_port(*port) && TcpListener::bind(("127.0.0.1", *port)).is_ok();
        let mut ports = PREFERRED_PORT..PREFERRED_PORT + NEARBY_PORTS;
        let ingress_port = ports.find(|port| free_port(port)).map_or_else(any_port, Ok)?;
        Ok(Assignment { number: choose_number(name, &others)?, ingress_port })
    }

    /// Keeps a choice; under the lock of all labs, so that no other makes the same.
    pub(crate) fn keep(labs: &Path, name: &str) -> anyhow::Result<Assignment> {
        let state = labs.join(name);
        if let Some(kept) = Assignment::of(&state) {
            return Ok(kept);
        }
        let folder = std::fs::File::open(labs).with_context(|| format!("open {}", labs.display()))?;
        folder.lock().with_context(|| format!("lock {}", labs.display()))?;
        let chosen = Assignment::choose(labs, name)?;
        chosen.write(&state)?;
        Ok(chosen)
    }

    /// Keeps another port: the one that was given is another process's now.
    pub(crate) fn with_another_port(self, labs: &Path, name: &str) -> anyhow::Result<Assignment> {
        let folder = std::fs::File::open(labs).with_context(|| format!("open {}", labs.display()))?;
        folder.lock().with_context(|| format!("lock {}", labs.display()))?;
        let changed = Assignment { ingress_port: Assignment::choose(labs, name)?.ingress_port, ..self };
        changed.write(&labs.join(name))?;
        Ok(changed)
    }

    fn write(self, state: &Path) -> anyhow::Result<()> {
        folders::write_whole(&state.join(FILE), serde_json::to_string(&self)?)
    }
}

/// Names of the labs that there are, up or not.
pub(crate) fn names(labs: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(labs).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join(FILE).exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Numbers of networks (198.18.N.0/24) that labs take; dev-VMs without a cluster take higher ones.
pub(crate) const NUMBERS: std::ops::Range<u8> = 0..192;

/// The name decides where to look first, so a lab usually has the same addresses again.
fn choose_number(name: &str, others: &[Assignment]) -> anyhow::Result<u8> {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let first = hasher.finish().to_le_bytes()[0] % NUMBERS.end;
    let free =
        |number: &u8| !others.iter().any(|other| other.number == *number) && !link_exists(&format!("catlab{number}"));
    let mut numbers = (first..NUMBERS.end).chain(NUMBERS.start..first);
    match numbers.find(free) {
        Some(number) => Ok(number),
        None => bail!("all 192 networks 198.18.N.0/24 are taken by labs; take one down (`catalyst-lab list`)"),
    }
}

fn any_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?;
    Ok(listener.local_addr()?.port())
}

/// Whether the host has a network interface of this name. Unlike /sys, /proc shows those of the namespace that this process is in.
pub(crate) fn link_exists(name: &str) -> bool {
    let devices = std::fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    devices.lines().filter_map(|line| line.split_once(':')).any(|(device, _)| device.trim() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_labs_are_given_different_numbers_and_ports_and_keep_them() {
        let labs = tempfile::tempdir().unwrap();
        let keep = |name: &str| {
            std::fs::create_dir_all(labs.path().join(name)).unwrap();
            Assignment::keep(labs.path(), name).unwrap()
        };
        let (one, two) = (keep("one"), keep("two"));
        assert_ne!(one.number, two.number);
        assert_ne!(one.ingress_port, two.ingress_port);
        assert_eq!(keep("one"), one);
        assert_eq!(names(labs.path()), ["one", "two"]);
    }

    #[test]
    fn interfaces_are_known_by_their_whole_name() {
        assert!(link_exists("lo"));
        assert!(!link_exists("l") && !link_exists("lo0"));
    }

    #[test]
    fn a_port_that_something_listens_on_is_not_given() {
        let labs = tempfile::tempdir().unwrap();
        let _taken = TcpListener::bind(("127.0.0.1", PREFERRED_PORT));
        assert_ne!(Assignment::choose(labs.path(), "x").unwrap().ingress_port, PREFERRED_PORT);
    }
}
