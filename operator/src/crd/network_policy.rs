//! What may reach the pods, and what they may reach: the NetworkPolicy.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The NetworkPolicy NAME-policy: in from the ingress controller only, out to DNS and SSH only.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicySpec {
    /// Whether it exists. Unset: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// Namespace of the ingress controller, the only one that may connect to the pods. Unset: that of `ingressNamespaces`; if that is unset
    /// too, those of the Gateways in `gateway`, else ingress-nginx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("!format.dns1123Label().validate(self).hasValue()").message("networkPolicy.ingressNamespace must be the name of a namespace, such as ingress-nginx"))]
    pub ingress_namespace: Option<String>,

    /// Namespaces of ingress controllers, where it is several. An implementation of the Gateway API that runs its proxies in a namespace of its
    /// own, not in that of the Gateway, needs it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), extend("items" = {"type": "string", "minLength": 1, "maxLength": 63}))]
    #[x_kube(validation = Rule::new("self.all(name, !format.dns1123Label().validate(name).hasValue())").message("networkPolicy.ingressNamespaces must be names of namespaces, such as ingress-nginx"))]
    pub ingress_namespaces: Option<Vec<String>>,

    /// Labels that a pod of these namespaces must have to connect. Unset: every pod of them may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16), extend("additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub ingress_pod_labels: Option<BTreeMap<String, String>>,

    /// Addresses that may connect to the pods as well, in CIDR form. An ingress controller on the host network needs its nodes here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), extend("items" = {"type": "string", "minLength": 1, "maxLength": 64}))]
    #[x_kube(validation = Rule::new("self.all(block, isCIDR(block))").message("networkPolicy.ingressCidrs must be addresses in CIDR form, such as 192.168.1.10/32"))]
    pub ingress_cidrs: Option<Vec<String>>,

    /// Namespaces that may read /metrics (port 9090), such as that of Prometheus. Unset: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), extend("items" = {"type": "string", "minLength": 1, "maxLength": 63}))]
    #[x_kube(validation = Rule::new("self.all(name, !format.dns1123Label().validate(name).hasValue())").message("networkPolicy.metricsNamespaces must be names of namespaces, such as monitoring"))]
    pub metrics_namespaces: Option<Vec<String>>,

    /// Where SSH may go, in CIDR form: to the VM, or to the jump host where `ssh.jump` is set. Unset: the address in `ssh.host` (`ssh.jump.host`)
    /// alone; if that is a host name, everywhere (with the warning PermissiveEgress).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("isCIDR(self)").message("networkPolicy.sshEgressCidr must be an address range in CIDR form, such as 192.168.1.100/32 or 192.168.1.0/24"))]
    pub ssh_egress_cidr: Option<String>,

    /// Addresses that DNS may go to beside pods, in CIDR form. A node-local DNS cache needs its address here, such as 169.254.20.10/32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), extend("items" = {"type": "string", "minLength": 1, "maxLength": 64}))]
    #[x_kube(validation = Rule::new("self.all(block, isCIDR(block))").message("networkPolicy.dnsCidrs must be addresses in CIDR form, such as 169.254.20.10/32"))]
    pub dns_cidrs: Option<Vec<String>>,

    /// What else the pods may connect to, beside DNS and SSH. The server itself needs nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub extra_egress: Option<Vec<EgressSpec>>,
}

/// Something that the pods may connect to.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.protocol) || has(self.port)").message("networkPolicy.extraEgress[].port is required with protocol").field_path(".port"))]
pub struct EgressSpec {
    /// Its addresses, in CIDR form.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("isCIDR(self)").message("networkPolicy.extraEgress[].cidr must be an address range in CIDR form, such as 10.0.0.0/8"))]
    pub cidr: String,

    /// Its port. Unset: every port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,

    /// The protocol of that port. Unset: TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<EgressProtocol>,
}

/// The protocol of that port. Unset: TCP.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EgressProtocol {
    /// TCP.
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP.
    #[serde(rename = "UDP")]
    Udp,
    /// SCTP.
    #[serde(rename = "SCTP")]
    Sctp,
}

impl EgressProtocol {
    /// As the NetworkPolicy writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            EgressProtocol::Tcp => "TCP",
            EgressProtocol::Udp => "UDP",
            EgressProtocol::Sctp => "SCTP",
        }
    }
}
