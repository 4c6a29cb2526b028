//! The one list of reasons: what a condition, an event or a finding of ours can say, how grave it is and what to do.
//!
//! Invariant: a reason is declared once, in the table below; status, events, docs/reasons.md and the tests of the health
//! checks all come from it. Messages in status add the particulars; the remedy here holds for every case of the reason.

use std::time::Duration;

use catalyst_ssh::Reason as SshReason;

/// How grave a reason is, in the terms of kstatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// A person must act: condition `Stalled`. Gravest.
    Stalled,
    /// It will pass by itself, or might: condition `Reconciling`.
    Reconciling,
    /// Works, but a person should know: `Ready` stays True.
    Warning,
    /// All is as wanted.
    Ready,
    /// Only ever the reason of an event: something was done.
    Event,
}

impl Severity {
    /// The word that the documentation uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Stalled => "Stalled",
            Severity::Reconciling => "Reconciling",
            Severity::Warning => "Warning",
            Severity::Ready => "Ready",
            Severity::Event => "Event",
        }
    }
}

/// How long a VM may be away before waiting for it becomes a matter for a person.
pub const VM_PATIENCE: Duration = Duration::from_secs(600);

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $name:ident($severity:ident) $title:literal, $remedy:literal;)+) => {
        /// Why an instance is as it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $(#[doc = $title] $name,)+
        }

        impl Reason {
            /// Every reason, gravest kind first, in the order of the documentation.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)+];

            /// The CamelCase name that conditions and events carry.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Reason::$name => stringify!($name),)+
                }
            }

            /// How grave it is.
            pub fn severity(self) -> Severity {
                match self {
                    $(Reason::$name => Severity::$severity,)+
                }
            }

            /// What it means, one sentence.
            pub fn title(self) -> &'static str {
                match self {
                    $(Reason::$name => $title,)+
                }
            }

            /// What to do about it; empty where there is nothing to do.
            pub fn remedy(self) -> &'static str {
                match self {
                    $(Reason::$name => $remedy,)+
                }
            }
        }
    };
}

