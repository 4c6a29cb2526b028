//! Brings the cluster to the desired objects by server-side apply, in a fixed order, and removes what is no longer wanted.
//!
//! Invariants: an object that is not ours is never written to, also if it is made while we look: what is to be created takes nobody's
//! place. Nothing is written when the object carries the hash of what
//! we want and still all the fields that we applied; so neither a second pass nor a restart writes. Fields of others are
//! never part of what we send.

mod decide;
mod overwrite;
mod refusal;
mod scaling;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aws_lc_rs::digest;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod, Secret},
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
};
use serde::Serialize;
use serde_json::Value;

use self::decide::{Decision, decide};
pub use self::refusal::{ApplyError, refusal};
pub(crate) use self::scaling::{left_to_scaler, replaces_pods};
pub use crate::build::MANAGER;
use crate::{
    build::Desired,
    children::Children,
    live::{Kinded, Live},
    metrics::Metrics,
    names::InstanceName,
    triggers::POD,
    validated::Finding,
    versions::Versions,
    words::words,
};

/// Annotation on each object of ours: the hash of what was applied.
pub const APPLIED_ANNOTATION: &str = "catalyst.dev/applied";
/// Annotation on the Deployment: the replicas that were applied, so that a scaler's later choice is told from ours.
pub const APPLIED_REPLICAS_ANNOTATION: &str = "catalyst.dev/applied-replicas";
/// Annotation on the Deployment: the hash of the pod template that was applied, so that a rollout is told from the rest.
pub const APPLIED_TEMPLATE_ANNOTATION: &str = "catalyst.dev/applied-template";

/// Annotation on pods: the hash of the host keys that were last made known to them.
pub const HOST_KEYS_ANNOTATION: &str = "catalyst.dev/known-hosts";

/// Annotation on pods: the hash of the public half of the SSH key that was last made known to them.
pub const SSH_KEY_ANNOTATION: &str = "catalyst.dev/ssh-key";

/// The version of an object that is to be created: no object has it (etcd counts from 1, and the first write makes 2), so the API server
/// answers 409 where one exists. It is dropped where none does.
const ABSENT: &str = "1";

/// No single write takes longer.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);
/// The field manager of what is overwritten because it contradicts what is ours.
const REPAIR_MANAGER: &str = "catalyst-operator-repair";

/// What was done to one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It was not there.
    Created,
    /// We want something else than before.
    Updated,
    /// Somebody else had changed or removed a field of ours.
    Repaired,
    /// It is no longer wanted.
    Removed,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What was done.
    pub act: Act,
    /// The object's kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Whether its spec moved on (its generation grew), so that its own status is behind for now.
    pub spec_changed: bool,
    /// Whether the pod template changed, so that the pods are replaced.
    pub rollout: bool,
}

/// Whether the Deployment is applied with the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pods {
    /// It is.
    Now,
    /// Not yet: what its pods will read is still being found out.
    Later,
}

/// What one pass did.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// The writes, in order; empty when all was as wanted.
    pub changes: Vec<Change>,
    /// What the API server refuses for good, with its words.
    pub refused: Vec<Finding>,
}

/// Writes objects. One for the process.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    metrics: Arc<Metrics>,
    versions: Versions,
    children: Children,
}

impl Applier {
    /// An applier that counts its writes, and notes what they led to.
    #[must_use]
    pub fn new(client: Client, metrics: Arc<Metrics>, versions: Versions, children: Children) -> Self {
        Self { client, metrics, versions, children }
    }

