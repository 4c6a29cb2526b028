//! What the Deployment and its pods say of themselves: refused, not placed, not pulled, not started, crashing.
//!
//! Messages hold nothing that counts up or alternates: a status is written anew only when something else is the matter.

use super::ended;
use crate::{
    observed::{DeploymentView, PodView},
    reason::Reason,
    status::Verdict,
    validated::{EnvValue, ValidatedInstance},
};

pub(super) fn refused(deployment: &DeploymentView) -> Option<Verdict> {
    let words = deployment.replica_failure.as_deref()?;
    Some(Verdict::new(Reason::PodRefused, format!("The cluster refuses to create the pods: {words}")))
}

/// The kubelet's own words alternate between the failure and the wait after it; they stay out of a message that would be
/// written anew each time. `said`: what status says of it so far.
pub(super) fn image(
    instance: &ValidatedInstance,
    missing_secrets: &[String],
    pod: &PodView,
    said: Option<&str>,
) -> Option<Verdict> {
    let (reason, words) = pod.waiting.as_ref()?;
    let message = match reason.as_str() {
        "ErrImageNeverPull" => format!(
            "The image {} is not on the node of pod {}, and image.pullPolicy is Never. Load it onto the nodes, or set \
             image.pullPolicy to IfNotPresent.",
            pod.image, pod.name
        ),
        "InvalidImageName" => format!("{} is no image name. Correct image.repository or image.tag.", pod.image),
        "ImagePullBackOff" | "ErrImagePull" | "RegistryUnavailable" => {
            let told = format!("The image {} cannot be pulled", pod.image);
            let silent = reason == "ImagePullBackOff" && !words.contains("ErrImagePull");
            let said = said.filter(|said| silent && said.contains(&told));
            format!(
                "{told}{} The registry's answer: kubectl describe pod -n {} {}",
                why_not_pulled(instance, missing_secrets, words, said),
                instance.namespace,
                pod.name
            )
        }
        _ => return None,
    };
    Some(Verdict::new(Reason::ImagePullFailed, message))
}

/// Words of registries and of containerd, in the order in which they count (a registry that hides what it has says both "not
/// exist" and "authorization"), and what they mean.
const PULL_FAILURES: &[(&[&str], &str)] = &[
    (
        &[
            "401 ",
            "403 ",
            "unauthorized",
            "authorization",
            "authentication",
            "access denied",
            "insufficient_scope",
            "forbidden",
        ],
        "the registry does not give it to the cluster without a sign-in, or there is no such repository. Correct image.repository, or \
         name a Secret with a sign-in in image.pullSecrets.",
    ),
    (
        &["toomanyrequests", "429 "],
        "the registry limits how often it is asked. Wait, or sign in with image.pullSecrets.",
    ),
    (
        &["no match for platform", "exec format"],
        "it has no build for the architecture of the node. Correct image.tag, or choose nodes with nodeSelector.",
    ),
    (
        &["no such host", "server misbehaving", "name resolution"],
        "the node cannot resolve the registry's name. Correct image.repository, or the node's DNS.",
    ),
    (
        &["x509", "certificate", "http response to https"],
        "the node does not trust the registry, or that serves no TLS. Correct image.repository, or the trust of the node's containerd.",
    ),
    (
        &[
            "connection refused",
            "i/o timeout",
            "timed out",
            "no route to host",
            "unreachable",
            "handshake timeout",
            "deadline exceeded",
        ],
        "the node does not reach the registry. Correct image.repository, or the way from the node to it.",
    ),
    (&["no space left"], "the node's disk is full. Free space there, or choose another with nodeSelector."),
    (
        &["not found", "notfound", "manifest unknown"],
        "the registry has no such image or tag. Correct image.repository or image.tag.",
    ),
];

