//! What is held of one object, packed: of ten thousand instances fifty thousand objects and more are held. What many have in common (the fields
//! that we set, the owner, the names of annotations) is kept once.

use std::{collections::HashSet, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, OwnerReference, Time};
use kube::api::ObjectMeta;

use crate::{apply::MANAGER, crd::GROUP, ownership::applied, shown::Shown, versions::version_of};

/// Where an object is: `NAMESPACE/NAME`.
pub(super) type Place = Box<str>;

pub(super) fn place(namespace: &str, name: &str) -> Place {
    format!("{namespace}/{name}").into()
}

/// Stands for the owner's UID in a set of fields, which is one of its keys. JSON has no such letter but in quotation.
const OWNER: &str = "\u{1}";
/// As many texts are kept before it is looked which of them nobody has any more.
const FEW: usize = 256;

/// What apply decides on.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) version: u64,
    uid: Box<str>,
    generation: Option<i64>,
    created: Option<Time>,
    deleted: Option<Time>,
    /// The references to the instance, as JSON.
    owners: Arc<str>,
    /// Only ours.
    annotations: Box<[(Arc<str>, Box<str>)]>,
    /// The fields that we applied, as JSON.
    fields: Option<Arc<str>>,
}

/// Texts that many have in common.
#[derive(Debug)]
pub(super) struct Texts {
    known: HashSet<Arc<str>>,
    /// With as many it is looked which of them are of use.
    room: usize,
}

impl Default for Texts {
    fn default() -> Self {
        Self { known: HashSet::new(), room: FEW }
    }
}

impl Texts {
    /// The same text once for all.
    fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.known.get(text) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.room {
            self.known.retain(|text| Arc::strong_count(text) > 1);
            self.room = FEW.max(2 * self.known.len());
        }
        let text: Arc<str> = text.into();
        self.known.insert(Arc::clone(&text));
        text
    }
}

impl Held {
    /// As a watch shows it. `None`: it is no object of an instance.
    pub(super) fn shown<K, S>(object: &Shown<K, S>, texts: &mut Texts) -> Option<(Place, Held)> {
        Held::of(&object.metadata, object.applied.as_deref(), texts)
    }

    /// The same, as a write was answered.
    pub(super) fn answered(meta: &ObjectMeta, texts: &mut Texts) -> Option<(Place, Held)> {
        let fields = applied(meta.managed_fields.as_deref().unwrap_or_default(), MANAGER);
        let fields = fields.and_then(|fields| serde_json::to_string(&fields.0).ok());
        Held::of(meta, fields.as_deref(), texts)
    }

    fn of(meta: &ObjectMeta, fields: Option<&str>, texts: &mut Texts) -> Option<(Place, Held)> {
        let ours = |owner: &&OwnerReference| owner.controller == Some(true) && owner.api_version.starts_with(GROUP);
        let owners: Vec<&OwnerReference> = meta.owner_references.iter().flatten().filter(ours).collect();
        let owner = owners.first()?;
        let annotations = meta.annotations.iter().flatten().filter(|(key, _)| key.starts_with(GROUP));
        let held = Held {
            version: version_of(meta)?,
            uid: meta.uid.as_deref()?.into(),
            generation: meta.generation,
            created: meta.creation_timestamp.clone(),
            deleted: meta.deletion_timestamp.clone(),
            annotations: annotations.map(|(key, value)| (texts.share(key), value.as_str().into())).collect(),
            fields: fields.map(|fields| texts.share(&fields.replace(&owner.uid, OWNER))),
            owners: texts.share(&serde_json::to_string(&owners).ok()?),
        };
        Some((place(meta.namespace.as_deref()?, meta.name.as_deref()?), held))
    }

