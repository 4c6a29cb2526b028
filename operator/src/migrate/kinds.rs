//! The kinds of objects that a migration has to do with.

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
    rbac::v1::{Role, RoleBinding},
};
use kube::api::ApiResource;

use crate::crd::CatalystInstance;

/// The kinds that a chart like ours makes. What a release has of other kinds is not touched.
pub(super) fn of_charts() -> Vec<ApiResource> {
    vec![
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<HorizontalPodAutoscaler>(&()),
        ApiResource::erase::<Ingress>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
        ApiResource::erase::<PodDisruptionBudget>(&()),
        ApiResource::erase::<Role>(&()),
        ApiResource::erase::<RoleBinding>(&()),
        ApiResource::erase::<Secret>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
    ]
}

/// Their names, as a sentence has them.
pub(super) fn names() -> String {
    let kinds: Vec<String> = of_charts().into_iter().map(|resource| resource.kind).collect();
    kinds.join(", ")
}

/// The resource of a kind that is written to: those of charts, what a Deployment makes, and the instance.
pub(super) fn resource(kind: &str) -> Option<ApiResource> {
    let others = [
        ApiResource::erase::<ReplicaSet>(&()),
        ApiResource::erase::<Pod>(&()),
        ApiResource::erase::<CatalystInstance>(&()),
    ];
    of_charts().into_iter().chain(others).find(|resource| resource.kind == kind)
}
