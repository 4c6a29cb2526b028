//! Carries out one step. Each write may be repeated: what is there already, or gone already, is no error.

use std::time::Instant;

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Pod, Secret},
};
use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
};
use serde_json::{Value, json};

use super::{
    adopt::{ADOPTING_ANNOTATION, AdoptError, Adoption, SELECTOR_ANNOTATION},
    fields::{HELM_ANNOTATIONS, ON_THE_WAY, handed_over},
    observe::{kinds, selector},
    plan::{ObjectSeen, Observed, Step},
};
use crate::{
    build::MANAGER,
    crd::{CatalystInstance, PAUSED_ANNOTATION},
    names::INSTANCE_LABEL,
};

/// How often a step that waits looks again.
const INTERVAL: std::time::Duration = std::time::Duration::from_millis(500);
/// What the chart labels its objects with.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

pub(super) async fn carry_out(adoption: &Adoption, step: &Step) -> Result<(), AdoptError> {
    let outcome = match step {
        Step::Create => return create(adoption).await,
        Step::AwaitOperator => {
            let remedy = "No operator acts on this namespace: look whether catalyst-operator runs and watches it.";
            return await_that(adoption, "the operator sees the instance", remedy, |seen| {
                seen.instance.as_ref().is_some_and(|instance| instance.acknowledged)
            })
            .await;
        }
        Step::AwaitReady => {
            let remedy =
                format!("What is wrong says: kubectl get cati -n {} {} -o wide.", adoption.namespace, adoption.name());
            return await_that(adoption, "the new pods are ready", &remedy, |seen| seen.new_ready).await;
        }
        Step::AwaitDrained => {
            let remedy = "Look at the EndpointSlices of the Service.";
            return await_that(adoption, "no endpoint is an old pod", remedy, |seen| seen.serving.is_empty()).await;
        }
        Step::Detach(name) => return detach(adoption, name).await,
        Step::TakeOver(object) => return take_over(adoption, object).await,
        Step::KeepSecret(name) => {
            let metadata = json!({"annotations": without_marks(), "labels": {MANAGED_BY: null}});
            merge::<Secret>(adoption, name, json!({"metadata": metadata})).await
        }
        Step::MarkSets(names) => sets(adoption, names, json!(adoption.name())).await,
        Step::UnmarkSets(names) => sets(adoption, names, Value::Null).await,
        Step::MarkPods(names) => pods(adoption, names, json!(adoption.name())).await,
        Step::UnmarkPods(names) => pods(adoption, names, Value::Null).await,
        Step::Resume => annotate(adoption, json!({PAUSED_ANNOTATION: null})).await,
        Step::Finish => annotate(adoption, json!({ADOPTING_ANNOTATION: null, SELECTOR_ANNOTATION: null})).await,
        Step::RemoveSets(names) => {
            // Proxies hear of endpoints that are gone a moment after the API server does.
            tokio::time::sleep(adoption.patience.drain).await;
            each(names, |name| {
                delete(adoption, ApiResource::erase::<ReplicaSet>(&()), name, PropagationPolicy::Background)
            })
            .await
        }
        Step::Remove(object) => match kinds().into_iter().find(|resource| resource.kind == object.kind) {
            Some(resource) => delete(adoption, resource, &object.name, PropagationPolicy::Background).await,
            None => Ok(()),
        },
        Step::Forget(names) => {
            each(names, |name| delete(adoption, ApiResource::erase::<Secret>(&()), name, PropagationPolicy::Background))
                .await
        }
    };
    outcome.map_err(|error| adoption.failed(&error, &step.to_string()))
}

async fn create(adoption: &Adoption) -> Result<(), AdoptError> {
    let observed = adoption.observe().await?;
    let api: Api<Deployment> = Api::namespaced(adoption.cluster.client.clone(), &adoption.namespace);
    let mut instance = adoption.instance.clone();
    instance.metadata.namespace = Some(adoption.namespace.clone());
    let helms = observed.marked.iter().find(|object| object.kind == "Deployment");
    let annotations = instance.annotations_mut();
    if let Some(helms) = helms {
        let found = api.get(&helms.name).await.map_err(|error| adoption.failed(&error, "read the Deployment"))?;
        annotations.insert(SELECTOR_ANNOTATION.to_owned(), selector(&found));
    }
    annotations.insert(ADOPTING_ANNOTATION.to_owned(), adoption.release.clone());
    annotations.insert(PAUSED_ANNOTATION.to_owned(), "true".to_owned());
    let api: Api<CatalystInstance> = Api::namespaced(adoption.cluster.client.clone(), &adoption.namespace);
    let params = PostParams { field_manager: Some(ON_THE_WAY.to_owned()), ..PostParams::default() };
    match api.create(&params, &instance).await {
        Ok(_) => Ok(()),
        // The next look says whether it is ours.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(adoption.failed(&error, "create the CatalystInstance")),
    }
}