/// What the kubelet's words come to, and what to do; the words themselves carry addresses and identifiers that change.
fn why_not_pulled(instance: &ValidatedInstance, missing_secrets: &[String], words: &str, said: Option<&str>) -> String {
    if !missing_secrets.is_empty() {
        return format!(
            ": Secret {}, which image.pullSecrets names, does not exist. Create it (kubectl create secret docker-registry -n {} {} \
             --docker-server=… --docker-username=… --docker-password=…), or correct image.pullSecrets.",
            missing_secrets.join(", "),
            instance.namespace,
            missing_secrets.first().map(String::as_str).unwrap_or_default()
        );
    }
    let words = words.to_ascii_lowercase();
    let known = PULL_FAILURES.iter().find(|(signs, _)| signs.iter().any(|sign| words.contains(sign)));
    let known = known.or_else(|| PULL_FAILURES.iter().find(|(_, means)| said.is_some_and(|said| said.contains(means))));
    match known {
        Some((_, means)) => format!(": {means}"),
        None => format!(". {}", Reason::ImagePullFailed.remedy()),
    }
}

/// A container that does not start, or that starts again and again, whatever it does just now. `paused`: nothing is put back.
pub(super) fn crash(instance: &ValidatedInstance, pod: &PodView, paused: bool) -> Option<Verdict> {
    if let Some(words) = &pod.unstartable {
        return Some(cannot_start(instance, pod, words));
    }
    let waits = pod.waiting.as_ref().and_then(|(reason, words)| waits(instance, pod, reason, words, paused));
    waits.or_else(|| pod.crashes.then(|| crashing(instance, pod)))
}

fn waits(instance: &ValidatedInstance, pod: &PodView, reason: &str, words: &str, paused: bool) -> Option<Verdict> {
    match reason {
        "CrashLoopBackOff" => Some(crashing(instance, pod)),
        "CreateContainerConfigError" if is_ours(instance, words) && !paused => Some(Verdict::new(
            Reason::PodNotReady,
            format!(
                "The container of pod {} waits for an object that was missing and has been put back; the kubelet tries again by \
                 itself.",
                pod.name
            ),
        )),
        "CreateContainerConfigError" => {
            let remedy = if words.contains("runAsNonRoot") {
                "Set securityContext.runAsUser to a user other than root, or choose an image that names one.".to_owned()
            } else if is_ours(instance, words) {
                "It is put back when the instance is not paused any more.".to_owned()
            } else {
                let names = what_names(instance, words);
                format!("Create what is missing there, or correct {names}; the pod then starts by itself.")
            };
            let message = format!("The container of pod {} cannot be configured: {} {remedy}", pod.name, ended(words));
            Some(Verdict::new(Reason::PodCannotStart, message))
        }
        // Its words begin with an identifier that is another one with each try.
        "CreateContainerError" => Some(cannot_start(instance, pod, "")),
        _ => None,
    }
}

fn cannot_start(instance: &ValidatedInstance, pod: &PodView, words: &str) -> Verdict {
    let told = if words.is_empty() { ".".to_owned() } else { format!(": {}", ended(words)) };
    let message = format!(
        "The container of pod {} cannot be started{told} See kubectl describe pod -n {} {}",
        pod.name, instance.namespace, pod.name
    );
    Verdict::new(Reason::PodCannotStart, message)
}

/// The field that names what the kubelet does not find, as far as it is one of the instance's variables.
fn what_names(instance: &ValidatedInstance, words: &str) -> String {
    let mut named = instance.pod.extra_env.iter().filter_map(|(variable, value)| match value {
        EnvValue::Text(_) => None,
        EnvValue::Secret(entry) | EnvValue::ConfigMap(entry) => {
            let is_named = words.split([' ', '"', '/']).any(|word| word == entry.name);
            is_named.then(|| format!("spec.extraEnv, whose {variable} names it"))
        }
    });
    named.next().unwrap_or_else(|| "what names it".to_owned())
}

/// Whether what the pod lacks is an object of ours. Unless the instance is paused it was applied or generated in this very pass, before
/// anything is judged: the kubelet has only not looked again yet.
fn is_ours(instance: &ValidatedInstance, words: &str) -> bool {
    let ours =
        [instance.name.config(), instance.name.known_hosts(), instance.name.app_secret(), instance.name.ssh_key()];
    words.contains("not found") && ours.iter().any(|name| words.contains(&format!("\"{name}\"")))
}

