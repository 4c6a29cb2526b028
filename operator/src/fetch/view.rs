//! Kubernetes objects → what matters of them. Pure.

mod log;
mod pod;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret, networking::v1::IngressClass as ApiIngressClass};
use kube::api::ObjectMeta;
use serde_json::Value;

use self::log::plain;
pub(super) use self::{
    log::{ideas_path_in, ssh_reason_in},
    pod::{cannot_pull, pod},
};
use crate::{
    apply::{APPLIED_REPLICAS_ANNOTATION, left_to_scaler},
    container::{CATALYST_SECRET, COOKIE_SECRET, COOKIE_SECRET_PREVIOUS},
    crd::{ROTATE_CATALYST_SECRET_ANNOTATION, ROTATE_COOKIE_SECRET_ANNOTATION, ROTATE_SSH_KEY_ANNOTATION},
    observed::{
        Answers, AppSecret, DeploymentView, IngressClass, Ownership, Referenced, RouteView, SecretText, SshKeySecret,
    },
};

pub(super) fn owner(meta: &ObjectMeta, instance: &str) -> Ownership {
    let controller = meta.owner_references.iter().flatten().find(|reference| reference.controller == Some(true));
    match controller {
        Some(reference) if reference.uid == instance => Ownership::Ours,
        Some(reference) => Ownership::Foreign(Some(format!("{}/{}", reference.kind, reference.name))),
        None => Ownership::Foreign(None),
    }
}

/// What the server reads of the application Secret.
pub(crate) fn app_secret(secret: Secret, instance: &str) -> Referenced<AppSecret> {
    let entry = |key: &str| secret.data.as_ref()?.get(key).map(|bytes| SecretText::new(bytes.0.clone()));
    let value = AppSecret {
        catalyst_secret: entry(CATALYST_SECRET),
        cookie_secret: entry(COOKIE_SECRET),
        cookie_secret_previous: entry(COOKIE_SECRET_PREVIOUS),
        answers: answers(&secret),
    };
    Referenced::Found { owner: owner(&secret.metadata, instance), value }
}

/// Every entry of the Secret with the SSH key.
pub(crate) fn ssh_key(secret: Secret, instance: &str) -> Referenced<SshKeySecret> {
    let (owner, answers) = (owner(&secret.metadata, instance), answers(&secret));
    let entries = secret.data.unwrap_or_default().into_iter();
    let entries = entries.map(|(key, bytes)| (key, SecretText::new(bytes.0))).collect();
    Referenced::Found { owner, value: SshKeySecret { entries, answers } }
}

fn answers(secret: &Secret) -> Answers {
    let requests = [ROTATE_SSH_KEY_ANNOTATION, ROTATE_CATALYST_SECRET_ANNOTATION, ROTATE_COOKIE_SECRET_ANNOTATION];
    let annotations = secret.metadata.annotations.iter().flatten();
    let answers = annotations.filter(|(name, _)| requests.contains(&name.as_str()));
    answers.map(|(name, value)| (name.clone(), value.clone())).collect()
}

pub(super) fn deployment(deployment: &Deployment) -> DeploymentView {
    let spec = deployment.spec.as_ref();
    let status = deployment.status.clone().unwrap_or_default();
    let template = spec.map(|spec| &spec.template);
    let asked_for = deployment.metadata.annotations.as_ref().and_then(|all| all.get(APPLIED_REPLICAS_ANNOTATION));
    let condition = |kind: &str, value: &str| {
        status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == kind && condition.status == value)
            .map(|condition| condition.message.clone().unwrap_or_default())
    };
    DeploymentView {
        created: deployment.metadata.creation_timestamp.as_ref().map(|time| time.0),
        generation: deployment.metadata.generation.unwrap_or_default(),
        observed_generation: status.observed_generation.unwrap_or_default(),
        wanted: spec.and_then(|spec| spec.replicas).unwrap_or(1),
        scaled_from: asked_for
            .filter(|replicas| left_to_scaler(Some(&deployment.metadata), replicas))
            .and_then(|replicas| replicas.parse().ok()),
        replicas: status.replicas.unwrap_or_default(),
        updated: status.updated_replicas.unwrap_or_default(),
        ready: status.ready_replicas.unwrap_or_default(),
        available: status.available_replicas.unwrap_or_default(),
        replica_failure: condition("ReplicaFailure", "True"),
        stuck: status.conditions.iter().flatten().any(|condition| {
            condition.type_ == "Progressing" && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
        }),
        template: template.cloned(),
        image: template
            .and_then(|template| template.spec.as_ref()?.containers.first())
            .and_then(|container| container.image.clone()),
    }
}

