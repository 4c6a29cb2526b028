//! The old ReplicaSets and pods, the endpoints that lead to them, and how the new Deployment does.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::Pod,
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, ObjectMeta},
};

use super::{annotation, marked, object, owner};
use crate::{
    crd::CatalystInstance,
    migrate::{
        adoption::{AdoptError, Adoption, SELECTOR_ANNOTATION},
        seen::{Observed, Old},
    },
    names::INSTANCE_LABEL,
};

pub(super) async fn pods(
    adoption: &Adoption,
    live: Option<&CatalystInstance>,
    observed: &mut Observed,
) -> Result<(), AdoptError> {
    let client = || adoption.cluster.client.clone();
    let namespace = &adoption.namespace;
    let deployments: Api<Deployment> = Api::namespaced(client(), namespace);
    let deployment = match observed.marked.iter().find(|one| one.object.kind == "Deployment") {
        Some(helms) => deployments.get_opt(&helms.object.name).await,
        None => deployments.get_opt(adoption.name()).await,
    };
    let deployment = deployment.map_err(|error| adoption.failed(&error, "read the Deployment"))?;
    let helms = deployment.as_ref().filter(|deployment| marked(&deployment.metadata, &adoption.release, namespace));
    if let Some(ours) = deployment.as_ref().filter(|_| helms.is_none()) {
        observed.new_ready = owner(&ours.metadata).is_some()
            && owner(&ours.metadata) == live.and_then(|live| live.metadata.uid.as_deref())
            && ready(ours);
    }
    let noted = live.and_then(|live| annotation(&live.metadata, SELECTOR_ANNOTATION)).map(str::to_owned);
    observed.selector = helms.map(selector).or(noted).unwrap_or_default();
    // An empty selector would be everybody's pods.
    if observed.selector.is_empty() {
        return Ok(());
    }
    let params = ListParams::default().labels(&observed.selector);
    let sets: Api<ReplicaSet> = Api::namespaced(client(), namespace);
    let sets = sets.list(&params).await.map_err(|error| adoption.failed(&error, "list ReplicaSets"))?.items;
    let helms_uid = helms.and_then(|helms| helms.metadata.uid.as_deref());
    for set in sets.iter().filter(|set| is_old(&set.metadata, helms_uid)) {
        let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref()?.metadata.as_ref()?.labels.as_ref());
        let labelled = template.is_some_and(|labels| labels.contains_key(INSTANCE_LABEL));
        observed.sets.push(Old { object: object("ReplicaSet", &set.metadata), labelled });
    }
    let pods: Api<Pod> = Api::namespaced(client(), namespace);
    let pods = pods.list_metadata(&params).await.map_err(|error| adoption.failed(&error, "list pods"))?.items;
    for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        if owner(&pod.metadata).is_some_and(|owner| observed.sets.iter().any(|set| set.object.uid == owner)) {
            let labelled = pod.labels().contains_key(INSTANCE_LABEL);
            observed.pods.push(Old { object: object("Pod", &pod.metadata), labelled });
        }
    }
    let slices: Api<EndpointSlice> = Api::namespaced(client(), namespace);
    let params = ListParams::default().labels(&format!("kubernetes.io/service-name={}", adoption.name()));
    let slices = slices.list(&params).await.map_err(|error| adoption.failed(&error, "list EndpointSlices"))?;
    let endpoints = slices.items.iter().flat_map(|slice| &slice.endpoints);
    let targets = endpoints.filter_map(|endpoint| endpoint.target_ref.as_ref()?.name.clone());
    observed.serving = targets.filter(|name| observed.pods.iter().any(|pod| pod.object.name == *name)).collect();
    Ok(())
}

/// Whether a ReplicaSet that the selector finds is the release's: its Deployment's, or left by it.
fn is_old(set: &ObjectMeta, helms: Option<&str>) -> bool {
    let ours = set.labels.as_ref().is_some_and(|labels| labels.contains_key(INSTANCE_LABEL));
    !ours && owner(set) == helms
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
fn selector(deployment: &Deployment) -> String {
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
