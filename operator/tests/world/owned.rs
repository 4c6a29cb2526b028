//! What belongs to an instance in a cluster with an ingress controller: the one list of it for all tests of real objects.

use catalyst_operator::live::Kinded;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
    networking::v1::{Ingress, NetworkPolicy},
};
use kube::api::ObjectMeta;

use super::World;

/// Awaits every object that an instance has which is reached by an Ingress and brings no Secrets of its own; kind and metadata.
pub async fn all_objects(world: &World, instance: &str) -> Vec<(&'static str, ObjectMeta)> {
    async fn of<K: Kinded>(world: &World, name: String) -> (&'static str, ObjectMeta) {
        let object: K = world.exists(&name).await;
        (K::KIND, object.meta().clone())
    }
    let name = |end: &str| format!("{instance}{end}");
    vec![
        of::<Secret>(world, name("-secrets")).await,
        of::<Secret>(world, name("-ssh-key")).await,
        of::<NetworkPolicy>(world, name("-policy")).await,
        of::<ConfigMap>(world, name("-config")).await,
        of::<ConfigMap>(world, name("-known-hosts")).await,
        of::<Service>(world, name("")).await,
        of::<Deployment>(world, name("")).await,
        of::<Ingress>(world, name("")).await,
    ]
}