/// Whether the Deployment's own report leaves nothing to ask its pods.
pub(super) fn settled(view: &DeploymentView) -> bool {
    view.observed_generation >= view.generation
        && view.updated >= view.wanted
        && view.available >= view.wanted
        && view.replicas <= view.wanted
}

pub(super) fn ingress_class(class: ApiIngressClass) -> IngressClass {
    IngressClass { name: class.metadata.name.unwrap_or_default() }
}

/// What Gateways say of a route. Read from JSON, because whoever changed the route may have left out what we set, and because of
/// its status nothing is ours.
pub(super) fn route(generation: Option<i64>, status: Option<&Value>) -> RouteView {
    let mut refusals: Vec<String> = Vec::new();
    let parents = status.and_then(|status| status.get("parents"));
    for parent in parents.and_then(Value::as_array).into_iter().flatten() {
        let conditions = parent.get("conditions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let current = |condition: &&Value| {
            let observed = condition.get("observedGeneration").and_then(Value::as_i64);
            observed.is_none() || observed == generation
        };
        let said = |kind: &str, status: &str| {
            let is = |condition: &&Value, member: &str, value: &str| {
                condition.get(member).and_then(Value::as_str) == Some(value)
            };
            conditions.iter().filter(current).find(|it| is(it, "type", kind) && is(it, "status", status))
        };
        let refused = said("Accepted", "False").or_else(|| said("ResolvedRefs", "False"));
        match refused {
            None if said("Accepted", "True").is_some() => return RouteView::Accepted,
            None => {}
            Some(condition) => {
                let member = |name: &str| condition.get(name).and_then(Value::as_str).unwrap_or_default();
                let gateway = parent.pointer("/parentRef/name").and_then(Value::as_str).unwrap_or("of unknown name");
                refusals.push(plain(&format!("Gateway {gateway}: {}: {}", member("reason"), member("message"))));
            }
        }
    }
    if refusals.is_empty() { RouteView::Unheard } else { RouteView::Refused(refusals.join("; ")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_route_is_accepted_by_one_gateway_that_speaks_of_it_as_it_is_now() {
        let condition = |kind: &str, status: &str, generation: i64| json!({"type": kind, "status": status, "observedGeneration": generation, "reason": "NotAllowed", "message": "no."});
        let parent = |conditions: Value| json!({"parentRef": {"name": "public"}, "conditions": conditions});
        let view = |parents: Value| route(Some(2), Some(&json!({"parents": parents})));
        let accepted = || parent(json!([condition("Accepted", "True", 2), condition("ResolvedRefs", "True", 2)]));
        let refused = || parent(json!([condition("Accepted", "False", 2)]));
        let words = "Gateway public: NotAllowed: no.".to_owned();
        assert_eq!(view(json!([])), RouteView::Unheard);
        assert_eq!(route(None, None), RouteView::Unheard);
        assert_eq!(view(json!([parent(json!([condition("Accepted", "True", 1)]))])), RouteView::Unheard, "of before");
        assert_eq!(view(json!([refused()])), RouteView::Refused(words.clone()));
        assert_eq!(view(json!([refused(), accepted()])), RouteView::Accepted);
        let unresolved = parent(json!([condition("Accepted", "True", 2), condition("ResolvedRefs", "False", 2)]));
        assert_eq!(view(json!([unresolved])), RouteView::Refused(words));
    }

    #[test]
    fn a_rollout_that_comes_no_further_says_so() {
        let condition = |reason: &str| {
            let status = json!({"conditions": [{"type": "Progressing", "status": "False", "reason": reason}]});
            deployment(&serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap()).stuck
        };
        assert!(condition("ProgressDeadlineExceeded") && !condition("DeploymentPaused"));
    }

    #[test]
    fn a_number_of_pods_is_another_scalers_only_where_the_scale_subresource_set_it() {
        let scaled_from = |manager: Value| {
            let mut fields = json!({"operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}});
            fields.as_object_mut().unwrap().extend(manager.as_object().unwrap().clone());
            let metadata = json!({"annotations": {APPLIED_REPLICAS_ANNOTATION: "2"}, "managedFields": [fields]});
            deployment(&serde_json::from_value(json!({"metadata": metadata})).unwrap()).scaled_from
        };
        assert_eq!(scaled_from(json!({"manager": "kube-controller-manager", "subresource": "scale"})), Some(2));
        assert_eq!(scaled_from(json!({"manager": "kubectl-edit"})), None);
    }
}
