//! Carries out one step, on what it was planned for. Each write may be repeated.

use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, Resource, ResourceExt,
    api::{ObjectMeta, PostParams, PropagationPolicy},
};
use serde_json::{Value, json};

use super::{
    adoption::{ADOPTED_ANNOTATION, ADOPTING_ANNOTATION, AdoptError, Adoption, SELECTOR_ANNOTATION},
    fields::{HELM_ANNOTATIONS, ON_THE_WAY, handed_over},
    observe::{is_record, marked, observe, owner},
    seen::{ObjectSeen, Observed},
    step::Step,
    write::present,
};
use crate::{
    build::MANAGER,
    crd::{CatalystInstance, PAUSED_ANNOTATION},
    names::INSTANCE_LABEL,
};

/// How often a step that waits looks again.
const INTERVAL: Duration = Duration::from_millis(500);
/// What the chart labels its objects with.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Carries out a step that was planned of `seen`; `tell` gets what a person should know while it waits.
pub(super) async fn carry_out(
    adoption: &Adoption,
    seen: &Observed,
    step: &Step,
    tell: &mut dyn FnMut(&str),
) -> Result<(), AdoptError> {
    let of_release = |meta: &ObjectMeta| marked(meta, &adoption.release, &adoption.namespace);
    match step {
        Step::Create(selector) => create(adoption, selector).await,
        Step::AwaitOperator => {
            let remedy = "No operator acts on this namespace: look whether catalyst-operator runs and watches it.";
            await_that(adoption, "the operator sees the instance", remedy, tell, |seen| {
                seen.instance.as_ref().is_some_and(|instance| instance.acknowledged)
            })
            .await
        }
        Step::AwaitReady => {
            let (namespace, flags) = (&adoption.namespace, &adoption.cluster.flags);
            let remedy =
                format!("What is wrong says `kubectl get cati -n {namespace} {} -o wide{flags}`.", adoption.name());
            await_that(adoption, "the new pods are ready", &remedy, tell, |seen| seen.new_ready).await
        }
        Step::AwaitDrained => {
            let remedy = "Look at the EndpointSlices of the Service.";
            await_that(adoption, "no endpoint is an old pod", remedy, tell, |seen| seen.serving.is_empty()).await
        }
        Step::Detach(deployment) => detach(adoption, deployment, tell).await,
        Step::TakeOver(object) => take_over(adoption, seen, object).await,
        Step::KeepSecret(object) | Step::Leave(object) => {
            let metadata = json!({"annotations": without_marks(), "labels": {MANAGED_BY: null}});
            patch(adoption, object, of_release, json!({"metadata": metadata})).await
        }
        Step::MarkSets(sets) => label_sets(adoption, sets, json!(adoption.name())).await,
        Step::UnmarkSets(sets) => label_sets(adoption, sets, Value::Null).await,
        Step::MarkPods(pods) => label_pods(adoption, pods, json!(adoption.name())).await,
        Step::UnmarkPods(pods) => label_pods(adoption, pods, Value::Null).await,
        Step::Resume => annotate(adoption, seen, json!({PAUSED_ANNOTATION: null})).await,
        Step::Finish => {
            let done =
                json!({ADOPTED_ANNOTATION: adoption.release, ADOPTING_ANNOTATION: null, SELECTOR_ANNOTATION: null});
            annotate(adoption, seen, done).await
        }
        Step::RemoveSets(sets) => {
            // Proxies hear of endpoints that are gone a moment after the API server does.
            tokio::time::sleep(adoption.patience.drain).await;
            delete_each(adoption, sets, is_left).await
        }
        Step::Remove(object) => delete_each(adoption, std::slice::from_ref(object), of_release).await,
        Step::Forget(records) => {
            delete_each(adoption, records, |meta: &ObjectMeta| is_record(meta, &adoption.release)).await
        }
    }
}

