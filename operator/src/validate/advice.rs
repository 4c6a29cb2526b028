//! What is to be said of an instance that can be built: what its way in suffers from. It is built all the same.

use super::findings::Findings;
use crate::crd::ServiceType;
use crate::names::InstanceName;
use crate::observed::{IngressClass, RouteView};
use crate::reason::Reason;
use crate::validated::{Gateway, Ingress, IngressTls, ValidatedInstance};

/// The server pings every 25 s at least; a deadline of nginx that is not well above cuts connections on which nothing else is said.
const SHORTEST_TIMEOUT: u64 = 60;

/// What the cluster says about an Ingress that is fine in itself. It is built all the same: a class may come later.
pub(super) fn on_class(ingress: &Ingress, classes: Option<&[IngressClass]>, findings: &mut Findings) {
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

/// What the Gateways say of the route. It is built all the same: a Gateway may come later.
pub(super) fn on_route(name: &InstanceName, gateway: &Gateway, route: &RouteView, findings: &mut Findings) {
    let message = match route {
        RouteView::Accepted => return,
        RouteView::Unheard => {
            let parents: Vec<&str> = gateway.parents.iter().map(|parent| parent.name.as_str()).collect();
            format!(
                "No controller has taken HTTPRoute {name} up yet. If it stays so, look whether Gateway {} exists and whether the controller of \
                 its class runs: kubectl get gateway -A",
                parents.join(", ")
            )
        }
        RouteView::Refused(words) => {
            format!(
                "HTTPRoute {name} is not accepted: {}. {}",
                words.trim_end_matches('.'),
                Reason::RouteNotAccepted.remedy()
            )
        }
    };
    findings.advise(Reason::RouteNotAccepted, Some("gateway"), message);
}

/// `found`: whether the Secret with the certificate exists; `None`: it was not looked at.
pub(super) fn on_tls(tls: &IngressTls, found: Option<bool>, namespace: &str, findings: &mut Findings) {
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
                 it: `kubectl create secret tls {secret} -n {namespace} --cert=FILE --key=FILE`."
            ),
        ),
        Some((_, issuer)) => findings.advise(
            Reason::CertificatePending,
            field,
            format!(
                "cert-manager has not made Secret {secret} by issuer {issuer} yet. What it waits for: `kubectl describe \
                 certificate,certificaterequest -n {namespace}`."
            ),
        ),
    }
}

/// People sign in with a secret, and write what is nobody else's business.
pub(super) fn on_plain_http(valid: &ValidatedInstance, findings: &mut Findings) {
    let local = |host: &str| host == "localhost" || host.ends_with(".localhost");
    let Some(url) = valid.public_url.as_ref().filter(|url| !url.https && !local(&url.host)) else { return };
    let issuer = valid.ingress.as_ref().filter(|ingress| ingress.tls.is_none()).and_then(|ingress| {
        ingress.annotations.iter().find_map(|(key, issuer)| match key.as_str() {
            "cert-manager.io/issuer" => Some((key, "Issuer", issuer)),
            "cert-manager.io/cluster-issuer" => Some((key, "ClusterIssuer", issuer)),
            _ => None,
        })
    });
    let remedy = match issuer {
        Some((key, kind, issuer)) => format!(
            "The annotation {key} alone has no certificate made: set ingress.tls.issuer to {{name: {issuer}, kind: {kind}}} in its place."
        ),
        None => Reason::PlainHttp.remedy().to_owned(),
    };
    findings.advise(
        Reason::PlainHttp,
        Some(if valid.ingress.is_some() { "ingress.tls" } else { "publicUrl" }),
        format!(
            "The app is opened over plain http ({}), so the secret with which people sign in, and what they write, can be read on the way. \
             {remedy}",
            url.origin()
        ),
    );
}

/// Annotations of the user that win over ours and break what we set for WebSockets, in both families of controllers.
pub(super) fn on_web_sockets(ingress: &Ingress, name: &InstanceName, findings: &mut Findings) {
    for (key, value) in &ingress.annotations {
        let (Some(("nginx.ingress.kubernetes.io", setting)) | Some(("nginx.org", setting))) = key.split_once('/')
        else {
            continue;
        };
        let consequence = match setting {
            "proxy-read-timeout" | "proxy-send-timeout" if seconds(value).is_some_and(|it| it < SHORTEST_TIMEOUT) => {
                "cuts a connection on which nothing is said for so long"
            }
            "proxy-http-version" if value.trim() != "1.1" => "knows no WebSockets",
            "connection-proxy-header" if !value.to_ascii_lowercase().contains("upgrade") => {
                "takes away the header by which a WebSocket begins"
            }
            "websocket-services"
                if key.starts_with("nginx.org") && !value.split(',').any(|it| it.trim() == name.as_str()) =>
            {
                "leaves out the Service of this instance, so that no WebSocket begins"
            }
            _ => continue,
        };
        findings.advise(
            Reason::WebSocketsAtRisk,
            Some("ingress.annotations"),
            format!("ingress.annotations sets {key} to {value:?}, which {consequence}. Remove it: what the operator sets fits WebSockets."),
        );
    }
}

/// A duration as the community controller (`60`) and as nginx itself (`60s`, `10m`, `1h`) write it.
fn seconds(value: &str) -> Option<u64> {
    let value = value.trim();
    let digits = value.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match value.get(digits.len()..)? {
        "" | "s" => Some(number),
        "ms" => Some(number / 1000),
        "m" => Some(number.saturating_mul(60)),
        "h" | "d" => Some(number.saturating_mul(3600)),
        _ => None,
    }
}

/// What comes to a port of the nodes or through a load balancer comes from no pod of the namespaces that the policy lets in.
pub(super) fn on_service(valid: &ValidatedInstance, findings: &mut Findings) {
    let Some(policy) = valid.network_policy.as_ref().filter(|policy| policy.ingress_cidrs.is_empty()) else { return };
    if valid.service.type_ == ServiceType::ClusterIP {
        return;
    }
    findings.advise(
        Reason::ServiceShutOff,
        Some("service.type"),
        format!(
            "service.type is {}, but the NetworkPolicy lets in only pods of {}, so whoever comes from outside is shut off. {}",
            valid.service.type_.as_str(),
            policy.ingress_namespaces.join(", "),
            Reason::ServiceShutOff.remedy()
        ),
    );
}
