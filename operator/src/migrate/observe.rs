//! Reads what there is of a release and of the instance that takes it over. Writes nothing; of Secrets only metadata.

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
    rbac::v1::{Role, RoleBinding},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, ListParams, ObjectMeta},
};

use super::{
    adopt::{ADOPTING_ANNOTATION, AdoptError, Adoption, SELECTOR_ANNOTATION},
    fields::{HELM_ANNOTATIONS, unfinished},
    plan::{InstanceSeen, Marked, ObjectSeen, Observed},
};
use crate::{
    crd::{CatalystInstance, PAUSED_ANNOTATION},
    names::{INSTANCE_LABEL, References},
    offline::{
        self,
        cluster::{Cluster, explain},
    },
    reason::Reason,
};

/// The kinds that a chart like ours makes. What a release has of other kinds is not touched.
pub(super) fn kinds() -> Vec<ApiResource> {
    vec![
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<HorizontalPodAutoscaler>(&()),
        ApiResource::erase::<Ingress>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
        ApiResource::erase::<PodDisruptionBudget>(&()),
        ApiResource::erase::<Role>(&()),
        ApiResource::erase::<RoleBinding>(&()),
        ApiResource::erase::<Secret>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
    ]
}

pub(super) async fn observe(adoption: &Adoption) -> Result<Observed, AdoptError> {
    let instances: Api<CatalystInstance> = Api::namespaced(adoption.cluster.client.clone(), &adoption.namespace);
    let live = instances
        .get_opt(adoption.name())
        .await
        .map_err(|error| adoption.failed(&error, "read the CatalystInstance"))?;
    // A 404 for an instance and one for its kind look alike to `get`.
    if live.is_none() {
        let list = instances.list_metadata(&ListParams::default().limit(1)).await;
        list.map_err(|error| adoption.failed(&error, "list CatalystInstances"))?;
    }
    let uid = live.as_ref().and_then(ResourceExt::uid);
    let wanted = wanted(adoption);
    let mut observed = Observed {
        instance: live.as_ref().map(seen),
        secrets: secrets(&adoption.instance),
        wanted,
        ..Observed::default()
    };
    for resource in kinds() {
        objects(adoption, &resource, uid.as_deref(), &mut observed).await?;
    }
    pods(adoption, live.as_ref(), &mut observed).await?;
    let api: Api<Secret> = Api::namespaced(adoption.cluster.client.clone(), &adoption.namespace);
    let params = ListParams::default().labels(&format!("owner=helm,name={}", adoption.release));
    let records =
        api.list_metadata(&params).await.map_err(|error| adoption.failed(&error, "list Helm's records (Secrets)"))?;
    observed.records =
        records.items.iter().map(ResourceExt::name_any).filter(|name| name.starts_with("sh.helm.release.")).collect();
    Ok(observed)
}

pub(super) async fn name_of(cluster: &Cluster, namespace: &str, release: &str) -> Result<Option<String>, AdoptError> {
    let failed = |error: &kube::Error, doing: &str| AdoptError::Cluster(explain(error, doing, &cluster.url));
    let instances: Api<CatalystInstance> = Api::namespaced(cluster.client.clone(), namespace);
    let instances = instances.list_metadata(&ListParams::default()).await;
    let instances = instances.map_err(|error| failed(&error, "list CatalystInstances"))?.items;
    let adopting = |meta: &ObjectMeta| {
        let annotations = meta.annotations.as_ref();
        annotations.and_then(|all| all.get(ADOPTING_ANNOTATION)).is_some_and(|adopting| adopting == release)
    };
    if let Some(found) = instances.iter().find(|instance| adopting(&instance.metadata)) {
        return Ok(found.metadata.name.clone());
    }
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), namespace);
    let deployments = deployments.list_metadata(&ListParams::default()).await;
    let deployments = deployments.map_err(|error| failed(&error, "list Deployments"))?.items;
    let found = deployments.iter().find(|deployment| marked(&deployment.metadata, release, namespace));
    Ok(found.and_then(|found| found.metadata.name.clone()))
}

fn seen(instance: &CatalystInstance) -> InstanceSeen {
    let annotation = |key: &str| instance.annotations().get(key);
    let conditions = instance.status.iter().flat_map(|status| &status.conditions);
    let paused = |reason: &str| reason == Reason::Paused.as_str();
    InstanceSeen {
        adopting: annotation(ADOPTING_ANNOTATION).cloned(),
        paused: annotation(PAUSED_ANNOTATION).is_some_and(|value| value == "true"),
        acknowledged: conditions.into_iter().any(|condition| paused(&condition.reason)),
    }
}

/// What the operator will make of the instance.
fn wanted(adoption: &Adoption) -> Vec<ObjectSeen> {
    offline::names_of(&adoption.instance, &adoption.namespace)
        .into_iter()
        .map(|(kind, name)| ObjectSeen { kind, name })
        .collect()
}

/// Secrets that the instance only reads.
fn secrets(instance: &CatalystInstance) -> Vec<String> {
    let references = References::of(instance);
    let spec = &instance.spec;
    let own = spec
        .secrets
        .as_ref()
        .is_some_and(|secrets| secrets.use_existing == Some(true) || secrets.existing_secret.is_some());
    let app = own.then_some(references.app_secret);
    let key = spec.ssh.existing_key_secret.is_some().then_some(references.ssh_key);
    let tls = spec.ingress.as_ref().and_then(|ingress| ingress.tls.as_ref()?.secret_name.clone());
    [app, key, tls].into_iter().flatten().collect()
}

