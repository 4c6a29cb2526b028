//! Reads what there is of a release and of the instance that takes it over. Writes nothing; of Secrets only metadata.

mod old;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, ListParams, ObjectMeta},
};

use super::{
    adoption::{ADOPTED_ANNOTATION, ADOPTING_ANNOTATION, AdoptError, Adoption},
    fields::{HELM_ANNOTATIONS, unfinished},
    kinds, plan,
    seen::{InstanceSeen, ObjectName, ObjectSeen, Observed, OfRelease},
};
use crate::{
    crd::{CatalystInstance, PAUSED_ANNOTATION, pauses},
    names::References,
    offline::{self, cluster::Cluster},
    reason::Reason,
    status::READY,
};

/// Annotation by which a chart asks Helm never to delete an object.
const RESOURCE_POLICY: &str = "helm.sh/resource-policy";
/// What Helm's records are called.
const RECORD: &str = "sh.helm.release.";

pub(super) async fn observe(adoption: &Adoption) -> Result<Observed, AdoptError> {
    let instances: Api<CatalystInstance> = Api::namespaced(adoption.cluster.client.clone(), &adoption.namespace);
    let live = instances
        .get_opt(adoption.name())
        .await
        .map_err(|error| adoption.failed(&error, "read the CatalystInstance"))?;
    let mut taken_by = None;
    // A 404 for an instance and one for its kind look alike to `get`.
    if live.is_none() {
        let list = instances.list_metadata(&ListParams::default()).await;
        let list = list.map_err(|error| adoption.failed(&error, "list CatalystInstances"))?.items;
        let other = list.iter().find(|other| adopting(&other.metadata) == Some(adoption.release.as_str()));
        taken_by = other.map(ResourceExt::name_any);
    }
    let ours = |live: &&CatalystInstance| adopting(&live.metadata) == Some(adoption.release.as_str());
    let counts = live.as_ref().filter(ours).unwrap_or(&adoption.instance);
    let mut observed = Observed {
        namespace: adoption.namespace.clone(),
        instance: live.as_ref().map(seen),
        taken_by,
        secrets: secrets(counts),
        wanted: wanted(counts, &adoption.namespace)?,
        ..Observed::default()
    };
    for resource in kinds::of_charts() {
        objects(adoption, &resource, &mut observed).await?;
    }
    old::pods(adoption, live.as_ref(), &mut observed).await?;
    let api: Api<Secret> = Api::namespaced(adoption.cluster.client.clone(), &adoption.namespace);
    let records = api.list_metadata(&ListParams::default().labels("owner=helm")).await;
    let records = records.map_err(|error| adoption.failed(&error, "list Helm's records (Secrets)"))?.items;
    let (own, others): (Vec<_>, Vec<_>) =
        records.iter().map(|record| &record.metadata).partition(|meta| is_record(meta, &adoption.release));
    observed.records = own.into_iter().map(|meta| object("Secret", meta)).collect();
    observed.others = others.into_iter().filter_map(|meta| meta.labels.as_ref()?.get("name").cloned()).collect();
    observed.others.sort();
    observed.others.dedup();
    Ok(observed)
}

/// The name of the instance that is meant, as [`plan::name`] chooses it.
pub(super) async fn name_of(cluster: &Cluster, namespace: &str, release: &str) -> Result<Option<String>, AdoptError> {
    let failed = |error: &kube::Error, doing: &str| AdoptError::Cluster(cluster.explain(error, doing, Some(namespace)));
    let instances: Api<CatalystInstance> = Api::namespaced(cluster.client.clone(), namespace);
    let instances = instances.list_metadata(&ListParams::default()).await;
    let instances = instances.map_err(|error| failed(&error, "list CatalystInstances"))?.items;
    let noted = |note: &'static str| {
        let of_release = move |meta: &ObjectMeta| annotation(meta, note) == Some(release);
        instances.iter().filter(move |one| of_release(&one.metadata)).map(ResourceExt::name_any)
    };
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), namespace);
    let deployments = deployments.list_metadata(&ListParams::default()).await;
    let deployments = deployments.map_err(|error| failed(&error, "list Deployments"))?.items;
    let found = deployments.iter().find(|deployment| marked(&deployment.metadata, release, namespace));
    let adopting = noted(ADOPTING_ANNOTATION).collect();
    Ok(plan::name(adopting, found.map(ResourceExt::name_any), noted(ADOPTED_ANNOTATION).next())?)
}

