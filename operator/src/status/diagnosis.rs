//! Why an instance whose objects are all applied is ready or not: what the Deployment and its pods say, what the operator
//! itself sees of the VM, and what the difference between the two means. This file holds the order in which they count.

mod pods;
mod vm;

use std::net::IpAddr;

use self::{
    pods::{crash, failed, image, refused, unschedulable, waiting},
    vm::{Weight, forbidden_host, said_by_pod, seen_from_here},
};
use super::{Verdict, ended};
use crate::{
    build::CONFIG_CHECKSUM,
    observed::{DeploymentView, Fetched, PodView, all_unready, unready},
    reason::{Reason, Severity},
    validated::{Finding, ValidatedInstance},
};

/// What counts beside the instance and what was fetched.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances<'a> {
    /// The VM's address, if it is one that the operator does not connect to.
    pub forbidden: Option<IpAddr>,
    /// The fingerprint in the annotation by which a person trusts a changed host key.
    pub approved: Option<&'a str>,
    /// What status says so far of an image that cannot be pulled: while the kubelet waits before it tries again, not every
    /// version of it repeats why.
    pub said_of_image: Option<&'a str>,
    /// Whether the instance is paused: nothing that is missing is made.
    pub paused: bool,
}

/// The verdict on a valid instance.
#[must_use]
pub fn diagnose(instance: &ValidatedInstance, fetched: &Fetched, circumstances: &Circumstances<'_>) -> Verdict {
    let Some(deployment) = &fetched.deployment else {
        return Verdict::new(Reason::Progressing, "The objects have been applied.");
    };
    if deployment.observed_generation < deployment.generation {
        return Verdict::new(Reason::RolloutInProgress, "The Deployment's change has not been taken up yet.");
    }
    if instance.suspended {
        return suspended(instance, deployment);
    }
    if deployment.wanted == 0 && is_left_to_scaler(instance, deployment) {
        return Verdict::new(
            Reason::PodNotReady,
            format!(
                "The Deployment was scaled to 0 by somebody else, so no pod runs. To have them back: kubectl scale -n {} \
                 deployment {} --replicas={}",
                instance.namespace, instance.name, instance.replicas
            ),
        );
    }
    if all_serve(deployment) {
        return ready(instance, fetched, deployment);
    }
    cause(instance, fetched, deployment, circumstances)
}

fn suspended(instance: &ValidatedInstance, deployment: &DeploymentView) -> Verdict {
    match (deployment.wanted, deployment.replicas) {
        (0, 0) => Verdict::new(Reason::Suspended, "Scaled to zero by suspend: true. Set suspend to false to go on."),
        (0, left) => Verdict::new(Reason::RolloutInProgress, format!("{left} pods are being stopped.")),
        (wanted, _) if is_left_to_scaler(instance, deployment) => Verdict::new(
            Reason::RolloutInProgress,
            format!(
                "The Deployment was scaled to {wanted} by somebody else after suspend: true. To stop its pods: kubectl scale \
                 -n {} deployment {} --replicas=0",
                instance.namespace, instance.name
            ),
        ),
        (wanted, _) => Verdict::new(
            Reason::RolloutInProgress,
            format!("suspend: true is not applied yet: the Deployment asks for {wanted} pods."),
        ),
    }
}

/// Whether the number of pods is somebody else's, and ours is kept back until it is another one.
fn is_left_to_scaler(instance: &ValidatedInstance, deployment: &DeploymentView) -> bool {
    deployment.wanted != instance.replicas && deployment.scaled_from == Some(instance.replicas)
}

pub(super) fn all_serve(deployment: &DeploymentView) -> bool {
    deployment.updated >= deployment.wanted
        && deployment.available >= deployment.wanted
        && deployment.replicas <= deployment.updated
}

fn ready(instance: &ValidatedInstance, fetched: &Fetched, deployment: &DeploymentView) -> Verdict {
    let mut message = match deployment.wanted {
        0 => "The Deployment asks for no pods (replicas: 0).".to_owned(),
        1 => "The pod is ready.".to_owned(),
        many => format!("{many} pods are ready."),
    };
    message.push_str(&scaled(instance, deployment));
    // What only exposure suffers from (a missing IngressClass) keeps the pods from nothing, but people from the app.
    let advice = advice(instance, fetched);
    let gravest = advice.iter().min_by_key(|finding| finding.reason.severity());
    let grave = gravest.filter(|finding| finding.reason.severity() < Severity::Warning);
    for finding in advice.iter().filter(|finding| !grave.is_some_and(|grave| std::ptr::eq(grave, *finding))) {
        message.push_str(&format!(" {}: {}", finding.reason, finding.message));
    }
    match grave {
        Some(finding) => Verdict::new(finding.reason, format!("{} {message}", finding.message)),
        None => Verdict::new(Reason::Available, message),
    }
}

