//! What the Deployment and its pods say of themselves: refused, not placed, not pulled, not started, crashing.
//!
//! Messages hold nothing that counts up or alternates: a status is written anew only when something else is the matter.

use super::ended;
use crate::{
    observed::{DeploymentView, PodView},
    reason::Reason,
    status::Verdict,
    validated::ValidatedInstance,
};

pub(super) fn refused(deployment: &DeploymentView) -> Option<Verdict> {
    let words = deployment.replica_failure.as_deref()?;
    Some(Verdict::new(Reason::PodRefused, format!("The cluster refuses to create the pods: {words}")))
}

/// The kubelet's own words alternate between the failure and the wait after it; they stay out of a message that would be
/// written anew each time.
pub(super) fn image(instance: &ValidatedInstance, pod: &PodView) -> Option<Verdict> {
    let (reason, _) = pod.waiting.as_ref()?;
    let message = match reason.as_str() {
        "ErrImageNeverPull" => format!(
            "The image {} is not on the node of pod {}, and image.pullPolicy is Never. Load it onto the nodes, or set \
             image.pullPolicy to IfNotPresent.",
            pod.image, pod.name
        ),
        "InvalidImageName" => format!("{} is no image name. Correct image.repository or image.tag.", pod.image),
        "ImagePullBackOff" | "ErrImagePull" | "RegistryUnavailable" => format!(
            "The image {} cannot be pulled. {} The registry's answer: kubectl describe pod -n {} {}",
            pod.image,
            Reason::ImagePullFailed.remedy(),
            instance.namespace,
            pod.name
        ),
        _ => return None,
    };
    Some(Verdict::new(Reason::ImagePullFailed, message))
}

pub(super) fn crash(instance: &ValidatedInstance, pod: &PodView) -> Option<Verdict> {
    let (reason, words) = pod.waiting.as_ref()?;
    match reason.as_str() {
        "CrashLoopBackOff" => Some(crashing(instance, pod)),
        "CreateContainerConfigError" if is_being_put_back(instance, words) => Some(Verdict::new(
            Reason::PodNotReady,
            format!("The container of pod {} waits for an object that was put back just now.", pod.name),
        )),
        "CreateContainerConfigError" => Some(Verdict::new(
            Reason::PodCrashing,
            format!("The container of pod {} cannot be configured: {words}", pod.name),
        )),
        "CreateContainerError" | "RunContainerError" => Some(Verdict::new(
            Reason::PodCrashing,
            format!(
                "The container of pod {} cannot be started. See kubectl describe pod -n {} {}",
                pod.name, instance.namespace, pod.name
            ),
        )),
        _ => None,
    }
}

/// What the pod lacks was applied or generated in this very pass, before anything is judged: the kubelet has only not
/// looked again yet.
fn is_being_put_back(instance: &ValidatedInstance, words: &str) -> bool {
    let ours =
        [instance.name.config(), instance.name.known_hosts(), instance.name.app_secret(), instance.name.ssh_key()];
    words.contains("not found") && ours.iter().any(|name| words.contains(&format!("\"{name}\"")))
}

/// Whether a container that runs for the moment is one that ends again and again.
pub(super) fn crashed(pod: &PodView) -> bool {
    pod.restarts >= 2 && pod.last_exit.is_some_and(|code| code != 0)
}

/// The same for each restart: what counts up would be written each time.
pub(super) fn crashing(instance: &ValidatedInstance, pod: &PodView) -> Verdict {
    let last = pod.last_words.as_deref().unwrap_or("nothing");
    let message = format!(
        "The container of pod {} ends again and again; its last words: {} See kubectl logs -n {} {} --previous",
        pod.name,
        ended(last),
        instance.namespace,
        pod.name
    );
    Verdict::new(Reason::PodCrashing, message)
}

pub(super) fn unschedulable(pod: &PodView) -> Option<Verdict> {
    let words = pod.unschedulable.as_deref()?;
    let message = format!("No node takes pod {}: {words}. {}", pod.name, Reason::PodUnschedulable.remedy());
    Some(Verdict::new(Reason::PodUnschedulable, message))
}

pub(super) fn waiting(instance: &ValidatedInstance, deployment: &DeploymentView, pods: &[&PodView]) -> Verdict {
    let running = pods.iter().rev().find(|pod| pod.phase == "Running" && pod.waiting.is_none());
    match running {
        Some(pod) if deployment.updated >= deployment.wanted => Verdict::new(
            Reason::PodNotReady,
            format!(
                "The pod {} runs but is not ready. Ask it: kubectl exec -n {} {} -- curl -s localhost:{}/api/health",
                pod.name,
                instance.namespace,
                pod.name,
                crate::container::HTTP_PORT
            ),
        ),
        _ => Verdict::new(
            Reason::RolloutInProgress,
            format!("{} of {} pods are ready.", deployment.ready.min(deployment.wanted), deployment.wanted),
        ),
    }
}
