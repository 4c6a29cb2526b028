//! What may reach the pods and what they may reach.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::exposure::cidrs;
use super::findings::Findings;
use super::text;
use crate::crd::{EgressSpec, NetworkPolicySpec};
use crate::reason::Reason;
use crate::validated::{Egress, Gateway, Host, Policy};

/// The shortest prefix of a range of SSH that is not called permissive; the admission policy in config/ holds to the same.
const NARROW_ENOUGH: u8 = 8;
const DEFAULT_INGRESS_NAMESPACE: &str = "ingress-nginx";

/// What the policy depends on beside its own part of the spec.
pub(super) struct Around<'a> {
    /// The host that SSH connects to, if it is valid.
    pub(super) first_hop: Option<&'a Host>,
    /// Whether that is the jump host.
    pub(super) through_jump: bool,
    /// What it resolved to.
    pub(super) addresses: &'a [IpAddr],
    /// The route, if one is wanted.
    pub(super) gateway: Option<&'a Gateway>,
    /// The instance's namespace.
    pub(super) namespace: &'a str,
}

/// `Some(None)`: none is wanted. `None`: something stops it. Of one that is switched off only the form counts.
pub(super) fn validate(
    spec: Option<&NetworkPolicySpec>,
    around: &Around<'_>,
    findings: &mut Findings,
) -> Option<Option<Policy>> {
    let unset = NetworkPolicySpec::default();
    let spec = spec.unwrap_or(&unset);
    let ingress_namespaces = ingress_namespaces(spec, around, findings);
    let ingress_pod_labels = pod_labels(spec.ingress_pod_labels.as_ref(), findings);
    let metrics_namespaces =
        namespaces(spec.metrics_namespaces.as_deref(), "networkPolicy.metricsNamespaces", findings);
    let ingress_cidrs = cidrs(spec.ingress_cidrs.as_deref(), "networkPolicy.ingressCidrs", findings);
    let dns_cidrs = cidrs(spec.dns_cidrs.as_deref(), "networkPolicy.dnsCidrs", findings);
    let extra_egress = extra_egress(spec.extra_egress.as_deref().unwrap_or_default(), findings);
    let ssh_egress = match &spec.ssh_egress_cidr {
        Some(range) => cidrs(Some(std::slice::from_ref(range)), "networkPolicy.sshEgressCidr", findings).map(Some),
        None => Some(None),
    };
    if spec.enabled == Some(false) {
        return Some(None);
    }
    let ssh_cidrs = ssh_cidrs(ssh_egress?, around, findings);
    Some(Some(Policy {
        ingress_namespaces: ingress_namespaces?,
        ingress_pod_labels: ingress_pod_labels?,
        metrics_namespaces: metrics_namespaces?,
        ingress_cidrs: ingress_cidrs?,
        ssh_cidrs: ssh_cidrs?,
        dns_cidrs: dns_cidrs?,
        extra_egress: extra_egress?,
    }))
}

/// Those given; else those of the Gateways; else the usual one.
fn ingress_namespaces(spec: &NetworkPolicySpec, around: &Around<'_>, findings: &mut Findings) -> Option<Vec<String>> {
    if let Some(namespace) = spec.ingress_namespace.as_deref().filter(|namespace| !text::is_dns_label(namespace)) {
        return findings.invalid(
            "networkPolicy.ingressNamespace",
            format_args!("is {namespace:?}; it must be the name of a namespace, such as ingress-nginx"),
        );
    }
    let mut all: Vec<String> = spec.ingress_namespace.iter().cloned().collect();
    all.extend(namespaces(spec.ingress_namespaces.as_deref(), "networkPolicy.ingressNamespaces", findings)?);
    if spec.ingress_namespace.is_none() && spec.ingress_namespaces.is_none() {
        match around.gateway {
            Some(gateway) => all.extend(
                gateway.parents.iter().map(|parent| parent.namespace.as_deref().unwrap_or(around.namespace).to_owned()),
            ),
            None => all.push(DEFAULT_INGRESS_NAMESPACE.to_owned()),
        }
    }
    let mut once: Vec<String> = Vec::with_capacity(all.len());
    for namespace in all {
        if !once.contains(&namespace) {
            once.push(namespace);
        }
    }
    Some(once)
}

