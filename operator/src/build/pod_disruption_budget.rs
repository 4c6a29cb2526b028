//! PodDisruptionBudget `NAME`, where there is more than one pod: draining nodes takes them away one by one. With one pod it
//! would only keep a node from being drained.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{metadata, selector};
use crate::validated::ValidatedInstance;

pub(super) fn build(instance: &ValidatedInstance) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: metadata(instance, instance.name.to_string()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector { match_labels: Some(selector(&instance.name)), ..LabelSelector::default() }),
            // Pods that are not ready because the VM is away must not keep a node from being drained.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
