//! What is the Deployment's alone: replicas that somebody else scales, and a template whose change replaces the pods. Pure.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{ResourceExt, api::ObjectMeta};

use super::{APPLIED_REPLICAS_ANNOTATION, APPLIED_TEMPLATE_ANNOTATION, ApplyError, MANAGER, decide::annotation, hash};
use crate::ownership::scaled_by_another;

/// Leaves the replicas to whoever scales the Deployment, unless we want another number than last time; and notes the
/// template's hash. Returns the hash of what we want, which does not depend on who scales.
pub(super) fn prepare(desired: &mut Deployment, found: Option<&ObjectMeta>) -> Result<String, ApplyError> {
    let whole = hash(desired)?;
    let Some(spec) = desired.spec.as_mut() else { return Ok(whole) };
    let template = hash(&spec.template)?;
    let replicas = spec.replicas.unwrap_or(1).to_string();
    if left_to_scaler(found, &replicas) {
        spec.replicas = None;
    }
    let annotations = desired.annotations_mut();
    annotations.insert(APPLIED_REPLICAS_ANNOTATION.to_owned(), replicas);
    annotations.insert(APPLIED_TEMPLATE_ANNOTATION.to_owned(), template);
    Ok(whole)
}

/// Whether somebody else scales what was `found`, and we want no other number than last time.
pub(crate) fn left_to_scaler(found: Option<&ObjectMeta>, replicas: &str) -> bool {
    let scaled = found.and_then(|meta| scaled_by_another(meta.managed_fields.as_deref().unwrap_or_default(), MANAGER));
    scaled.is_some() && annotation(found, APPLIED_REPLICAS_ANNOTATION) == Some(replicas)
}

/// Whether applying this replaces the pods of what was `found`, as far as it is our doing.
pub(crate) fn replaces_pods(desired: &Deployment, found: Option<&ObjectMeta>) -> Result<bool, ApplyError> {
    let Some(spec) = desired.spec.as_ref() else { return Ok(false) };
    Ok(annotation(found, APPLIED_TEMPLATE_ANNOTATION) != Some(hash(&spec.template)?.as_str()))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::apps::v1::DeploymentSpec,
        apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry},
    };
    use serde_json::json;

    use super::*;

    fn deployment(replicas: i32) -> Deployment {
        Deployment {
            spec: Some(DeploymentSpec { replicas: Some(replicas), ..DeploymentSpec::default() }),
            ..Deployment::default()
        }
    }

    fn scaled_by_hpa(applied: &str) -> ObjectMeta {
        ObjectMeta {
            annotations: Some([(APPLIED_REPLICAS_ANNOTATION.to_owned(), applied.to_owned())].into()),
            managed_fields: Some(vec![ManagedFieldsEntry {
                manager: Some("kube-controller-manager".into()),
                subresource: Some("scale".into()),
                fields_v1: Some(FieldsV1(json!({"f:spec": {"f:replicas": {}}}))),
                ..ManagedFieldsEntry::default()
            }]),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn a_scaler_keeps_its_replicas_until_we_want_another_number() {
        let mut same = deployment(2);
        let hash = prepare(&mut same, Some(&scaled_by_hpa("2"))).unwrap();
        assert_eq!(same.spec.unwrap().replicas, None);
        assert_eq!(hash, prepare(&mut deployment(2), None).unwrap(), "who scales is no part of what we want");

        let mut changed = deployment(0);
        prepare(&mut changed, Some(&scaled_by_hpa("2"))).unwrap();
        assert_eq!(changed.spec.unwrap().replicas, Some(0));
    }
}
