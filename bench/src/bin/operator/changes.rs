//! Instances created, changed and robbed of a child, and how long the operator took, seen through a watch.

use std::{collections::HashSet, time::Duration};

use anyhow::Context as _;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    runtime::watcher,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use crate::{
    plain::{self, CONCURRENCY},
    stage::{Stage, resource},
};

/// Longer than anything here takes; to make many instances, a second more for each.
const DEADLINE: Duration = Duration::from_secs(600);
/// In a long run it is told how many instances are done, each time that it is as many more.
const TOLD_EVERY: usize = 500;
/// What the operator says of an instance that runs nothing because that is wanted.
pub(crate) const SUSPENDED: &str = "Suspended";
/// Namespaces of the operator's instances.
const PREFIX: &str = "operated";

/// Creates as many instances; seconds until the operator has said of each that it is Ready for this reason.
pub(crate) async fn create(
    stage: &Stage,
    many: usize,
    instance: fn(&str) -> Value,
    reason: &str,
) -> anyhow::Result<f64> {
    stage.create_namespaces(PREFIX).await?;
    let all: Api<DynamicObject> = Api::all_with(stage.client.clone(), &resource());
    let mut events = watcher(all, watcher::Config::default()).boxed();
    let begun = Instant::now();
    let creating = futures::stream::iter(0..many)
        .map(|number| async move {
            let namespace = stage.namespace_of(PREFIX, number);
            let api: Api<DynamicObject> = Api::namespaced_with(stage.client.clone(), &namespace, &resource());
            api.create(&PostParams::default(), &serde_json::from_value(instance(&format!("i{number}")))?).await?;
            anyhow::Ok(())
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>();
    let watching = async {
        let mut done = HashSet::new();
        while done.len() < many {
            let event = events.try_next().await?.context("the watch ended")?;
            if let watcher::Event::Apply(object) | watcher::Event::InitApply(object) = event
                && is_ready(&object, reason)
                && done.insert((object.namespace(), object.name_any()))
                && done.len() % TOLD_EVERY == 0
            {
                eprintln!("{} instances after {:.0} s", done.len(), begun.elapsed().as_secs_f64());
            }
        }
        anyhow::Ok(begun.elapsed().as_secs_f64())
    };
    let deadline = DEADLINE + Duration::from_secs(many as u64);
    let (_, took) = tokio::time::timeout(deadline, async { tokio::try_join!(creating, watching) })
        .await
        .context("the instances did not come to a status")??;
    Ok(took)
}

/// Whether the operator has come to its end with it: everything is applied by then.
pub(crate) fn is_ready(object: &DynamicObject, reason: &str) -> bool {
    let conditions = object.data.pointer("/status/conditions").and_then(|conditions| conditions.as_array());
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["reason"] == reason)
}

/// Who answers a change.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum By {
    /// The operator.
    Operator,
    /// Whoever makes the change: the least that it can take.
    Ourselves,
}

impl By {
    fn prefix(self) -> &'static str {
        match self {
            By::Operator => PREFIX,
            By::Ourselves => plain::FIRST,
        }
    }
}

/// Changes the image of one instance after another, the next when all is said of the last; how long each Deployment took.
pub(crate) async fn spec(stage: &Stage, changes: usize, many: usize, by: By) -> anyhow::Result<Vec<Duration>> {
    let (mut seen, watching) = watch(Api::<Deployment>::all(stage.client.clone()));
    let (mut told, listening) = watch(Api::<DynamicObject>::all_with(stage.client.clone(), &resource()));
    let mut took = Vec::new();
    for change in 0..changes {
        let (namespace, name) = chosen(stage, change, many, by);
        let api: Api<DynamicObject> = Api::namespaced_with(stage.client.clone(), &namespace, &resource());
        let tag = format!("v{}", change + 2);
        let patch = json!({"spec": {"image": {"tag": tag}}});
        let begun = Instant::now();
        let generation = api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?.metadata.generation;
        if by == By::Ourselves {
            plain::write(stage, &namespace, &name, "Deployment", &tag).await?;
        }
        next(&mut seen, |deployment: &Deployment| {
            let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
            let image = pod.and_then(|pod| pod.containers.first()?.image.as_deref());
            is(deployment, &namespace, &name) && image.is_some_and(|image| image.ends_with(&format!(":{tag}")))
        })
        .await?;
        took.push(begun.elapsed());
        if by == By::Operator {
            next(&mut told, |object: &DynamicObject| {
                let observed = object.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
                is(object, &namespace, &name) && observed == generation && is_ready(object, SUSPENDED)
            })
            .await?;
        }
    }
    watching.abort();
    listening.abort();
    Ok(took)
}

/// Deletes the Service of one instance after another; how long each was away.
pub(crate) async fn deleted(stage: &Stage, changes: usize, many: usize, by: By) -> anyhow::Result<Vec<Duration>> {
    let (mut seen, watching) = watch(Api::<Service>::all(stage.client.clone()));
    let mut took = Vec::new();
    for change in 0..changes {
        let (namespace, name) = chosen(stage, change, many, by);
        let api: Api<Service> = Api::namespaced(stage.client.clone(), &namespace);
        let uid = api.get_metadata(&name).await?.metadata.uid;
        let begun = Instant::now();
        api.delete(&name, &DeleteParams::background()).await?;
        if by == By::Ourselves {
            plain::write(stage, &namespace, &name, "Service", "").await?;
        }
        next(&mut seen, |service: &Service| is(service, &namespace, &name) && service.metadata.uid != uid).await?;
        took.push(begun.elapsed());
    }
    watching.abort();
    Ok(took)
}

/// Spread over namespaces and names.
fn chosen(stage: &Stage, change: usize, many: usize, by: By) -> (String, String) {
    let number = change * 7 % many;
    (stage.namespace_of(by.prefix(), number), format!("i{number}"))
}

fn is(object: &impl ResourceExt, namespace: &str, name: &str) -> bool {
    object.namespace().as_deref() == Some(namespace) && object.name_any() == name
}

fn watch<K>(api: Api<K>) -> (mpsc::Receiver<K>, JoinHandle<()>)
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(1024);
    let mut events = watcher(api, watcher::Config::default()).boxed();
    let task = tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) = event
                && sender.send(object).await.is_err()
            {
                return;
            }
        }
    });
    (receiver, task)
}

async fn next<K>(seen: &mut mpsc::Receiver<K>, wanted: impl Fn(&K) -> bool) -> anyhow::Result<()> {
    let waiting = async {
        while let Some(object) = seen.recv().await {
            if wanted(&object) {
                return Ok(());
            }
        }
        anyhow::bail!("the watch ended")
    };
    tokio::time::timeout(DEADLINE, waiting).await.context("the operator did nothing")?
}
