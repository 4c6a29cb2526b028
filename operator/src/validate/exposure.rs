//! How browsers come in and what else may: public URL, Service, Ingress, NetworkPolicy.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::findings::Findings;
use super::text;
use crate::crd::{CatalystInstanceSpec, IngressSpec, IngressTlsSpec, IssuerKind, NetworkPolicySpec, ServiceSpec};
use crate::names::InstanceName;
use crate::observed::IngressClass;
use crate::reason::Reason;
use crate::validated::{Host, Ingress, IngressTls, Policy, PublicUrl, Service};

const DEFAULT_INGRESS_CLASS: &str = "nginx";
const DEFAULT_INGRESS_NAMESPACE: &str = "ingress-nginx";

pub(super) fn service(spec: Option<&ServiceSpec>, findings: &mut Findings) -> Option<Service> {
    let unset = ServiceSpec::default();
    let spec = spec.unwrap_or(&unset);
    let port = match u16::try_from(spec.port.unwrap_or(80)) {
        Ok(port) if port != 0 => Some(port),
        _ => findings.invalid("service.port", "must be a port from 1 to 65535"),
    };
    let annotations = annotations(spec.annotations.as_ref(), "service.annotations", findings);
    Some(Service { type_: spec.type_.unwrap_or_default(), port: port?, annotations: annotations? })
}

/// `Some(None)`: none is wanted. `None`: something stops it.
pub(super) fn ingress(
    spec: Option<&IngressSpec>,
    name: &InstanceName,
    findings: &mut Findings,
) -> Option<Option<Ingress>> {
    let Some(spec) = spec else { return Some(None) };
    match (spec.enabled, &spec.host) {
        (Some(false), _) | (None, None) => return Some(None),
        (Some(true), None) => return findings.invalid("ingress.host", "is required when ingress.enabled is true"),
        (_, Some(_)) => {}
    }
    let host = spec.host.clone().unwrap_or_default();
    let host = if text::is_dns_subdomain(&host) && host.parse::<IpAddr>().is_err() {
        Some(host)
    } else {
        findings.invalid(
            "ingress.host",
            "must be a host name in lower case, without scheme, port or path, and no IP address, such as catalyst.example.com",
        )
    };
    let class = spec.class_name.as_deref().unwrap_or(DEFAULT_INGRESS_CLASS);
    let class = if text::is_dns_subdomain(class) {
        Some(class.to_owned())
    } else {
        findings.invalid("ingress.className", "must be the name of an IngressClass, such as nginx")
    };
    let annotations = annotations(spec.annotations.as_ref(), "ingress.annotations", findings);
    let tls = match &spec.tls {
        None => Some(None),
        Some(tls) => ingress_tls(tls, name, findings).map(Some),
    };
    Some(Some(Ingress {
        class: class?,
        host: host?,
        annotations: annotations?,
        tls: tls?,
        snippet: spec.configuration_snippet.unwrap_or(false),
    }))
}

fn ingress_tls(spec: &IngressTlsSpec, name: &InstanceName, findings: &mut Findings) -> Option<IngressTls> {
    if spec.secret_name.is_none() && spec.issuer.is_none() {
        return findings.invalid(
            "ingress.tls",
            "needs secretName (a Secret with tls.crt and tls.key) or issuer (cert-manager makes it)",
        );
    }
    let secret = spec.secret_name.clone().unwrap_or_else(|| name.tls());
    if !text::is_dns_subdomain(&secret) {
        return findings.invalid("ingress.tls.secretName", "must be the name of a Secret");
    }
    let issuer = match &spec.issuer {
        None => None,
        Some(issuer) if !text::is_dns_subdomain(&issuer.name) => {
            return findings.invalid("ingress.tls.issuer.name", "must be the name of an Issuer or ClusterIssuer");
        }
        Some(issuer) => Some(match issuer.kind.unwrap_or_default() {
            IssuerKind::Issuer => ("cert-manager.io/issuer", issuer.name.clone()),
            IssuerKind::ClusterIssuer => ("cert-manager.io/cluster-issuer", issuer.name.clone()),
        }),
    };
    Some(IngressTls { secret, issuer })
}

/// What the cluster says about an Ingress that is fine in itself. It is built all the same: a class may come later.
pub(super) fn advise_on_ingress(ingress: &Ingress, classes: Option<&[IngressClass]>, findings: &mut Findings) {
    if let Some(classes) = classes.filter(|classes| !classes.iter().any(|class| class.name == ingress.class)) {
        let there: Vec<&str> = classes.iter().map(|class| class.name.as_str()).collect();
        let there = if there.is_empty() {
            "The cluster has none: install an ingress controller.".to_owned()
        } else {
            format!("Set ingress.className to one that exists: {}.", there.join(", "))
        };
        findings.advise(
            Reason::IngressClassMissing,
            Some("ingress.className"),
            format!("There is no IngressClass {}. {there}", ingress.class),
        );
    }
}

/// `found`: whether the Secret with the certificate exists; `None`: it was not looked at.
pub(super) fn advise_on_tls(tls: &IngressTls, found: Option<bool>, namespace: &str, findings: &mut Findings) {
    if found != Some(false) {
        return;
    }
    let (secret, field) = (&tls.secret, Some("ingress.tls"));
    match &tls.issuer {
        None => findings.advise(
            Reason::TlsSecretMissing,
            field,
            format!(
                "Secret {secret}, which ingress.tls.secretName names, does not exist, so browsers will not trust the app. Create \
                 it: kubectl create secret tls {secret} -n {namespace} --cert=FILE --key=FILE"
            ),
        ),
        Some((_, issuer)) => findings.advise(
            Reason::CertificatePending,
            field,
            format!(
                "cert-manager has not made Secret {secret} by issuer {issuer} yet. What it waits for: kubectl describe \
                 certificate,certificaterequest -n {namespace}"
            ),
        ),
    }
}

