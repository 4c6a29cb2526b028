//! The release `catalyst` as Helm leaves it.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
};
use kube::{Resource, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::world::World;

/// As Helm writes an object: its marks, its name as field manager.
pub(super) async fn helm<K>(world: &World, release: &str, mut object: Value)
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    object["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/name": "catalyst",
        "app.kubernetes.io/instance": release, "helm.sh/chart": "catalyst-0.1.0"});
    for (key, value) in [("release-name", release), ("release-namespace", world.namespace.as_str())] {
        object["metadata"]["annotations"][format!("meta.helm.sh/{key}")] = json!(value);
    }
    create::<K>(world, "helm", object).await;
}

pub(super) async fn create<K>(world: &World, manager: &str, object: Value)
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    let params = PostParams { field_manager: Some(manager.to_owned()), ..PostParams::default() };
    let object: K = serde_json::from_value(object).unwrap();
    world.api::<K>().create(&params, &object).await.unwrap();
}

/// The release `catalyst` as the chart makes it, and the Secrets that people make beside it.
pub(super) async fn install(world: &World) {
    let labels = json!({"app.kubernetes.io/name": "catalyst", "app.kubernetes.io/instance": "catalyst"});
    let key = catalyst_ssh::generate_ed25519("catalyst").unwrap().private_openssh;
    create::<Secret>(
        world,
        "kubectl-create",
        json!({"metadata": {"name": "catalyst-ssh-key"}, "stringData": {"id_ed25519": key}}),
    )
    .await;
    let secrets = json!({"CATALYST_SECRET": "0123456789abcdef", "COOKIE_SECRET": "fedcba9876543210"});
    create::<Secret>(world, "kubectl-create", json!({"metadata": {"name": "catalyst-secrets"}, "stringData": secrets}))
        .await;
    helm::<ServiceAccount>(world, "catalyst", json!({"metadata": {"name": "catalyst"}})).await;
    let config = json!({"SSH_HOST": "192.0.2.1", "SSH_PORT": "22", "SSH_USER": "dev", "HELM_ONLY": "1"});
    helm::<ConfigMap>(world, "catalyst", json!({"metadata": {"name": "catalyst-config"}, "data": config})).await;
    helm::<Service>(
        world,
        "catalyst",
        json!({"metadata": {"name": "catalyst"}, "spec": {"selector": labels,
        "ports": [{"name": "http", "port": 80, "targetPort": 3001}]}}),
    )
    .await;
    helm::<Deployment>(
        world,
        "catalyst",
        json!({"metadata": {"name": "catalyst"}, "spec": {"replicas": 2,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "catalyst", "image": "old"}]}}}}),
    )
    .await;
    let backend = json!({"service": {"name": "catalyst", "port": {"number": 80}}});
    let annotations = json!({"example.com/own": "kept", "nginx.ingress.kubernetes.io/configuration-snippet": "x;"});
    helm::<Ingress>(world, "catalyst", json!({"metadata": {"name": "catalyst", "annotations": annotations}, "spec": {"ingressClassName": "nginx",
        "rules": [{"host": "adopt.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]}}))
    .await;
    helm::<NetworkPolicy>(
        world,
        "catalyst",
        json!({"metadata": {"name": "catalyst-policy"}, "spec": {"podSelector": {"matchLabels": labels},
        "policyTypes": ["Ingress", "Egress"]}}),
    )
    .await;
    // What the instance reads, and what the chart asks to keep.
    helm::<Secret>(
        world,
        "catalyst",
        json!({"metadata": {"name": "registry"}, "stringData": {".dockerconfigjson": "{\"auths\":{}}"},
        "type": "kubernetes.io/dockerconfigjson"}),
    )
    .await;
    let keep = json!({"helm.sh/resource-policy": "keep"});
    helm::<ConfigMap>(
        world,
        "catalyst",
        json!({"metadata": {"name": "kept", "annotations": keep}, "data": {"a": "1"}}),
    )
    .await;
    let record = json!({"owner": "helm", "name": "catalyst", "status": "deployed", "version": "1"});
    create::<Secret>(
        world,
        "helm",
        json!({"metadata": {"name": "sh.helm.release.v1.catalyst.v1", "labels": record},
        "type": "helm.sh/release.v1", "stringData": {"release": "x"}}),
    )
    .await;
    // Of another release in the same namespace.
    helm::<ConfigMap>(world, "other", json!({"metadata": {"name": "other-config"}, "data": {"a": "1"}})).await;
}
