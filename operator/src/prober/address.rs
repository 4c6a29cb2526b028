//! Which addresses the operator connects to.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use catalyst_ssh::{Failure, Reason as SshReason};
use ipnet::IpNet;

/// Addresses that are refused. Clones share what is learnt.
#[derive(Clone, Debug)]
pub struct AddressPolicy {
    own_machine: bool,
    networks: Vec<IpNet>,
    learnt: Arc<RwLock<Vec<IpNet>>>,
}

impl AddressPolicy {
    /// Refuses loopback, link-local, multicast and unspecified addresses, and these networks (pods, Services).
    #[must_use]
    pub fn refusing(networks: Vec<IpNet>) -> Self {
        Self { own_machine: true, networks, learnt: Arc::default() }
    }

    /// Refuses these networks only. For tests, whose VM is this machine.
    #[must_use]
    pub fn allowing_own_machine(networks: Vec<IpNet>) -> Self {
        Self { own_machine: false, networks, learnt: Arc::default() }
    }

    /// From now on refuses these networks, which the cluster told, in place of those that it told before.
    pub fn learn(&self, networks: Vec<IpNet>) {
        *self.learnt.write().unwrap_or_else(PoisonError::into_inner) = networks;
    }

    /// Whether an address is refused. An IPv4 address in IPv6's clothes is judged as IPv4.
    #[must_use]
    pub fn refuses(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let learnt = self.learnt.read().unwrap_or_else(PoisonError::into_inner);
        (self.own_machine && never_a_vm(address))
            || self.networks.iter().chain(learnt.iter()).any(|network| network.contains(&address))
    }
}

fn never_a_vm(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            // 0.0.0.0/8 is "this host" to Linux.
            v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.octets().first() == Some(&0)
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
                || embedded(v6).is_some_and(|v4| never_a_vm(IpAddr::V4(v4)))
        }
    }
}

/// The IPv4 address that NAT64's well-known prefix (64:ff9b::/96) leads to.
fn embedded(address: Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    match address.octets() {
        [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => Some([a, b, c, d].into()),
        _ => None,
    }
}

/// The addresses of a host name or literal, at least one, in the order in which they are to be tried.
pub(super) async fn resolve(host: &str, port: u16, deadline: Duration) -> Result<Vec<IpAddr>, Failure> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let unresolved = |why: &str| {
        Failure::new(
            SshReason::HostUnresolvable,
            format!("The name {host} {why}. Check ssh.host and the cluster's DNS."),
        )
    };
    match tokio::time::timeout(deadline, tokio::net::lookup_host((host, port))).await {
        Err(_) => Err(unresolved(&format!("was not resolved within {} s", deadline.as_secs()))),
        Ok(Err(_)) => Err(unresolved("does not resolve")),
        Ok(Ok(found)) => {
            let mut addresses = Vec::new();
            for address in found.map(|address| address.ip().to_canonical()) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            if addresses.is_empty() { Err(unresolved("has no address")) } else { Ok(addresses) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_vm_is_refused_in_every_notation() {
        let policy = AddressPolicy::refusing(vec!["10.96.0.0/16".parse().unwrap()]);
        for refused in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.96.0.1",
            "64:ff9b::7f00:1",
            "10.96.0.1",
        ] {
            assert!(policy.refuses(refused.parse().unwrap()), "{refused} was let through");
        }
        for fine in ["192.168.1.100", "10.0.0.5", "198.18.3.3", "fd00::5", "2001:db8::1", "::ffff:192.168.1.1"] {
            assert!(!policy.refuses(fine.parse().unwrap()), "{fine} was refused");
        }
    }

    #[test]
    fn what_the_cluster_told_last_is_refused_with_what_the_settings_name() {
        let policy = AddressPolicy::refusing(vec!["10.96.0.0/16".parse().unwrap()]);
        let shared = policy.clone();
        policy.learn(vec!["10.244.0.0/24".parse().unwrap()]);
        policy.learn(vec!["10.244.1.0/24".parse().unwrap()]);
        let refused = |address: &str| shared.refuses(address.parse().unwrap());
        assert_eq!([refused("10.96.0.1"), refused("10.244.0.1"), refused("10.244.1.1")], [true, false, true]);
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_unresolvable() {
        let failure = resolve("no-such-host.invalid", 22, Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(failure.reason, SshReason::HostUnresolvable);
    }
}