/// Whether Helm counts the object to the release.
pub(super) fn marked(meta: &ObjectMeta, release: &str, in_namespace: &str) -> bool {
    let [name, namespace] = HELM_ANNOTATIONS;
    annotation(meta, name) == Some(release) && annotation(meta, namespace) == Some(in_namespace)
}

/// The UID of the object's controller.
pub(super) fn owner(meta: &ObjectMeta) -> Option<&str> {
    let references = meta.owner_references.as_deref().unwrap_or_default();
    references.iter().find(|reference| reference.controller == Some(true)).map(|reference| reference.uid.as_str())
}

/// Whether a Secret is one of Helm's records of the release.
pub(super) fn is_record(meta: &ObjectMeta, release: &str) -> bool {
    let label = |key: &str| meta.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    let called = meta.name.as_deref().is_some_and(|name| name.starts_with(RECORD));
    called && label("owner") == Some("helm") && label("name") == Some(release)
}

fn object(kind: &str, meta: &ObjectMeta) -> ObjectSeen {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    ObjectSeen { kind: kind.to_owned(), name: text(&meta.name), uid: text(&meta.uid) }
}

fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

fn adopting(meta: &ObjectMeta) -> Option<&str> {
    annotation(meta, ADOPTING_ANNOTATION)
}

fn seen(instance: &CatalystInstance) -> InstanceSeen {
    let status = instance.status.as_ref();
    let conditions = || status.into_iter().flat_map(|status| &status.conditions);
    let current = status.is_some_and(|status| status.observed_generation == instance.metadata.generation);
    let trouble = conditions().find(|condition| current && condition.type_ == READY && condition.status != "True");
    InstanceSeen {
        uid: instance.uid().unwrap_or_default(),
        adopting: adopting(&instance.metadata).map(str::to_owned),
        adopted: annotation(&instance.metadata, ADOPTED_ANNOTATION).map(str::to_owned),
        paused: annotation(&instance.metadata, PAUSED_ANNOTATION).is_some_and(pauses),
        acknowledged: conditions().any(|condition| condition.reason == Reason::Paused.as_str()),
        trouble: trouble.map(|ready| format!("{}: {}", ready.reason, ready.message)),
    }
}

/// What the operator will make of the instance.
fn wanted(instance: &CatalystInstance, namespace: &str) -> Result<Vec<ObjectName>, AdoptError> {
    match offline::names_of(instance, namespace) {
        Ok(names) => Ok(names.into_iter().map(|(kind, name)| ObjectName { kind, name }).collect()),
        Err(problems) => {
            let problems: Vec<_> = problems.into_iter().map(|(_, problem)| problem).collect();
            Err(AdoptError::Invalid { name: instance.name_any(), problems: problems.join(" ") })
        }
    }
}

/// Secrets that the instance only reads.
fn secrets(instance: &CatalystInstance) -> Vec<String> {
    let references = References::of(instance);
    let spec = &instance.spec;
    let app = references.app_is_given.then_some(references.app_secret);
    let key = references.key_is_given.then_some(references.ssh_key);
    let pull = spec.image.iter().flat_map(|image| image.pull_secrets.iter().flatten()).map(|pull| pull.name.clone());
    [app, key, references.tls_secret].into_iter().flatten().chain(pull).collect()
}

async fn objects(adoption: &Adoption, resource: &ApiResource, observed: &mut Observed) -> Result<(), AdoptError> {
    let doing = format!("list {}", resource.plural);
    let listed = adoption.api(resource).list_metadata(&ListParams::default()).await;
    for found in listed.map_err(|error| adoption.failed(&error, &doing))?.items {
        let object = object(&resource.kind, &found.metadata);
        let marked = marked(&found.metadata, &adoption.release, &adoption.namespace);
        let controller = owner(&found.metadata);
        let ours = controller.is_some() && controller == observed.instance.as_ref().map(|it| it.uid.as_str());
        if observed.wanted.iter().any(|wanted| object.is(wanted)) {
            if ours && unfinished(found.metadata.managed_fields.as_deref().unwrap_or_default()) {
                observed.unfinished.push(object.clone());
            } else if !ours && (!marked || controller.is_some()) {
                observed.foreign.push(object.clone());
            }
        }
        if marked {
            let policy = annotation(&found.metadata, RESOURCE_POLICY).unwrap_or_default();
            observed.marked.push(OfRelease { object, keep: policy.trim().eq_ignore_ascii_case("keep") });
        }
    }
    Ok(())
}
