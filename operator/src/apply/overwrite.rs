//! What is taken away from others when it contradicts what is ours, so that the API server refuses our apply. Pure.
//!
//! Server-side apply only ever adds to what others set: a `value` of theirs beside our `valueFrom`, a second port of one name.

use kube::api::{ObjectMeta, Patch};
use serde_json::{Value, json};

/// The patches to try, one after the other and each followed by another apply, from the least to what is sure to help.
pub(super) fn patches(kind: &str, manifest: &Value, meta: &ObjectMeta) -> Vec<Patch<Value>> {
    let mut patches = Vec::new();
    if kind == "Deployment" {
        patches.push(Patch::Strategic(other_sources(manifest, meta)));
    }
    patches.push(Patch::Merge(whole(manifest, meta)));
    patches
}

/// Makes lists and maps of ours be ours alone: the manifest without its metadata.
fn whole(manifest: &Value, meta: &ObjectMeta) -> Value {
    let mut patch = manifest.clone();
    if let Some(members) = patch.as_object_mut() {
        members.insert("metadata".to_owned(), json!({"uid": meta.uid}));
    }
    patch
}

/// Takes the other kind of value away from each variable of ours (`kubectl set env` sets `value`), and nothing from
/// variables of others. It sets nothing, so that the repair owns nothing afterwards that would outlive our own set.
fn other_sources(manifest: &Value, meta: &ObjectMeta) -> Value {
    let containers = manifest.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let containers: Vec<Value> = containers
        .into_iter()
        .flatten()
        .map(|container| {
            let variables = container.get("env").and_then(Value::as_array);
            let variables: Vec<Value> = variables
                .into_iter()
                .flatten()
                .map(|variable| {
                    let other = if variable.get("valueFrom").is_some() { "value" } else { "valueFrom" };
                    json!({"name": variable.get("name"), other: null})
                })
                .collect();
            json!({"name": container.get("name"), "env": variables})
        })
        .collect();
    json!({"metadata": {"uid": meta.uid}, "spec": {"template": {"spec": {"containers": containers}}}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_variables_other_source_is_taken_away_before_everything_is() {
        let manifest = json!({"metadata": {"name": "x"}, "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i", "env": [
            {"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "B"}}},
        ]}]}}}});
        let meta = ObjectMeta { uid: Some("u".to_owned()), ..ObjectMeta::default() };
        let patches = patches("Deployment", &manifest, &meta);
        let [Patch::Strategic(first), Patch::Merge(last)] = patches.as_slice() else { panic!("{patches:?}") };
        let env = json!([{"name": "A", "valueFrom": null}, {"name": "B", "value": null}]);
        assert_eq!(
            *first,
            json!({"metadata": {"uid": "u"}, "spec": {"template": {"spec": {"containers": [{"name": "c", "env": env}]}}}})
        );
        assert_eq!((&last["metadata"], &last["spec"]), (&json!({"uid": "u"}), &manifest["spec"]));
    }
}
