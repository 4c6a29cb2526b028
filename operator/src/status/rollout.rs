//! Why the pods are replaced: the fields of the resource that differ between what runs and what is wanted. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Container, EnvVar, PodSpec, PodTemplateSpec},
};
use serde::Serialize;
use serde_json::Value;

use crate::build::{CONFIG_CHECKSUM, SECRET_CHECKSUM};

/// Entry of the ConfigMap → field of the resource.
const SETTINGS: [(&str, &str); 5] = [
    ("SSH_HOST", "ssh.host"),
    ("SSH_PORT", "ssh.port"),
    ("SSH_USER", "ssh.user"),
    ("SSH_JUMP", "ssh.jump"),
    ("IDEAS_BASE_PATH", "ssh.ideasBasePath"),
];
/// Variable of the container → field of the resource; any other is the user's own.
const VARIABLES: [(&str, &str); 10] = [
    ("CATALYST_SECRET", "secrets.existingSecret"),
    ("COOKIE_SECRET", "secrets.existingSecret"),
    ("SSH_KEY_PATH", "ssh.keyPath"),
    ("PUBLIC_URL", "the public URL"),
    ("ALLOWED_ORIGINS", "the public URL"),
    ("TRUSTED_PROXIES", "trustedProxies"),
    ("IDENTITY_HEADER", "identityHeader"),
    ("SESSION_GENERATION", "secrets.generation"),
    ("COOKIE_SECRET_PREVIOUS", "the previous cookie secret"),
    ("NODE_ENV", "the pod template of this operator's version"),
];
/// The cause of what replaces nothing.
pub const FIRST_PODS: &str = "The first pods.";
/// Longest value that is shown of a setting, in characters.
const LONGEST_VALUE: usize = 64;

/// What runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Running<'a> {
    /// Its pod template; `None`: there is no Deployment.
    pub template: Option<&'a PodTemplateSpec>,
    /// The entries of its ConfigMap.
    pub config: Option<&'a BTreeMap<String, String>>,
    /// Whether there were pods once.
    pub ran: bool,
}

/// What makes the pods be replaced, in words.
#[must_use]
pub fn rollout_cause(running: Running<'_>, deployment: &Deployment, config: &ConfigMap) -> String {
    let (Some(old), Some(new)) = (running.template, deployment.spec.as_ref().map(|spec| &spec.template)) else {
        let cause = if running.ran { "The Deployment was missing and has been put back." } else { FIRST_PODS };
        return cause.to_owned();
    };
    let mut causes = Vec::new();
    of_annotations(running.config, old, new, config, &mut causes);
    if let (Some(old), Some(new)) = (&old.spec, &new.spec) {
        of_pod(old, new, &mut causes);
    }
    let mut once: Vec<String> = Vec::new();
    for cause in causes {
        if !once.contains(&cause) {
            once.push(cause);
        }
    }
    if once.is_empty() {
        return "The pod template of this operator's version is another one.".to_owned();
    }
    format!("{}.", once.join(", "))
}

fn of_annotations(
    settings: Option<&BTreeMap<String, String>>,
    old: &PodTemplateSpec,
    new: &PodTemplateSpec,
    config: &ConfigMap,
    causes: &mut Vec<String>,
) {
    fn annotations(template: &PodTemplateSpec) -> BTreeMap<&str, &str> {
        let all = template.metadata.iter().filter_map(|meta| meta.annotations.as_ref()).flatten();
        all.map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }
    let (before, after) = (annotations(old), annotations(new));
    for (key, value) in &after {
        if before.get(key) == Some(value) {
            continue;
        }
        match *key {
            CONFIG_CHECKSUM => of_settings(settings, config, causes),
            SECRET_CHECKSUM => causes.push("the values in the application Secret changed".to_owned()),
            _ => causes.push(format!("podAnnotations {key} changed")),
        }
    }
    let labels = |template: &PodTemplateSpec| template.metadata.as_ref().and_then(|meta| meta.labels.clone());
    let (before, after) = (labels(old).unwrap_or_default(), labels(new).unwrap_or_default());
    for (key, _) in after.iter().filter(|(key, value)| before.get(*key) != Some(*value)) {
        causes.push(format!("podLabels {key} changed"));
    }
}

