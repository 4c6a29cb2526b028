//! Ingress `NAME`: one host, everything below `/`, WebSockets that may be silent for an hour.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    IngressTLS, ServiceBackendPort,
};

use super::metadata;
use crate::container::BODY_LIMIT;
use crate::validated::{Ingress as Wanted, ValidatedInstance};

/// What older nginx controllers needed for WebSockets.
pub(crate) const SNIPPET: &str = "proxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection \"upgrade\";\n";

pub(super) fn build(instance: &ValidatedInstance, wanted: &Wanted) -> Ingress {
    let mut metadata = metadata(instance, instance.name.to_string());
    metadata.annotations = Some(annotations(instance, wanted));
    Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: Some(wanted.class.clone()),
            rules: Some(vec![IngressRule {
                host: Some(wanted.host.clone()),
                http: Some(HTTPIngressRuleValue {
                    paths: vec![HTTPIngressPath {
                        path: Some("/".to_owned()),
                        path_type: "Prefix".to_owned(),
                        backend: IngressBackend {
                            service: Some(IngressServiceBackend {
                                name: instance.name.to_string(),
                                // By number, as charts write it: ingress-nginx names its backends by this, and after a reload
                                // answers 503 for some 50 ms on one that it knew by another name. So a release can be taken
                                // over without a lost request.
                                port: Some(ServiceBackendPort {
                                    number: Some(i32::from(instance.service.port)),
                                    ..ServiceBackendPort::default()
                                }),
                            }),
                            ..IngressBackend::default()
                        },
                    }],
                }),
            }]),
            tls: wanted.tls.as_ref().map(|tls| {
                vec![IngressTLS { hosts: Some(vec![wanted.host.clone()]), secret_name: Some(tls.secret.clone()) }]
            }),
            ..IngressSpec::default()
        }),
        ..Ingress::default()
    }
}

/// Those of the community controller and of F5's, side by side; each ignores the other's. The user's own win.
fn annotations(instance: &ValidatedInstance, wanted: &Wanted) -> BTreeMap<String, String> {
    let service = instance.name.as_str();
    // The controllers' own limit is 1 MiB, half of what the server takes.
    let body = format!("{}m", BODY_LIMIT >> 20);
    let mut annotations: BTreeMap<String, String> = [
        ("nginx.ingress.kubernetes.io/proxy-read-timeout", "3600"),
        ("nginx.ingress.kubernetes.io/proxy-send-timeout", "3600"),
        ("nginx.ingress.kubernetes.io/proxy-connect-timeout", "60"),
        ("nginx.ingress.kubernetes.io/proxy-http-version", "1.1"),
        ("nginx.ingress.kubernetes.io/websocket-services", service),
        ("nginx.ingress.kubernetes.io/proxy-body-size", &body),
        ("nginx.org/client-max-body-size", &body),
        ("nginx.org/proxy-read-timeout", "3600s"),
        ("nginx.org/proxy-send-timeout", "3600s"),
        ("nginx.org/proxy-connect-timeout", "60s"),
        ("nginx.org/websocket-services", service),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect();
    if wanted.snippet {
        annotations.insert("nginx.ingress.kubernetes.io/configuration-snippet".to_owned(), SNIPPET.to_owned());
    }
    if let Some((key, issuer)) = wanted.tls.as_ref().and_then(|tls| tls.issuer.as_ref()) {
        annotations.insert((*key).to_owned(), issuer.clone());
    }
    annotations.extend(wanted.annotations.clone());
    annotations
}
