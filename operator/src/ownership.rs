//! Whether the fields that we applied are still ours, read from `metadata.managedFields` alone.
//!
//! Invariant used: the API server takes a field away from its manager's set when anybody else changes or removes it. So
//! if the set of our last apply still covers every field of the desired object, and the object was applied with the same
//! hash, nobody has touched what is ours, whatever else was added. No value is compared: defaulting and normalising
//! (`1024Mi` becomes `1Gi`) can cause no needless write.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use serde_json::{Map, Value};

/// The fields that `manager` applied to the object itself.
pub(crate) fn applied<'a>(managed: &'a [ManagedFieldsEntry], manager: &str) -> Option<&'a FieldsV1> {
    let applied = managed.iter().find(|entry| {
        let (by, operation) = (entry.manager.as_deref(), entry.operation.as_deref());
        is_applied_by(manager, by, operation, entry.subresource.as_deref())
    });
    applied?.fields_v1.as_ref()
}

/// Whether an entry of the managed fields (by whom, how, through which subresource) is of `manager`'s apply to the object itself.
pub(crate) fn is_applied_by(
    manager: &str,
    by: Option<&str>,
    operation: Option<&str>,
    subresource: Option<&str>,
) -> bool {
    by == Some(manager) && operation == Some("Apply") && subresource.unwrap_or_default().is_empty()
}

/// Whether `manager`'s applied fields cover the whole of `desired` (a manifest as sent to server-side apply).
#[must_use]
pub fn covers(managed: &[ManagedFieldsEntry], manager: &str, desired: &Value) -> bool {
    let Some(fields) = applied(managed, manager).and_then(|fields| fields.0.as_object()) else {
        return false;
    };
    let Some(desired) = desired.as_object() else { return false };
    desired.iter().all(|(key, value)| match key.as_str() {
        "apiVersion" | "kind" => true,
        "metadata" => value.as_object().is_some_and(|metadata| {
            metadata.iter().all(|(key, value)| {
                // Identity is never in a set of managed fields.
                matches!(key.as_str(), "name" | "namespace") || field_covered(fields.get("f:metadata"), key, value)
            })
        }),
        _ => field_covered(Some(&Value::Object(fields.clone())), key, value),
    })
}

/// Which manager other than `manager` scales a workload: it holds `spec.replicas` through the scale subresource, as a
/// HorizontalPodAutoscaler and `kubectl scale` do.
#[must_use]
pub fn scaled_by_another<'a>(managed: &'a [ManagedFieldsEntry], manager: &str) -> Option<&'a str> {
    managed
        .iter()
        .filter(|entry| entry.subresource.as_deref() == Some("scale") && entry.manager.as_deref() != Some(manager))
        .find(|entry| entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some()))
        .map(|entry| entry.manager.as_deref().unwrap_or("another manager"))
}

fn field_covered(parent: Option<&Value>, key: &str, desired: &Value) -> bool {
    if desired.is_null() {
        return true;
    }
    parent
        .and_then(|fields| fields.get(format!("f:{key}")))
        .and_then(Value::as_object)
        .is_some_and(|fields| value_covered(fields, desired))
}

/// `fields` is the set below a path that is ours; empty means that the path is owned as a whole.
fn value_covered(fields: &Map<String, Value>, desired: &Value) -> bool {
    if fields.is_empty() {
        return true;
    }
    match desired {
        Value::Object(members) => {
            let parent = Value::Object(fields.clone());
            members.iter().all(|(key, value)| field_covered(Some(&parent), key, value))
        }
        Value::Array(items) => items.iter().all(|item| item_covered(fields, item)),
        _ => true,
    }
}

/// An item of a list with keys (`k:{"name":"x"}`) or of a set (`v:"x"`).
fn item_covered(fields: &Map<String, Value>, item: &Value) -> bool {
    fields.iter().any(|(path, below)| {
        if let Some(value) = path.strip_prefix("v:") {
            return serde_json::from_str::<Value>(value).is_ok_and(|value| value == *item);
        }
        let Some(keys) = path.strip_prefix("k:").and_then(|keys| serde_json::from_str::<Map<String, Value>>(keys).ok())
        else {
            return false;
        };
        // A key that is left out of the desired item (`protocol` of a port) was defaulted by the server.
        let same = keys.iter().all(|(key, value)| item.get(key).is_none_or(|desired| desired == value))
            && keys.iter().any(|(key, _)| item.get(key).is_some());
        same && below.as_object().is_some_and(|below| value_covered(below, item))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn managed(fields: Value) -> Vec<ManagedFieldsEntry> {
        vec![ManagedFieldsEntry {
            manager: Some("us".into()),
            operation: Some("Apply".into()),
            fields_v1: Some(FieldsV1(fields)),
            ..ManagedFieldsEntry::default()
        }]
    }

    fn desired() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "x", "namespace": "n", "labels": {"a": "1"}},
            "spec": {"template": {"spec": {"containers": [
                {"name": "c", "image": "i", "args": ["x", "y"], "ports": [{"containerPort": 3001, "name": "http"}]}
            ]}}}
        })
    }

    fn owned() -> Value {
        json!({
            "f:metadata": {"f:labels": {"f:a": {}}},
            "f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {
                ".": {}, "f:name": {}, "f:image": {}, "f:args": {},
                "f:ports": {"k:{\"containerPort\":3001,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}, "f:name": {}}}
            }}}}}
        })
    }

    #[test]
    fn a_whole_set_covers_the_desired_object_with_defaulted_list_keys() {
        assert!(covers(&managed(owned()), "us", &desired()));
    }

    #[test]
    fn each_field_taken_away_is_noticed() {
        let set = owned();
        for path in [
            "/f:metadata/f:labels/f:a",
            "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"c\"}/f:image",
            "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"c\"}/f:args",
            "/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"c\"}",
        ] {
            let mut less = set.clone();
            take_away(&mut less, path);
            assert!(!covers(&managed(less), "us", &desired()), "{path} was not missed");
        }
    }

    /// Removes a path as the server does: a parent that held nothing else goes with it.
    fn take_away(set: &mut Value, path: &str) {
        let (parent, leaf) = path.rsplit_once('/').unwrap();
        let below = set.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        below.remove(leaf).unwrap();
        if below.is_empty() && !parent.is_empty() {
            take_away(set, parent);
        }
    }

    #[test]
    fn another_manager_or_another_operation_is_not_us() {
        assert!(!covers(&managed(owned()), "them", &desired()));
        let mut updated = managed(owned());
        updated[0].operation = Some("Update".into());
        assert!(!covers(&updated, "us", &desired()));
    }

    #[test]
    fn sets_are_matched_by_value() {
        let set = managed(json!({"f:metadata": {"f:finalizers": {".": {}, "v:\"a\"": {}}}}));
        assert!(covers(&set, "us", &json!({"metadata": {"finalizers": ["a"]}})));
        assert!(!covers(&set, "us", &json!({"metadata": {"finalizers": ["b"]}})));
    }

    #[test]
    fn only_the_scale_subresource_counts_as_scaling() {
        let mut set = managed(json!({"f:spec": {"f:replicas": {}}}));
        assert_eq!(scaled_by_another(&set, "us"), None);
        set[0].manager = Some("kube-controller-manager".into());
        assert_eq!(scaled_by_another(&set, "us"), None);
        set[0].subresource = Some("scale".into());
        assert_eq!(scaled_by_another(&set, "us"), Some("kube-controller-manager"));
    }
}
