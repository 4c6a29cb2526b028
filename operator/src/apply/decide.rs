//! Whether an object has to be written. Pure.

use kube::api::ObjectMeta;
use serde_json::{Value, json};

use super::{APPLIED_ANNOTATION, Act, MANAGER};
use crate::ownership::covers;

/// What to do with one object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is as wanted.
    Keep,
    /// It is somebody else's.
    Foreign,
    /// Apply it.
    Write(Act),
}

/// Decides from the metadata of what is there (`owner` is our instance's UID) and the manifest to be applied.
pub(super) fn decide(found: Option<&ObjectMeta>, owner: &str, manifest: &Value) -> Decision {
    let Some(found) = found else { return Decision::Write(Act::Created) };
    if !ours(found, owner) {
        return Decision::Foreign;
    }
    let wanted = manifest
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(APPLIED_ANNOTATION))
        .and_then(Value::as_str);
    let carried = annotation(Some(found), APPLIED_ANNOTATION);
    let managed = found.managed_fields.as_deref().unwrap_or_default();
    if carried == wanted {
        return if covers(managed, MANAGER, manifest) { Decision::Keep } else { Decision::Write(Act::Repaired) };
    }
    // `kubectl rollout undo` brings back the annotations of then with the pods of then: a hash that we wrote, but not now.
    let mark = json!({"metadata": {"annotations": {APPLIED_ANNOTATION: carried}}});
    let by_another = carried.is_some() && !covers(managed, MANAGER, &mark);
    Decision::Write(if by_another { Act::Repaired } else { Act::Updated })
}

/// Whether our instance is the object's controller.
pub(super) fn ours(found: &ObjectMeta, owner: &str) -> bool {
    found
        .owner_references
        .as_deref()
        .unwrap_or_default()
        .iter()
        .any(|reference| reference.controller == Some(true) && reference.uid == owner)
}

pub(super) fn annotation<'a>(meta: Option<&'a ObjectMeta>, key: &str) -> Option<&'a str> {
    meta?.annotations.as_ref()?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, OwnerReference};

    use super::*;

    fn found(owner: &str, hash: &str, fields: Value) -> ObjectMeta {
        ObjectMeta {
            annotations: Some([(APPLIED_ANNOTATION.to_owned(), hash.to_owned())].into()),
            owner_references: Some(vec![OwnerReference {
                uid: owner.into(),
                controller: Some(true),
                ..OwnerReference::default()
            }]),
            managed_fields: Some(vec![ManagedFieldsEntry {
                manager: Some(MANAGER.into()),
                operation: Some("Apply".into()),
                fields_v1: Some(FieldsV1(fields)),
                ..ManagedFieldsEntry::default()
            }]),
            ..ObjectMeta::default()
        }
    }

    fn manifest() -> Value {
        json!({"metadata": {"name": "x", "annotations": {APPLIED_ANNOTATION: "new"}}, "data": {"a": "1"}})
    }

    fn all() -> Value {
        json!({"f:metadata": {"f:annotations": {"f:catalyst.dev/applied": {}}}, "f:data": {"f:a": {}}})
    }

    #[test]
    fn what_is_as_wanted_is_left_alone_and_the_rest_is_written_for_a_named_reason() {
        let less = json!({"f:metadata": {"f:annotations": {"f:catalyst.dev/applied": {}}}});
        assert_eq!(decide(None, "me", &manifest()), Decision::Write(Act::Created));
        assert_eq!(decide(Some(&found("me", "new", all())), "me", &manifest()), Decision::Keep);
        assert_eq!(decide(Some(&found("me", "old", all())), "me", &manifest()), Decision::Write(Act::Updated));
        assert_eq!(decide(Some(&found("me", "new", less)), "me", &manifest()), Decision::Write(Act::Repaired));
        assert_eq!(decide(Some(&found("else", "new", all())), "me", &manifest()), Decision::Foreign);
    }

    #[test]
    fn a_hash_that_somebody_else_put_there_is_a_change_of_theirs_and_one_that_is_missing_is_none() {
        let theirs = json!({"f:data": {"f:a": {}}});
        assert_eq!(
            decide(Some(&found("me", "old", theirs.clone())), "me", &manifest()),
            Decision::Write(Act::Repaired)
        );
        let mut without = found("me", "old", theirs);
        without.annotations = None;
        assert_eq!(decide(Some(&without), "me", &manifest()), Decision::Write(Act::Updated));
    }

    #[test]
    fn an_owner_that_is_not_the_controller_does_not_make_it_ours() {
        let mut meta = found("me", "new", all());
        meta.owner_references.as_mut().unwrap()[0].controller = None;
        assert_eq!(decide(Some(&meta), "me", &manifest()), Decision::Foreign);
    }
}