fn of_settings(settings: Option<&BTreeMap<String, String>>, config: &ConfigMap, causes: &mut Vec<String>) {
    let nothing = BTreeMap::new();
    let (before, after) = (settings.unwrap_or(&nothing), config.data.as_ref().unwrap_or(&nothing));
    let mut named = false;
    for (key, value) in after {
        let Some(old) = before.get(key).filter(|old| *old != value) else { continue };
        let field = SETTINGS.iter().find(|(entry, _)| entry == key).map_or(key.as_str(), |(_, field)| *field);
        causes.push(format!("{field} {} → {}", short(old), short(value)));
        named = true;
    }
    if !named {
        // The ConfigMap was written by a pass that did not come to the pods.
        causes.push("the way to the VM (ssh) changed".to_owned());
    }
}

fn of_pod(old: &PodSpec, new: &PodSpec, causes: &mut Vec<String>) {
    if let (Some(old), Some(new)) = (old.containers.first(), new.containers.first()) {
        of_container(old, new, causes);
    }
    let changed = [
        ("nodeSelector", optional_differs(&old.node_selector, &new.node_selector)),
        ("tolerations", optional_differs(&old.tolerations, &new.tolerations)),
        ("affinity", optional_differs(&old.affinity, &new.affinity)),
        (
            "topologySpreadConstraints",
            optional_differs(&old.topology_spread_constraints, &new.topology_spread_constraints),
        ),
        ("priorityClassName", optional_differs(&old.priority_class_name, &new.priority_class_name)),
        ("image.pullSecrets", optional_differs(&old.image_pull_secrets, &new.image_pull_secrets)),
        ("securityContext", lacks(&old.security_context, &new.security_context)),
        ("the Secret with the SSH key", lacks(&old.volumes, &new.volumes)),
    ];
    causes.extend(changed.into_iter().filter(|(_, changed)| *changed).map(|(field, _)| format!("{field} changed")));
}

fn of_container(old: &Container, new: &Container, causes: &mut Vec<String>) {
    if old.image != new.image {
        let name = |container: &Container| short(container.image.as_deref().unwrap_or("none"));
        causes.push(format!("image {} → {}", name(old), name(new)));
    }
    let changed = [
        ("image.pullPolicy", new.image_pull_policy.is_some() && old.image_pull_policy != new.image_pull_policy),
        ("resources", optional_differs(&old.resources, &new.resources)),
        ("livenessProbe", lacks(&old.liveness_probe, &new.liveness_probe)),
        ("readinessProbe", lacks(&old.readiness_probe, &new.readiness_probe)),
        ("securityContext", lacks(&old.security_context, &new.security_context)),
    ];
    causes.extend(changed.into_iter().filter(|(_, changed)| *changed).map(|(field, _)| format!("{field} changed")));
    let variables = |container: &Container| -> BTreeMap<String, EnvVar> {
        container.env.iter().flatten().map(|variable| (variable.name.clone(), variable.clone())).collect()
    };
    let (before, after) = (variables(old), variables(new));
    for name in before.keys().chain(after.keys()) {
        let same = match (before.get(name), after.get(name)) {
            (Some(old), Some(new)) => !lacks(old, new),
            _ => false,
        };
        if !same {
            let field = VARIABLES.iter().find(|(variable, _)| variable == name);
            causes.push(match field {
                Some((_, field)) => format!("{field} changed"),
                None => format!("extraEnv {name} changed"),
            });
        }
    }
}

/// For what the API server never fills in by itself: a missing side is an empty one.
fn optional_differs<T: Serialize>(old: &Option<T>, new: &Option<T>) -> bool {
    old.is_some() != new.is_some() || lacks(old, new)
}

