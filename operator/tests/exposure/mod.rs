//! What leads people to the app, the part of status that tells of it, and what of it is made by others than the operator.

use k8s_openapi::api::{
    core::v1::Secret,
    networking::v1::{Ingress, IngressClass},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::world::{World, parts, ready, true_conditions};

/// Makes a class of Ingresses, of ingress-nginx.
pub(super) async fn ingress_class(world: &World, name: &str) {
    let class = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": name},
        "spec": {"controller": "k8s.io/ingress-nginx"}});
    let classes: Api<IngressClass> = Api::all(world.admin.clone());
    classes.patch(name, &PatchParams::apply("test"), &Patch::Apply(&class)).await.unwrap();
}

/// An instance that waits for no VM and no pods: only the way to it counts.
fn reached_by(ingress: Value) -> Value {
    json!({"ssh": {"host": "192.0.2.1", "user": "dev",
            "knownHosts": "192.0.2.1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ"},
        "replicas": 0, "ingress": ingress})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_missing_is_told_and_its_creation_is_seen() {
    let world = World::with_operator("certificate").await;
    let spec = reached_by(
        json!({"host": "tls.example.com", "className": "certificate-class", "tls": {"secretName": "x-cert"}}),
    );
    ingress_class(&world, "certificate-class").await;
    world.apply("x", spec).await;
    let instance = world.reason("x", "TlsSecretMissing").await;
    assert!(parts(&instance).contains(&"ExposureReady=False TlsSecretMissing".to_owned()), "{:?}", parts(&instance));
    let message = &ready(&instance).unwrap().message;
    assert!(message.contains("kubectl create secret tls x-cert -n certificate"), "{message}");
    let passes = world.passes();
    world.settled().await;
    assert!(world.passes() <= passes + 5, "a hot loop: {} passes", world.passes() - passes);

    let pair: Secret = serde_json::from_value(json!({"metadata": {"name": "x-cert"}, "type": "Opaque",
        "stringData": {"tls.crt": "a", "tls.key": "b"}}))
    .unwrap();
    world.api::<Secret>().create(&PostParams::default(), &pair).await.unwrap();
    world.reason("x", "Available").await;
}

/// The test plays cert-manager, which reads the annotation and makes the Secret.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cert_manager_is_to_make_is_waited_for_and_its_arrival_is_seen() {
    let world = World::with_operator("issuer").await;
    let issuer = json!({"name": "letsencrypt", "kind": "ClusterIssuer"});
    let tls = json!({"issuer": issuer});
    let spec = reached_by(json!({"host": "issued.example.com", "className": "issuer-class", "tls": tls}));
    ingress_class(&world, "issuer-class").await;
    world.apply("x", spec).await;
    let instance = world.reason("x", "CertificatePending").await;
    assert_eq!(true_conditions(&instance), ["Reconciling"]);
    assert!(parts(&instance).contains(&"ExposureReady=False CertificatePending".to_owned()), "{:?}", parts(&instance));
    let message = &ready(&instance).unwrap().message;
    assert!(message.contains("kubectl describe certificate"), "{message}");
    let ingress: Ingress = world.exists("x").await;
    assert_eq!(ingress.annotations()["cert-manager.io/cluster-issuer"], "letsencrypt");
    let tls = ingress.spec.unwrap().tls.unwrap().remove(0);
    assert_eq!((tls.hosts, tls.secret_name.as_deref()), (Some(vec!["issued.example.com".to_owned()]), Some("x-tls")));

    let pair: Secret = serde_json::from_value(json!({"metadata": {"name": "x-tls"}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": "a", "tls.key": "b"}}))
    .unwrap();
    world.api::<Secret>().create(&PostParams::default(), &pair).await.unwrap();
    let instance = world.reason("x", "Available").await;
    assert_eq!(instance.status.unwrap().url.as_deref(), Some("https://issued.example.com"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_another_ingress_had_first_is_told_until_it_gives_it_up() {
    let world = World::with_operator("taken").await;
    ingress_class(&world, "taken-class").await;
    let theirs: Ingress = serde_json::from_value(json!({"metadata": {"name": "theirs"},
        "spec": {"ingressClassName": "taken-class", "rules": [{"host": "taken.example.com", "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "y", "port": {"number": 80}}}}]}}]}}))
    .unwrap();
    world.api::<Ingress>().create(&PostParams::default(), &theirs).await.unwrap();
    let spec = reached_by(json!({"host": "taken.example.com", "className": "taken-class"}));
    world.apply("x", spec).await;
    let instance = world.reason("x", "HostConflict").await;
    let message = &ready(&instance).unwrap().message;
    assert!(message.contains("Ingress taken/theirs has the host taken.example.com already"), "{message}");
    world.api::<Ingress>().delete("theirs", &DeleteParams::default()).await.unwrap();
    world.reason("x", "Available").await;
}
