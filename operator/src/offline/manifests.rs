//! What is built for one instance as a list, in the order in which it is applied. Pure.

use kube::{Resource, core::ApiResource};
use serde::Serialize;
use serde_json::Value;

use crate::{build::Desired, names::InstanceName};

/// An object that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Its kind and where it is served.
    pub resource: ApiResource,
    /// Its name.
    pub name: String,
    /// The object as it is applied.
    pub object: Value,
}

/// Whether an object is wanted.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// It is.
    Object(Manifest),
    /// It must not exist, if it is ours.
    Absent {
        /// Its kind.
        resource: ApiResource,
        /// Its name.
        name: String,
    },
}

/// Every object of one instance. Destructured exhaustively: a kind that is forgotten does not compile.
///
/// # Errors
/// None are expected: the objects are our own types.
pub fn wanted(name: &InstanceName, desired: &Desired) -> Result<Vec<Wanted>, serde_json::Error> {
    let Desired { deployment, service, ingress, http_route, disruption_budget, config, known_hosts, network_policy } =
        desired;
    Ok(vec![
        optional(network_policy.as_ref(), name.policy())?,
        object(config)?,
        object(known_hosts)?,
        object(service)?,
        object(deployment)?,
        optional(disruption_budget.as_ref(), name.to_string())?,
        optional(http_route.as_ref(), name.to_string())?,
        optional(ingress.as_ref(), name.to_string())?,
    ])
}

fn optional<K: Resource<DynamicType = ()> + Serialize>(
    wanted: Option<&K>,
    name: String,
) -> Result<Wanted, serde_json::Error> {
    match wanted {
        Some(wanted) => object(wanted),
        None => Ok(Wanted::Absent { resource: ApiResource::erase::<K>(&()), name }),
    }
}

fn object<K: Resource<DynamicType = ()> + Serialize>(wanted: &K) -> Result<Wanted, serde_json::Error> {
    Ok(Wanted::Object(Manifest {
        resource: ApiResource::erase::<K>(&()),
        name: wanted.meta().name.clone().unwrap_or_default(),
        object: serde_json::to_value(wanted)?,
    }))
}
