//! Field ownership on its way from Helm to the operator. Pure. As Kubernetes' own tools do when they go over to server-side
//! apply: the fields that Helm set count as applied by us, so that our next apply removes those that it does not have.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use serde_json::Value;

use crate::apply::MANAGER;

/// The field manager of what is changed on the way.
pub(super) const ON_THE_WAY: &str = "catalyst-migrate";
/// Annotations by which Helm knows what is its own.
pub(super) const HELM_ANNOTATIONS: [&str; 2] = ["meta.helm.sh/release-name", "meta.helm.sh/release-namespace"];

/// Whether fields are held by a manager on the way.
pub(super) fn unfinished(managed: &[ManagedFieldsEntry]) -> bool {
    managed.iter().any(|entry| entry.manager.as_deref() == Some(ON_THE_WAY))
}

/// The entries with all that Helm (by whatever name its client gave itself) and we on the way set moved into one of ours;
/// those of others stay as they are.
pub(super) fn handed_over(managed: &[ManagedFieldsEntry]) -> Vec<ManagedFieldsEntry> {
    let (theirs, others): (Vec<_>, Vec<_>) = managed.iter().cloned().partition(is_handed_over);
    let mut fields = Value::Null;
    for entry in &theirs {
        if let Some(FieldsV1(more)) = &entry.fields_v1 {
            merge(&mut fields, more);
        }
    }
    let Some(first) = theirs.into_iter().next() else { return others };
    let ours = ManagedFieldsEntry {
        manager: Some(MANAGER.to_owned()),
        operation: Some("Apply".to_owned()),
        fields_v1: Some(FieldsV1(fields)),
        subresource: None,
        ..first
    };
    std::iter::once(ours).chain(others).collect()
}

fn is_handed_over(entry: &ManagedFieldsEntry) -> bool {
    if entry.subresource.as_deref().is_some_and(|subresource| !subresource.is_empty()) {
        return false;
    }
    let manager = entry.manager.as_deref().unwrap_or_default();
    let applied = entry.operation.as_deref() == Some("Apply");
    let marks = entry.fields_v1.as_ref().and_then(|fields| fields.0.pointer("/f:metadata/f:annotations"));
    let marked =
        marks.is_some_and(|marks| HELM_ANNOTATIONS.iter().any(|mark| marks.get(format!("f:{mark}")).is_some()));
    manager == "helm" || manager == ON_THE_WAY || marked || (manager == MANAGER && applied)
}

fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into @ Value::Null, more) => *into = more.clone(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value) -> ManagedFieldsEntry {
        ManagedFieldsEntry {
            manager: Some(manager.into()),
            operation: Some(operation.into()),
            fields_v1: Some(FieldsV1(fields)),
            ..ManagedFieldsEntry::default()
        }
    }

    #[test]
    fn what_helm_set_is_ours_and_what_others_set_stays_theirs() {
        let status = ManagedFieldsEntry {
            subresource: Some("status".into()),
            ..entry("helm", "Update", json!({"f:status": {}}))
        };
        let managed = [
            entry("helm", "Update", json!({"f:data": {".": {}, "f:a": {}}})),
            entry(
                "Go-http-client",
                "Update",
                json!({"f:metadata": {"f:annotations": {"f:meta.helm.sh/release-name": {}}}}),
            ),
            entry("kubectl-edit", "Update", json!({"f:data": {"f:b": {}}})),
            entry(ON_THE_WAY, "Update", json!({"f:metadata": {"f:ownerReferences": {}}})),
            entry(MANAGER, "Apply", json!({"f:data": {"f:c": {}}})),
            status,
        ];
        let after = handed_over(&managed);
        assert_eq!(after.len(), 3, "{after:?}");
        assert_eq!((after[0].manager.as_deref(), after[0].operation.as_deref()), (Some(MANAGER), Some("Apply")));
        let fields = json!({"f:data": {".": {}, "f:a": {}, "f:c": {}},
            "f:metadata": {"f:annotations": {"f:meta.helm.sh/release-name": {}}, "f:ownerReferences": {}}});
        assert_eq!(after[0].fields_v1, Some(FieldsV1(fields)));
        assert_eq!(after[1].manager.as_deref(), Some("kubectl-edit"));
        assert!(unfinished(&managed) && !unfinished(&after));
        assert_eq!(handed_over(&after), after, "a second time changes nothing");
    }
}
