//! The situations of the gallery, one for each reason. The test at the end fails when a reason has none.

use catalyst_operator::reason::Reason;

/// When a situation is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// As soon as it is there.
    First,
    /// When the cluster knows HTTPRoutes, and cannot store them.
    Second,
    /// When it can; and what takes longest.
    Third,
    /// Under an operator that may do less.
    Narrow,
}

/// How an instance is.
pub(crate) struct Situation {
    pub(crate) namespace: &'static str,
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) reason: Reason,
    pub(crate) act: Act,
    /// Whether all of `status` is shown.
    pub(crate) whole: bool,
}

/// Where nearly all instances are.
pub(crate) const NAMESPACE: &str = "ideas";
/// What the operator with less rights looks after.
pub(crate) const TEAM: &str = "team";

const fn whole(name: &'static str, title: &'static str, reason: Reason) -> Situation {
    Situation { namespace: NAMESPACE, name, title, reason, act: Act::First, whole: true }
}

const fn brief(name: &'static str, title: &'static str, reason: Reason) -> Situation {
    Situation { whole: false, ..whole(name, title, reason) }
}

const fn second(name: &'static str, title: &'static str, reason: Reason) -> Situation {
    Situation { act: Act::Second, ..brief(name, title, reason) }
}

const fn third(name: &'static str, title: &'static str, reason: Reason) -> Situation {
    Situation { act: Act::Third, ..brief(name, title, reason) }
}

const fn narrow(name: &'static str, title: &'static str, reason: Reason) -> Situation {
    Situation { namespace: TEAM, act: Act::Narrow, ..brief(name, title, reason) }
}

/// The commonest, whole and in this order; then all others, in the order of docs/reasons.md.
pub(crate) const SITUATIONS: &[Situation] = &[
    whole("works", "All is well", Reason::Available),
    whole("new", "A new instance: the VM does not have its key yet", Reason::SSHAuthRejected),
    whole("rebuilt", "The VM was rebuilt", Reason::HostKeyChanged),
    whole("asleep", "No SSH server runs on the VM", Reason::SSHConnectionRefused),
    whole("unset", "A Secret that was to be made by hand is not there", Reason::SecretMissing),
    whole("placeholder", "A secret still is the placeholder", Reason::SecretInvalid),
    whole("key", "The Secret of the key holds its public half", Reason::SSHKeyInvalid),
    whole("typo", "A field cannot be used", Reason::InvalidSpec),
    whole("image", "The image cannot be pulled", Reason::ImagePullFailed),
    whole("crash", "The server ends soon after each start", Reason::PodCrashing),
    whole("full", "No node has room", Reason::PodUnschedulable),
    whole("class", "The ingress controller is not there", Reason::IngressClassMissing),
    whole("certificate", "The certificate is not there", Reason::TlsSecretMissing),
    whole("shut", "The NetworkPolicy would shut the VM out", Reason::EgressCidrExcludesHost),
    whole("taken", "A name is taken", Reason::NameConflict),
    whole("asked", "Scaled to zero on request", Reason::Suspended),
    brief("outdated", "The VM's SSH server has no current algorithm", Reason::SSHNegotiationFailed),
    brief("web", "Another server answers on that port", Reason::NotAnSSHServer),
    brief("revoked", "The VM shows a host key that is revoked", Reason::HostKeyRevoked),
    brief("stranger", "The host key is not among those given", Reason::HostKeyUnknown),
    brief("inside", "The address is one within the cluster", Reason::HostForbidden),
    brief("second", "Another Ingress has the host", Reason::HostConflict),
    brief("snippet", "The ingress controller takes no snippets", Reason::ConfigurationSnippetRejected),
    brief("quota", "The quota allows no more pods", Reason::PodRefused),
    brief("variable", "A variable's Secret is not there", Reason::PodCannotStart),
    brief("folder", "The folder of the ideas cannot be written", Reason::IdeasPathUnwritable),
    brief("gateway", "The cluster knows no HTTPRoutes", Reason::GatewayApiMissing),
    third("cut", "The operator reaches the VM, the pod does not", Reason::PodCannotReachHost),
    brief("stuck", "Nobody starts the pod, and nobody says why", Reason::RolloutStuck),
    brief("denied", "An admission policy refuses an object", Reason::ApplyRefused),
    narrow("redundant", "The operator lacks a right", Reason::RightMissing),
    brief("heir", "What the instance before left is still being removed", Reason::Progressing),
    brief("rolling", "The pod is being started", Reason::RolloutInProgress),
    brief("mounting", "The node prepares the pod", Reason::PodStarting),
    brief("evicted", "The node ended the pod", Reason::PodFailed),
    brief("slow", "The pod runs and is not ready", Reason::PodNotReady),
    brief("nameless", "The VM's name does not resolve", Reason::HostUnresolvable),
    brief("lost", "No route leads to the VM", Reason::HostUnreachable),
    brief("frozen", "The VM is frozen", Reason::SSHTimedOut),
    brief("crowd", "The SSH server takes no more connections", Reason::SSHConnectionLost),
    brief("sessions", "The SSH server opens no more sessions", Reason::SSHChannelRefused),
    brief("issuer", "cert-manager has not made the certificate yet", Reason::CertificatePending),
    third("route", "No Gateway takes the route", Reason::RouteNotAccepted),
    brief("webhook", "An admission webhook is away", Reason::WebhookUnavailable),
    second("unstored", "The API server cannot store an object", Reason::ApplyFailed),
    brief("wide", "The NetworkPolicy allows SSH to everywhere", Reason::PermissiveEgress),
    brief("plain", "The app is opened over plain http", Reason::PlainHttp),
    brief("timeouts", "An annotation cuts WebSockets", Reason::WebSocketsAtRisk),
    brief("balancer", "The Service is open, the NetworkPolicy is not", Reason::ServiceShutOff),
    narrow("unseen", "The operator may not look at what the way in depends on", Reason::LookForbidden),
    brief("paused", "Left alone on request", Reason::Paused),
];

/// The reasons of events, and of which instance each is shown.
pub(crate) const EVENTS: &[(Reason, &str)] = &[
    (Reason::SecretsGenerated, "new"),
    (Reason::SecretGenerated, "renewed"),
    (Reason::SSHKeyGenerated, "own"),
    (Reason::SSHKeyPrepared, "rotated"),
    (Reason::SSHKeyRotated, "rotated"),
    (Reason::SSHKeyRotationRefused, "renewed"),
    (Reason::SecretRotated, "renewed"),
    (Reason::SecretRotationRefused, "own"),
    (Reason::HostKeyRecorded, "new"),
    (Reason::HostKeyTrusted, "rebuilt"),
    (Reason::ObjectRepaired, "renewed"),
    (Reason::RolloutStarted, "renewed"),
];

#[cfg(test)]
mod tests {
    use catalyst_operator::reason::Severity;

    use super::*;

    #[test]
    fn every_reason_is_in_the_gallery_once() {
        for reason in Reason::ALL {
            let in_status = SITUATIONS.iter().filter(|situation| situation.reason == *reason).count();
            let as_event = EVENTS.iter().filter(|(told, _)| told == reason).count();
            let expected = if reason.severity() == Severity::Event { (0, 1) } else { (1, 0) };
            assert_eq!((in_status, as_event), expected, "{reason} is to be shown in status, or as an event, once");
        }
    }
}
