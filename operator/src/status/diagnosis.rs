//! Why an instance whose objects are all applied is ready or not: what the Deployment and its pods say, what the operator
//! itself sees of the VM, and what the difference between the two means.

use catalyst_ssh::Reason as SshReason;

use super::Verdict;
use crate::{
    observed::{DeploymentView, Fetched, PodView, SshObservation},
    reason::Reason,
    validated::{HostKeys, ValidatedInstance},
};

/// The verdict on a valid instance. `forbidden`: the VM's address is one that the operator does not connect to.
#[must_use]
pub fn diagnose(instance: &ValidatedInstance, fetched: &Fetched, forbidden: Option<std::net::IpAddr>) -> Verdict {
    let Some(deployment) = &fetched.deployment else {
        return Verdict::new(Reason::Progressing, "The objects have been applied.");
    };
    if deployment.observed_generation < deployment.generation {
        return Verdict::new(Reason::RolloutInProgress, "The Deployment's change has not been taken up yet.");
    }
    if instance.suspended {
        return match deployment.replicas {
            0 => Verdict::new(Reason::Suspended, "Scaled to zero by suspend: true. Set suspend to false to go on."),
            left => Verdict::new(Reason::RolloutInProgress, format!("{left} pods are being stopped.")),
        };
    }
    if deployment.wanted == 0 && instance.replicas > 0 {
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
        return ready(instance, deployment);
    }
    cause(instance, fetched, deployment, forbidden)
}

fn all_serve(deployment: &DeploymentView) -> bool {
    deployment.updated >= deployment.wanted
        && deployment.available >= deployment.wanted
        && deployment.replicas <= deployment.updated
}

fn ready(instance: &ValidatedInstance, deployment: &DeploymentView) -> Verdict {
    let mut message = match deployment.wanted {
        0 => "No pods are wanted (replicas: 0).".to_owned(),
        1 => "The pod is ready.".to_owned(),
        many => format!("{many} pods are ready."),
    };
    // What only exposure suffers from (a missing IngressClass) keeps the pods from nothing, but people from the app.
    let gravest = instance.advice.iter().min_by_key(|finding| finding.reason.severity());
    let grave = gravest.filter(|finding| finding.reason.severity() < crate::reason::Severity::Warning);
    for finding in instance.advice.iter().filter(|finding| !grave.is_some_and(|grave| std::ptr::eq(grave, *finding))) {
        message.push_str(&format!(" {}: {}", finding.reason, finding.message));
    }
    match grave {
        Some(finding) => Verdict::new(finding.reason, format!("{} {message}", finding.message)),
        None => Verdict::new(Reason::Available, message),
    }
}