reasons! {
    // A person must act.
    InvalidSpec(Stalled) "A field of the resource cannot be used.",
        "Correct the field that the message names; nothing was changed in the cluster until then.";
    NameConflict(Stalled) "An object with a name that the instance needs exists and belongs to somebody else.",
        "Remove or rename that object, or give the instance another name. A Secret of yours is used by secrets.useExisting: true or ssh.existingKeySecret.";
    SecretMissing(Stalled) "A Secret that the resource names does not exist.",
        "Create it in the instance's namespace, or remove the reference to have the operator generate one.";
    SecretInvalid(Stalled) "The application Secret lacks an entry, or has one that is unsafe.",
        "Set CATALYST_SECRET and COOKIE_SECRET to random values of at least 16 characters, for example from `openssl rand -hex 32`.";
    SSHKeyInvalid(Stalled) "The private key in the Secret cannot be used.",
        "Put an unencrypted OpenSSH private key into the Secret, as `ssh-keygen -t ed25519 -N ''` writes it.";
    SSHAuthRejected(Stalled) "The VM does not accept the key.",
        "Add the line in status.authorizedKeysLine to ~/.ssh/authorized_keys of ssh.user on the VM.";
    SSHNegotiationFailed(Stalled) "The VM's SSH server and the operator have no common algorithm.",
        "Update the SSH server on the VM, or allow current algorithms in its sshd_config.";
    NotAnSSHServer(Stalled) "Something answers at ssh.host and ssh.port, but it is no SSH server.",
        "Check ssh.host and ssh.port.";
    HostKeyChanged(Stalled) "The VM shows another host key than the one on record.",
        "If you know why (the VM was rebuilt), annotate the instance with catalyst.dev/trust-host-key set to the fingerprint in the message, or correct ssh.knownHosts; if you do not, someone may be listening.";
    HostKeyRevoked(Stalled) "The VM shows a host key that ssh.knownHosts revokes.",
        "Give the VM a new host key and put it into ssh.knownHosts.";
    HostKeyUnknown(Stalled) "The VM's host key is not in ssh.knownHosts.",
        "Add the key to ssh.knownHosts (from `ssh-keyscan -p PORT HOST`, compared with the VM's console), or remove ssh.knownHosts to have the key recorded on first contact.";
    HostForbidden(Stalled) "ssh.host leads to an address that the operator does not connect to: loopback, link-local or within the cluster.",
        "Set ssh.host to the address of the VM; where it is right all the same, set ssh.knownHosts: the pods connect, the operator does not.";
    EgressCidrExcludesHost(Stalled) "networkPolicy.sshEgressCidr does not contain the VM's address, so the policy would shut the pods off from it.",
        "Widen networkPolicy.sshEgressCidr to contain the VM, or remove it.";
    IngressClassMissing(Stalled) "No IngressClass has the name that the Ingress asks for.",
        "Install the ingress controller, or set ingress.className to one that exists.";
    TlsSecretMissing(Stalled) "The Secret that ingress.tls names does not exist, so the ingress controller shows a certificate that browsers do not trust.",
        "Create it (`kubectl create secret tls NAME --cert=FILE --key=FILE`), or set ingress.tls.issuer to have cert-manager make it.";
    HostConflict(Stalled) "Another Ingress already claims the host.",
        "Choose another ingress.host, or remove the other Ingress.";
    ConfigurationSnippetRejected(Stalled) "The ingress controller refuses configuration-snippet annotations.",
        "Remove ingress.configurationSnippet, or the entry of ingress.annotations that the message names: current controllers set the WebSocket headers by themselves.";
    ImagePullFailed(Stalled) "The image cannot be pulled.",
        "Check image.repository, image.tag and image.pullSecrets.";
    PodRefused(Stalled) "The cluster refuses to create the pods.",
        "Mend what the cluster's words in the message name: a quota, an admission policy or a missing service account.";
    PodCrashing(Stalled) "The container ends soon after each start.",
        "The message has its last words and the command that shows more.";
    PodCannotStart(Stalled) "The container cannot be started: something that it refers to is not there, it would run as root, or its node cannot make it.",
        "Create what the message names, or correct the field that names it (image, where its program is not there): the pod then starts by itself; where the message says only how to ask the node, ask it.";
    IdeasPathUnwritable(Stalled) "The folder that ssh.ideasBasePath names cannot be made or written on the VM.",
        "Give it to ssh.user on the VM, free space there, or set ssh.ideasBasePath to a folder that this user can write.";
    GatewayApiMissing(Stalled) "The cluster has no HTTPRoute, which gateway asks for.",
        "Install the Gateway API's CRDs (gateway.networking.k8s.io/v1) and a controller for them, or use ingress.";
    PodCannotReachHost(Stalled) "The operator reaches the VM, the pod does not.",
        "Look at the NetworkPolicy (networkPolicy.sshEgressCidr) and at any other policy of the namespace.";
    RolloutStuck(Stalled) "The Deployment has come no further for ten minutes, and no pod says why.",
        "Ask the cluster: `kubectl describe deployment NAME` and `kubectl describe pod -l catalyst.dev/instance=NAME`. Look also whether its scheduler and its controllers run.";
    ApplyRefused(Stalled) "The API server refuses an object that the instance needs.",
        "Mend what the API server's words name: a field of the instance, or a quota or an admission policy of the namespace.";
    RightMissing(Stalled) "The operator lacks a right in the cluster that it needs for this instance.",
        "Give the operator's service account the verb and the resource that the message names; config/rbac and the Helm chart have them all, and `kubectl catalyst doctor` compares.";

    // It will pass by itself, or might.
    Progressing(Reconciling) "The instance has been seen and is being set up.", "Wait.";
    RolloutInProgress(Reconciling) "Pods are being started or replaced.", "Wait; `kubectl rollout status deployment/NAME` follows it.";
    PodUnschedulable(Reconciling) "No node takes the pod.",
        "Add room or a node, or relax resources, nodeSelector or tolerations.";
    PodStarting(Reconciling) "The node prepares the pod: it mounts its volumes and sets up its network.",
        "Wait; if it stays so, what holds it up is among the pod's events: `kubectl describe pod -l catalyst.dev/instance=NAME`.";
    PodFailed(Reconciling) "A node ended the pod or did not take it; another takes its place.",
        "The message holds the node's words; if it goes on, mend what they say (its memory or disk is full, it lacks a device), or keep the pods off it with nodeSelector.";
    PodNotReady(Reconciling) "The pod runs but is not ready.",
        "Wait; if it stays so, and a pod runs, ask it: `kubectl exec deployment/NAME -- curl -s localhost:3001/api/health`.";
    HostUnresolvable(Reconciling) "The name in ssh.host does not resolve.", "Check ssh.host and the cluster's DNS.";
    HostUnreachable(Reconciling) "The VM cannot be reached over the network.",
        "Check that the VM runs and that the cluster's nodes have a route to it. If only the pods have one, set ssh.knownHosts.";
    SSHConnectionRefused(Reconciling) "The VM answers, but nothing listens on ssh.port.", "Start sshd on the VM, or correct ssh.port.";
    SSHTimedOut(Reconciling) "The VM does not answer in time.", "Check that the VM runs, is not frozen, and that no firewall drops the packets.";
    SSHConnectionLost(Reconciling) "The connection to the VM broke off.",
        "It is tried again; if it stays so, look at the log of sshd on the VM (MaxStartups, a full disk).";
    SSHChannelRefused(Reconciling) "The VM's SSH server opens no more sessions.", "Raise MaxSessions in its sshd_config, or end other sessions.";
    CertificatePending(Reconciling) "cert-manager has not made the certificate that ingress.tls.issuer asks for yet.",
        "Wait; if it stays so, ask cert-manager: `kubectl describe certificate`.";
    RouteNotAccepted(Reconciling) "No Gateway takes the HTTPRoute, so nothing leads to the app.",
        "Correct gateway.parentRefs or gateway.hostnames as the message says, have the Gateway's listener allow routes of this namespace, or install a controller for the Gateway.";
    WebhookUnavailable(Reconciling) "An admission webhook that the API server has to ask before it takes an object does not answer.",
        "Have whatever serves the webhook run again (for ingress-nginx its controller), or remove its ValidatingWebhookConfiguration or MutatingWebhookConfiguration if it was uninstalled.";
    ApplyFailed(Reconciling) "The API server could not be used.",
        "It is tried again; if it stays so, the error in the message says what to look at.";

    // Works, but a person should know.
    PermissiveEgress(Warning) "The NetworkPolicy allows SSH to everywhere, or nearly: ssh.host is a name, or networkPolicy.sshEgressCidr is wide.",
        "Set networkPolicy.sshEgressCidr to the VM's address, such as 192.168.1.100/32.";
    PlainHttp(Warning) "The app is opened over plain http: the secret with which people sign in, and what they write, can be read on the way.",
        "Set ingress.tls (gateway.tls), or publicUrl to the https:// address where something else terminates TLS.";
    WebSocketsAtRisk(Warning) "An entry of ingress.annotations breaks WebSocket connections, or cuts them while nothing is said.",
        "Remove the entry that the message names: what the operator sets fits WebSockets.";
    ServiceShutOff(Warning) "service.type opens the app to the outside, but the NetworkPolicy lets nobody in from there.",
        "Set networkPolicy.ingressCidrs to the addresses of those who connect, or leave service.type at ClusterIP.";
    LookForbidden(Warning) "Whether people reach the app cannot be told, because the operator may not look at all that it depends on.",
        "Give the operator the right that the message names, or look there yourself; the instance works without.";

    // All is as wanted.
    Available(Ready) "Everything is in place and the pods are ready.", "";
    Suspended(Ready) "Scaled to zero by suspend: true.", "Set suspend to false to go on.";
    Paused(Ready) "The operator changes nothing while there is an annotation catalyst.dev/paused (of any value but \"false\").", "Remove the annotation to go on.";

    // Something was done.
    SecretsGenerated(Event) "The application Secret and an SSH key were generated.",
        "Add the line in status.authorizedKeysLine to ~/.ssh/authorized_keys of ssh.user on the VM.";
    SecretGenerated(Event) "The application Secret was missing and was generated.", "";
    SSHKeyGenerated(Event) "An SSH key was generated.",
        "Add the line in status.authorizedKeysLine to ~/.ssh/authorized_keys of ssh.user on the VM.";
    SSHKeyPrepared(Event) "A new SSH key was generated beside the one in use.",
        "Add the line in status.nextAuthorizedKeysLine to ~/.ssh/authorized_keys of ssh.user on the VM; the key is used as soon as the VM accepts it.";
    SSHKeyRotated(Event) "The new SSH key took the place of the one so far.",
        "In two minutes, when every pod reads the new one, remove the old key's line on the VM.";
    SSHKeyRotationRefused(Event) "The SSH key is not replaced as the annotation asks: it is a person's own, the operator cannot ask the VM about a new one, or there is no place for that.",
        "The message says which, and what to do instead.";
    SecretRotated(Event) "Generated values of the application Secret were replaced, and the pods are being replaced for it.",
        "Read a new secret to sign in with from the Secret.";
    SecretRotationRefused(Event) "The values of the application Secret are not replaced as the annotation asks: they are a person's own, or there is no place for that.",
        "The message says which, and what to do instead.";
    HostKeyRecorded(Event) "The VM's host key was recorded on first contact.", "Compare the fingerprint with the VM's console.";
    HostKeyTrusted(Event) "A changed host key was accepted as the annotation says.", "";
    ObjectRepaired(Event) "An object that had been changed or deleted was put back.", "";
    RolloutStarted(Event) "The pods are being replaced; status.lastRollout says why.", "";
}