    /// Its metadata, in which managed fields, owners and annotations are ours alone.
    pub(super) fn meta(&self, namespace: &str, name: &str) -> Option<ObjectMeta> {
        let owners: Vec<OwnerReference> = serde_json::from_str(&self.owners).ok()?;
        let uid = &owners.first()?.uid;
        let fields = self.fields.as_ref().map(|fields| serde_json::from_str(&fields.replace(OWNER, uid)));
        let applied = fields.transpose().ok()?.map(|fields| ManagedFieldsEntry {
            manager: Some(MANAGER.to_owned()),
            operation: Some("Apply".to_owned()),
            fields_v1: Some(FieldsV1(fields)),
            ..ManagedFieldsEntry::default()
        });
        let annotations = self.annotations.iter().map(|(key, value)| (key.to_string(), value.to_string()));
        Some(ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            uid: Some(self.uid.to_string()),
            resource_version: Some(self.version.to_string()),
            generation: self.generation,
            creation_timestamp: self.created.clone(),
            deletion_timestamp: self.deleted.clone(),
            owner_references: Some(owners),
            annotations: Some(annotations.collect()),
            managed_fields: applied.map(|applied| vec![applied]),
            ..ObjectMeta::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(owner: &str) -> ObjectMeta {
        let fields = json!({"f:metadata": {"f:ownerReferences": {format!("k:{{\"uid\":\"{owner}\"}}"): {}}}});
        serde_json::from_value(json!({"namespace": "n", "name": "a", "uid": "u", "resourceVersion": "7",
            "annotations": {"catalyst.dev/applied": "h", "example.com/a": "foreign"},
            "ownerReferences": [{"apiVersion": "catalyst.dev/v1alpha1", "kind": "CatalystInstance", "name": "x",
                "uid": owner, "controller": true}],
            "managedFields": [{"manager": MANAGER, "operation": "Apply", "fieldsV1": fields}]}))
        .unwrap()
    }

    #[test]
    fn what_objects_of_several_instances_have_in_common_is_kept_once_and_each_is_given_back_as_it_was() {
        let mut texts = Texts::default();
        let held: Vec<Held> =
            ["o1", "o2", "o1"].map(|owner| Held::answered(&object(owner), &mut texts).unwrap().1).into();
        assert!(held.iter().all(|other| Arc::ptr_eq(other.fields.as_ref().unwrap(), held[0].fields.as_ref().unwrap())));
        assert!(Arc::ptr_eq(&held[0].owners, &held[2].owners) && !Arc::ptr_eq(&held[0].owners, &held[1].owners));
        for (held, owner) in held.iter().zip(["o1", "o2"]) {
            let (meta, whole) = (held.meta("n", "a").unwrap(), object(owner));
            assert_eq!(meta.owner_references, whole.owner_references);
            assert_eq!(meta.managed_fields, whole.managed_fields);
            assert_eq!(meta.annotations.unwrap().into_keys().collect::<Vec<_>>(), ["catalyst.dev/applied"]);
        }
    }

    #[test]
    fn a_watch_and_an_answer_give_the_same() {
        let whole: Value = json!({"metadata": object("o")});
        let shown: Shown<k8s_openapi::api::core::v1::Service> = serde_json::from_str(&whole.to_string()).unwrap();
        let mut texts = Texts::default();
        let (shown, answered) = (Held::shown(&shown, &mut texts), Held::answered(&object("o"), &mut texts));
        let meta = |held: Option<(Place, Held)>| held.map(|(at, held)| (at, held.meta("n", "a")));
        assert_eq!(meta(shown), meta(answered));
    }

    #[test]
    fn texts_of_nobody_are_let_go() {
        let mut texts = Texts::default();
        let (one, same) = (texts.share("{}"), texts.share("{}"));
        assert!(Arc::ptr_eq(&one, &same));
        (0..2 * FEW).for_each(|number| drop(texts.share(&number.to_string())));
        assert!(texts.known.len() <= FEW && texts.known.contains("{}"), "{}", texts.known.len());
        let many: Vec<Arc<str>> = (0..4 * FEW).map(|number| texts.share(&number.to_string())).collect();
        assert!(many.iter().all(|text| texts.known.contains(text)), "what somebody has stays");
    }
}
