//! [`ValidatedInstance`] → the Kubernetes objects that it needs. Pure and deterministic: the same instance gives the same
//! bytes, so a hash of them tells whether anything is to be applied.
//!
//! Only fields that we mean are set. A field that the API server would default is left out, unless it is part of the key
//! of a list entry or differs from what we mean; so nothing is ever fought over.

mod config;
mod deployment;
mod http_route;
mod ingress;
mod known_hosts;
mod network_policy;
mod pod_disruption_budget;
pub mod secret;
mod service;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::names::{INSTANCE_LABEL, InstanceName};
use crate::validated::ValidatedInstance;

pub use deployment::{CONFIG_CHECKSUM, SECRET_CHECKSUM};
pub use http_route::{HTTPRoute, HTTPRouteSpec};
pub(crate) use ingress::SNIPPET;

/// Value of the label `app.kubernetes.io/managed-by`, and our field manager.
pub const MANAGER: &str = "catalyst-operator";

/// Everything that is applied for one instance, in no order. Destructure it exhaustively: a forgotten kind must not compile.
/// `None` means that the object must not exist (if it is ours). Generated Secrets are not among them: see [`secret`].
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// `NAME`.
    pub deployment: Deployment,
    /// `NAME`.
    pub service: Service,
    /// `NAME`.
    pub ingress: Option<Ingress>,
    /// `NAME`; never beside an Ingress.
    pub http_route: Option<HTTPRoute>,
    /// `NAME`.
    pub disruption_budget: Option<PodDisruptionBudget>,
    /// `NAME-config`.
    pub config: ConfigMap,
    /// `NAME-known-hosts`.
    pub known_hosts: ConfigMap,
    /// `NAME-policy`.
    pub network_policy: Option<NetworkPolicy>,
}

/// Builds everything. What is to be applied is built when [`ValidatedInstance::missing_secrets`] is empty; what is only compared or
/// named (`diff`, a paused instance) may lack the checksums of those.
pub fn build(instance: &ValidatedInstance) -> Desired {
    let config = config::build(instance);
    Desired {
        deployment: deployment::build(instance, &config),
        service: service::build(instance),
        ingress: instance.ingress.as_ref().map(|ingress| ingress::build(instance, ingress)),
        http_route: instance.gateway.as_ref().map(|gateway| http_route::build(instance, gateway)),
        disruption_budget: instance.is_redundant().then(|| pod_disruption_budget::build(instance)),
        known_hosts: known_hosts::build(instance),
        network_policy: instance.network_policy.as_ref().map(|policy| network_policy::build(instance, policy)),
        config,
    }
}

/// The labels of every object that we make. `app.kubernetes.io/instance` is not among them: GitOps tools take it for their own.
pub fn labels(name: &InstanceName) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), "catalyst".to_owned()),
        ("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned()),
        (INSTANCE_LABEL.to_owned(), name.to_string()),
    ])
}

/// The labels that select the pods.
fn selector(name: &InstanceName) -> BTreeMap<String, String> {
    BTreeMap::from([(INSTANCE_LABEL.to_owned(), name.to_string())])
}

/// What the metadata of every object of ours begins with.
fn metadata(instance: &ValidatedInstance, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(instance.namespace.clone()),
        labels: Some(labels(&instance.name)),
        owner_references: Some(vec![instance.owner.clone()]),
        ..ObjectMeta::default()
    }
}

/// `None` rather than an empty map: an empty one would be a field of ours all the same.
fn non_empty<K: Ord, V>(map: BTreeMap<K, V>) -> Option<BTreeMap<K, V>> {
    (!map.is_empty()).then_some(map)
}
