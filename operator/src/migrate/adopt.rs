//! Takes a running Helm release over: observes, plans, carries out one step, and observes again, until nothing is left. So a
//! run that is killed at any point is simply begun again.

pub use super::adoption::{
    ADOPTED_ANNOTATION, ADOPTING_ANNOTATION, AdoptError, Adoption, Patience, SELECTOR_ANNOTATION,
};
use super::{carry_out::carry_out, observe, plan::plan, seen::Observed, step::Step};
use crate::offline::cluster::Cluster;

/// How many times in a row a step may find its object changed since it was planned.
const OVERTAKEN: usize = 10;

/// The name of the instance that takes the release over already, else of the release's Deployment, else of the instance that has
/// taken it over; `None`: there is none of these.
///
/// # Errors
/// They could not be listed, or several instances take it over.
pub async fn name_of(cluster: &Cluster, namespace: &str, release: &str) -> Result<Option<String>, AdoptError> {
    observe::name_of(cluster, namespace, release).await
}

impl Adoption {
    /// What is in the cluster.
    ///
    /// # Errors
    /// Something could not be read, or the instance is none that objects can be made of.
    pub async fn observe(&self) -> Result<Observed, AdoptError> {
        observe::observe(self).await
    }

    /// The steps that are left, none when all is done.
    ///
    /// # Errors
    /// There is no way, or something could not be read.
    pub async fn plan(&self) -> Result<Vec<Step>, AdoptError> {
        Ok(plan(&self.release, &self.observe().await?)?)
    }

    /// Carries out a step that was planned of `seen`; `tell` gets what a person should know while it waits.
    ///
    /// # Errors
    /// See [`AdoptError`]; [`AdoptError::Overtaken`] when an object of the step is not what it was when it was seen.
    pub async fn carry_out(&self, seen: &Observed, step: &Step, tell: &mut dyn FnMut(&str)) -> Result<(), AdoptError> {
        carry_out(self, seen, step, tell).await
    }

    /// Carries out the first step that is left, and says which; `None` when all is done. `tell` gets what a person should know
    /// while a step waits.
    ///
    /// # Errors
    /// See [`AdoptError`].
    pub async fn next(&self, tell: &mut dyn FnMut(&str)) -> Result<Option<Step>, AdoptError> {
        let mut overtaken = 0;
        loop {
            let seen = self.observe().await?;
            let Some(step) = plan(&self.release, &seen)?.into_iter().next() else { return Ok(None) };
            match self.carry_out(&seen, &step, tell).await {
                Ok(()) => return Ok(Some(step)),
                // What there is now may need another step.
                Err(AdoptError::Overtaken(_)) if overtaken < OVERTAKEN => overtaken += 1,
                Err(error) => return Err(error),
            }
        }
    }
}
