//! A condition for each part of an instance beside `Ready`: which part it is that does not work. Pure.
//!
//! Invariants: every reason belongs to at most one part; a part about which nothing new is known keeps what was said of it,
//! so that no condition flaps between an answer and the wait for the next one.

use crate::{
    container::HEALTH_PATH,
    observed::{DeploymentView, Fetched},
    reason::{Reason, Severity},
    status::{
        Verdict,
        diagnosis::{Circumstances, advice, all_serve, vm_cause, workload_cause},
    },
    validated::{AppSecretState, Finding, KeyState, ValidatedInstance},
};

/// A part of an instance that has a condition of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The application Secret and the SSH key.
    Secrets,
    /// The way to the VM, and signing in there.
    Ssh,
    /// The Deployment and its pods.
    Workload,
    /// Service, Ingress or HTTPRoute, and the certificate.
    Exposure,
    /// The NetworkPolicy.
    NetworkPolicy,
}

impl Part {
    /// All, in the order in which status lists them.
    pub const ALL: [Part; 5] = [Part::Secrets, Part::Ssh, Part::Workload, Part::Exposure, Part::NetworkPolicy];

    /// The type of its condition.
    #[must_use]
    pub fn condition(self) -> &'static str {
        match self {
            Part::Secrets => "SecretsReady",
            Part::Ssh => "SSHReady",
            Part::Workload => "WorkloadReady",
            Part::Exposure => "ExposureReady",
            Part::NetworkPolicy => "NetworkPolicyReady",
        }
    }

    /// The part that a finding is about; `None`: the whole.
    fn of(finding: &Finding) -> Option<Part> {
        of_reason(finding.reason)
            .or_else(|| of_field(finding.field.as_deref()?))
            .or_else(|| of_kind(finding.message.split_whitespace().next()?))
    }
}

/// What is to be said of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartState {
    /// Which.
    pub part: Part,
    /// Whether it is as it should be; `None`: nobody knows.
    pub ready: Option<bool>,
    /// Why.
    pub reason: Reason,
    /// For the person who reads it.
    pub message: String,
}

impl PartState {
    fn of(part: Part, ready: Option<bool>, verdict: Verdict) -> PartState {
        PartState { part, ready, reason: verdict.reason, message: verdict.message }
    }

    fn fine(part: Part, message: impl Into<String>) -> PartState {
        PartState::of(part, Some(true), Verdict::new(Reason::Available, message))
    }
}

/// The parts of an instance of which nothing could be applied: those that a finding is about. Of the others nothing is said.
#[must_use]
pub fn faulty_parts(findings: &[Finding]) -> Vec<PartState> {
    Part::ALL.into_iter().filter_map(|part| faulty(part, findings)).collect()
}

/// The parts of a valid instance. `refused`: what the API server did not take.
#[must_use]
pub fn parts(
    instance: &ValidatedInstance,
    fetched: &Fetched,
    refused: &[Finding],
    circumstances: &Circumstances<'_>,
) -> Vec<PartState> {
    // What the API server refuses something for need not be foretold beside it.
    let foretold = |told: &Finding| refused.iter().any(|it| it.reason == told.reason);
    let advice = advice(instance, fetched).into_iter().filter(|told| !foretold(told));
    let found: Vec<Finding> = refused.iter().cloned().chain(advice).collect();
    Part::ALL
        .into_iter()
        .map(|part| {
            let told = faulty(part, &found).unwrap_or_else(|| match part {
                Part::Secrets => secrets(instance),
                Part::Ssh => ssh(instance, fetched, circumstances),
                Part::Workload => workload(instance, fetched, circumstances),
                Part::Exposure => exposure(instance),
                Part::NetworkPolicy => network_policy(instance),
            });
            if part == Part::Exposure { as_far_as_seen(told, &fetched.unseen) } else { told }
        })
        .collect()
}

/// An object that is to be there and is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
}

