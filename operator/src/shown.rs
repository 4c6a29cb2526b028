//! What a watch shows of an object: its metadata, and of its managed fields only what is decided on.
//!
//! Managed fields are the largest part of metadata. As a tree they take ten times their text, and first lists bring those of thousands of
//! objects at once: so they are read as text, of which what we applied is kept.

use std::{borrow::Cow, collections::BTreeMap, marker::PhantomData};

use k8s_openapi::{
    api::networking::v1::{Ingress, IngressSpec},
    apimachinery::pkg::apis::meta::v1::{OwnerReference, Time},
};
use kube::{Resource, api::ObjectMeta};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::value::RawValue;

use crate::{apply::MANAGER, ownership::is_applied_by};

/// An object of kind `K` as a watch shows it: without managed fields in `metadata`; `spec` is what is read beside metadata.
#[derive(Clone, Debug)]
pub struct Shown<K, S = Nothing> {
    /// Name, labels, annotations, owners, versions.
    pub metadata: ObjectMeta,
    /// What is read beside metadata.
    pub spec: Option<S>,
    /// The fields that we applied, as JSON.
    pub applied: Option<Box<str>>,
    /// Whether a controller has begun to say how the object is, and not come to which generation it means.
    pub half_told: bool,
    kind: PhantomData<fn() -> K>,
}

/// An Ingress, of which more than metadata counts.
pub type ShownIngress = Shown<Ingress, IngressSpec>;

/// What may be read beside metadata.
pub trait Beside: DeserializeOwned {
    /// Whether the API server need not send more than metadata.
    const METADATA_ALONE: bool;
}

/// Metadata is all that is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Nothing {}

impl Beside for Nothing {
    const METADATA_ALONE: bool = true;
}

impl Beside for IngressSpec {
    const METADATA_ALONE: bool = false;
}

impl<K: Resource, S: Beside> Resource for Shown<K, S> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn metadata_api() -> bool {
        S::METADATA_ALONE
    }

    fn kind(of: &K::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &K::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &K::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &K::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// As the API server writes it. What is not named here is passed over.
#[derive(Deserialize)]
struct Written<S> {
    #[serde(default)]
    metadata: Metadata,
    spec: Option<S>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
    managed_fields: Option<Vec<Entry>>,
}

/// An entry of the managed fields.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Entry {
    manager: Option<String>,
    operation: Option<String>,
    subresource: Option<String>,
    fields_v1: Option<Box<RawValue>>,
}

/// Of the fields of a status, what tells which generation it means.
#[derive(Deserialize)]
struct StatusFields {
    #[serde(rename = "f:status")]
    status: Option<ObservedFields>,
}

#[derive(Deserialize)]
struct ObservedFields {
    #[serde(rename = "f:observedGeneration")]
    observed_generation: Option<IgnoredAny>,
}

impl<'de, K, S: Beside> Deserialize<'de> for Shown<K, S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { metadata, spec } = Written::<S>::deserialize(deserializer)?;
        let managed = metadata.managed_fields.unwrap_or_default();
        let half_told = is_half_told(&managed);
        let applied = managed.into_iter().find(|entry| {
            is_applied_by(MANAGER, entry.manager.as_deref(), entry.operation.as_deref(), entry.subresource.as_deref())
        });
        Ok(Shown {
            metadata: ObjectMeta {
                name: metadata.name,
                namespace: metadata.namespace,
                uid: metadata.uid,
                resource_version: metadata.resource_version,
                generation: metadata.generation,
                creation_timestamp: metadata.creation_timestamp,
                deletion_timestamp: metadata.deletion_timestamp,
                labels: metadata.labels,
                annotations: metadata.annotations,
                owner_references: metadata.owner_references,
                ..ObjectMeta::default()
            },
            spec,
            applied: applied.and_then(|entry| entry.fields_v1).map(Box::from),
            half_told,
            kind: PhantomData,
        })
    }
}