    /// Applies everything that is desired and prunes the rest. The policy comes before the pods that it confines, the
    /// settings before the pods that read them, and the way in last, when there is something to lead to.
    ///
    /// # Errors
    /// The API server could not be used, or an object changed hands meanwhile: try again later. What it refuses for good is
    /// no error but a finding, and keeps nothing else from being applied (except the pods, if their policy is refused).
    pub async fn apply(
        &self,
        name: &InstanceName,
        namespace: &str,
        desired: Desired,
        live: &Live,
        pods: Pods,
    ) -> Result<Applied, ApplyError> {
        let Desired {
            mut deployment,
            service,
            ingress,
            http_route,
            disruption_budget,
            config,
            known_hosts,
            network_policy,
        } = desired;
        let mut applied = Applied::default();

        self.wanted_or_pruned(network_policy, &name.policy(), namespace, live, &mut applied).await?;
        if !applied.refused.is_empty() {
            return Ok(applied);
        }
        self.object(config, namespace, live, &mut applied).await?;
        self.object(known_hosts, namespace, live, &mut applied).await?;
        self.object(service, namespace, live, &mut applied).await?;
        if pods == Pods::Now {
            let hash = scaling::prepare(&mut deployment, live.get::<Deployment>(name.as_str()))?;
            self.hashed(deployment, hash, namespace, live, &mut applied).await?;
        }
        self.wanted_or_pruned(disruption_budget, name.as_str(), namespace, live, &mut applied).await?;
        // Another way in is there before the one so far goes.
        if http_route.is_some() {
            self.wanted_or_pruned(http_route, name.as_str(), namespace, live, &mut applied).await?;
            self.wanted_or_pruned(ingress, name.as_str(), namespace, live, &mut applied).await?;
        } else {
            self.wanted_or_pruned(ingress, name.as_str(), namespace, live, &mut applied).await?;
            self.wanted_or_pruned(http_route, name.as_str(), namespace, live, &mut applied).await?;
        }
        Ok(applied)
    }

