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

impl VmNetwork {
    /// For a further VM beside a lab's own, from `number` 1 on.
    pub(crate) fn further(network: &Network, number: u8) -> VmNetwork {
        VmNetwork {
            namespace: format!("{}{number}", network.vm_netns),
            link: format!("{}{number}", network.vm_link),
            address: network.further_vm(number),
            ..VmNetwork::from(network)
        }
    }
}

/// The VM's end of the cable.
pub(super) const INNER_LINK: &str = "eth0";

impl VmNetwork {
    pub(super) fn namespace_path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.namespace)
    }

    pub(super) fn exists(&self) -> bool {
        self.namespace_path().exists() && self.link_exists()
    }

    fn link_exists(&self) -> bool {
        Path::new("/sys/class/net").join(&self.link).exists()
    }

    /// Makes it anew; what a killed lab left of it is removed first.
    pub(super) fn create(&self) -> anyhow::Result<()> {
        self.remove()?;
        let (namespace, link) = (self.namespace.as_str(), self.link.as_str());
        ip(&["netns", "add", namespace])?;
        ip(&["link", "add", link, "type", "veth", "peer", "name", INNER_LINK, "netns", namespace])?;
        ip(&["-n", namespace, "addr", "add", &format!("{}/24", self.address), "dev", INNER_LINK])?;
        ip(&["-n", namespace, "link", "set", "lo", "up"])?;
        if self.uplink == Uplink::Host {
            ip(&["addr", "add", &format!("{}/24", self.gateway), "dev", link])?;
        }
        self.plug()
    }

    /// Both ends of the cable; nothing happens if they are in. The VM may have outlived the bridge that it was plugged into.
    pub(super) fn plug(&self) -> anyhow::Result<()> {
        if let Uplink::Bridge(bridge) = &self.uplink {
            ip(&["link", "set", &self.link, "master", bridge])?;
        }
        ip(&["link", "set", &self.link, "up"])?;
        ip(&["-n", &self.namespace, "link", "set", INNER_LINK, "up"])?;
        // The kernel forgets this route when the link goes down.
        ip(&["-n", &self.namespace, "route", "replace", "default", "via", &self.gateway.to_string()])
    }

    /// Takes the cable out at the VM's end: the host keeps its route and gets no answer, as from a machine that is cut off.
    pub(super) fn unplug(&self) -> anyhow::Result<()> {
        ip(&["-n", &self.namespace, "link", "set", INNER_LINK, "down"])
    }

    pub(super) fn remove(&self) -> anyhow::Result<()> {
        if self.link_exists()
            && let Err(error) = ip(&["link", "delete", &self.link])
            // The kernel takes a namespace's links away some time after the namespace: perhaps it was first.
            && self.link_exists()
        {
            return Err(error);
        }
        if self.namespace_path().exists() {
            ip(&["netns", "delete", &self.namespace])?;
        }
        Ok(())
    }
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    run("ip", arguments)
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