/// The parts of an instance that is paused without these objects: a part of which something worse is known stays as it is.
#[must_use]
pub fn without(parts: Vec<PartState>, absent: &[Absent]) -> Vec<PartState> {
    let lacks = |part: Part| {
        let of_part = absent.iter().filter(|object| of_kind(object.kind) == Some(part));
        of_part.map(|Absent { kind, name }| format!("{kind} {name}")).collect::<Vec<_>>()
    };
    let told = |told: PartState| match lacks(told.part) {
        absent if absent.is_empty() || told.ready == Some(false) => told,
        absent => {
            let message = format!("Not there, and not put back while the instance is paused: {}.", absent.join(", "));
            PartState::of(told.part, Some(false), Verdict::new(Reason::Paused, message))
        }
    };
    parts.into_iter().map(told).collect()
}

fn faulty(part: Part, findings: &[Finding]) -> Option<PartState> {
    let of_part: Vec<Finding> = findings.iter().filter(|finding| Part::of(finding) == Some(part)).cloned().collect();
    let verdict = Verdict::of(&of_part)?;
    let ready = matches!(verdict.reason.severity(), Severity::Warning | Severity::Ready);
    Some(PartState::of(part, Some(ready), verdict))
}

fn secrets(instance: &ValidatedInstance) -> PartState {
    let (app, key) = (&instance.app_secret, &instance.ssh.key);
    if app.state == AppSecretState::ToGenerate || key.state == KeyState::ToGenerate {
        return PartState::of(Part::Secrets, None, Verdict::new(Reason::Progressing, "A Secret is to be generated."));
    }
    PartState::fine(Part::Secrets, format!("Secrets {} and {} are there and can be used.", app.secret, key.secret))
}

fn ssh(instance: &ValidatedInstance, fetched: &Fetched, circumstances: &Circumstances<'_>) -> PartState {
    if let Some(verdict) = vm_cause(instance, fetched, circumstances) {
        return PartState::of(Part::Ssh, Some(false), verdict);
    }
    let signed_in = fetched.ssh.as_ref().is_some_and(|seen| seen.outcome.is_ok());
    // Ready pods have just signed in, unless they are asked something else.
    let served = fetched.deployment.as_ref().is_some_and(|deployment| deployment.available > 0);
    if signed_in || served && instance.readiness.path == HEALTH_PATH {
        let ssh = &instance.ssh;
        return PartState::fine(Part::Ssh, format!("{} signs in on {} port {}.", ssh.user, ssh.host, ssh.port));
    }
    PartState::of(Part::Ssh, None, Verdict::new(Reason::Progressing, "Nobody has signed in on the VM yet."))
}

fn workload(instance: &ValidatedInstance, fetched: &Fetched, circumstances: &Circumstances<'_>) -> PartState {
    let Some(deployment) = &fetched.deployment else {
        return PartState::of(
            Part::Workload,
            Some(false),
            Verdict::new(Reason::Progressing, "There is no Deployment yet."),
        );
    };
    if deployment.observed_generation < deployment.generation || !all_serve(deployment) {
        return PartState::of(
            Part::Workload,
            Some(false),
            workload_cause(instance, fetched, deployment, circumstances),
        );
    }
    if instance.suspended && deployment.wanted == 0 {
        return PartState::of(
            Part::Workload,
            Some(true),
            Verdict::new(Reason::Suspended, "Scaled to zero by suspend: true."),
        );
    }
    PartState::fine(Part::Workload, serving(deployment))
}

fn serving(deployment: &DeploymentView) -> String {
    match deployment.wanted {
        0 => "No pods are wanted.".to_owned(),
        1 => "The pod is ready.".to_owned(),
        many => format!("{many} pods are ready."),
    }
}

fn exposure(instance: &ValidatedInstance) -> PartState {
    let message = match (&instance.ingress, &instance.gateway) {
        (Some(ingress), _) => format!("Ingress {} leads {} to the pods.", instance.name, ingress.host),
        (None, Some(gateway)) => {
            format!("HTTPRoute {} leads {} to the pods.", instance.name, gateway.hostnames.join(", "))
        }
        (None, None) => {
            "Reached within the cluster and by port-forward: no way in from outside is asked for.".to_owned()
        }
    };
    PartState::fine(Part::Exposure, message)
}

