//! Objects that have the names of an instance's and are not its own: left alone, told, and no longer in the way when they go.

use catalyst_operator::crd::CatalystInstance;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
    networking::v1::Ingress,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::{
    reasons_from_now_on,
    world::{World, ready, true_conditions, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_that_name_that_is_not_ours_is_left_alone_and_told() {
    let world = World::with_operator("conflict").await;
    let spec = json!({"ssh": {"host": "192.0.2.1", "user": "dev"}});
    let theirs: Secret = serde_json::from_value(json!({"metadata": {"name": "x-secrets"},
        "stringData": {"CATALYST_SECRET": "theirs-theirs-theirs", "COOKIE_SECRET": "theirs-theirs-theirs"}}))
    .unwrap();
    let theirs = world.api::<Secret>().create(&PostParams::default(), &theirs).await.unwrap();
    world.apply("x", spec.clone()).await;
    let instance = world.reason("x", "NameConflict").await;
    assert!(ready(&instance).unwrap().message.contains("x-secrets"));
    world.another_pass("x", "one").await;
    assert_eq!(world.api::<Secret>().get("x-secrets").await.unwrap(), theirs);
    assert!(world.api::<Deployment>().get_opt("x").await.unwrap().is_none(), "something was made all the same");
    // The other was made, and its line is told though nothing came of it.
    world.exists::<Secret>("x-ssh-key").await;
    assert_eq!(world.events("SSHKeyGenerated").await.len(), 1);

    // Its removal is seen, without a touch of the resource.
    world.api::<Secret>().delete("x-secrets", &DeleteParams::default()).await.unwrap();
    world.exists::<Deployment>("x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_whose_owner_is_taken_away_is_somebody_elses_from_then_on() {
    let world = World::with_operator("disowned").await;
    world.apply("x", json!({"ssh": {"host": "192.0.2.1", "user": "dev"}})).await;
    world.exists::<Service>("x").await;
    let disowned = world.edit::<Service>("x", json!({"metadata": {"ownerReferences": null}})).await;
    let instance = world.reason("x", "NameConflict").await;
    assert!(ready(&instance).unwrap().message.contains("Service x"), "{:?}", ready(&instance));
    world.another_pass("x", "one").await;
    assert_eq!(world.api::<Service>().get("x").await.unwrap(), disowned);
    world.api::<Service>().delete("x", &DeleteParams::default()).await.unwrap();
    until("another one, which is ours", || async {
        let service = world.api::<Service>().get_opt("x").await.unwrap()?;
        (!service.owner_references().is_empty()).then_some(())
    })
    .await;
}

/// No watch shows it, so it is met when ours is to be made.
#[tokio::test(flavor = "multi_thread")]
async fn no_object_that_bears_no_mark_of_ours_is_seized_whichever_it_is() {
    let world = World::with_operator("unmarked").await;
    let theirs: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "service-config"}, "data": {"SSH_HOST": "theirs"}}))
            .unwrap();
    let config = world.api::<ConfigMap>().create(&PostParams::default(), &theirs).await.unwrap();
    let theirs: Service =
        serde_json::from_value(json!({"metadata": {"name": "port"}, "spec": {"ports": [{"port": 80}]}})).unwrap();
    let service = world.api::<Service>().create(&PostParams::default(), &theirs).await.unwrap();
    let theirs: Ingress = serde_json::from_value(json!({"metadata": {"name": "way"},
        "spec": {"defaultBackend": {"service": {"name": "other", "port": {"number": 80}}}}}))
    .unwrap();
    let ingress = world.api::<Ingress>().create(&PostParams::default(), &theirs).await.unwrap();
    let failures = || world.metrics.text().contains("catalyst_operator_reconcile_errors_total{");
    for (name, named) in [("service", "ConfigMap service-config"), ("port", "Service port"), ("way", "Ingress way")] {
        let host = format!("{name}.unmarked.example.com");
        world.apply(name, json!({"ssh": {"host": "192.0.2.1", "user": "dev"}, "ingress": {"host": host}})).await;
        let instance = world.reason(name, "NameConflict").await;
        assert!(ready(&instance).unwrap().message.contains(named), "{:?}", ready(&instance));
    }
    assert!(!failures(), "a pass failed: {}", world.metrics.text());
    assert_eq!(world.api::<ConfigMap>().get("service-config").await.unwrap(), config);
    assert_eq!(world.api::<Service>().get("port").await.unwrap(), service);
    assert_eq!(world.api::<Ingress>().get("way").await.unwrap(), ingress);

    // At rest nothing is tried that would be refused.
    world.settled().await;
    let writes = world.writes();
    for name in ["service", "port", "way"] {
        world.another_pass(name, "one").await;
    }
    assert_eq!(world.writes(), writes);
    world.api::<Ingress>().delete("way", &DeleteParams::default()).await.unwrap();
    world.another_pass("way", "two").await;
    until("one that is ours", || async {
        let ingress = world.api::<Ingress>().get_opt("way").await.unwrap()?;
        (!ingress.owner_references().is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_instance_before_left_is_waited_for_without_calling_it_a_conflict() {
    let world = World::with_operator("predecessor").await;
    // A finalizer holds it up for the test to see, and the test does the garbage collector's work.
    let left: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "x-config",
        "labels": {"catalyst.dev/instance": "x"}, "finalizers": ["example.com/hold"],
        "ownerReferences": [{"apiVersion": "catalyst.dev/v1alpha1", "kind": "CatalystInstance", "name": "x",
             "uid": "00000000-0000-0000-0000-000000000000", "controller": true}]}}))
    .unwrap();
    world.api::<ConfigMap>().create(&PostParams::default(), &left).await.unwrap();
    world.apply("x", json!({"ssh": {"host": "192.0.2.1", "user": "dev"}})).await;
    let told = reasons_from_now_on(&world);
    let instance = until("the wait is told", || async {
        let instance = world.api::<CatalystInstance>().get("x").await.unwrap();
        ready(&instance)?.message.contains("x-config of the instance's predecessor").then_some(instance)
    })
    .await;
    assert_eq!(true_conditions(&instance), ["Reconciling"]);
    world.api::<ConfigMap>().delete("x-config", &DeleteParams::default()).await.unwrap();
    world.edit::<ConfigMap>("x-config", json!({"metadata": {"finalizers": null}})).await;
    world.exists::<Deployment>("x").await;
    assert!(!told.lock().unwrap().contains(&"NameConflict".to_owned()));
}