    /// Creates an object that may not exist yet, by POST. `None`: it exists (somebody was quicker).
    ///
    /// # Errors
    /// As [`Applier::apply`].
    pub async fn create<K: Kinded>(&self, object: &K, namespace: &str) -> Result<Option<K>, ApplyError> {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        self.metrics.wrote(K::KIND, "create");
        let params = kube::api::PostParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
        match bounded(api.create(&params, object)).await {
            Ok(created) => {
                self.versions.wrote(K::KIND, created.meta());
                Ok(Some(created))
            }
            Err(kube::Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => Ok(None),
            Err(error) => Err(ApplyError::new(K::KIND, &object.name_any(), error)),
        }
    }

    /// Removes a Secret that we generated. One that is somebody else's, or is gone, stays as it is.
    ///
    /// # Errors
    /// The API server could not be used.
    pub async fn remove_secret(&self, namespace: &str, name: &str, owner: &str) -> Result<(), ApplyError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let failed = |error| ApplyError::new(Secret::KIND, name, error);
        let Some(found) = bounded(api.get_metadata_opt(name)).await.map_err(failed)? else { return Ok(()) };
        if !decide::ours(&found.metadata, owner) {
            return Ok(());
        }
        let preconditions = Some(Preconditions { uid: found.metadata.uid, resource_version: None });
        self.metrics.wrote(Secret::KIND, "delete");
        let params = DeleteParams { preconditions, ..DeleteParams::background() };
        match bounded(api.delete(name, &params)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Touches the pods, so that their nodes mount the host keys anew at once and not within a minute or so: an annotation of
    /// ours on each pod, not on their template. What is refused or fails only leaves them to that minute.
    pub async fn hasten_host_keys(&self, name: &InstanceName, namespace: &str, known_hosts: &ConfigMap) {
        if let Ok(mark) = hash(&known_hosts.data) {
            self.touch_pods(name, namespace, HOST_KEYS_ANNOTATION, &mark).await;
        }
    }

    /// The same for another SSH key, of which this is the public half.
    pub async fn hasten_ssh_key(&self, name: &InstanceName, namespace: &str, public_line: &str) {
        if let Ok(mark) = hash(&public_line) {
            self.touch_pods(name, namespace, SSH_KEY_ANNOTATION, &mark).await;
        }
    }

    async fn touch_pods(&self, name: &InstanceName, namespace: &str, annotation: &str, mark: &str) {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let patch = serde_json::json!({"metadata": {"annotations": {annotation: mark}}});
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let pods = match bounded(api.list_metadata(&ListParams::default().labels(&name.selector()))).await {
            Ok(pods) => pods.items,
            Err(error) => return tracing::info!(error = words(&error), "the pods see what they mount within a minute"),
        };
        for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
            self.metrics.wrote(POD, "touch");
            match bounded(api.patch_metadata(&pod.name_any(), &params, &Patch::Merge(&patch))).await {
                Ok(touched) if decide::annotation(Some(&pod.metadata), annotation) != Some(mark) => {
                    self.versions.wrote(POD, &touched.metadata);
                }
                Ok(touched) => self.versions.seen(POD, &touched.metadata),
                Err(error) => tracing::info!(error = words(&error), "a pod sees what it mounts within a minute"),
            }
        }
    }

    async fn wanted_or_pruned<K: Kinded>(
        &self,
        desired: Option<K>,
        name: &str,
        namespace: &str,
        live: &Live,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        match desired {
            Some(desired) => self.object(desired, namespace, live, applied).await,
            None => self.prune::<K>(name, namespace, live, applied).await,
        }
    }

    async fn object<K: Kinded>(
        &self,
        desired: K,
        namespace: &str,
        live: &Live,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        let hash = hash(&desired)?;
        self.hashed(desired, hash, namespace, live, applied).await
    }

    /// Applies one object, with the hash of what we want of it.
    async fn hashed<K: Kinded>(
        &self,
        mut desired: K,
        hash: String,
        namespace: &str,
        live: &Live,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        let name = desired.name_any();
        let found = live.get::<K>(&name);
        let manifest = marked(&mut desired, hash)?;
        let act = match decide(found, live.owner(), &manifest) {
            Decision::Keep => return Ok(()),
            // Validation has reported it before it comes to this.
            Decision::Foreign => return Err(ApplyError::Foreign { kind: K::KIND, name }),
            Decision::Write(act) => act,
        };
        match found {
            // The UID holds the patch to the object that was looked at: one that took its place meanwhile is not touched.
            Some(found) => desired.meta_mut().uid.clone_from(&found.uid),
            // Nor is one that was made meanwhile, or that we did not look for.
            None => desired.meta_mut().resource_version = Some(ABSENT.to_owned()),
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let params = PatchParams::apply(MANAGER).force();
        self.metrics.wrote(K::KIND, "apply");
        let rollout = K::KIND == "Deployment"
            && decide::annotation(found, APPLIED_TEMPLATE_ANNOTATION)
                != decide::annotation(Some(desired.meta()), APPLIED_TEMPLATE_ANNOTATION);
        let mut answer = bounded(api.patch_metadata(&name, &params, &Patch::Apply(&desired))).await;
        if found.is_some() && answer.as_ref().is_err_and(is_invalid) {
            // What others added contradicts what is ours (a value where ours is a reference): only then is it overwritten.
            for patch in overwrite::patches(K::KIND, &manifest, desired.meta()) {
                self.metrics.wrote(K::KIND, "overwrite");
                let overwrite =
                    PatchParams { field_manager: Some(REPAIR_MANAGER.to_owned()), ..PatchParams::default() };
                if let Ok(overwritten) = bounded(api.patch_metadata(&name, &overwrite, &patch)).await {
                    self.versions.seen(K::KIND, &overwritten.metadata);
                    self.metrics.wrote(K::KIND, "apply");
                    answer = bounded(api.patch_metadata(&name, &params, &Patch::Apply(&desired))).await;
                }
                if !answer.as_ref().is_err_and(is_invalid) {
                    break;
                }
            }
        }
        match answer {
            Ok(answer) => {
                tracing::info!(kind = K::KIND, object = %name, ?act, "applied");
                self.children.wrote(K::KIND, &answer.metadata);
                match act {
                    Act::Created | Act::Updated => self.versions.wrote(K::KIND, &answer.metadata),
                    // Others may have mended it meanwhile; then the answer is the version that they wrote.
                    Act::Repaired | Act::Removed => self.versions.seen(K::KIND, &answer.metadata),
                }
                let spec_changed = found.is_none_or(|found| found.generation != answer.metadata.generation);
                applied.changes.push(Change { act, kind: K::KIND, name, spec_changed, rollout });
                Ok(())
            }
            Err(error) if found.is_none() && is_conflict(&error) => {
                Err(ApplyError::Unseen { kind: K::KIND, name, source: Box::new(error) })
            }
            Err(error) => keep_refusal(K::KIND, &name, desired.annotations(), error, applied),
        }
    }

    /// Removes an object of ours that is no longer wanted.
    async fn prune<K: Kinded>(
        &self,
        name: &str,
        namespace: &str,
        live: &Live,
        applied: &mut Applied,
    ) -> Result<(), ApplyError> {
        let Some(found) = live.get::<K>(name) else { return Ok(()) };
        if !decide::ours(found, live.owner()) || found.deletion_timestamp.is_some() {
            return Ok(());
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: found.uid.clone(), resource_version: None }),
            ..DeleteParams::background()
        };
        self.metrics.wrote(K::KIND, "delete");
        match bounded(api.delete(name, &params)).await {
            Ok(_) => {
                tracing::info!(kind = K::KIND, object = %name, "removed");
                let name = name.to_owned();
                applied.changes.push(Change {
                    act: Act::Removed,
                    kind: K::KIND,
                    name,
                    spec_changed: true,
                    rollout: false,
                });
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => keep_refusal(K::KIND, name, &BTreeMap::new(), error, applied),
        }
    }
}

/// An API server that does not answer is one that could not be used: the pass ends, and is made again.
pub(crate) async fn bounded<T>(write: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    match tokio::time::timeout(WRITE_DEADLINE, write).await {
        Ok(answer) => answer,
        Err(_) => {
            let told = format!("the API server did not answer in {} s", WRITE_DEADLINE.as_secs());
            Err(kube::Error::Service(told.into()))
        }
    }
}

fn keep_refusal(
    kind: &'static str,
    name: &str,
    annotations: &BTreeMap<String, String>,
    error: kube::Error,
    applied: &mut Applied,
) -> Result<(), ApplyError> {
    match refusal(kind, name, annotations, &error) {
        Some(finding) => {
            applied.refused.push(finding);
            Ok(())
        }
        None => Err(ApplyError::new(kind, name, error)),
    }
}

fn is_invalid(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 422)
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// Whether an object is in the cluster as we want it.
///
/// # Errors
/// It cannot be encoded.
pub(crate) fn is_as_wanted<K: Kinded>(desired: &K, live: &Live) -> Result<bool, ApplyError> {
    let (mut desired, hash) = (desired.clone(), hash(desired)?);
    let manifest = marked(&mut desired, hash)?;
    Ok(decide(live.get::<K>(&desired.name_any()), live.owner(), &manifest) == Decision::Keep)
}

/// Notes on an object the hash of what we want of it; what is applied then.
fn marked<K: Kinded>(desired: &mut K, hash: String) -> Result<Value, ApplyError> {
    let last = desired.annotations_mut().insert(APPLIED_ANNOTATION.to_owned(), hash);
    debug_assert!(last.is_none(), "the annotation is ours to set");
    Ok(serde_json::to_value(&*desired)?)
}

/// A hash of the whole manifest, short enough to read in `kubectl get -o yaml`.
fn hash(manifest: &impl Serialize) -> Result<String, ApplyError> {
    let bytes = serde_json::to_vec(manifest)?;
    let digest = digest::digest(&digest::SHA256, &bytes);
    Ok(crate::hex::hex(digest.as_ref().get(..16).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::DeploymentSpec;

    use super::*;

    #[test]
    fn the_hash_changes_with_the_manifest_and_only_with_it() {
        let manifest = |replicas| DeploymentSpec { replicas: Some(replicas), ..DeploymentSpec::default() };
        assert_eq!(hash(&manifest(1)).unwrap(), hash(&manifest(1)).unwrap());
        assert_ne!(hash(&manifest(1)).unwrap(), hash(&manifest(2)).unwrap());
    }
}