async fn objects(
    adoption: &Adoption,
    resource: &ApiResource,
    uid: Option<&str>,
    observed: &mut Observed,
) -> Result<(), AdoptError> {
    let doing = format!("list {}", resource.plural);
    let listed = adoption.api(resource).list_metadata(&ListParams::default()).await;
    for found in listed.map_err(|error| adoption.failed(&error, &doing))?.items {
        let object = ObjectSeen { kind: resource.kind.clone(), name: found.name_any() };
        let marked = marked(&found.metadata, &adoption.release, &adoption.namespace);
        if marked {
            observed.marked.push(object.clone());
        }
        if !observed.wanted.contains(&object) {
            continue;
        }
        let ours = uid.is_some_and(|uid| owner(&found.metadata).is_some_and(|owner| owner == uid));
        if ours && unfinished(found.metadata.managed_fields.as_deref().unwrap_or_default()) {
            observed.unfinished.push(object);
        } else if !ours && !marked {
            observed.foreign.push(object);
        }
    }
    Ok(())
}

/// Whether Helm counts the object to the release.
fn marked(meta: &ObjectMeta, release: &str, in_namespace: &str) -> bool {
    let annotation =
        |key: &str| meta.annotations.as_ref().and_then(|annotations| annotations.get(key)).map(String::as_str);
    let [name, namespace] = HELM_ANNOTATIONS;
    annotation(name) == Some(release) && annotation(namespace) == Some(in_namespace)
}

pub(super) fn owner(meta: &ObjectMeta) -> Option<&str> {
    let references = meta.owner_references.as_deref().unwrap_or_default();
    references.iter().find(|reference| reference.controller == Some(true)).map(|reference| reference.uid.as_str())
}

/// The old ReplicaSets and pods, the endpoints, and how the new Deployment does.
async fn pods(adoption: &Adoption, live: Option<&CatalystInstance>, observed: &mut Observed) -> Result<(), AdoptError> {
    let client = || adoption.cluster.client.clone();
    let namespace = &adoption.namespace;
    let deployments: Api<Deployment> = Api::namespaced(client(), namespace);
    let deployment = match observed.marked.iter().find(|object| object.kind == "Deployment") {
        Some(helms) => deployments.get_opt(&helms.name).await,
        None => deployments.get_opt(adoption.name()).await,
    };
    let deployment = deployment.map_err(|error| adoption.failed(&error, "read the Deployment"))?;
    let helms = deployment.as_ref().filter(|deployment| marked(&deployment.metadata, &adoption.release, namespace));
    let noted = live.and_then(|live| live.annotations().get(SELECTOR_ANNOTATION).cloned());
    if let Some(ours) = deployment.as_ref().filter(|_| helms.is_none()) {
        observed.new_ready = owner(&ours.metadata).is_some()
            && owner(&ours.metadata) == live.and_then(|live| live.metadata.uid.as_deref())
            && ready(ours);
    }
    let Some(selector) = helms.map(selector).or(noted) else { return Ok(()) };
    let params = ListParams::default().labels(&selector);
    let sets: Api<ReplicaSet> = Api::namespaced(client(), namespace);
    let sets = sets.list(&params).await.map_err(|error| adoption.failed(&error, "list ReplicaSets"))?;
    let helms_uid = helms.and_then(|helms| helms.metadata.uid.as_deref());
    let mut uids = Vec::new();
    for set in
        sets.items.iter().filter(|set| !set.labels().contains_key(INSTANCE_LABEL) && owner(&set.metadata) == helms_uid)
    {
        uids.extend(set.metadata.uid.clone());
        let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref()?.metadata.as_ref()?.labels.as_ref());
        let marked = template.is_some_and(|labels| labels.contains_key(INSTANCE_LABEL));
        observed.sets.push(Marked { name: set.name_any(), marked });
    }
    let pods: Api<Pod> = Api::namespaced(client(), namespace);
    let pods = pods.list_metadata(&params).await.map_err(|error| adoption.failed(&error, "list pods"))?;
    let old = |meta: &ObjectMeta| owner(meta).is_some_and(|owner| uids.iter().any(|uid| uid == owner));
    for pod in pods.items.iter().filter(|pod| old(&pod.metadata) && pod.metadata.deletion_timestamp.is_none()) {
        observed.pods.push(Marked { name: pod.name_any(), marked: pod.labels().contains_key(INSTANCE_LABEL) });
    }
    let slices: Api<EndpointSlice> = Api::namespaced(client(), namespace);
    let params = ListParams::default().labels(&format!("kubernetes.io/service-name={}", adoption.name()));
    let slices = slices.list(&params).await.map_err(|error| adoption.failed(&error, "list EndpointSlices"))?;
    let endpoints = slices.items.iter().flat_map(|slice| &slice.endpoints);
    let targets = endpoints.filter_map(|endpoint| endpoint.target_ref.as_ref()?.name.clone());
    observed.serving = targets.filter(|name| observed.pods.iter().any(|pod| pod.name == *name)).collect();
    Ok(())
}

fn ready(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    deployment.status.as_ref().is_some_and(|status| {
        status.observed_generation >= deployment.metadata.generation
            && status.updated_replicas.unwrap_or_default() >= wanted
            && status.available_replicas.unwrap_or_default() >= wanted
    })
}

/// A Deployment's selector as `kubectl -l` takes it.
pub(super) fn selector(deployment: &Deployment) -> String {
    let nothing = LabelSelector::default();
    let selector = deployment.spec.as_ref().map_or(&nothing, |spec| &spec.selector);
    let labels = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().flatten().map(|expression| {
        let values = expression.values.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(",");
        match expression.operator.as_str() {
            "In" => format!("{} in ({values})", expression.key),
            "NotIn" => format!("{} notin ({values})", expression.key),
            "DoesNotExist" => format!("!{}", expression.key),
            _ => expression.key.clone(),
        }
    });
    labels.chain(expressions).collect::<Vec<_>>().join(",")
}