impl Reason {
    /// Whether the message of a condition leaves it to the remedy in this list to say what to do. The others say it themselves, with
    /// the names and commands of the case, or only ask to wait: the remedy beside them would be said twice.
    pub fn leaves_remedy(self) -> bool {
        matches!(self, Reason::InvalidSpec | Reason::PodRefused)
    }

    /// After how long a reason that is [`Severity::Reconciling`] becomes `Stalled`; `None` for those that never do.
    pub fn patience(self) -> Option<Duration> {
        match self {
            Reason::HostUnresolvable
            | Reason::HostUnreachable
            | Reason::SSHConnectionRefused
            | Reason::SSHTimedOut
            | Reason::SSHConnectionLost
            | Reason::SSHChannelRefused
            | Reason::PodUnschedulable
            | Reason::PodStarting
            | Reason::PodFailed
            | Reason::PodNotReady
            | Reason::RouteNotAccepted
            | Reason::WebhookUnavailable
            | Reason::CertificatePending => Some(VM_PATIENCE),
            _ => None,
        }
    }
}

impl From<SshReason> for Reason {
    fn from(reason: SshReason) -> Reason {
        match reason {
            SshReason::HostUnresolvable => Reason::HostUnresolvable,
            SshReason::HostUnreachable => Reason::HostUnreachable,
            SshReason::ConnectionRefused => Reason::SSHConnectionRefused,
            SshReason::TimedOut => Reason::SSHTimedOut,
            SshReason::NotSsh => Reason::NotAnSSHServer,
            SshReason::NegotiationFailed => Reason::SSHNegotiationFailed,
            SshReason::HostKeyUnknown => Reason::HostKeyUnknown,
            SshReason::HostKeyChanged => Reason::HostKeyChanged,
            SshReason::HostKeyRevoked => Reason::HostKeyRevoked,
            SshReason::KeyInvalid => Reason::SSHKeyInvalid,
            SshReason::AuthRejected => Reason::SSHAuthRejected,
            SshReason::ConnectionLost => Reason::SSHConnectionLost,
            SshReason::ChannelRefused => Reason::SSHChannelRefused,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// `docs/reasons.md`: the list above for people.
pub fn reasons_markdown() -> String {
    let mut text = String::from(
        "# Reasons\n\n<!-- Generated by `make generate`. Do not edit. -->\n\n\
         What `kubectl get cati` shows in the column Reason, and what events carry. The message beside it names the\n\
         particulars: the field, the Secret, the host, the fingerprint; [status.md](status.md) shows how that looks.\n",
    );
    for (severity, heading) in [
        (Severity::Stalled, "Stalled: a person must act"),
        (Severity::Reconciling, "Reconciling: it passes by itself, or might"),
        (Severity::Warning, "Warning: works, but you should know"),
        (Severity::Ready, "Ready"),
        (Severity::Event, "Events: something was done"),
    ] {
        text.push_str(&format!("\n## {heading}\n\n| reason | means | what to do |\n| --- | --- | --- |\n"));
        for reason in Reason::ALL.iter().filter(|reason| reason.severity() == severity) {
            let patience = match reason.patience() {
                Some(patience) => format!(" Stalled after {} minutes.", patience.as_secs() / 60),
                None => String::new(),
            };
            text.push_str(&format!("| `{reason}` | {}{patience} | {} |\n", reason.title(), reason.remedy()));
        }
    }
    text.push_str(
        "\n## What the server in the pod calls it\n\n\
         The server's own names, in its log, its metrics and the answer of /api/health, and the reason that the operator makes\n\
         of each. In status and events there are only reasons.\n\n| the server says | reason |\n| --- | --- |\n",
    );
    for said in SshReason::all() {
        text.push_str(&format!("| `{said}` | `{}` |\n", Reason::from(*said)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_that_asks_for_a_person_says_what_to_do() {
        for reason in Reason::ALL {
            assert!(reason.title().ends_with('.'), "{reason} has no sentence as title");
            if !matches!(reason.severity(), Severity::Ready | Severity::Event) {
                assert!(reason.remedy().ends_with('.'), "{reason} has no remedy");
            }
        }
    }

    #[test]
    fn names_are_what_a_condition_may_carry() {
        for reason in Reason::ALL {
            let name = reason.as_str();
            assert!(name.starts_with(|first: char| first.is_ascii_uppercase()), "{name}");
            assert!(name.chars().all(|letter| letter.is_ascii_alphanumeric()), "{name}");
        }
    }

    #[test]
    fn only_what_may_pass_has_a_patience() {
        for reason in Reason::ALL.iter().filter(|reason| reason.patience().is_some()) {
            assert_eq!(reason.severity(), Severity::Reconciling, "{reason}");
        }
    }
}
