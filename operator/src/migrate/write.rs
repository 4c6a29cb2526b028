//! Writes that reach only the very object that was planned for, and only while what was planned of still holds: the object
//! is read, looked at, and then written to on condition that it is that object in that version. What is gone already is no
//! error; whatever else has become of it is [`AdoptError::Overtaken`], after which one observes and plans anew.

use kube::{
    Api,
    api::{DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, Preconditions, PropagationPolicy},
};
use serde_json::{Value, json};

use super::{
    adoption::{AdoptError, Adoption},
    fields::ON_THE_WAY,
    kinds,
    seen::ObjectSeen,
};

/// The object that was planned for, as it is now.
pub(super) struct Present<'a> {
    adoption: &'a Adoption,
    object: &'a ObjectSeen,
    api: Api<DynamicObject>,
    meta: ObjectMeta,
}

/// Reads the object; `None` when nothing of that name is there. `holds`: whether what was planned of is still so.
pub(super) async fn present<'a>(
    adoption: &'a Adoption,
    object: &'a ObjectSeen,
    holds: impl Fn(&ObjectMeta) -> bool,
) -> Result<Option<Present<'a>>, AdoptError> {
    let Some(resource) = kinds::resource(&object.kind) else {
        return Err(AdoptError::Cluster(format!("{object} is of a kind that no migration writes to")));
    };
    let api = adoption.api(&resource);
    let found = api.get_metadata_opt(&object.name).await;
    let Some(found) = found.map_err(|error| adoption.failed(&error, &format!("read {object}")))? else {
        return Ok(None);
    };
    let meta = found.metadata;
    if meta.uid.as_deref() != Some(object.uid.as_str()) || !holds(&meta) {
        return Err(AdoptError::Overtaken(object.clone()));
    }
    Ok(Some(Present { adoption, object, api, meta }))
}

impl Present<'_> {
    pub(super) fn meta(&self) -> &ObjectMeta {
        &self.meta
    }

    /// Merges `patch` into it.
    pub(super) async fn patch(self, mut patch: Value) -> Result<(), AdoptError> {
        if let Some(fields) = patch.as_object_mut() {
            let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("uid".to_owned(), json!(self.meta.uid));
                metadata.insert("resourceVersion".to_owned(), json!(self.meta.resource_version));
            }
        }
        let params = PatchParams { field_manager: Some(ON_THE_WAY.to_owned()), ..PatchParams::default() };
        let outcome = self.api.patch_metadata(&self.object.name, &params, &Patch::Merge(patch)).await;
        self.came_to(outcome.map(|_| ()), "change")
    }

    /// Deletes it.
    pub(super) async fn delete(self, propagation: PropagationPolicy) -> Result<(), AdoptError> {
        let preconditions =
            Preconditions { uid: self.meta.uid.clone(), resource_version: self.meta.resource_version.clone() };
        let params = DeleteParams {
            propagation_policy: Some(propagation),
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        let outcome = self.api.delete(&self.object.name, &params).await;
        self.came_to(outcome.map(|_| ()), "delete")
    }

    fn came_to(&self, outcome: Result<(), kube::Error>, doing: &str) -> Result<(), AdoptError> {
        match outcome {
            Ok(()) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Err(AdoptError::Overtaken(self.object.clone())),
            Err(error) => Err(self.adoption.failed(&error, &format!("{doing} {}", self.object))),
        }
    }
}