/// Whether something of `new` is not so in `old`. What the API server has filled in beside it does not count.
fn lacks<T: Serialize>(old: &T, new: &T) -> bool {
    let value = |object: &T| serde_json::to_value(object).unwrap_or_default();
    !contains(&value(old), &value(new))
}

fn contains(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (_, Value::Null) => true,
        (Value::Object(old), Value::Object(new)) => {
            new.iter().all(|(key, value)| old.get(key).is_some_and(|old| contains(old, value)))
        }
        (Value::Array(old), Value::Array(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| contains(old, new))
        }
        (old, new) => old == new,
    }
}

fn short(value: &str) -> String {
    if value.chars().count() <= LONGEST_VALUE {
        return value.to_owned();
    }
    value.chars().take(LONGEST_VALUE - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(image: &str, checksum: &str, more: Value) -> Deployment {
        let mut container = json!({"name": "catalyst", "image": image,
            "env": [{"name": "NODE_ENV", "value": "production"}, {"name": "MINE", "value": "1"}]});
        let mut spec = json!({});
        for (key, value) in more.as_object().unwrap() {
            let at = if key == "env" || key == "resources" { &mut container } else { &mut spec };
            at[key] = value.clone();
        }
        spec["containers"] = json!([container]);
        serde_json::from_value(json!({"spec": {"selector": {}, "template": {
            "metadata": {"annotations": {CONFIG_CHECKSUM: checksum, SECRET_CHECKSUM: "s"}}, "spec": spec}}}))
        .unwrap()
    }

    fn config(host: &str) -> ConfigMap {
        serde_json::from_value(json!({"data": {"SSH_HOST": host, "SSH_USER": "dev"}})).unwrap()
    }

    fn cause(old: &Deployment, new: &Deployment, hosts: [&str; 2]) -> String {
        let (before, after) = (config(hosts[0]), config(hosts[1]));
        let template = old.spec.as_ref().map(|spec| &spec.template);
        rollout_cause(Running { template, config: before.data.as_ref(), ran: true }, new, &after)
    }

    #[test]
    fn a_rollout_names_the_fields_that_changed_and_their_values() {
        let old = deployment("a:1", "x", json!({}));
        assert_eq!(
            cause(&old, &deployment("a:2", "y", json!({})), ["10.0.0.1", "10.0.0.2"]),
            "ssh.host 10.0.0.1 → 10.0.0.2, image a:1 → a:2."
        );
        assert_eq!(cause(&old, &deployment("a:1", "y", json!({})), ["h", "h"]), "the way to the VM (ssh) changed.");
        let wanted = json!({"nodeSelector": {"a": "b"}, "resources": {"limits": {"cpu": "1"}},
            "env": [{"name": "NODE_ENV", "value": "production"}, {"name": "OTHER", "value": "1"}]});
        assert_eq!(
            cause(&old, &deployment("a:1", "x", wanted), ["h", "h"]),
            "resources changed, extraEnv MINE changed, extraEnv OTHER changed, nodeSelector changed."
        );
    }

    #[test]
    fn what_the_api_server_filled_in_is_no_cause() {
        let filled = json!({"securityContext": {"runAsUser": 1, "added": true}, "dnsPolicy": "ClusterFirst"});
        let old = deployment("a:1", "x", filled);
        let new = deployment("a:1", "x", json!({"securityContext": {"runAsUser": 1}}));
        assert_eq!(cause(&old, &new, ["h", "h"]), "The pod template of this operator's version is another one.");
    }

    #[test]
    fn a_deployment_that_was_deleted_does_not_have_its_first_pods() {
        let new = deployment("a:1", "x", json!({}));
        let told = |ran| rollout_cause(Running { ran, ..Running::default() }, &new, &config("h"));
        assert_eq!(told(false), "The first pods.");
        assert_eq!(told(true), "The Deployment was missing and has been put back.");
    }
}