fn cause(
    instance: &ValidatedInstance,
    fetched: &Fetched,
    deployment: &DeploymentView,
    forbidden: Option<std::net::IpAddr>,
) -> Verdict {
    let pods: Vec<&PodView> = fetched.pods.iter().filter(|pod| !pod.terminating && !pod.ready).collect();
    let verdict = refused(deployment)
        .or_else(|| pods.iter().rev().find_map(|pod| image(instance, pod)))
        .or_else(|| seen_from_here(instance, fetched.ssh.as_ref(), Weight::Decisive))
        .or_else(|| pods.iter().rev().find_map(|pod| crash(instance, pod)))
        .or_else(|| pods.iter().rev().find_map(|pod| unschedulable(pod)))
        .or_else(|| seen_from_here(instance, fetched.ssh.as_ref(), Weight::Any))
        .or_else(|| forbidden_host(instance, forbidden))
        .or_else(|| pods.iter().rev().find_map(|pod| said_by_pod(instance, pod, fetched.ssh.as_ref())))
        .or_else(|| pods.iter().rev().find(|pod| crashed(pod)).map(|pod| crashing(instance, pod)))
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

fn refused(deployment: &DeploymentView) -> Option<Verdict> {
    let words = deployment.replica_failure.as_deref()?;
    Some(Verdict::new(Reason::PodRefused, format!("The cluster refuses to create the pods: {words}")))
}

/// The kubelet's own words alternate between the failure and the wait after it; they stay out of a message that would be
/// written anew each time.
fn image(instance: &ValidatedInstance, pod: &PodView) -> Option<Verdict> {
    let (reason, _) = pod.waiting.as_ref()?;
    let pulls = matches!(
        reason.as_str(),
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull" | "RegistryUnavailable"
    );
    pulls.then(|| {
        let message = format!(
            "The image {} cannot be pulled. {} The registry's answer: kubectl describe pod -n {} {}",
            pod.image,
            Reason::ImagePullFailed.remedy(),
            instance.namespace,
            pod.name
        );
        Verdict::new(Reason::ImagePullFailed, message)
    })
}

fn crash(instance: &ValidatedInstance, pod: &PodView) -> Option<Verdict> {
    let (reason, words) = pod.waiting.as_ref()?;
    match reason.as_str() {
        "CrashLoopBackOff" => Some(crashing(instance, pod)),
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

/// Whether a container that runs for the moment is one that ends again and again.
fn crashed(pod: &PodView) -> bool {
    pod.restarts >= 2 && pod.last_exit.is_some_and(|code| code != 0)
}

/// The same for each restart: what counts up would be written each time.
fn crashing(instance: &ValidatedInstance, pod: &PodView) -> Verdict {
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

fn unschedulable(pod: &PodView) -> Option<Verdict> {
    let words = pod.unschedulable.as_deref()?;
    let message = format!("No node takes pod {}: {words}. {}", pod.name, Reason::PodUnschedulable.remedy());
    Some(Verdict::new(Reason::PodUnschedulable, message))
}

/// Which of the operator's own observations count.
#[derive(Clone, Copy, PartialEq)]
enum Weight {
    /// Those that hold for every vantage: what the VM itself answers.
    Decisive,
    /// All of them.
    Any,
}

fn seen_from_here(instance: &ValidatedInstance, seen: Option<&SshObservation>, weight: Weight) -> Option<Verdict> {
    let failure = seen?.outcome.as_ref().err()?;
    let from_the_vm = matches!(
        failure.reason,
        SshReason::HostKeyUnknown
            | SshReason::HostKeyChanged
            | SshReason::HostKeyRevoked
            | SshReason::KeyInvalid
            | SshReason::AuthRejected
    );
    if weight == Weight::Decisive && !from_the_vm {
        return None;
    }
    let message = match failure.reason {
        SshReason::AuthRejected => format!(
            "{} Add the line in status.authorizedKeysLine to ~/.ssh/authorized_keys of {} on {}.",
            ended(&failure.message),
            instance.ssh.user,
            instance.ssh.host
        ),
        SshReason::HostKeyChanged => changed_key(instance, seen, &failure.message),
        SshReason::HostUnreachable | SshReason::TimedOut | SshReason::HostUnresolvable => {
            format!("{} If only the pods have a route to the VM, set ssh.knownHosts.", ended(&failure.message))
        }
        _ => ended(&failure.message),
    };
    Some(Verdict::new(Reason::from(failure.reason), message))
}

fn changed_key(instance: &ValidatedInstance, seen: Option<&SshObservation>, message: &str) -> String {
    let shown = seen.and_then(|seen| seen.host_key.as_ref());
    match (&instance.ssh.host_keys, shown) {
        (HostKeys::Recorded(_), Some(key)) => format!(
            "{} If you know why it changed (the VM was rebuilt), run: kubectl annotate -n {} cati {} --overwrite {}={}",
            ended(message),
            instance.namespace,
            instance.name,
            crate::crd::TRUST_HOST_KEY_ANNOTATION,
            key.fingerprint
        ),
        _ => format!("{} If you know why it changed, correct ssh.knownHosts.", ended(message)),
    }
}

/// What the pod says counts where the operator's own look was good, or was not made.
fn said_by_pod(instance: &ValidatedInstance, pod: &PodView, seen: Option<&SshObservation>) -> Option<Verdict> {
    let said = pod.ssh_says?;
    let reached = seen.filter(|seen| seen.outcome.is_ok());
    let network = matches!(
        said,
        SshReason::HostUnresolvable | SshReason::HostUnreachable | SshReason::TimedOut | SshReason::ConnectionRefused
    );
    if network && reached.is_some_and(|seen| seen.confirmed) {
        let policy = match &instance.network_policy {
            Some(_) => format!(
                "Look at the NetworkPolicy {} (networkPolicy.sshEgressCidr) and at any other policy of the namespace.",
                instance.name.policy()
            ),
            None => "Look at the policies of the namespace and at the route from the pods' network.".to_owned(),
        };
        let message = format!(
            "The operator reaches {} port {}, the pod {} does not ({said}). {policy}",
            instance.ssh.host, instance.ssh.port, pod.name
        );
        return Some(Verdict::new(Reason::PodCannotReachHost, message));
    }
    let reason = Reason::from(said);
    if reached.is_some() {
        // The pod's word may be from before: the VM may have come back a moment ago.
        let message = format!(
            "The operator reaches {} port {}; the pod {}, which could not ({said}), has not tried again yet.",
            instance.ssh.host, instance.ssh.port, pod.name
        );
        return Some(Verdict::new(Reason::PodNotReady, message));
    }
    let message = format!(
        "The pod {} cannot use {} port {}: {said}. {}",
        pod.name,
        instance.ssh.host,
        instance.ssh.port,
        reason.remedy()
    );
    Some(Verdict::new(reason, message))
}

fn forbidden_host(instance: &ValidatedInstance, forbidden: Option<std::net::IpAddr>) -> Option<Verdict> {
    let address = forbidden?;
    let known = match &instance.ssh.host_keys {
        HostKeys::Given(_) => true,
        HostKeys::Recorded(lines) => !lines.is_empty(),
    };
    (!known).then(|| {
        let message = format!(
            "ssh.host {} leads to {address}, which the operator does not connect to (loopback, link-local or within the cluster), \
             so it cannot record the host key. Set ssh.host to the address of the VM; where it is right all the same, set \
             ssh.knownHosts.",
            instance.ssh.host
        );
        Verdict::new(Reason::HostForbidden, message)
    })
}

fn waiting(instance: &ValidatedInstance, deployment: &DeploymentView, pods: &[&PodView]) -> Verdict {
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

/// A sentence with its full stop.
fn ended(sentence: &str) -> String {
    let sentence = sentence.trim_end();
    if sentence.ends_with(['.', '!', '?']) { sentence.to_owned() } else { format!("{sentence}.") }
}

#[cfg(test)]
mod tests;
