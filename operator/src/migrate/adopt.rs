//! Takes a running Helm release over: observes, plans, carries out one step, and observes again, until nothing is left. So a
//! run that is killed at any point is simply begun again.

use std::time::Duration;

use kube::{
    Api,
    api::{ApiResource, DynamicObject},
};

use super::plan::{NoWay, Observed, Step, plan};
use crate::{
    crd::CatalystInstance,
    offline::cluster::{Cluster, explain},
};

/// Annotation on an instance: the Helm release that it is taking over.
pub const ADOPTING_ANNOTATION: &str = "catalyst.dev/adopting";
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
    /// The instance, as its values say.
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
    /// The cluster could not be asked, or refused.
    #[error("{0}")]
    Cluster(String),
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

/// The name of the instance that takes the release over already, else of the release's Deployment; `None`: there is neither.
///
/// # Errors
/// They could not be listed.
pub async fn name_of(cluster: &Cluster, namespace: &str, release: &str) -> Result<Option<String>, AdoptError> {
    super::observe::name_of(cluster, namespace, release).await
}

impl Adoption {
    /// What is in the cluster.
    ///
    /// # Errors
    /// Something could not be read.
    pub async fn observe(&self) -> Result<Observed, AdoptError> {
        super::observe::observe(self).await
    }

    /// The steps that are left, none when all is done.
    ///
    /// # Errors
    /// There is no way, or something could not be read.
    pub async fn plan(&self) -> Result<Vec<Step>, AdoptError> {
        Ok(plan(&self.release, &self.observe().await?)?)
    }

    /// Carries out the first step that is left, and says which; `None` when all is done.
    ///
    /// # Errors
    /// See [`AdoptError`].
    pub async fn next(&self) -> Result<Option<Step>, AdoptError> {
        let Some(step) = self.plan().await?.into_iter().next() else { return Ok(None) };
        super::carry_out::carry_out(self, &step).await?;
        Ok(Some(step))
    }

    /// The name of the instance.
    #[must_use]
    pub fn name(&self) -> &str {
        self.instance.metadata.name.as_deref().unwrap_or_default()
    }

    pub(super) fn api(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.cluster.client.clone(), &self.namespace, resource)
    }

    pub(super) fn failed(&self, error: &kube::Error, doing: &str) -> AdoptError {
        AdoptError::Cluster(explain(error, doing, &self.cluster.url))
    }
}
