//! How browsers come in: public URL, Service, Ingress, or a route of the Gateway API.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::findings::Findings;
use super::text;
use crate::crd::{
    CatalystInstanceSpec, GatewaySpec, IngressSpec, IngressTlsSpec, IssuerKind, ParentRefSpec, ServiceSpec,
};
use crate::names::{InstanceName, ingress_class};
use crate::validated::{Gateway, Ingress, IngressTls, Parent, PublicUrl, Service};

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

/// `Some(None)`: none is wanted. `None`: something stops it, be it in one that is switched off.
pub(super) fn ingress(
    spec: Option<&IngressSpec>,
    name: &InstanceName,
    findings: &mut Findings,
) -> Option<Option<Ingress>> {
    let Some(spec) = spec else { return Some(None) };
    let host = match &spec.host {
        Some(host) if text::is_dns_subdomain(host) && host.parse::<IpAddr>().is_err() => Some(Some(host.clone())),
        Some(_) => findings.invalid(
            "ingress.host",
            "must be a host name in lower case, without scheme, port or path, and no IP address, such as catalyst.example.com",
        ),
        None if spec.enabled == Some(true) => {
            findings.invalid("ingress.host", "is required when ingress.enabled is true")
        }
        None if spec.tls.is_some() => findings.invalid("ingress.host", "is required when ingress.tls is set"),
        None => Some(None),
    };
    let class = ingress_class(spec);
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
    let (class, host, annotations, tls) = (class?, host?, annotations?, tls?);
    let snippet = spec.configuration_snippet.unwrap_or(false);
    let wanted = host.filter(|_| spec.enabled != Some(false));
    Some(wanted.map(|host| Ingress { class, host, annotations, tls, snippet }))
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

/// `Some(None)`: only by port-forward. `None`: something stops it.
pub(super) fn public_url(
    spec: &CatalystInstanceSpec,
    ingress: Option<&Ingress>,
    gateway: Option<&Gateway>,
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
        (None, None) => Some(gateway.and_then(|gateway| gateway.urls().next())),
    }
}

/// `Some(None)`: none is wanted. `None`: something stops it. Call it with the Ingress that is wanted.
pub(super) fn gateway(
    spec: Option<&GatewaySpec>,
    ingress: Option<&Ingress>,
    findings: &mut Findings,
) -> Option<Option<Gateway>> {
    let Some(spec) = spec else { return Some(None) };
    if ingress.is_some() {
        return findings.invalid(
            "gateway",
            "and ingress are two ways in that exclude each other: remove one, or set ingress.enabled to false",
        );
    }
    let fits = |name: &String| text::is_dns_subdomain(name) && name.parse::<IpAddr>().is_err();
    let hostnames = if spec.hostnames.iter().all(fits) {
        Some(spec.hostnames.clone())
    } else {
        findings.invalid(
            "gateway.hostnames",
            "must be host names in lower case, without scheme, port, path or *, such as catalyst.example.com",
        )
    };
    let mut parents = Vec::new();
    for reference in &spec.parent_refs {
        parents.push(parent(reference, findings)?);
    }
    let annotations = annotations(spec.annotations.as_ref(), "gateway.annotations", findings);
    Some(Some(Gateway { parents, hostnames: hostnames?, https: spec.tls.unwrap_or(true), annotations: annotations? }))
}

fn parent(spec: &ParentRefSpec, findings: &mut Findings) -> Option<Parent> {
    if !text::is_dns_subdomain(&spec.name) {
        return findings.invalid("gateway.parentRefs[].name", "must be the name of a Gateway");
    }
    if spec.namespace.as_deref().is_some_and(|namespace| !text::is_dns_label(namespace)) {
        return findings.invalid("gateway.parentRefs[].namespace", "must be the name of a namespace");
    }
    if spec.section_name.as_deref().is_some_and(|section| !text::is_dns_subdomain(section)) {
        return findings.invalid("gateway.parentRefs[].sectionName", "must be the name of a listener");
    }
    let port = match spec.port.map(u16::try_from) {
        None => None,
        Some(Ok(port)) if port != 0 => Some(port),
        Some(_) => return findings.invalid("gateway.parentRefs[].port", "must be a port from 1 to 65535"),
    };
    Some(Parent {
        name: spec.name.clone(),
        namespace: spec.namespace.clone(),
        section: spec.section_name.clone(),
        port,
    })
}

/// `Some(None)`: everybody signs in with the secret. `None`: something stops it.
pub(super) fn identity_header(spec: &CatalystInstanceSpec, findings: &mut Findings) -> Option<Option<String>> {
    let Some(header) = &spec.identity_header else { return Some(None) };
    let edge = |byte: u8| byte.is_ascii_alphanumeric();
    let fits = header.bytes().next().is_some_and(edge)
        && header.bytes().last().is_some_and(edge)
        && header.bytes().all(|byte| edge(byte) || byte == b'-');
    if !fits {
        return findings.invalid("identityHeader", "must be the name of a header, such as X-Forwarded-User");
    }
    let trusted = spec.trusted_proxies.as_deref().unwrap_or_default();
    if trusted.is_empty() {
        return findings
            .invalid("trustedProxies", "is required with identityHeader: the addresses of the proxy that sets it");
    }
    // Who is believed may name himself anybody, and has a shell on the VM.
    if trusted.iter().filter_map(|range| text::cidr(range)).any(|range| range.prefix_len() == 0) {
        return findings.invalid(
            "trustedProxies",
            "must not hold every address with identityHeader: whoever connects could name himself anybody; set it to the addresses of the proxy that sets the header",
        );
    }
    if spec.network_policy.as_ref().is_some_and(|policy| policy.enabled == Some(false)) {
        return findings.invalid(
            "identityHeader",
            "needs the NetworkPolicy: with networkPolicy.enabled: false every pod of the cluster could connect and name itself anybody; remove one of the two",
        );
    }
    Some(Some(header.clone()))
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
    match given.keys().find(|key| !text::is_qualified_name(&key.to_ascii_lowercase())) {
        Some(key) => findings.invalid(field, format_args!("has the key {key:?}, which is no annotation's name")),
        None => Some(given),
    }
}
