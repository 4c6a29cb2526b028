//! Writes an instance's status, if it differs from what is there.

use std::sync::Arc;

use kube::{
    Api, Client,
    api::{DynamicObject, ObjectMeta, Patch, PatchParams},
    core::ApiResource,
};
use serde_json::{Map, Value, json};

use crate::{
    apply::{MANAGER, bounded},
    crd::{CatalystInstance, CatalystInstanceStatus, KIND},
    metrics::Metrics,
    versions::Versions,
};

/// Writes statuses. One for the process.
#[derive(Clone)]
pub struct Publisher {
    client: Client,
    metrics: Arc<Metrics>,
    versions: Versions,
}

/// Why a status could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The API server, or the way to it, failed.
    #[error("status could not be written: {}", crate::words::words(.0))]
    Api(#[source] Box<kube::Error>),
    /// A status of ours is no JSON: a bug.
    #[error("status cannot be encoded: {0}")]
    Encode(#[from] serde_json::Error),
}

impl Publisher {
    /// A publisher that counts its writes, and notes what they led to.
    #[must_use]
    pub fn new(client: Client, metrics: Arc<Metrics>, versions: Versions) -> Self {
        Self { client, metrics, versions }
    }

    /// Gives an instance that had no status when it was read this one, unless it has changed since: so it never takes the place
    /// of a later word.
    ///
    /// # Errors
    /// It could not be written. An instance that has changed, or is gone, is no error.
    pub async fn publish_first(
        &self,
        instance: &ObjectMeta,
        status: &CatalystInstanceStatus,
    ) -> Result<(), PublishError> {
        let unchanged = json!({"uid": instance.uid, "resourceVersion": instance.resource_version});
        let patch = json!({"metadata": unchanged, "status": serde_json::to_value(status)?});
        match self.patch(instance, &patch).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(PublishError::Api(Box::new(error))),
            Ok(()) => Ok(()),
        }
    }

    /// Makes the status of this very instance (by UID) `after`, where it is `before`. Tells whether anything was written.
    ///
    /// # Errors
    /// It could not be written. An instance that is gone is no error.
    pub async fn publish(
        &self,
        instance: &ObjectMeta,
        before: Option<&CatalystInstanceStatus>,
        after: &CatalystInstanceStatus,
    ) -> Result<bool, PublishError> {
        if before == Some(after) {
            return Ok(false);
        }
        let old = before.map(serde_json::to_value).transpose()?.unwrap_or_else(|| json!({}));
        let status = difference(&old, &serde_json::to_value(after)?);
        // The UID holds the patch to the instance that was looked at, not one of the same name that came after it.
        let patch = json!({"metadata": {"uid": instance.uid}, "status": status});
        match self.patch(instance, &patch).await {
            Ok(()) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(PublishError::Api(Box::new(error))),
        }
    }

    async fn patch(&self, instance: &ObjectMeta, patch: &Value) -> Result<(), kube::Error> {
        let resource = ApiResource::erase::<CatalystInstance>(&());
        let namespace = instance.namespace.as_deref().unwrap_or_default();
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        self.metrics.wrote(KIND, "status");
        let name = instance.name.as_deref().unwrap_or_default();
        let written = bounded(api.patch_status(name, &params, &Patch::Merge(patch))).await?;
        // Their own watch asks for no pass by versions.
        self.versions.seen(KIND, &written.metadata);
        Ok(())
    }
}

/// The merge patch from `old` to `new`: what changed, and null for what is no more.
fn difference(old: &Value, new: &Value) -> Value {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return new.clone() };
    let mut patch = Map::new();
    for (key, value) in new {
        match old.get(key) {
            Some(before) if before == value => {}
            Some(before) if before.is_object() && value.is_object() => {
                patch.insert(key.clone(), difference(before, value));
            }
            _ => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patch_holds_what_changed_and_removes_what_is_gone() {
        let old = json!({"a": 1, "b": {"c": 1, "d": 2}, "e": [1], "f": 0});
        let new = json!({"a": 1, "b": {"c": 2}, "e": [2], "g": 3});
        assert_eq!(difference(&old, &new), json!({"b": {"c": 2, "d": null}, "e": [2], "f": null, "g": 3}));
    }
}
