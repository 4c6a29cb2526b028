//! A lab's addresses and names: all of them follow from the lab's name and its number N, which no two labs share.

use std::net::{IpAddr, Ipv4Addr};

/// Where a lab lives: a bridge in the host's network namespace, 198.18.N.0/24 on it, and a namespace each for the node and the dev-VM.
///
/// 198.18.0.0/15 is set aside for benchmarks of network devices, so no machine's own network has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    number: u8,
    /// The bridge's interface name in the host's namespace.
    pub bridge: String,
    /// The host's address on the bridge, 198.18.N.1.
    pub host: IpAddr,
    /// The node's address, 198.18.N.2; the API server listens on its port 6443, the ingress on 80 and 443.
    pub node: IpAddr,
    /// The dev-VM's address, 198.18.N.3.
    pub vm: IpAddr,
    /// Length of the subnet's prefix, 24.
    pub prefix: u8,
    /// The node's network namespace, as `ip netns` calls it.
    pub node_netns: String,
    /// The dev-VM's network namespace, as `ip netns` calls it.
    pub vm_netns: String,
    /// The host's end of the node's link; a port of the bridge.
    pub node_link: String,
    /// The host's end of the dev-VM's link; a port of the bridge.
    pub vm_link: String,
}

impl Network {
    /// The network of the lab `name` with number `number`.
    #[must_use]
    pub fn new(name: &str, number: u8) -> Network {
        let address = |last| address(number, last);
        Network {
            number,
            // Interface names have 15 characters at most, so they carry the number rather than the name.
            bridge: format!("catlab{number}"),
            host: address(1),
            node: address(2),
            vm: address(3),
            prefix: 24,
            node_netns: format!("catalyst-{name}-node"),
            vm_netns: format!("catalyst-{name}-vm"),
            node_link: format!("catlab{number}n"),
            vm_link: format!("catlab{number}v"),
        }
    }

    /// N of 198.18.N.0/24.
    #[must_use]
    pub fn number(&self) -> u8 {
        self.number
    }

    /// The address of a further VM, from 198.18.N.4 on.
    pub(crate) fn further_vm(&self, number: u8) -> IpAddr {
        address(self.number, number.saturating_add(3))
    }
}

fn address(number: u8, last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(198, 18, number, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_fit_the_kernels_limit_for_every_number() {
        let network = Network::new("a-name-of-twenty-chars", 255);
        // A further VM's link has a digit more than the lab's own.
        for name in [&network.bridge, &network.node_link, &format!("{}9", network.vm_link)] {
            assert!(name.len() <= 15, "{name}");
        }
        assert_eq!((network.vm, network.further_vm(1)), ([198, 18, 255, 3].into(), [198, 18, 255, 4].into()));
    }
}
