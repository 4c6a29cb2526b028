//! The dev-VM's network: a namespace with one cable, plugged into the lab's bridge or straight into the host.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::network::Network;

/// Where the other end of the VM's cable is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uplink {
    /// A bridge on the host that exists already and has the address `VmNetwork::gateway`.
    Bridge(String),
    /// The host itself, which takes the address `VmNetwork::gateway` on the cable.
    Host,
}

/// How the VM is connected. The network is `gateway`'s /24.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmNetwork {
    /// Name of the network namespace, which the VM makes and removes (`ip netns`).
    pub namespace: String,
    /// Name of the cable's end on the host; at most 15 characters.
    pub link: String,
    /// The VM's address.
    pub address: IpAddr,
    /// The host's address in that network.
    pub gateway: IpAddr,
    /// What the cable is plugged into.
    pub uplink: Uplink,
}

impl From<&Network> for VmNetwork {
    fn from(network: &Network) -> VmNetwork {
        VmNetwork {
            namespace: network.vm_netns.clone(),
            link: network.vm_link.clone(),
            address: network.vm,
            gateway: network.host,
            uplink: Uplink::Bridge(network.bridge.clone()),
        }
    }
}

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";
/// The VM's end of the cable.
const INNER_LINK: &str = "eth0";

impl VmNetwork {
    pub(super) fn namespace_path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.namespace)
    }

    pub(super) fn exists(&self) -> bool {
        self.namespace_path().exists() && Path::new("/sys/class/net").join(&self.link).exists()
    }

    /// Makes it anew; what a killed lab left of it is removed first.
    pub(super) fn create(&self) -> anyhow::Result<()> {
        self.remove()?;
        let (namespace, link) = (self.namespace.as_str(), self.link.as_str());
        ip(&["netns", "add", namespace])?;
        ip(&["link", "add", link, "type", "veth", "peer", "name", INNER_LINK, "netns", namespace])?;
        ip(&["-n", namespace, "addr", "add", &format!("{}/24", self.address), "dev", INNER_LINK])?;
        ip(&["-n", namespace, "link", "set", "lo", "up"])?;
        match &self.uplink {
            Uplink::Bridge(bridge) => ip(&["link", "set", link, "master", bridge])?,
            Uplink::Host => ip(&["addr", "add", &format!("{}/24", self.gateway), "dev", link])?,
        }
        ip(&["link", "set", link, "up"])?;
        self.plug()
    }

    pub(super) fn plug(&self) -> anyhow::Result<()> {
        ip(&["-n", &self.namespace, "link", "set", INNER_LINK, "up"])?;
        // The kernel forgets this route when the link goes down.
        ip(&["-n", &self.namespace, "route", "replace", "default", "via", &self.gateway.to_string()])
    }

    /// Takes the cable out at the VM's end: the host keeps its route and gets no answer, as from a machine that is cut off.
    pub(super) fn unplug(&self) -> anyhow::Result<()> {
        ip(&["-n", &self.namespace, "link", "set", INNER_LINK, "down"])
    }

    pub(super) fn remove(&self) -> anyhow::Result<()> {
        if Path::new("/sys/class/net").join(&self.link).exists() {
            ip(&["link", "delete", &self.link])?;
        }
        if self.namespace_path().exists() {
            ip(&["netns", "delete", &self.namespace])?;
        }
        Ok(())
    }

    /// Gives the VM a way out to the world through the host. Remembers in `state` what the host's forwarding was.
    pub(super) fn open_way_out(&self, state: &Path) -> anyhow::Result<()> {
        self.close_way_out(state)?;
        let before = std::fs::read_to_string(FORWARDING).with_context(|| format!("read {FORWARDING}"))?;
        let record = state.join("forwarding.before");
        std::fs::write(&record, &before).with_context(|| format!("write {}", record.display()))?;
        std::fs::write(FORWARDING, "1").with_context(|| format!("write {FORWARDING}"))?;
        for rule in self.rules() {
            let mut words: Vec<&str> = rule.iter().map(String::as_str).collect();
            words.insert(2, "-I");
            run("iptables", &words)?;
        }
        Ok(())
    }

    pub(super) fn close_way_out(&self, state: &Path) -> anyhow::Result<()> {
        let record = state.join("forwarding.before");
        let Ok(before) = std::fs::read_to_string(&record) else { return Ok(()) };
        for rule in self.rules() {
            let with = |action: &'static str| {
                let mut words: Vec<&str> = rule.iter().map(String::as_str).collect();
                words.insert(2, action);
                words.into_iter().map(str::to_owned).collect::<Vec<_>>()
            };
            let check: Vec<String> = with("-C");
            while succeeds("iptables", &check) {
                let delete = with("-D");
                run("iptables", &delete.iter().map(String::as_str).collect::<Vec<_>>())?;
            }
        }
        // Another lab may need it still; then it is left on.
        if !self.has_neighbours() {
            std::fs::write(FORWARDING, before.trim()).with_context(|| format!("write {FORWARDING}"))?;
        }
        std::fs::remove_file(&record).with_context(|| format!("remove {}", record.display()))
    }

    /// Whether the host has cables of other labs.
    fn has_neighbours(&self) -> bool {
        let own = match &self.uplink {
            Uplink::Bridge(bridge) => bridge.as_str(),
            Uplink::Host => self.link.as_str(),
        };
        let entries = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
        let mut links = entries.filter_map(|entry| entry.file_name().into_string().ok());
        links.any(|link| (link.starts_with("catlab") || link.starts_with("catvm")) && !link.starts_with(own))
    }

    /// Table and rule, without the action between them.
    fn rules(&self) -> [Vec<String>; 3] {
        let address = self.address.to_string();
        let comment = format!("catalyst-lab {}", self.namespace);
        let rule = |table: &str, chain: &str, matches: &[&str], target: &str| {
            let tail = ["-m", "comment", "--comment", &comment, "-j", target];
            ["-t", table, chain].iter().chain(matches).chain(&tail).map(|word| (*word).to_owned()).collect::<Vec<_>>()
        };
        let network = format!("{}/24", self.gateway);
        [
            rule("nat", "POSTROUTING", &["-s", &address, "!", "-d", &network], "MASQUERADE"),
            rule("filter", "FORWARD", &["-s", &address], "ACCEPT"),
            rule("filter", "FORWARD", &["-d", &address], "ACCEPT"),
        ]
    }
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    run("ip", arguments)
}

fn succeeds(program: &str, arguments: &[String]) -> bool {
    let status =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

pub(super) fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {program}; is it installed?"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{program} {}` failed ({}): {}", arguments.join(" "), output.status, said.trim());
    }
    Ok(())
}