/// What looks fine may be so only because the rest could not be looked at.
fn as_far_as_seen(told: PartState, unseen: &[String]) -> PartState {
    if told.ready != Some(true) || unseen.is_empty() {
        return told;
    }
    let message = format!("{} {}", told.message, unseen.join(" "));
    PartState::of(told.part, None, Verdict::new(Reason::LookForbidden, message))
}

fn network_policy(instance: &ValidatedInstance) -> PartState {
    let message = match &instance.network_policy {
        Some(_) => format!("NetworkPolicy {} is in place.", instance.name.policy()),
        None => "Switched off by networkPolicy.enabled: false.".to_owned(),
    };
    PartState::fine(Part::NetworkPolicy, message)
}

/// The part of the resource that a field belongs to.
fn of_field(field: &str) -> Option<Part> {
    let top = field.split('.').next().unwrap_or_default();
    Some(match top {
        "secrets" => Part::Secrets,
        _ if field.starts_with("ssh.existingKeySecret") || field.starts_with("ssh.keyPath") => Part::Secrets,
        "ssh" => Part::Ssh,
        "ingress" | "gateway" | "service" | "publicUrl" | "trustedProxies" | "identityHeader" => Part::Exposure,
        "networkPolicy" => Part::NetworkPolicy,
        "metadata" => return None,
        _ => Part::Workload,
    })
}

/// The part that an object of a kind belongs to: findings about an object begin with its kind.
fn of_kind(kind: &str) -> Option<Part> {
    Some(match kind {
        "Secret" => Part::Secrets,
        "Deployment" | "ConfigMap" | "PodDisruptionBudget" => Part::Workload,
        "Service" | "Ingress" | "HTTPRoute" => Part::Exposure,
        "NetworkPolicy" => Part::NetworkPolicy,
        _ => return None,
    })
}

