//! The peer: a client that does nothing but write what the operator writes: for each instance the resource itself, its
//! objects in the same order by server-side apply (Secrets by POST), and a status; as many at a time as the operator.

use futures::{StreamExt, TryStreamExt};
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::stage::{NAMESPACES, Stage, TEMPLATE, instance, resource};

/// Instances that are worked on at the same time, by the operator and by the plain client.
pub(crate) const CONCURRENCY: usize = 8;

/// Writes as many instances; how many seconds it took.
pub(crate) async fn apply(stage: &Stage, many: usize, prefix: &str) -> anyhow::Result<f64> {
    stage.namespaces(prefix).await?;
    let begun = Instant::now();
    futures::stream::iter(0..many)
        .map(|number| one(stage, prefix, number))
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await?;
    Ok(begun.elapsed().as_secs_f64())
}

async fn one(stage: &Stage, prefix: &str, number: usize) -> anyhow::Result<()> {
    let (namespace, name) = (format!("{prefix}-{}", number % NAMESPACES), format!("i{number}"));
    let instances: Api<DynamicObject> = Api::namespaced_with(stage.client.clone(), &namespace, &resource());
    let mut object = instance(&name);
    // An operator that comes later leaves it alone.
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("annotations".to_owned(), json!({"catalyst.dev/paused": "true"}));
    }
    instances.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    for template in &stage.objects {
        let text = template.to_string().replace(TEMPLATE, &name);
        let mut object: Value = serde_json::from_str(&text)?;
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("namespace".to_owned(), namespace.clone().into());
        }
        let object: DynamicObject = serde_json::from_value(object)?;
        let api: Api<DynamicObject> = Api::namespaced_with(stage.client.clone(), &namespace, &kind_of(&object));
        let called = object.metadata.name.clone().unwrap_or_default();
        if object.types.as_ref().is_some_and(|types| types.kind == "Secret") {
            api.create(&PostParams::default(), &object).await?;
        } else {
            api.patch(&called, &PatchParams::apply("bench-plain").force(), &Patch::Apply(&object)).await?;
        }
    }
    let condition = json!({"type": "Ready", "status": "True", "reason": "Suspended", "message": "Scaled to zero.",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1});
    let status = json!({"status": {"observedGeneration": 1, "conditions": [condition]}});
    instances.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await?;
    Ok(())
}

/// Removes what [`apply`] wrote, so that the operator's caches do not see it.
pub(crate) async fn remove(stage: &Stage, prefix: &str) -> anyhow::Result<()> {
    let mut kinds = vec![resource()];
    for object in &stage.objects {
        let kind = kind_of(&serde_json::from_value::<DynamicObject>(object.clone())?);
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    for number in 0..NAMESPACES {
        for kind in &kinds {
            let api: Api<DynamicObject> =
                Api::namespaced_with(stage.client.clone(), &format!("{prefix}-{number}"), kind);
            if kind.kind != "Service" {
                api.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
                continue;
            }
            for service in api.list_metadata(&ListParams::default()).await?.items {
                api.delete(service.metadata.name.as_deref().unwrap_or_default(), &DeleteParams::background()).await?;
            }
        }
    }
    Ok(())
}

fn kind_of(object: &DynamicObject) -> ApiResource {
    let types = object.types.clone().unwrap_or_default();
    let (group, version) = types.api_version.split_once('/').unwrap_or(("", &types.api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &types.kind))
}
