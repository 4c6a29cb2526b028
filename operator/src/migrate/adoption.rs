//! Which release becomes which instance, and why that may fail. What every step shares; it decides nothing.

use std::time::Duration;

use kube::{
    Api,
    api::{ApiResource, DynamicObject},
};

use super::{plan::NoWay, seen::ObjectSeen};
use crate::{crd::CatalystInstance, offline::cluster::Cluster};

/// Annotation on an instance: the Helm release that it is taking over.
pub const ADOPTING_ANNOTATION: &str = "catalyst.dev/adopting";
/// Annotation on an instance: the Helm release that it has taken over, which is told from one that never was.
pub const ADOPTED_ANNOTATION: &str = "catalyst.dev/adopted";
/// Annotation on an instance that takes a release over: the selector of the release's Deployment, which is deleted on the way.
pub const SELECTOR_ANNOTATION: &str = "catalyst.dev/adopting-selector";

/// Which release becomes which instance.
#[derive(Clone)]
pub struct Adoption {
    /// The cluster.
    pub cluster: Cluster,
    /// Name of the release.
    pub release: String,
    /// Namespace of the release and of the instance.
    pub namespace: String,
    /// The instance as its values say. From when it is created, the one in the cluster counts, which people may correct.
    pub instance: CatalystInstance,
    /// How the waiting is bounded.
    pub patience: Patience,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until a step that waits is given up.
    pub step: Duration,
    /// How long old pods are kept after the last endpoint is gone, until every proxy has heard of it.
    pub drain: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { step: Duration::from_secs(600), drain: Duration::from_secs(15) }
    }
}

/// Why a release could not be taken over (yet). What was done so far stays, the app goes on serving, and the same command
/// goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// There is no way.
    #[error(transparent)]
    NoWay(#[from] NoWay),
    /// The instance cannot be made into objects, so it cannot be told what is to be handed over to it.
    #[error(
        "the CatalystInstance {name} cannot be used: {problems}. Correct it; nothing of the release is touched until then"
    )]
    Invalid {
        /// Name of the instance.
        name: String,
        /// What is wrong, in sentences.
        problems: String,
    },
    /// The cluster could not be asked, or refused.
    #[error("{0}")]
    Cluster(String),
    /// An object is not what it was when the step was planned, so the step was not carried out on it.
    #[error(
        "{0} is changed by somebody else again and again, so it was left alone. See who writes to it (its metadata.managedFields), and \
         whether a Helm upgrade is running; then run the same command again"
    )]
    Overtaken(ObjectSeen),
    /// Something did not come about in time.
    #[error("not within {} s: {awaited}. {remedy} The app goes on serving; run the same command again to go on.", .waited.as_secs())]
    TimedOut {
        /// What was awaited.
        awaited: String,
        /// For how long.
        waited: Duration,
        /// What to look at.
        remedy: String,
    },
}

impl Adoption {
    /// The name of the instance.
    #[must_use]
    pub fn name(&self) -> &str {
        self.instance.metadata.name.as_deref().unwrap_or_default()
    }

    pub(super) fn api(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.cluster.client.clone(), &self.namespace, resource)
    }

    pub(super) fn failed(&self, error: &kube::Error, doing: &str) -> AdoptError {
        AdoptError::Cluster(self.cluster.explain(error, doing, Some(&self.namespace)))
    }
}