fn namespaces(given: Option<&[String]>, field: &str, findings: &mut Findings) -> Option<Vec<String>> {
    let given = given.unwrap_or_default();
    match given.iter().find(|namespace| !text::is_dns_label(namespace)) {
        Some(namespace) => {
            findings.invalid(field, format_args!("holds {namespace:?}, which is no name of a namespace"))
        }
        None => Some(given.to_vec()),
    }
}

fn pod_labels(given: Option<&BTreeMap<String, String>>, findings: &mut Findings) -> Option<BTreeMap<String, String>> {
    let given = given.cloned().unwrap_or_default();
    match given.iter().find(|(key, value)| !text::is_qualified_name(key) || !text::is_label_value(value)) {
        Some((key, value)) => findings
            .invalid("networkPolicy.ingressPodLabels", format_args!("has {key:?}: {value:?}, which is no label")),
        None => Some(given),
    }
}

fn ssh_cidrs(given: Option<Vec<IpNet>>, around: &Around<'_>, findings: &mut Findings) -> Option<Vec<IpNet>> {
    // Without a valid host there is a finding about that already.
    let host = around.first_hop?;
    let field = if around.through_jump { "ssh.jump.host" } else { "ssh.host" };
    if let Some(given) = given {
        refuse_excluded_host(&given, host, around, findings)?;
        if let Some(wide) = given.iter().find(|range| range.prefix_len() < NARROW_ENOUGH) {
            findings.advise(
                Reason::PermissiveEgress,
                Some("networkPolicy.sshEgressCidr"),
                format!(
                    "networkPolicy.sshEgressCidr {wide} allows SSH to a large part of all addresses. Set it to the address behind \
                     {field}, such as 192.168.1.100/32."
                ),
            );
        }
        return Some(given);
    }
    match host {
        Host::Address(address) => Some(vec![IpNet::from(*address)]),
        Host::Name(name) => {
            findings.advise(
                Reason::PermissiveEgress,
                Some("networkPolicy.sshEgressCidr"),
                format!(
                    "{field} is the name {name}, so the NetworkPolicy allows SSH to every address. Set \
                     networkPolicy.sshEgressCidr to the address behind it, such as 192.168.1.100/32."
                ),
            );
            Some(["0.0.0.0/0", "::/0"].iter().filter_map(|range| text::cidr(range)).collect())
        }
    }
}

/// A range that shuts the VM out can only be a mistake. A name may resolve to several addresses: one inside is enough.
fn refuse_excluded_host(allowed: &[IpNet], host: &Host, around: &Around<'_>, findings: &mut Findings) -> Option<()> {
    let addresses = match host {
        Host::Address(address) => std::slice::from_ref(address),
        Host::Name(_) => around.addresses,
    };
    let contained = |address: &IpAddr| allowed.iter().any(|range| range.contains(address));
    if addresses.is_empty() || addresses.iter().any(contained) {
        return Some(());
    }
    let shown: Vec<String> = addresses.iter().take(3).map(IpAddr::to_string).collect();
    let ranges: Vec<String> = allowed.iter().map(IpNet::to_string).collect();
    let (whose, field) =
        if around.through_jump { ("the jump host's", "ssh.jump.host") } else { ("the VM's", "ssh.host") };
    findings.stop(
        Reason::EgressCidrExcludesHost,
        Some("networkPolicy.sshEgressCidr"),
        format!(
            "networkPolicy.sshEgressCidr {} does not contain {whose} address {}, so the pods could not reach it. Widen it, or \
             remove it to allow the address in {field} alone.",
            ranges.join(", "),
            shown.join(", ")
        ),
    )
}

fn extra_egress(given: &[EgressSpec], findings: &mut Findings) -> Option<Vec<Egress>> {
    let mut all = Vec::with_capacity(given.len());
    for egress in given {
        let field = "networkPolicy.extraEgress[].cidr";
        let Some(cidr) = text::cidr(&egress.cidr) else {
            return findings.invalid(
                field,
                format_args!("is {:?}, which is no range in CIDR form, such as 10.0.0.0/8", egress.cidr),
            );
        };
        let port = match egress.port.map(u16::try_from) {
            None if egress.protocol.is_some() => {
                return findings.invalid("networkPolicy.extraEgress[].port", "is required with protocol");
            }
            None => None,
            Some(Ok(port)) if port != 0 => Some((egress.protocol.unwrap_or_default(), port)),
            Some(_) => {
                return findings.invalid("networkPolicy.extraEgress[].port", "must be a port from 1 to 65535");
            }
        };
        all.push(Egress { cidr, port });
    }
    Some(all)
}