/// Three writes, each complete in itself: the fields that Helm set are ours; the object belongs to the instance and bears
/// Helm's marks no more; what that set is ours as well.
async fn take_over(adoption: &Adoption, object: &ObjectSeen) -> Result<(), AdoptError> {
    let failed = |error: kube::Error| adoption.failed(&error, &format!("take {object} over"));
    let instances: Api<CatalystInstance> = Api::namespaced(adoption.cluster.client.clone(), &adoption.namespace);
    let instance = instances.get(adoption.name()).await.map_err(failed)?;
    let Some(resource) = kinds().into_iter().find(|resource| resource.kind == object.kind) else { return Ok(()) };
    let api = adoption.api(&resource);
    hand_fields_over(&api, &object.name).await.map_err(failed)?;
    let found = api.get_metadata(&object.name).await.map_err(failed)?;
    let mut owners: Vec<_> = found.metadata.owner_references.into_iter().flatten().collect();
    owners.retain(|owner| owner.controller != Some(true));
    owners.extend(instance.controller_owner_ref(&()));
    let metadata = json!({"annotations": without_marks(), "labels": {MANAGED_BY: MANAGER}, "ownerReferences": owners});
    let params = PatchParams { field_manager: Some(ON_THE_WAY.to_owned()), ..PatchParams::default() };
    api.patch_metadata(&object.name, &params, &Patch::Merge(json!({"metadata": metadata}))).await.map_err(failed)?;
    hand_fields_over(&api, &object.name).await.map_err(failed)
}

async fn hand_fields_over(api: &Api<DynamicObject>, name: &str) -> Result<(), kube::Error> {
    let found = api.get_metadata(name).await?.metadata;
    let managed = found.managed_fields.unwrap_or_default();
    let after = handed_over(&managed);
    if after == managed {
        return Ok(());
    }
    // Held to what was read: somebody else's change meanwhile is not undone.
    let metadata = json!({"resourceVersion": found.resource_version, "managedFields": after});
    let params = PatchParams { field_manager: Some(ON_THE_WAY.to_owned()), ..PatchParams::default() };
    api.patch_metadata(name, &params, &Patch::Merge(json!({"metadata": metadata}))).await.map(|_| ())
}

/// Annotations of a merge patch that takes Helm's marks off.
fn without_marks() -> Value {
    HELM_ANNOTATIONS.iter().map(|mark| ((*mark).to_owned(), Value::Null)).collect::<serde_json::Map<_, _>>().into()
}

/// Deletes the release's Deployment and nothing below it, and awaits that its ReplicaSets are on their own.
async fn detach(adoption: &Adoption, name: &str) -> Result<(), AdoptError> {
    let resource = ApiResource::erase::<Deployment>(&());
    delete(adoption, resource, name, PropagationPolicy::Orphan)
        .await
        .map_err(|error| adoption.failed(&error, &format!("delete Deployment {name}")))?;
    let remedy = "The garbage collector of the cluster has not let its ReplicaSets go.";
    await_that(adoption, "the Deployment is gone", remedy, |seen| {
        !seen.marked.iter().any(|object| object.kind == "Deployment" && object.name == name)
    })
    .await
}

async fn annotate(adoption: &Adoption, annotations: Value) -> Result<(), kube::Error> {
    merge::<CatalystInstance>(adoption, adoption.name(), json!({"metadata": {"annotations": annotations}})).await
}

async fn sets(adoption: &Adoption, names: &[String], label: Value) -> Result<(), kube::Error> {
    let patch = json!({"spec": {"template": {"metadata": {"labels": {INSTANCE_LABEL: label}}}}});
    each(names, |name| merge::<ReplicaSet>(adoption, name, patch.clone())).await
}

async fn pods(adoption: &Adoption, names: &[String], label: Value) -> Result<(), kube::Error> {
    let patch = json!({"metadata": {"labels": {INSTANCE_LABEL: label}}});
    each(names, |name| merge::<Pod>(adoption, name, patch.clone())).await
}

async fn each<'a, F>(names: &'a [String], mut act: impl FnMut(&'a str) -> F) -> Result<(), kube::Error>
where
    F: Future<Output = Result<(), kube::Error>>,
{
    for name in names {
        act(name).await?;
    }
    Ok(())
}

async fn merge<K: Resource<DynamicType = ()>>(
    adoption: &Adoption,
    name: &str,
    patch: Value,
) -> Result<(), kube::Error> {
    let params = PatchParams { field_manager: Some(ON_THE_WAY.to_owned()), ..PatchParams::default() };
    let api = adoption.api(&ApiResource::erase::<K>(&()));
    gone_is_fine(api.patch_metadata(name, &params, &Patch::Merge(patch)).await.map(|_| ()))
}

async fn delete(
    adoption: &Adoption,
    resource: ApiResource,
    name: &str,
    propagation: PropagationPolicy,
) -> Result<(), kube::Error> {
    let api = adoption.api(&resource);
    let Some(found) = api.get_metadata_opt(name).await? else { return Ok(()) };
    // The very object that was planned for, not one that took its place.
    let preconditions = Preconditions { uid: found.metadata.uid, resource_version: None };
    let params = DeleteParams {
        propagation_policy: Some(propagation),
        preconditions: Some(preconditions),
        ..DeleteParams::default()
    };
    gone_is_fine(api.delete(name, &params).await.map(|_| ()))
}

fn gone_is_fine(outcome: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    }
}

async fn await_that(
    adoption: &Adoption,
    awaited: &str,
    remedy: &str,
    done: impl Fn(&Observed) -> bool,
) -> Result<(), AdoptError> {
    let begun = Instant::now();
    loop {
        if done(&adoption.observe().await?) {
            return Ok(());
        }
        if begun.elapsed() > adoption.patience.step {
            let (awaited, remedy) = (awaited.to_owned(), remedy.to_owned());
            return Err(AdoptError::TimedOut { awaited, waited: adoption.patience.step, remedy });
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
