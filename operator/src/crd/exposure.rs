//! How browsers come to the pods, and what else may: Service, Ingress, NetworkPolicy.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message("ingress.className must be the name of an IngressClass, such as nginx"))]
    pub class_name: Option<String>,

    /// The host name that people open. It must lead to the ingress controller (DNS, or /etc/hosts).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue() && !isIP(self)").message("ingress.host must be a host name in lower case, without scheme, port or path, and no IP address, such as catalyst.example.com"))]
    pub host: Option<String>,

    /// Annotations added to it; they win over those that the operator sets.
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
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message("ingress.tls.secretName must be the name of a Secret"))]
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
    #[x_kube(validation = Rule::new("!format.dns1123Subdomain().validate(self).hasValue()").message("ingress.tls.issuer.name must be the name of an Issuer or ClusterIssuer"))]
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

/// The NetworkPolicy NAME-policy: in from the ingress controller only, out to DNS and SSH only.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicySpec {
    /// Whether it exists. Unset: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// Namespace of the ingress controller, the only one that may connect to the pods. Unset: ingress-nginx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("!format.dns1123Label().validate(self).hasValue()").message("networkPolicy.ingressNamespace must be the name of a namespace, such as ingress-nginx"))]
    pub ingress_namespace: Option<String>,

    /// Addresses that may connect to the pods as well, in CIDR form. An ingress controller on the host network needs its nodes here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), extend("items" = {"type": "string", "minLength": 1, "maxLength": 64}))]
    #[x_kube(validation = Rule::new("self.all(block, isCIDR(block))").message("networkPolicy.ingressCidrs must be addresses in CIDR form, such as 192.168.1.10/32"))]
    pub ingress_cidrs: Option<Vec<String>>,

    /// Where SSH may go, in CIDR form. Unset: the address in `ssh.host` alone; if that is a host name, everywhere (with the warning PermissiveEgress).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("isCIDR(self)").message("networkPolicy.sshEgressCidr must be an address range in CIDR form, such as 192.168.1.100/32 or 192.168.1.0/24"))]
    pub ssh_egress_cidr: Option<String>,

    /// Addresses that DNS may go to beside pods, in CIDR form. A node-local DNS cache needs its address here, such as 169.254.20.10/32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), extend("items" = {"type": "string", "minLength": 1, "maxLength": 64}))]
    #[x_kube(validation = Rule::new("self.all(block, isCIDR(block))").message("networkPolicy.dnsCidrs must be addresses in CIDR form, such as 169.254.20.10/32"))]
    pub dns_cidrs: Option<Vec<String>>,
}