/// The same for each restart: what counts up would be written each time.
fn crashing(instance: &ValidatedInstance, pod: &PodView) -> Verdict {
    let words = pod.last_words.as_deref().map(ended);
    let told = match (pod.out_of_memory, words) {
        (true, words) => format!(
            "is ended again and again because it takes more memory than resources.limits.memory{} allows (OOMKilled). Raise \
             resources.limits.memory.{}",
            instance.resources.limits.get("memory").map(|limit| format!(" ({limit})")).unwrap_or_default(),
            words.map(|words| format!(" Its last words: {words}")).unwrap_or_default()
        ),
        (false, Some(words)) => format!("ends again and again{}; its last words: {words}", exit_code(pod)),
        (false, None) => format!("ends again and again{}, without a word.", exit_code(pod)),
    };
    let message = format!(
        "The container of pod {} {told} See kubectl logs -n {} {} --previous",
        pod.name, instance.namespace, pod.name
    );
    Verdict::new(Reason::PodCrashing, message)
}

fn exit_code(pod: &PodView) -> String {
    pod.last_exit.map(|code| format!(" with exit code {code}")).unwrap_or_default()
}

pub(super) fn unschedulable(pod: &PodView) -> Option<Verdict> {
    let words = pod.unschedulable.as_deref()?;
    let message = format!("No node takes pod {}: {} {}", pod.name, ended(words), Reason::PodUnschedulable.remedy());
    Some(Verdict::new(Reason::PodUnschedulable, message))
}

/// A pod that its node ended or did not take counts until something has become of the one that takes its place.
pub(super) fn failed(pods: &[&PodView]) -> Option<Verdict> {
    let nothing_yet = |pod: &&&PodView| pod.failed.is_none() && pod.phase == "Pending" && pod.waiting.is_none();
    let (reason, words) = pods.iter().rev().find(|pod| !nothing_yet(pod))?.failed.as_ref()?;
    let told = if words.is_empty() { String::new() } else { format!(" ({})", words.trim_end_matches('.')) };
    let message = format!(
        "A node ended a pod, or did not take it: {reason}{told}. Another takes its place; if it goes on, mend what the node says, or keep \
         the pods off it with nodeSelector."
    );
    Some(Verdict::new(Reason::PodFailed, message))
}

/// A container that its node has not come to starting: a volume that cannot be mounted or a network that cannot be set up is
/// told in the pod's events only.
fn starting(instance: &ValidatedInstance, pod: &PodView) -> Option<Verdict> {
    let (reason, _) = pod.waiting.as_ref()?;
    matches!(reason.as_str(), "ContainerCreating" | "PodInitializing").then(|| {
        let message = format!(
            "The node prepares pod {} (volumes, network). If it stays so, the pod's events say what holds it up: kubectl describe pod -n {} {}",
            pod.name, instance.namespace, pod.name
        );
        Verdict::new(Reason::PodStarting, message)
    })
}

pub(super) fn waiting(instance: &ValidatedInstance, deployment: &DeploymentView, pods: &[&PodView]) -> Verdict {
    if let Some(verdict) = pods.iter().rev().find_map(|pod| starting(instance, pod)) {
        return verdict;
    }
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
        _ if deployment.stuck => Verdict::new(
            Reason::RolloutStuck,
            format!(
                "{} of {} pods are ready, and nothing has moved for longer than the Deployment's progressDeadlineSeconds. What holds it up: kubectl describe -n {} deployment {} \
                 and kubectl describe pod -n {} -l {}. If neither says anything, look whether the cluster's scheduler and controllers run.",
                deployment.ready.min(deployment.wanted),
                deployment.wanted,
                instance.namespace,
                instance.name,
                instance.namespace,
                instance.name.selector()
            ),
        ),
        _ => Verdict::new(
            Reason::RolloutInProgress,
            format!("{} of {} pods are ready.", deployment.ready.min(deployment.wanted), deployment.wanted),
        ),
    }
}
