//! Raw spec and what was fetched → [`ValidatedInstance`], or what is wrong. Pure; never panics.
//!
//! Everything that the API server's schema checks is checked here again: an object may have been stored under an older
//! schema. All findings are collected, so that a person corrects them in one go.

mod advice;
mod bounds;
mod exposure;
mod findings;
mod image;
mod network_policy;
mod placement;
mod quantity;
mod secrets;
mod ssh;
mod text;
mod workload;

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod tests;

use kube::Resource as _;

use crate::crd::CatalystInstance;
use crate::names::InstanceName;
use crate::observed::{Fetched, Ownership, RouteView};
use crate::reason::Reason;
pub use crate::validated::{Defaults, Finding, ValidatedInstance};
use findings::Findings;
pub(crate) use secrets::problem as secret_problem;

/// What the name of a namespace is made of.
pub const NAMESPACES: &str = "at most 63 small letters, digits and -, a letter or digit first and last";

/// Whether a namespace can have this name.
#[must_use]
pub fn is_namespace(name: &str) -> bool {
    text::is_dns_label(name)
}

/// Validates one instance. `Err` holds at least one finding, the order that of the spec; nothing may be changed in the
/// cluster then.
///
/// # Errors
/// The findings, each with the field and the remedy.
pub fn validate(
    instance: &CatalystInstance,
    fetched: &Fetched,
    defaults: &Defaults,
) -> Result<ValidatedInstance, Vec<Finding>> {
    let mut findings = Findings::default();
    let valid = validate_into(instance, fetched, defaults, &mut findings);
    bounds::check(&instance.spec, &mut findings);
    match valid {
        Some(mut valid) if findings.stopping.is_empty() => {
            valid.advice = findings.advice;
            Ok(valid)
        }
        _ => Err(findings.stopping),
    }
}

