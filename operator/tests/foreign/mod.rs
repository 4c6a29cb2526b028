//! What others write to an instance and its objects, over and over and by their own means.

use catalyst_operator::crd::CatalystInstance;
use k8s_openapi::api::{
    apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler, core::v1::Service, networking::v1::Ingress,
};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::{
    spec, whole,
    world::{World, until},
};

/// Sets one field again and again, and awaits each time that it is as it was; the writes that this led to.
async fn writes_for<F: Future<Output = Option<()>>>(
    world: &World,
    edits: usize,
    edit: impl AsyncFn(usize),
    undone: impl Fn() -> F,
) -> Vec<String> {
    world.settled().await;
    let before = world.writes().len();
    for turn in 0..edits {
        edit(turn).await;
        until("it is put back", &undone).await;
    }
    world.settled().await;
    let since = world.writes().split_off(before);
    since.into_iter().filter(|write| !write.contains("/status")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_any_kind_is_answered_by_one_write_and_one_of_a_list_by_three_at_most() {
    const EDITS: usize = 5;
    let world = World::with_operator("kinds").await;
    world.apply("x", spec("kinds.example.com")).await;
    whole(&world).await;

    let edit = async |turn: usize| {
        world.edit::<Ingress>("x", json!({"spec": {"ingressClassName": format!("other-{turn}")}})).await;
    };
    let writes = writes_for(&world, EDITS, edit, || async {
        (world.api::<Ingress>().get("x").await.unwrap().spec?.ingress_class_name? == "nginx").then_some(())
    });
    assert_eq!(writes.await, vec!["patch ingresses x"; EDITS]);

    let edit = async |turn: usize| {
        let pod = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 100 + turn}}}});
        world.edit::<Deployment>("x", pod).await;
    };
    let grace = async || {
        world.api::<Deployment>().get("x").await.unwrap().spec?.template.spec?.termination_grace_period_seconds
    };
    let ours = grace().await;
    let writes = writes_for(&world, EDITS, edit, || async { (grace().await == ours).then_some(()) });
    assert_eq!(writes.await, vec!["patch deployments x"; EDITS]);

    // Two ports of one name cannot be: refused, the list overwritten, applied.
    let edit = async |turn: usize| {
        let port =
            json!({"spec": {"ports": [{"name": "http", "port": 8080 + turn, "targetPort": 1, "protocol": "TCP"}]}});
        world.edit::<Service>("x", port).await;
    };
    let port = || async { world.api::<Service>().get("x").await.unwrap().spec?.ports };
    let ports = || async {
        let ports = port().await?;
        (ports.len() == 1 && ports[0].port == 80).then_some(())
    };
    assert_eq!(writes_for(&world, EDITS, edit, ports).await, vec!["patch services x"; 3 * EDITS]);

    // Another manager that takes a field by force.
    let edit = async |turn: usize| {
        let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"},
            "spec": {"selector": {"catalyst.dev/instance": format!("other-{turn}")}}});
        let params = PatchParams::apply("gitops").force();
        world.api::<Service>().patch("x", &params, &Patch::Apply(&object)).await.unwrap();
    };
    let writes = writes_for(&world, EDITS, edit, || async {
        let selector = world.api::<Service>().get("x").await.unwrap().spec?.selector?;
        (selector.get("catalyst.dev/instance")? == "x").then_some(())
    });
    assert_eq!(writes.await, vec!["patch services x"; EDITS]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_scaled_like_a_deployment_and_says_how_many_pods_it_has() {
    let world = World::with_operator("scaled").await;
    world.apply("x", spec("scaled.example.com")).await;
    whole(&world).await;
    world.kubectl(&["scale", "cati/x", "--replicas=3"]).await;
    until("the Deployment follows", || async {
        (world.api::<Deployment>().get("x").await.unwrap().spec?.replicas? == 3).then_some(())
    })
    .await;
    let instance = world.api::<CatalystInstance>().get("x").await.unwrap();
    assert_eq!(serde_json::to_value(&instance.spec).unwrap()["replicas"], 3);
    let scale = world
        .kubectl(&[
            "get",
            "--raw",
            &format!("/apis/catalyst.dev/v1alpha1/namespaces/{}/catalystinstances/x/scale", world.namespace),
        ])
        .await;
    let scale: Value = serde_json::from_str(&scale).unwrap();
    assert_eq!(scale["spec"]["replicas"], 3, "{scale}");
    // What an autoscaler counts pods by.
    let selector = scale["status"]["selector"].as_str().unwrap_or_default();
    let pods = world.kubectl(&["get", "pods", "--selector", selector, "--output", "name"]).await;
    assert!(selector.contains("catalyst.dev/instance=x") && pods.lines().count() >= 1, "{scale}: {pods}");
}

/// The controller itself. It brings what is below the least to that without any metrics, of which there are none here.
#[tokio::test(flavor = "multi_thread")]
async fn the_clusters_own_autoscaler_scales_an_instance_and_a_manifest_without_replicas_leaves_that_to_it() {
    let world = World::with_operator("autoscaled").await;
    world.apply("x", spec("autoscaled.example.com")).await;
    whole(&world).await;
    let target = json!({"apiVersion": "catalyst.dev/v1alpha1", "kind": "CatalystInstance", "name": "x"});
    let autoscaler: HorizontalPodAutoscaler = serde_json::from_value(json!({"metadata": {"name": "x"},
        "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 4}}))
    .unwrap();
    world.api::<HorizontalPodAutoscaler>().create(&PostParams::default(), &autoscaler).await.unwrap();
    let replicas = async || world.api::<Deployment>().get("x").await.unwrap().spec?.replicas;
    until("the Deployment follows", || async { (replicas().await? == 2).then_some(()) }).await;
    let scaled = async || {
        let instance = world.api::<CatalystInstance>().get("x").await.unwrap();
        serde_json::to_value(&instance.spec).unwrap()["replicas"].clone()
    };
    assert_eq!(scaled().await, 2);
    world.settled().await;
    let writes = world.writes();
    world.apply("x", spec("autoscaled.example.com")).await;
    world.another_pass("x", "one").await;
    assert_eq!((scaled().await, replicas().await), (json!(2), Some(2)), "its choice was lost");
    let objects = |writes: &[String]| writes.iter().filter(|write| !write.contains("/status")).count();
    assert_eq!(objects(&world.writes()), objects(&writes));
}