/// It notes other things first, such as a Deployment's revision.
fn is_half_told(managed: &[Entry]) -> bool {
    let mut said = managed.iter().filter(|entry| entry.subresource.as_deref() == Some("status")).peekable();
    let generation = |entry: &Entry| {
        let fields = entry.fields_v1.as_ref().and_then(|fields| serde_json::from_str(fields.get()).ok());
        fields.and_then(|fields: StatusFields| fields.status?.observed_generation).is_some()
    };
    said.peek().is_some() && !said.any(generation)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::{Value, json};

    use super::*;

    fn shown<S: Beside>(object: &Value) -> Shown<Service, S> {
        serde_json::from_str(&object.to_string()).unwrap()
    }

    #[test]
    fn of_managed_fields_what_we_applied_is_kept_as_it_was_written() {
        let fields = r#"{"f:spec":{"f:ports":{}},"f:metadata":{}}"#;
        let entry = |manager: &str, operation: &str, rest: &str| {
            format!(r#"{{"manager":"{manager}","operation":"{operation}","fieldsV1":{fields}{rest}}}"#)
        };
        let of = |entries: &[String]| {
            let text = format!(r#"{{"metadata":{{"name":"a","managedFields":[{}]}}}}"#, entries.join(","));
            serde_json::from_str::<Shown<Service>>(&text).unwrap()
        };
        let ours = of(&[entry("kubectl", "Apply", ""), entry(MANAGER, "Apply", "")]);
        assert_eq!(ours.applied.as_deref(), Some(fields));
        assert_eq!(ours.metadata.managed_fields, None);
        for other in [entry("kubectl", "Apply", ""), entry(MANAGER, "Update", "")] {
            assert_eq!(of(&[other]).applied, None);
        }
        assert_eq!(of(&[entry(MANAGER, "Apply", r#","subresource":"scale""#)]).applied, None);
    }

    #[test]
    fn what_is_asked_for_beside_metadata_is_read_and_what_is_not_is_passed_over() {
        let whole = json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "a", "namespace": "n", "uid": "u",
            "resourceVersion": "7", "generation": 2, "creationTimestamp": "2026-01-02T03:04:05Z", "finalizers": ["f"],
            "labels": {"l": "1"}, "annotations": {"a": "2"}, "managedFields": null,
            "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "o", "uid": "ou"}]},
            "spec": {"ingressClassName": "nginx"}, "status": {}});
        let meta = shown::<Nothing>(&whole).metadata;
        assert_eq!((meta.name.as_deref(), meta.uid.as_deref(), meta.generation), (Some("a"), Some("u"), Some(2)));
        let owners = meta.owner_references.unwrap();
        assert_eq!(
            (owners[0].name.as_str(), &meta.labels.unwrap()["l"], &meta.annotations.unwrap()["a"]),
            ("o", &"1".into(), &"2".into())
        );
        assert_eq!(meta.creation_timestamp.unwrap().0.to_string(), "2026-01-02T03:04:05Z");
        let class = shown::<IngressSpec>(&whole).spec.and_then(|spec| spec.ingress_class_name);
        assert_eq!(class.as_deref(), Some("nginx"));
        assert!(Shown::<Service>::metadata_api() && !ShownIngress::metadata_api());
    }

    #[test]
    fn an_event_of_a_watch_is_read_whole() {
        let line = r#"{"type":"MODIFIED","object":{"kind":"Service","metadata":{"name":"a","managedFields":[{"manager":"x","fieldsV1":{"f:status":{}},"subresource":"status"}]}}}"#;
        let event: kube::core::WatchEvent<Shown<Service>> = serde_json::from_str(line).unwrap();
        let kube::core::WatchEvent::Modified(object) = event else { panic!("{event:?}") };
        assert!(object.half_told && object.metadata.name.as_deref() == Some("a"));
    }

    #[test]
    fn a_status_without_the_generation_that_it_means_is_half_told() {
        let told = |fields: &[&str]| {
            let entry = |field: &&str| {
                json!({"manager": "m", "operation": "Update", "subresource": "status",
                "fieldsV1": {"f:status": {*field: {}}}})
            };
            let managed: Vec<Value> = fields.iter().map(entry).collect();
            shown::<Nothing>(&json!({"metadata": {"name": "a", "managedFields": managed}})).half_told
        };
        assert!(told(&["f:conditions"]) && told(&["f:replicas", "f:conditions"]));
        assert!(!told(&[]) && !told(&["f:observedGeneration"]) && !told(&["f:conditions", "f:observedGeneration"]));
    }
}
