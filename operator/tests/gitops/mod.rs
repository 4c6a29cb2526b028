//! Flux and Argo CD as the API server sees them: the same manifest by server-side apply, over and over, with their marks on it. What they
//! compare with what is there is that apply without effect.

use std::collections::BTreeMap;

use catalyst_operator::crd::CatalystInstance;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    spec,
    world::{World, owned::all_objects},
};

/// A tool: its field manager, and the labels and annotations by which it knows what it has applied.
struct Tool {
    manager: &'static str,
    labels: Value,
    annotations: Value,
}

impl Tool {
    fn flux() -> Tool {
        let prefix = "kustomize.toolkit.fluxcd.io";
        let labels = json!({format!("{prefix}/name"): "instances", format!("{prefix}/namespace"): "flux-system"});
        Tool { manager: "kustomize-controller", labels, annotations: json!({}) }
    }

    /// Tracks by annotation and, as before version 3, by label.
    fn argo_cd(namespace: &str) -> Tool {
        let id = format!("instances:catalyst.dev/CatalystInstance:{namespace}/x");
        Tool {
            manager: "argocd-controller",
            labels: json!({"app.kubernetes.io/instance": "instances"}),
            annotations: json!({"argocd.argoproj.io/tracking-id": id}),
        }
    }

    /// Applies what is in Git, or finds out what that would change.
    async fn applies(&self, world: &World, dry_run: bool) -> Value {
        let mut object = json!({"apiVersion": "catalyst.dev/v1alpha1", "kind": "CatalystInstance",
            "metadata": {"name": "x", "labels": self.labels}, "spec": spec()});
        // Of an empty map the server keeps nothing, and so finds at each apply that there is something new.
        if self.annotations != json!({}) {
            object["metadata"]["annotations"] = self.annotations.clone();
        }
        let params = PatchParams { dry_run, ..PatchParams::apply(self.manager).force() };
        let api: Api<DynamicObject> =
            Api::namespaced_with(world.admin.clone(), &world.namespace, &ApiResource::erase::<CatalystInstance>(&()));
        let mut applied = api.patch("x", &params, &Patch::Apply(&object)).await.unwrap();
        // Of an apply without effect the server says that it was made now.
        applied.metadata.managed_fields = None;
        serde_json::to_value(applied).unwrap()
    }
}

async fn is_left_alone(world: &World, tool: Tool) {
    tool.applies(world, false).await;
    world.reason("x", "SSHConnectionRefused").await;
    world.settled().await;
    let writes = world.writes();
    let first = tool.applies(world, false).await;
    for time in 2..=5 {
        assert_eq!(
            tool.applies(world, true).await,
            first,
            "what {} would change, before its apply {time}",
            tool.manager
        );
        assert_eq!(tool.applies(world, false).await, first, "{} changes something by its apply {time}", tool.manager);
    }
    world.another_pass("x", "one").await;
    assert_eq!(world.writes(), writes, "the operator answers {}", tool.manager);

    // By its marks a tool knows what it may prune, so none may come to what it has not applied.
    let of_tool: Vec<&String> =
        [&tool.labels, &tool.annotations].into_iter().flat_map(|marks| marks.as_object().unwrap().keys()).collect();
    for (kind, metadata) in all_objects(world, "x").await {
        let mut marks = [metadata.labels, metadata.annotations].into_iter().flatten().flat_map(BTreeMap::into_keys);
        assert!(marks.all(|mark| !of_tool.contains(&&mark)), "one of {of_tool:?} is on {kind} {:?}", metadata.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flux_may_apply_an_instance_again_and_again_and_finds_no_difference() {
    let world = World::with_operator("flux").await;
    is_left_alone(&world, Tool::flux()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn argo_cd_may_apply_an_instance_again_and_again_and_finds_no_difference() {
    let world = World::with_operator("argo").await;
    is_left_alone(&world, Tool::argo_cd("argo")).await;
}