/// Whose number of pods it is, where it is not the instance's own: a HorizontalPodAutoscaler's, or somebody's who scaled by hand;
/// or, while the instance is paused, that of an earlier spec.
fn scaled(instance: &ValidatedInstance, deployment: &DeploymentView) -> String {
    let ours = instance.replicas;
    if deployment.wanted == ours {
        return String::new();
    }
    if is_left_to_scaler(instance, deployment) {
        return format!(
            " Somebody else scales the Deployment, and that number is kept until spec.replicas, which is {ours}, is changed."
        );
    }
    format!(" spec.replicas, which is {ours}, is not applied yet.")
}

/// What is to be said of an instance whose pods serve: what validation found, and what the server said meanwhile.
pub(super) fn advice(instance: &ValidatedInstance, fetched: &Fetched) -> Vec<Finding> {
    let folder = fetched.ideas_path.as_ref().map(|words| Finding {
        reason: Reason::IdeasPathUnwritable,
        field: Some("ssh.ideasBasePath".to_owned()),
        message: format!("ssh.ideasBasePath: {}", ended(words)),
    });
    instance.advice.iter().cloned().chain(folder).collect()
}

fn cause(
    instance: &ValidatedInstance,
    fetched: &Fetched,
    deployment: &DeploymentView,
    circumstances: &Circumstances<'_>,
) -> Verdict {
    let pods: Vec<&PodView> = unready(&fetched.pods).collect();
    let seen = |weight| seen_from_here(instance, fetched.ssh.as_ref(), weight, circumstances);
    let verdict = refused(deployment)
        .or_else(|| cannot_pull(instance, fetched, &pods, circumstances))
        .or_else(|| seen(Weight::Decisive))
        .or_else(|| stopped(instance, &pods, circumstances))
        .or_else(|| vm_cause(instance, fetched, circumstances))
        .unwrap_or_else(|| waiting(instance, deployment, &pods));
    let serving = deployment.available;
    if serving > 0 && deployment.updated < deployment.replicas {
        return Verdict::new(
            verdict.reason,
            format!("The previous pods ({serving}) go on serving. {}", verdict.message),
        );
    }
    verdict
}

/// Of all that, what is the VM's matter or that of the way to it, seen from here or said by a pod.
pub(super) fn vm_cause(
    instance: &ValidatedInstance,
    fetched: &Fetched,
    circumstances: &Circumstances<'_>,
) -> Option<Verdict> {
    // Of the pods one alone was listened to, whatever template it is of. One with other settings may speak of another VM.
    let settings = fetched.deployment.as_ref().and_then(settings);
    let mut pods = all_unready(&fetched.pods).filter(|pod| pod.settings.as_ref() == settings);
    seen_from_here(instance, fetched.ssh.as_ref(), Weight::Any, circumstances)
        .or_else(|| forbidden_host(instance, circumstances))
        .or_else(|| pods.find_map(|pod| said_by_pod(instance, pod, fetched.ssh.as_ref())))
}

/// The checksum of the settings with which pods are made now.
fn settings(deployment: &DeploymentView) -> Option<&String> {
    deployment.template.as_ref()?.metadata.as_ref()?.annotations.as_ref()?.get(CONFIG_CHECKSUM)
}

/// Of all that, what is the pods' own matter.
pub(super) fn workload_cause(
    instance: &ValidatedInstance,
    fetched: &Fetched,
    deployment: &DeploymentView,
    circumstances: &Circumstances<'_>,
) -> Verdict {
    let pods: Vec<&PodView> = unready(&fetched.pods).collect();
    refused(deployment)
        .or_else(|| cannot_pull(instance, fetched, &pods, circumstances))
        .or_else(|| stopped(instance, &pods, circumstances))
        .unwrap_or_else(|| waiting(instance, deployment, &pods))
}

/// What keeps a pod from running that has its image: it does not start, no node takes it, or its node ended it.
fn stopped(instance: &ValidatedInstance, pods: &[&PodView], circumstances: &Circumstances<'_>) -> Option<Verdict> {
    let newest = || pods.iter().rev();
    newest()
        .find_map(|pod| crash(instance, pod, circumstances.paused))
        .or_else(|| newest().find_map(|pod| unschedulable(pod)))
        .or_else(|| failed(pods))
}

fn cannot_pull(
    instance: &ValidatedInstance,
    fetched: &Fetched,
    pods: &[&PodView],
    circumstances: &Circumstances<'_>,
) -> Option<Verdict> {
    let of = |pod: &PodView| image(instance, &fetched.missing_pull_secrets, pod, circumstances.said_of_image);
    pods.iter().rev().find_map(|pod| of(pod))
}

#[cfg(test)]
mod tests;
