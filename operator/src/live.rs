//! Metadata of the objects that carry our names, as they are in the cluster: what apply decides on. Pure data.

use std::{collections::HashMap, fmt::Debug};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Secret, Service},
        networking::v1::{Ingress, NetworkPolicy},
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{Resource, api::ObjectMeta};
use serde::{Serialize, de::DeserializeOwned};

use crate::build::HTTPRoute;

/// A kind of which an instance has objects, with its name known at compile time; and what reading and writing one takes.
pub trait Kinded:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned
{
    /// As in `kind:`.
    const KIND: &'static str;
}

macro_rules! kinded {
    ($($kind:ident),+) => { $(impl Kinded for $kind { const KIND: &'static str = stringify!($kind); })+ };
}
kinded!(Deployment, Service, Ingress, HTTPRoute, ConfigMap, NetworkPolicy, PodDisruptionBudget, Secret);

/// The metadata of every object with a name of ours, managed fields included.
#[derive(Debug, Default)]
pub struct Live {
    owner: String,
    objects: HashMap<(&'static str, String), ObjectMeta>,
}

impl Live {
    /// Nothing yet, for the instance with this UID.
    #[must_use]
    pub fn of(owner: &str) -> Self {
        Self { owner: owner.to_owned(), objects: HashMap::new() }
    }

    /// UID of the instance whose objects are ours.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Notes an object.
    pub fn insert<K: Kinded>(&mut self, meta: ObjectMeta) {
        if let Some(name) = meta.name.clone() {
            self.objects.insert((K::KIND, name), meta);
        }
    }

    /// The object of that name, if it exists.
    #[must_use]
    pub fn get<K: Kinded>(&self, name: &str) -> Option<&ObjectMeta> {
        self.objects.get(&(K::KIND, name.to_owned()))
    }

    /// Every object, with its kind.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &ObjectMeta)> {
        self.objects.iter().map(|((kind, _), meta)| (*kind, meta))
    }
}
