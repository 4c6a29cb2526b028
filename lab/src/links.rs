//! The host's side of a lab's network: the bridge, and the node's namespace on a cable to it.

use std::ffi::OsStr;
use std::path::PathBuf;

use tokio::process::Command;

use crate::assignment::link_exists;
use crate::network::Network;
use crate::{bridge_filter, command};

/// The node's end of the cable.
const INNER_LINK: &str = "eth0";

/// The node's namespace as a file, for `nsenter --net=`.
pub(crate) fn node_namespace(network: &Network) -> PathBuf {
    PathBuf::from("/run/netns").join(&network.node_netns)
}

/// Whether all of it is there.
pub(crate) fn exist(network: &Network) -> bool {
    node_namespace(network).exists() && link_exists(&network.bridge) && link_exists(&network.node_link)
}

/// Makes what is missing.
pub(crate) async fn create(network: &Network) -> anyhow::Result<()> {
    let Network { bridge, host, node, prefix, node_netns: namespace, node_link: link, .. } = network;
    if !link_exists(bridge) {
        ip(["link", "add", bridge, "type", "bridge"]).await?;
    }
    ip(["addr", "replace", &format!("{host}/{prefix}"), "dev", bridge]).await?;
    ip(["link", "set", bridge, "up"]).await?;
    if !node_namespace(network).exists() {
        ip(["netns", "add", namespace]).await?;
    }
    if !link_exists(link) {
        ip(["link", "add", link, "type", "veth", "peer", "name", INNER_LINK, "netns", namespace]).await?;
    }
    ip(["link", "set", link, "master", bridge, "up"]).await?;
    ip(["-n", namespace, "addr", "replace", &format!("{node}/{prefix}"), "dev", INNER_LINK]).await?;
    ip(["-n", namespace, "link", "set", INNER_LINK, "up"]).await?;
    ip(["-n", namespace, "link", "set", "lo", "up"]).await?;
    ip(["-n", namespace, "route", "replace", "default", "via", &host.to_string()]).await?;
    bridge_filter::ensure().await?;
    let enter = format!("--net={}", node_namespace(network).display());
    // The second lets the node's rules see what goes from pod to pod over the node's own bridge: NetworkPolicies hold there too.
    let switches = "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables";
    command::run("nsenter", [enter.as_str(), "sh", "-ec", switches]).await?;
    if forwarding_is_dropped().await && iptables(Rule::Check, bridge).await.is_err() {
        iptables(Rule::Insert, bridge).await?;
    }
    Ok(())
}

/// Whether the host drops what it is not told to forward, as Docker makes it do. That hits frames on a bridge too.
async fn forwarding_is_dropped() -> bool {
    let mut list = Command::new("iptables");
    list.args(["-w", "-S", "FORWARD"]);
    command::output(list, b"").await.is_ok_and(|rules| rules.starts_with("-P FORWARD DROP"))
}

enum Rule {
    Check,
    Insert,
    Delete,
}

/// The rule that lets node and dev-VM talk over their own bridge.
async fn iptables(rule: Rule, bridge: &str) -> anyhow::Result<()> {
    let action = match rule {
        Rule::Check => "-C",
        Rule::Insert => "-I",
        Rule::Delete => "-D",
    };
    command::run("iptables", ["-w", action, "FORWARD", "-i", bridge, "-o", bridge, "-j", "ACCEPT"]).await
}

/// Removes what is there.
pub(crate) async fn remove(network: &Network) -> anyhow::Result<()> {
    while iptables(Rule::Check, &network.bridge).await.is_ok() {
        iptables(Rule::Delete, &network.bridge).await?;
    }
    for link in [&network.node_link, &network.bridge] {
        if link_exists(link)
            && let Err(error) = ip(["link", "delete", link]).await
            // The kernel takes a namespace's links away some time after the namespace: perhaps it was first.
            && link_exists(link)
        {
            return Err(error);
        }
    }
    if node_namespace(network).exists() {
        ip(["netns", "delete", &network.node_netns]).await?;
    }
    Ok(())
}

async fn ip<Word: AsRef<OsStr>>(arguments: impl IntoIterator<Item = Word>) -> anyhow::Result<()> {
    command::run("ip", arguments).await
}
