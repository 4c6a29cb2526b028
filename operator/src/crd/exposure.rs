//! How browsers come to the pods: Service, Ingress, or a route of the Gateway API.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::is_subdomain;

/// The Service, named after the instance.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// Its type. Unset: ClusterIP.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<ServiceType>,

    /// Its port; it leads to the container's port 3001. Unset: 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,

    /// Annotations added to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64), extend("additionalProperties" = {"type": "string", "maxLength": 16384}))]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// Its type. Unset: ClusterIP.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceType {
    /// Reached from within the cluster.
    #[default]
    ClusterIP,
    /// Reached on a port of every node as well.
    NodePort,
    /// Reached through a load balancer of the cluster's provider as well.
    LoadBalancer,
}

impl ServiceType {
    /// As the Service writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            ServiceType::ClusterIP => "ClusterIP",
            ServiceType::NodePort => "NodePort",
            ServiceType::LoadBalancer => "LoadBalancer",
        }
    }
}

/// The Ingress, named after the instance.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.enabled) || !self.enabled || has(self.host)").message("ingress.host is required when ingress.enabled is true").field_path(".host"))]
#[x_kube(validation = Rule::new("!has(self.tls) || has(self.host)").message("ingress.host is required when ingress.tls is set").field_path(".host"))]
pub struct IngressSpec {
    /// Whether it exists. Unset: true if `host` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// The IngressClass. Unset: nginx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(is_subdomain("self")).message("ingress.className must be the name of an IngressClass, such as nginx"))]
    pub class_name: Option<String>,

    /// The host name that people open. It must lead to the ingress controller (DNS, or /etc/hosts).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(format!("{} && !isIP(self)", is_subdomain("self"))).message("ingress.host must be a host name in lower case, without scheme, port or path, and no IP address, such as catalyst.example.com"))]
    pub host: Option<String>,

    /// Annotations added to it; they win over those that the operator sets (timeouts of an hour, bodies of 2 MiB, WebSockets).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64), extend("additionalProperties" = {"type": "string", "maxLength": 16384}))]
    pub annotations: Option<BTreeMap<String, String>>,

    /// TLS at the ingress. Unset: plain http, unless something else terminates TLS (see `publicUrl`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<IngressTlsSpec>,

    /// Emit the configuration-snippet that older nginx controllers needed for WebSockets. Current ones refuse snippets and need none. Unset: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration_snippet: Option<bool>,
}

/// TLS at the ingress, by a Secret that exists or by one that cert-manager makes.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretName) || has(self.issuer)").message("ingress.tls needs secretName (a Secret with tls.crt and tls.key) or issuer (cert-manager makes it)"))]
pub struct IngressTlsSpec {
    /// Name of the Secret with `tls.crt` and `tls.key`. Unset, with an issuer: NAME-tls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(is_subdomain("self")).message("ingress.tls.secretName must be the name of a Secret"))]
    pub secret_name: Option<String>,

    /// The cert-manager issuer that fills the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<IssuerSpec>,
}

/// A cert-manager issuer.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuerSpec {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(is_subdomain("self")).message("ingress.tls.issuer.name must be the name of an Issuer or ClusterIssuer"))]
    pub name: String,

    /// Its kind. Unset: Issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<IssuerKind>,
}

/// Its kind. Unset: Issuer.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IssuerKind {
    /// One in this namespace.
    #[default]
    Issuer,
    /// One for the whole cluster.
    ClusterIssuer,
}

/// A route of the Gateway API (HTTPRoute, of Gateway API 1.2 or later), named after the instance: the way in where there is a Gateway
/// instead of an ingress controller.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// The Gateways that the route attaches to.
    #[schemars(length(min = 1, max = 8))]
    pub parent_refs: Vec<ParentRefSpec>,

    /// The host names that people open; `status.url` shows the first.
    #[schemars(length(min = 1, max = 16), extend("items" = {"type": "string", "minLength": 1, "maxLength": 253}))]
    #[x_kube(validation = Rule::new(format!("self.all(name, {} && !isIP(name))", is_subdomain("name"))).message("gateway.hostnames must be host names in lower case, without scheme, port, path or *, such as catalyst.example.com"))]
    pub hostnames: Vec<String>,

    /// Whether people come by https, that is, whether the Gateway's listener terminates TLS. Unset: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,

    /// Annotations added to the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64), extend("additionalProperties" = {"type": "string", "maxLength": 16384}))]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// A Gateway, or one listener of it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRefSpec {
    /// Name of the Gateway.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(is_subdomain("self")).message("gateway.parentRefs[].name must be the name of a Gateway"))]
    pub name: String,

    /// Its namespace. Unset: the instance's own. In another one, its listener has to allow routes from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("!format.dns1123Label().validate(self).hasValue()").message("gateway.parentRefs[].namespace must be the name of a namespace"))]
    pub namespace: Option<String>,

    /// Name of the listener. Unset: every listener that takes the host names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(is_subdomain("self")).message("gateway.parentRefs[].sectionName must be the name of a listener"))]
    pub section_name: Option<String>,

    /// Port of the listener. Unset: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}