fn of_reason(reason: Reason) -> Option<Part> {
    match reason {
        Reason::SecretMissing | Reason::SecretInvalid | Reason::SSHKeyInvalid => Some(Part::Secrets),
        Reason::SSHAuthRejected
        | Reason::SSHNegotiationFailed
        | Reason::NotAnSSHServer
        | Reason::HostKeyChanged
        | Reason::HostKeyRevoked
        | Reason::HostKeyUnknown
        | Reason::HostForbidden
        | Reason::PodCannotReachHost
        | Reason::HostUnresolvable
        | Reason::HostUnreachable
        | Reason::SSHConnectionRefused
        | Reason::SSHTimedOut
        | Reason::SSHConnectionLost
        | Reason::SSHChannelRefused
        | Reason::IdeasPathUnwritable => Some(Part::Ssh),
        Reason::IngressClassMissing
        | Reason::TlsSecretMissing
        | Reason::CertificatePending
        | Reason::GatewayApiMissing
        | Reason::HostConflict
        | Reason::RouteNotAccepted
        | Reason::PlainHttp
        | Reason::WebSocketsAtRisk
        | Reason::ServiceShutOff
        | Reason::LookForbidden
        | Reason::ConfigurationSnippetRejected => Some(Part::Exposure),
        Reason::EgressCidrExcludesHost | Reason::PermissiveEgress => Some(Part::NetworkPolicy),
        Reason::ImagePullFailed
        | Reason::PodRefused
        | Reason::PodCrashing
        | Reason::PodCannotStart
        | Reason::RolloutInProgress
        | Reason::RolloutStuck
        | Reason::PodStarting
        | Reason::PodFailed
        | Reason::PodUnschedulable
        | Reason::PodNotReady => Some(Part::Workload),
        // Of these it depends on the object or the field; and the rest is about no part, or no state at all.
        Reason::NameConflict
        | Reason::InvalidSpec
        | Reason::ApplyRefused
        | Reason::WebhookUnavailable
        | Reason::RightMissing
        | Reason::Progressing
        | Reason::ApplyFailed
        | Reason::Available
        | Reason::Suspended
        | Reason::Paused
        | Reason::SecretsGenerated
        | Reason::SecretGenerated
        | Reason::SSHKeyGenerated
        | Reason::SSHKeyPrepared
        | Reason::SSHKeyRotated
        | Reason::SecretRotated
        | Reason::SecretRotationRefused
        | Reason::SSHKeyRotationRefused
        | Reason::HostKeyRecorded
        | Reason::HostKeyTrusted
        | Reason::ObjectRepaired
        | Reason::RolloutStarted => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(reason: Reason, field: Option<&str>, message: &str) -> Finding {
        Finding { reason, field: field.map(str::to_owned), message: message.to_owned() }
    }

    #[test]
    fn a_finding_belongs_to_the_part_of_its_reason_or_its_field_or_its_object() {
        for (finding, part) in [
            (finding(Reason::SecretMissing, Some("ssh.existingKeySecret"), "m"), Some(Part::Secrets)),
            (finding(Reason::InvalidSpec, Some("ssh.host"), "m"), Some(Part::Ssh)),
            (finding(Reason::InvalidSpec, Some("resources.limits"), "m"), Some(Part::Workload)),
            (finding(Reason::NameConflict, None, "Ingress x exists and is theirs"), Some(Part::Exposure)),
            (finding(Reason::ApplyRefused, None, "NetworkPolicy x was refused: no"), Some(Part::NetworkPolicy)),
            (finding(Reason::InvalidSpec, Some("metadata.name"), "metadata.name is no name"), None),
        ] {
            assert_eq!(Part::of(&finding), part, "{finding:?}");
        }
    }

    #[test]
    fn only_the_parts_that_something_is_wrong_with_are_told_where_nothing_could_be_applied() {
        let found = [finding(Reason::SecretMissing, None, "a"), finding(Reason::InvalidSpec, Some("ssh.port"), "b")];
        let told: Vec<_> = faulty_parts(&found).into_iter().map(|told| (told.part, told.ready, told.reason)).collect();
        let expected =
            [(Part::Secrets, Some(false), Reason::SecretMissing), (Part::Ssh, Some(false), Reason::InvalidSpec)];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_way_in_of_which_not_all_could_be_looked_at_is_neither_called_fine_nor_faulty() {
        let unseen = ["The classes are forbidden.".to_owned()];
        let told = as_far_as_seen(PartState::fine(Part::Exposure, "Ingress x leads there."), &unseen);
        assert_eq!((told.ready, told.reason), (None, Reason::LookForbidden));
        assert_eq!(told.message, "Ingress x leads there. The classes are forbidden.");
        let conflict = PartState::of(Part::Exposure, Some(false), Verdict::new(Reason::HostConflict, "m"));
        assert_eq!(as_far_as_seen(conflict.clone(), &unseen), conflict);
        assert_eq!(as_far_as_seen(PartState::fine(Part::Exposure, "m"), &[]).ready, Some(true));
    }

    #[test]
    fn a_part_without_one_of_its_objects_says_so_unless_it_has_worse_to_say() {
        let failing = PartState::of(Part::Workload, Some(false), Verdict::new(Reason::PodCrashing, "m"));
        let absent = [("Service", "x"), ("Ingress", "x"), ("ConfigMap", "x-config")]
            .map(|(kind, name)| Absent { kind, name: name.to_owned() });
        let told = without(vec![failing.clone(), PartState::fine(Part::Exposure, "m")], &absent);
        assert_eq!(told[0], failing);
        assert_eq!((told[1].ready, told[1].reason), (Some(false), Reason::Paused));
        assert!(
            told[1].message.ends_with("while the instance is paused: Service x, Ingress x."),
            "{}",
            told[1].message
        );
    }

    #[test]
    fn a_warning_leaves_its_part_ready() {
        let told = faulty_parts(&[finding(Reason::PermissiveEgress, None, "wide")]);
        assert_eq!((told[0].part, told[0].ready), (Part::NetworkPolicy, Some(true)));
    }
}
