//! NetworkPolicy `NAME-policy`: in from the ingress controller to the web port only; out to DNS and to SSH on the VM (or its
//! jump host) only; and what the user adds.

use std::collections::BTreeMap;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{metadata, non_empty, selector};
use crate::container::{HTTP_PORT, METRICS_PORT};
use crate::validated::{Policy, ValidatedInstance};

const DNS_PORT: u16 = 53;

pub(super) fn build(instance: &ValidatedInstance, policy: &Policy) -> NetworkPolicy {
    NetworkPolicy {
        metadata: metadata(instance, instance.name.policy()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(selector(&instance.name)),
                ..LabelSelector::default()
            }),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(ingress(policy)).filter(|rules| !rules.is_empty()),
            egress: Some(egress(instance, policy)),
        }),
    }
}

fn ingress(policy: &Policy) -> Vec<NetworkPolicyIngressRule> {
    let controllers = policy.ingress_namespaces.iter().map(|name| namespace(name, &policy.ingress_pod_labels));
    let peers: Vec<NetworkPolicyPeer> = controllers.chain(policy.ingress_cidrs.iter().map(block)).collect();
    let mut rules = Vec::new();
    // A rule without peers would let in everybody; no rule lets in nobody.
    if !peers.is_empty() {
        rules.push(NetworkPolicyIngressRule { from: Some(peers), ports: Some(vec![port("TCP", HTTP_PORT)]) });
    }
    let readers: Vec<NetworkPolicyPeer> =
        policy.metrics_namespaces.iter().map(|name| namespace(name, &BTreeMap::new())).collect();
    if !readers.is_empty() {
        rules.push(NetworkPolicyIngressRule { from: Some(readers), ports: Some(vec![port("TCP", METRICS_PORT)]) });
    }
    rules
}

fn egress(instance: &ValidatedInstance, policy: &Policy) -> Vec<NetworkPolicyEgressRule> {
    let dns_peers = std::iter::once(any_namespace()).chain(policy.dns_cidrs.iter().map(block)).collect();
    let ssh_peers = policy.ssh_cidrs.iter().map(block).collect();
    let (_, ssh_port) = instance.ssh.first_hop();
    let mut rules = vec![
        NetworkPolicyEgressRule {
            to: Some(dns_peers),
            ports: Some(vec![port("UDP", DNS_PORT), port("TCP", DNS_PORT)]),
        },
        NetworkPolicyEgressRule { to: Some(ssh_peers), ports: Some(vec![port("TCP", ssh_port)]) },
    ];
    rules.extend(policy.extra_egress.iter().map(|extra| NetworkPolicyEgressRule {
        to: Some(vec![block(&extra.cidr)]),
        ports: extra.port.map(|(protocol, number)| vec![port(protocol.as_str(), number)]),
    }));
    rules
}

fn namespace(name: &str, pod_labels: &BTreeMap<String, String>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_labels: Some(BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), name.to_owned())])),
            ..LabelSelector::default()
        }),
        pod_selector: non_empty(pod_labels.clone())
            .map(|labels| LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }),
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