/// `Some(None)`: only by port-forward. `None`: something stops it.
pub(super) fn public_url(
    spec: &CatalystInstanceSpec,
    ingress: Option<&Ingress>,
    findings: &mut Findings,
) -> Option<Option<PublicUrl>> {
    match (&spec.public_url, ingress) {
        (Some(url), _) => match text::public_url(url) {
            Some(url) => Some(Some(url)),
            None => findings.invalid(
                "publicUrl",
                "must be http:// or https://, a host and optionally a port, without path, user or query, such as https://catalyst.example.com",
            ),
        },
        (None, Some(ingress)) => {
            Some(Some(PublicUrl { https: ingress.tls.is_some(), host: ingress.host.clone(), port: None }))
        }
        (None, None) => Some(None),
    }
}

/// `Some(None)`: none is wanted. `None`: something stops it.
pub(super) fn network_policy(
    spec: Option<&NetworkPolicySpec>,
    host: Option<&Host>,
    host_addresses: &[IpAddr],
    findings: &mut Findings,
) -> Option<Option<Policy>> {
    let unset = NetworkPolicySpec::default();
    let spec = spec.unwrap_or(&unset);
    if spec.enabled == Some(false) {
        return Some(None);
    }
    let namespace = spec.ingress_namespace.as_deref().unwrap_or(DEFAULT_INGRESS_NAMESPACE);
    let ingress_namespace = if text::is_dns_label(namespace) {
        Some(namespace.to_owned())
    } else {
        findings.invalid("networkPolicy.ingressNamespace", "must be the name of a namespace, such as ingress-nginx")
    };
    let ingress_cidrs = cidrs(spec.ingress_cidrs.as_deref(), "networkPolicy.ingressCidrs", findings);
    let dns_cidrs = cidrs(spec.dns_cidrs.as_deref(), "networkPolicy.dnsCidrs", findings);
    let ssh_cidrs = match &spec.ssh_egress_cidr {
        Some(given) => cidrs(Some(std::slice::from_ref(given)), "networkPolicy.sshEgressCidr", findings),
        None => host.map(default_ssh_cidrs),
    };
    let (Some(ssh_cidrs), Some(host)) = (ssh_cidrs, host) else { return None };
    if spec.ssh_egress_cidr.is_some() {
        refuse_excluded_host(&ssh_cidrs, host, host_addresses, findings)?;
    } else if let Host::Name(name) = host {
        findings.advise(
            Reason::PermissiveEgress,
            Some("networkPolicy.sshEgressCidr"),
            format!(
                "ssh.host is the name {name}, so the NetworkPolicy allows SSH to every address. Set networkPolicy.sshEgressCidr to \
                 the VM's address, such as 192.168.1.100/32."
            ),
        );
    }
    Some(Some(Policy {
        ingress_namespace: ingress_namespace?,
        ingress_cidrs: ingress_cidrs?,
        ssh_cidrs,
        dns_cidrs: dns_cidrs?,
    }))
}

fn default_ssh_cidrs(host: &Host) -> Vec<IpNet> {
    match host {
        Host::Address(address) => vec![IpNet::from(*address)],
        Host::Name(_) => ["0.0.0.0/0", "::/0"].iter().filter_map(|range| text::cidr(range)).collect(),
    }
}

/// A range that shuts the VM out can only be a mistake. A name may resolve to several addresses: one inside is enough.
fn refuse_excluded_host(allowed: &[IpNet], host: &Host, resolved: &[IpAddr], findings: &mut Findings) -> Option<()> {
    let addresses = match host {
        Host::Address(address) => std::slice::from_ref(address),
        Host::Name(_) => resolved,
    };
    let contained = |address: &IpAddr| allowed.iter().any(|range| range.contains(address));
    if addresses.is_empty() || addresses.iter().any(contained) {
        return Some(());
    }
    let shown: Vec<String> = addresses.iter().take(3).map(IpAddr::to_string).collect();
    let ranges: Vec<String> = allowed.iter().map(IpNet::to_string).collect();
    findings.stop(
        Reason::EgressCidrExcludesHost,
        Some("networkPolicy.sshEgressCidr"),
        format!(
            "networkPolicy.sshEgressCidr {} does not contain the VM's address {}, so the pods could not reach it. Widen it, or \
             remove it to allow the address in ssh.host alone.",
            ranges.join(", "),
            shown.join(", ")
        ),
    )
}

pub(super) fn cidrs(given: Option<&[String]>, field: &str, findings: &mut Findings) -> Option<Vec<IpNet>> {
    let mut ranges = Vec::new();
    for range in given.unwrap_or_default() {
        match text::cidr(range) {
            Some(range) => ranges.push(range),
            None => {
                return findings.invalid(
                    field,
                    format_args!("holds {range:?}, which is no address range in CIDR form, such as 192.168.1.0/24"),
                );
            }
        }
    }
    Some(ranges)
}

/// Annotations of the user, kept only if the API server would take them.
pub(super) fn annotations(
    given: Option<&BTreeMap<String, String>>,
    field: &str,
    findings: &mut Findings,
) -> Option<BTreeMap<String, String>> {
    let given = given.cloned().unwrap_or_default();
    match given.keys().find(|key| !text::is_qualified_name(key)) {
        Some(key) => findings.invalid(field, format_args!("has the key {key:?}, which is no annotation's name")),
        None => Some(given),
    }
}
