//! The peer: a client that does nothing but write what the operator writes: for each instance the resource itself, its
//! objects in the same order by server-side apply (Secrets by POST), and the same status once the Deployment has said how it is; as
//! many at a time as the operator, and as one of the same rights.

use std::{collections::HashSet, time::Duration};

use anyhow::Context as _;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{Deployment, ReplicaSet},
        discovery::v1::EndpointSlice,
    },
};
use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams},
    runtime::watcher,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    stage::{Stage, TEMPLATE, instance, resource},
    until,
};

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(600);
/// Instances that are worked on at the same time, by the operator and by the plain client.
pub(crate) const CONCURRENCY: usize = 8;

/// Namespaces of its first round.
pub(crate) const FIRST: &str = "plain";

/// Writes as many instances; how many seconds it took.
pub(crate) async fn apply(stage: &Stage, many: usize, prefix: &str) -> anyhow::Result<f64> {
    stage.create_namespaces(prefix).await?;
    let slots = &Semaphore::new(CONCURRENCY);
    let begun = Instant::now();
    let writing = futures::stream::iter(0..many)
        .map(|number| async move {
            let _slot = slots.acquire().await?;
            one(stage, prefix, number).await
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>();
    let telling = said(stage, many, prefix)
        .map_ok(|(namespace, name)| async move {
            let _slot = slots.acquire().await?;
            status(stage, &namespace, &name).await
        })
        .try_buffer_unordered(CONCURRENCY)
        .try_collect::<()>();
    tokio::time::timeout(DEADLINE, async { tokio::try_join!(writing, telling) })
        .await
        .context("not every Deployment said how it is")??;
    Ok(begun.elapsed().as_secs_f64())
}

/// Namespace and name of each Deployment whose controller has seen it.
fn said(
    stage: &Stage,
    many: usize,
    prefix: &str,
) -> impl futures::Stream<Item = anyhow::Result<(String, String)>> + use<> {
    let prefix = format!("{prefix}-");
    let mut told = HashSet::new();
    let events = watcher(Api::<Deployment>::all(stage.client.clone()), watcher::Config::default());
    let new = events.try_filter_map(move |event| {
        let found = match event {
            watcher::Event::Apply(deployment) | watcher::Event::InitApply(deployment) => Some(deployment),
            _ => None,
        };
        let seen = found.filter(|deployment| {
            let seen = deployment.status.as_ref().and_then(|status| status.observed_generation);
            seen.is_some() && seen == deployment.metadata.generation
        });
        let place = seen.map(|deployment| (deployment.namespace().unwrap_or_default(), deployment.name_any()));
        let first = place.filter(|place| place.0.starts_with(&prefix) && told.insert(place.clone()));
        futures::future::ready(Ok(first))
    });
    new.map_err(anyhow::Error::from).take(many)
}

async fn one(stage: &Stage, prefix: &str, number: usize) -> anyhow::Result<()> {
    let (namespace, name) = (stage.namespace_of(prefix, number), format!("i{number}"));
    let instances: Api<DynamicObject> = Api::namespaced_with(stage.client.clone(), &namespace, &resource());
    let mut object = instance(&name);
    // An operator that comes later leaves it alone.
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("annotations".to_owned(), json!({"catalyst.dev/paused": "true"}));
    }
    instances.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    for template in &stage.objects {
        put(stage, &namespace, &name, template).await?;
    }
    Ok(())
}

/// Writes an object of an instance once more; a Deployment with another tag of its image.
pub(crate) async fn write(stage: &Stage, namespace: &str, name: &str, kind: &str, tag: &str) -> anyhow::Result<()> {
    let template = stage.objects.iter().find(|object| object["kind"] == kind).context("no such object")?;
    let mut template = template.clone();
    if let Some(image) = template.pointer_mut("/spec/template/spec/containers/0/image") {
        let text = image.as_str().unwrap_or_default();
        *image = format!("{}:{tag}", text.rsplit_once(':').map_or(text, |(repository, _)| repository)).into();
    }
    put(stage, namespace, name, &template).await
}

async fn put(stage: &Stage, namespace: &str, name: &str, template: &Value) -> anyhow::Result<()> {
    let text = template.to_string().replace(TEMPLATE, name);
    let mut object: Value = serde_json::from_str(&text)?;
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("namespace".to_owned(), namespace.into());
    }
    let object: DynamicObject = serde_json::from_value(object)?;
    let api: Api<DynamicObject> = Api::namespaced_with(stage.client.clone(), namespace, &kind_of(&object));
    let called = object.metadata.name.clone().unwrap_or_default();
    if object.types.as_ref().is_some_and(|types| types.kind == "Secret") {
        api.create(&PostParams::default(), &object).await?;
    } else {
        api.patch(&called, &PatchParams::apply("bench-plain").force(), &Patch::Apply(&object)).await?;
    }
    Ok(())
}

async fn status(stage: &Stage, namespace: &str, name: &str) -> anyhow::Result<()> {
    let instances: Api<DynamicObject> = Api::namespaced_with(stage.client.clone(), namespace, &resource());
    let text = stage.status.to_string().replace(TEMPLATE, name);
    let status = json!({"status": serde_json::from_str::<Value>(&text)?});
    instances.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await?;
    Ok(())
}

/// Removes what [`apply`] wrote, so that the operator's caches do not see it, and awaits that the cluster has removed what it
/// had added: its garbage collector works for as long, which would be held against whoever comes next.
pub(crate) async fn remove(stage: &Stage, prefix: &str) -> anyhow::Result<()> {
    let mut kinds = vec![resource()];
    for object in &stage.objects {
        let kind = kind_of(&serde_json::from_value::<DynamicObject>(object.clone())?);
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    for namespace in stage.namespaces(prefix) {
        for kind in &kinds {
            let api: Api<DynamicObject> = Api::namespaced_with(stage.client.clone(), &namespace, kind);
            if kind.kind != "Service" {
                api.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
                continue;
            }
            for service in api.list_metadata(&ListParams::default()).await?.items {
                api.delete(service.metadata.name.as_deref().unwrap_or_default(), &DeleteParams::background()).await?;
            }
        }
    }
    until("the garbage collector is done", DEADLINE, || async {
        let (sets, slices) = (left::<ReplicaSet>(stage, prefix).await?, left::<EndpointSlice>(stage, prefix).await?);
        Ok((sets + slices == 0).then_some(()))
    })
    .await
}

/// Objects of a kind that are still there.
async fn left<K>(stage: &Stage, prefix: &str) -> anyhow::Result<usize>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let all = Api::<K>::all(stage.client.clone()).list_metadata(&ListParams::default()).await?;
    let prefix = format!("{prefix}-");
    Ok(all.items.iter().filter(|object| object.namespace().is_some_and(|name| name.starts_with(&prefix))).count())
}

fn kind_of(object: &DynamicObject) -> ApiResource {
    let types = object.types.clone().unwrap_or_default();
    let (group, version) = types.api_version.split_once('/').unwrap_or(("", &types.api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &types.kind))
}
