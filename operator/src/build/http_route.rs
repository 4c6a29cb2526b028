//! HTTPRoute `NAME` of the Gateway API: the hosts, everything below `/`, and no deadline that would cut a WebSocket.
//!
//! Only the fields that are set are declared here; the Gateway API's own schema, which the cluster has or has not, checks them.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{metadata, non_empty};
use crate::validated::{Gateway, Parent, ValidatedInstance};

/// What a route says, as far as we say anything.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "HTTPRoute",
    plural = "httproutes",
    namespaced,
    derive = "PartialEq",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct HTTPRouteSpec {
    /// The Gateways.
    pub parent_refs: Vec<ParentRef>,
    /// The hosts.
    pub hostnames: Vec<String>,
    /// Where requests go: one rule.
    pub rules: Vec<RouteRule>,
}

/// A Gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// Its name.
    pub name: String,
    /// Its namespace, if another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// A listener, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// A listener, by port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteRule {
    /// The Service.
    pub backend_refs: Vec<BackendRef>,
    /// How long they may take.
    pub timeouts: Timeouts,
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BackendRef {
    /// Its name.
    pub name: String,
    /// Its port.
    pub port: u16,
}

/// How long requests may take, as durations of the Gateway API; `0s`: for ever.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// The whole exchange.
    pub request: String,
    /// That with the pods.
    pub backend_request: String,
}

pub(super) fn build(instance: &ValidatedInstance, gateway: &Gateway) -> HTTPRoute {
    let mut metadata = metadata(instance, instance.name.to_string());
    metadata.annotations = non_empty(gateway.annotations.clone());
    HTTPRoute {
        metadata,
        spec: HTTPRouteSpec {
            parent_refs: gateway.parents.iter().map(parent).collect(),
            hostnames: gateway.hostnames.clone(),
            rules: vec![RouteRule {
                backend_refs: vec![BackendRef { name: instance.name.to_string(), port: instance.service.port }],
                timeouts: Timeouts { request: "0s".to_owned(), backend_request: "0s".to_owned() },
            }],
        },
    }
}

fn parent(parent: &Parent) -> ParentRef {
    let Parent { name, namespace, section, port } = parent.clone();
    ParentRef { name, namespace, section_name: section, port }
}
