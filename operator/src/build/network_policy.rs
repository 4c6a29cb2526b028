//! NetworkPolicy `NAME-policy`: in from the ingress controller to the web port only; out to DNS and to the VM's SSH only.

use std::collections::BTreeMap;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{metadata, selector};
use crate::container::HTTP_PORT;
use crate::validated::{Policy, ValidatedInstance};

const DNS_PORT: u16 = 53;

pub(super) fn build(instance: &ValidatedInstance, policy: &Policy) -> NetworkPolicy {
    let ingress_peers =
        std::iter::once(namespace(&policy.ingress_namespace)).chain(policy.ingress_cidrs.iter().map(block)).collect();
    let dns_peers = std::iter::once(any_namespace()).chain(policy.dns_cidrs.iter().map(block)).collect();
    let ssh_peers = policy.ssh_cidrs.iter().map(block).collect();
    NetworkPolicy {
        metadata: metadata(instance, instance.name.policy()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(selector(&instance.name)),
                ..LabelSelector::default()
            }),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: Some(ingress_peers),
                ports: Some(vec![port("TCP", HTTP_PORT)]),
            }]),
            egress: Some(vec![
                NetworkPolicyEgressRule {
                    to: Some(dns_peers),
                    ports: Some(vec![port("UDP", DNS_PORT), port("TCP", DNS_PORT)]),
                },
                NetworkPolicyEgressRule { to: Some(ssh_peers), ports: Some(vec![port("TCP", instance.ssh.port)]) },
            ]),
        }),
    }
}

fn namespace(name: &str) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some(BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), name.to_owned())])),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn any_namespace() -> NetworkPolicyPeer {
    NetworkPolicyPeer { namespace_selector: Some(LabelSelector::default()), ..NetworkPolicyPeer::default() }
}

fn block(range: &IpNet) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: range.to_string(), except: None }),
        ..NetworkPolicyPeer::default()
    }
}

fn port(protocol: &str, port: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(i32::from(port))),
        end_port: None,
    }
}
