//! The VM from two vantages, the operator's and the pod's, and what their difference means.
//!
//! A failure's own sentence says what happened and what to do; what is added here is only how that is done with this
//! resource. So no remedy is told twice.

use catalyst_ssh::{PublicKey, Reason as SshReason, known_hosts_line};

use super::{Circumstances, ended};
use crate::{
    crd::TRUST_HOST_KEY_ANNOTATION,
    observed::{PodView, ShownHostKey, SshFailure, SshObservation},
    reason::Reason,
    status::Verdict,
    validated::{HostKeys, ValidatedInstance},
};

/// Which of the operator's own observations count.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Weight {
    /// Those that hold for every vantage: what the VM itself answers.
    Decisive,
    /// All of them.
    Any,
}

pub(super) fn seen_from_here(
    instance: &ValidatedInstance,
    seen: Option<&SshObservation>,
    weight: Weight,
    circumstances: &Circumstances<'_>,
) -> Option<Verdict> {
    let seen = seen?;
    let failure = seen.outcome.as_ref().err()?;
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
    let message = [ended(&failure.message), with_this_resource(instance, seen, failure, circumstances)].join(" ");
    Some(Verdict::new(Reason::from(failure.reason), message.trim_end()))
}

/// How the remedy that the failure names is carried out here.
fn with_this_resource(
    instance: &ValidatedInstance,
    seen: &SshObservation,
    failure: &SshFailure,
    circumstances: &Circumstances<'_>,
) -> String {
    match failure.reason {
        // A second factor that is asked for is no matter of the line.
        SshReason::AuthRejected if failure.message.contains("authorized_keys") => {
            "The line to add is in status.authorizedKeysLine.".to_owned()
        }
        SshReason::HostKeyChanged => trusting(instance, seen.host_key.as_ref(), circumstances.approved),
        SshReason::HostKeyUnknown => match (&instance.ssh.host_keys, seen.host_key.as_ref()) {
            (HostKeys::Given(_), Some(shown)) => {
                format!("Here that is spec.ssh.knownHosts; the line: {}", line(instance, shown))
            }
            (HostKeys::Given(_), None) => "Here that is spec.ssh.knownHosts.".to_owned(),
            (HostKeys::Recorded(_), _) => String::new(),
        },
        SshReason::HostUnreachable | SshReason::TimedOut | SshReason::HostUnresolvable => {
            "If only the pods have a route to the VM, set ssh.knownHosts.".to_owned()
        }
        _ => String::new(),
    }
}

fn trusting(instance: &ValidatedInstance, shown: Option<&ShownHostKey>, approved: Option<&str>) -> String {
    match (&instance.ssh.host_keys, shown) {
        (HostKeys::Recorded(_), Some(key)) => {
            let wrong = approved.map(str::trim).filter(|approved| *approved != key.fingerprint).map(|approved| {
                format!(
                    "The annotation {TRUST_HOST_KEY_ANNOTATION} is {:?}, which is not the key that the VM shows: its value must be \
                     {}. ",
                    approved.chars().take(100).collect::<String>(),
                    key.fingerprint
                )
            });
            format!(
                "{}To trust it: kubectl annotate -n {} cati {} --overwrite {TRUST_HOST_KEY_ANNOTATION}={}",
                wrong.unwrap_or_default(),
                instance.namespace,
                instance.name,
                key.fingerprint
            )
        }
        (HostKeys::Given(_), Some(shown)) => {
            format!("To trust it, replace its line in spec.ssh.knownHosts by: {}", line(instance, shown))
        }
        _ => "To trust it, correct spec.ssh.knownHosts.".to_owned(),
    }
}

fn line(instance: &ValidatedInstance, shown: &ShownHostKey) -> String {
    match PublicKey::from_openssh(&shown.key) {
        Ok(key) => known_hosts_line(&instance.ssh.host.to_string(), instance.ssh.port, &key).trim_end().to_owned(),
        Err(_) => shown.key.clone(),
    }
}

/// What the pod says counts where the operator's own look was good, or was not made.
pub(super) fn said_by_pod(
    instance: &ValidatedInstance,
    pod: &PodView,
    seen: Option<&SshObservation>,
) -> Option<Verdict> {
    let said = pod.ssh_says?;
    let reason = Reason::from(said);
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
            "The operator reaches {} port {}, the pod {} does not ({reason}). {policy}",
            instance.ssh.host, instance.ssh.port, pod.name
        );
        return Some(Verdict::new(Reason::PodCannotReachHost, message));
    }
    // The operator's own look opens no session, so it says nothing against one that is refused.
    if reached.is_some() && said != SshReason::ChannelRefused {
        // The pod's word may be from before: the VM may have come back a moment ago, or its host key been recorded.
        let message = format!(
            "The operator reaches {} port {}; the pod {}, which could not ({reason}), has not tried again yet{}.",
            instance.ssh.host,
            instance.ssh.port,
            pod.name,
            if said == SshReason::HostKeyUnknown || said == SshReason::HostKeyChanged {
                ": it sees a host key that was recorded within about a minute"
            } else {
                ""
            }
        );
        return Some(Verdict::new(Reason::PodNotReady, message));
    }
    // Only the operator's own look shows which key it is, and its message replaces this one.
    let remedy = match (said, &instance.ssh.host_keys) {
        (SshReason::HostKeyChanged, HostKeys::Recorded(_)) => {
            "The operator looks at it too, and shows the key here. Until then nothing has to be decided."
        }
        _ => reason.remedy(),
    };
    let message = format!(
        "The pod {} cannot use {} port {}: {reason}. {} {remedy}",
        pod.name,
        instance.ssh.host,
        instance.ssh.port,
        reason.title()
    );
    Some(Verdict::new(reason, message))
}

pub(super) fn forbidden_host(instance: &ValidatedInstance, circumstances: &Circumstances<'_>) -> Option<Verdict> {
    let address = circumstances.forbidden?;
    let known = match &instance.ssh.host_keys {
        HostKeys::Given(_) => true,
        HostKeys::Recorded(lines) => !lines.is_empty(),
    };
    (!known).then(|| {
        let host = instance.ssh.host.to_string();
        let leads = if host == address.to_string() { String::new() } else { format!(" leads to {address}, which") };
        let message = format!(
            "ssh.host {host}{leads} is an address that the operator does not connect to (loopback, link-local or within the cluster), \
             so it cannot record the host key. Set ssh.host to the address of the VM; where it is right all the same, set \
             ssh.knownHosts."
        );
        Verdict::new(Reason::HostForbidden, message)
    })
}