/// Invariant: `None` only after a finding that stops. Bounds are not looked at: `Some` may hold what is out of them.
fn validate_into(
    instance: &CatalystInstance,
    fetched: &Fetched,
    defaults: &Defaults,
    findings: &mut Findings,
) -> Option<ValidatedInstance> {
    let spec = &instance.spec;
    let written_name = instance.metadata.name.as_deref().unwrap_or_default();
    let Some(name) = InstanceName::parse(written_name) else {
        return findings.invalid(
            "metadata.name",
            "must be at most 52 characters of a-z, 0-9 and '-', begin with a letter and end with a letter or digit",
        );
    };
    let (Some(namespace), Some(owner)) = (instance.metadata.namespace.clone(), instance.controller_owner_ref(&()))
    else {
        return findings.invalid("metadata", "has no namespace or no uid: the object does not come from an API server");
    };
    let recorded = instance.status.as_ref().map(|status| status.host_keys.as_slice()).unwrap_or_default();
    let ssh = ssh::validate(&spec.ssh, recorded, &fetched.ssh_key, &name, &namespace, findings);
    let image = image::validate(spec.image.as_ref(), defaults, findings);
    let app_secret = secrets::validate(spec.secrets.as_ref(), &fetched.app_secret, &name, &namespace, findings);
    let service = exposure::service(spec.service.as_ref(), findings);
    let ingress = exposure::ingress(spec.ingress.as_ref(), &name, findings);
    let wanted_ingress = ingress.as_ref().and_then(Option::as_ref);
    let gateway = exposure::gateway(spec.gateway.as_ref(), wanted_ingress, findings);
    let wanted_gateway = gateway.as_ref().and_then(Option::as_ref);
    let public_url = exposure::public_url(spec, wanted_ingress, wanted_gateway, findings);
    let trusted_proxies = exposure::cidrs(spec.trusted_proxies.as_deref(), "trustedProxies", findings);
    let identity_header = exposure::identity_header(spec, findings);
    let first_hop = match &spec.ssh.jump {
        Some(jump) => text::host(&jump.host),
        None => text::host(&spec.ssh.host),
    };
    let around = network_policy::Around {
        first_hop: first_hop.as_ref(),
        through_jump: spec.ssh.jump.is_some(),
        // Those of ssh.host: what the jump host's name resolves to nobody has looked at.
        addresses: if spec.ssh.jump.is_some() { &[] } else { &fetched.host_addresses },
        gateway: wanted_gateway,
        namespace: &namespace,
    };
    let network_policy = network_policy::validate(spec.network_policy.as_ref(), &around, findings);
    let resources = workload::resources(spec.resources.as_ref(), findings);
    let liveness =
        workload::probe(spec.liveness_probe.as_ref(), "livenessProbe", workload::default_liveness(), findings);
    let readiness =
        workload::probe(spec.readiness_probe.as_ref(), "readinessProbe", workload::default_readiness(), findings);
    let pod = workload::pod(spec, &name, findings);
    let suspended = spec.suspend.unwrap_or(false);
    let valid = ValidatedInstance {
        namespace,
        owner,
        image: image?,
        replicas: if suspended { 0 } else { spec.replicas },
        suspended,
        ssh: ssh?,
        app_secret: app_secret?,
        public_url: public_url?,
        trusted_proxies: trusted_proxies?,
        identity_header: identity_header?,
        service: service?,
        ingress: ingress?,
        gateway: gateway?,
        network_policy: network_policy?,
        resources: resources?,
        liveness: liveness?,
        readiness: readiness?,
        pod: pod?,
        advice: Vec::new(),
        name,
    };
    refuse_foreign_children(&valid, fetched, findings);
    if let (Some(_), Some(false)) = (&valid.gateway, fetched.gateway_api) {
        findings.advise(
            Reason::GatewayApiMissing,
            Some("gateway"),
            format!(
                "The cluster has no HTTPRoute, so nothing leads to the app. {}",
                Reason::GatewayApiMissing.remedy()
            ),
        );
    }
    if let (Some(gateway), Some(true)) = (&valid.gateway, fetched.gateway_api) {
        // Of one that is only made now no Gateway has spoken either.
        let route = fetched.route.as_ref().unwrap_or(&RouteView::Unheard);
        advice::on_route(&valid.name, gateway, route, findings);
    }
    advice::on_plain_http(&valid, findings);
    advice::on_service(&valid, findings);
    if let Some(ingress) = &valid.ingress {
        if let Some(other) = &fetched.host_taken_by {
            findings.advise(
                Reason::HostConflict,
                Some("ingress.host"),
                format!("Ingress {other} has the host {} already. {}", ingress.host, Reason::HostConflict.remedy()),
            );
        }
        advice::on_class(ingress, fetched.ingress_classes.as_deref(), findings);
        advice::on_web_sockets(ingress, &valid.name, findings);
        if let Some(tls) = &ingress.tls {
            advice::on_tls(tls, fetched.tls_secret, &valid.namespace, findings);
        }
    }
    Some(valid)
}

/// An object of somebody else with a name that we need is never seized.
fn refuse_foreign_children(valid: &ValidatedInstance, fetched: &Fetched, findings: &mut Findings) {
    let mut needed: Vec<(&str, String)> = vec![
        ("Deployment", valid.name.to_string()),
        ("Service", valid.name.to_string()),
        ("ConfigMap", valid.name.config()),
        ("ConfigMap", valid.name.known_hosts()),
    ];
    if valid.ingress.is_some() {
        needed.push(("Ingress", valid.name.to_string()));
    }
    if valid.gateway.is_some() {
        needed.push(("HTTPRoute", valid.name.to_string()));
    }
    if valid.is_redundant() {
        needed.push(("PodDisruptionBudget", valid.name.to_string()));
    }
    if valid.network_policy.is_some() {
        needed.push(("NetworkPolicy", valid.name.policy()));
    }
    for child in &fetched.children {
        let Ownership::Foreign(controller) = &child.owner else { continue };
        if !needed.iter().any(|(kind, name)| *kind == child.kind && *name == child.name) {
            continue;
        }
        if child.owner.is_predecessors(valid.name.as_str()) {
            findings.predecessors::<()>(&child.kind, &child.name);
            continue;
        }
        let whose = match controller {
            Some(controller) => format!("belongs to {controller}"),
            None => "was not made for this instance".to_owned(),
        };
        findings.stop::<()>(
            Reason::NameConflict,
            None,
            format!(
                "{} {} exists and {whose}; it is left as it is. Remove it, or give the instance another name.",
                child.kind, child.name
            ),
        );
    }
}