async fn create(adoption: &Adoption, selector: &str) -> Result<(), AdoptError> {
    let mut instance = adoption.instance.clone();
    instance.metadata.namespace = Some(adoption.namespace.clone());
    instance.annotations_mut().extend([
        (SELECTOR_ANNOTATION.to_owned(), selector.to_owned()),
        (ADOPTING_ANNOTATION.to_owned(), adoption.release.clone()),
        (PAUSED_ANNOTATION.to_owned(), "true".to_owned()),
    ]);
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
async fn take_over(adoption: &Adoption, seen: &Observed, object: &ObjectSeen) -> Result<(), AdoptError> {
    let instance = reference(adoption, seen).await?;
    let mine = |meta: &ObjectMeta| owner(meta) == Some(instance.uid.as_str());
    let free = |meta: &ObjectMeta| marked(meta, &adoption.release, &adoption.namespace) && owner(meta).is_none();
    hand_fields_over(adoption, object, |meta| free(meta) || mine(meta)).await?;
    if let Some(found) = present(adoption, object, |meta| free(meta) || mine(meta)).await? {
        let mut owners = found.meta().owner_references.clone().unwrap_or_default();
        owners.retain(|owner| owner.uid != instance.uid);
        owners.push(instance.clone());
        let labels = json!({MANAGED_BY: MANAGER});
        let metadata = json!({"annotations": without_marks(), "labels": labels, "ownerReferences": owners});
        found.patch(json!({"metadata": metadata})).await?;
    }
    hand_fields_over(adoption, object, mine).await
}

/// The instance as owner, provided that it is still the one that was seen: what belongs to one that is gone is deleted.
async fn reference(adoption: &Adoption, seen: &Observed) -> Result<OwnerReference, AdoptError> {
    let api: Api<CatalystInstance> = Api::namespaced(adoption.cluster.client.clone(), &adoption.namespace);
    let found = api.get_metadata_opt(adoption.name()).await;
    let found = found.map_err(|error| adoption.failed(&error, "read the CatalystInstance"))?;
    let live = found.filter(|found| found.metadata.deletion_timestamp.is_none());
    let uid = |uid: &String| seen.instance.as_ref().is_some_and(|instance| instance.uid == *uid);
    let live = live
        .filter(|live| live.metadata.uid.as_ref().is_some_and(uid))
        .map(|live| CatalystInstance { metadata: live.metadata, ..adoption.instance.clone() });
    let reference = live.and_then(|live| live.controller_owner_ref(&()));
    reference.ok_or_else(|| AdoptError::Overtaken(instance(adoption, seen)))
}

async fn hand_fields_over(
    adoption: &Adoption,
    object: &ObjectSeen,
    holds: impl Fn(&ObjectMeta) -> bool,
) -> Result<(), AdoptError> {
    let Some(found) = present(adoption, object, holds).await? else { return Ok(()) };
    let managed = found.meta().managed_fields.clone().unwrap_or_default();
    let after = handed_over(&managed);
    if after == managed { Ok(()) } else { found.patch(json!({"metadata": {"managedFields": after}})).await }
}

/// Annotations of a merge patch that takes Helm's marks off.
fn without_marks() -> Value {
    HELM_ANNOTATIONS.iter().map(|mark| ((*mark).to_owned(), Value::Null)).collect::<serde_json::Map<_, _>>().into()
}

/// Deletes the release's Deployment and nothing below it, and awaits that its ReplicaSets are on their own.
async fn detach(adoption: &Adoption, deployment: &ObjectSeen, tell: &mut dyn FnMut(&str)) -> Result<(), AdoptError> {
    let of_release = |meta: &ObjectMeta| marked(meta, &adoption.release, &adoption.namespace);
    if let Some(found) = present(adoption, deployment, of_release).await? {
        found.delete(PropagationPolicy::Orphan).await?;
    }
    let remedy = "The garbage collector of the cluster has not let its ReplicaSets go.";
    await_that(adoption, "the Deployment is gone", remedy, tell, |seen| {
        !seen.marked.iter().any(|one| one.object == *deployment)
    })
    .await
}

fn instance(adoption: &Adoption, seen: &Observed) -> ObjectSeen {
    let uid = seen.instance.as_ref().map(|instance| instance.uid.clone()).unwrap_or_default();
    ObjectSeen { kind: CatalystInstance::kind(&()).into_owned(), name: adoption.name().to_owned(), uid }
}

async fn annotate(adoption: &Adoption, seen: &Observed, annotations: Value) -> Result<(), AdoptError> {
    let ours = |meta: &ObjectMeta| {
        meta.annotations.as_ref().and_then(|all| all.get(ADOPTING_ANNOTATION)) == Some(&adoption.release)
    };
    patch(adoption, &instance(adoption, seen), ours, json!({"metadata": {"annotations": annotations}})).await
}

/// Whether a ReplicaSet is on its own, as the release's Deployment left it.
fn is_left(meta: &ObjectMeta) -> bool {
    owner(meta).is_none()
}

async fn label_sets(adoption: &Adoption, sets: &[ObjectSeen], label: Value) -> Result<(), AdoptError> {
    for set in sets {
        let template = json!({"metadata": {"labels": {INSTANCE_LABEL: label}}});
        patch(adoption, set, is_left, json!({"spec": {"template": template}})).await?;
    }
    Ok(())
}

async fn label_pods(adoption: &Adoption, pods: &[ObjectSeen], label: Value) -> Result<(), AdoptError> {
    for pod in pods {
        patch(adoption, pod, |_| true, json!({"metadata": {"labels": {INSTANCE_LABEL: label}}})).await?;
    }
    Ok(())
}

async fn patch(
    adoption: &Adoption,
    object: &ObjectSeen,
    holds: impl Fn(&ObjectMeta) -> bool,
    patch: Value,
) -> Result<(), AdoptError> {
    match present(adoption, object, holds).await? {
        Some(found) => found.patch(patch).await,
        None => Ok(()),
    }
}

async fn delete_each(
    adoption: &Adoption,
    objects: &[ObjectSeen],
    holds: impl Fn(&ObjectMeta) -> bool,
) -> Result<(), AdoptError> {
    for object in objects {
        if let Some(found) = present(adoption, object, &holds).await? {
            found.delete(PropagationPolicy::Background).await?;
        }
    }
    Ok(())
}

/// Looks until it is so, and tells each time when the operator says something else to be the matter.
async fn await_that(
    adoption: &Adoption,
    awaited: &str,
    remedy: &str,
    tell: &mut dyn FnMut(&str),
    done: impl Fn(&Observed) -> bool,
) -> Result<(), AdoptError> {
    let begun = Instant::now();
    let mut told = None;
    loop {
        let seen = observe(adoption).await?;
        if done(&seen) {
            return Ok(());
        }
        let trouble = seen.instance.and_then(|instance| instance.trouble);
        if trouble.is_some() && trouble != told {
            tell(&format!("waiting: {}", trouble.as_deref().unwrap_or_default()));
            told = trouble;
        }
        if begun.elapsed() > adoption.patience.step {
            let words = told.map_or_else(String::new, |told| format!("The operator says {told} "));
            let (awaited, remedy) = (awaited.to_owned(), format!("{words}{remedy}"));
            return Err(AdoptError::TimedOut { awaited, waited: adoption.patience.step, remedy });
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
