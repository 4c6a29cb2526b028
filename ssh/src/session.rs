//! One SSH session's handler: decides on the host key, remembers why the session ended, and names failures.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use russh::client::{self, DisconnectReason};
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use russh::{AlgorithmKind, Disconnect};

use crate::endpoint::Endpoint;
use tokio::sync::Notify;

use crate::dial;
use crate::failure::{Failure, Reason};
use crate::gate::Gate;
use crate::known_hosts::{HostKeyCheck, Verdict, fingerprint};
use crate::opening::{FirstWords, Opening};

/// What became known about a session while it went on; written by its task, read by its owner.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) words: Arc<FirstWords>,
    /// At the bottom of the way: with a jump host, at the connection to that one.
    pub(crate) gate: Arc<Gate>,
    pub(crate) host_key: OnceLock<PublicKey>,
    pub(crate) refused_key: OnceLock<Failure>,
    pub(crate) end: OnceLock<End>,
    over: Notify,
    stage: AtomicU8,
}

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Connecting = 1,
    Handshaking = 2,
}

/// Why a session ended, without anything that the other side wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Silence,
    Disconnect(u32),
    Other,
}

pub(crate) struct Verifier {
    pub(crate) endpoint: Endpoint,
    pub(crate) check: HostKeyCheck,
    /// The key that this process accepted for the endpoint before (only where new keys are accepted).
    pub(crate) accepted: Option<PublicKey>,
    pub(crate) facts: Arc<Facts>,
}

impl Verifier {
    fn judge(&self, key: &PublicKey) -> Result<(), Failure> {
        let Endpoint { host, port, .. } = &self.endpoint;
        let endpoint = &self.endpoint;
        let shown = fingerprint(key);
        let (known_hosts, accepts_new) = match &self.check {
            HostKeyCheck::Strict(known_hosts) => (known_hosts, false),
            HostKeyCheck::AcceptNew(known_hosts) => (known_hosts, true),
        };
        let changed = |recorded: &str| {
            Failure::new(
                Reason::HostKeyChanged,
                format!(
                    "The host key of {endpoint} has changed: the known one is {recorded}, the host shows {shown}. If the VM was \
                     reinstalled, trust the new key; if not, somebody may be in between."
                ),
            )
        };
        match known_hosts.verdict(host, *port, key) {
            Verdict::Known => Ok(()),
            Verdict::Changed { recorded } => Err(changed(&recorded.join(", "))),
            Verdict::Revoked => Err(Failure::new(
                Reason::HostKeyRevoked,
                format!(
                    "The host key {shown} of {endpoint} is marked @revoked in known_hosts: give the VM a new host key, or \
                     remove that line."
                ),
            )),
            Verdict::Unknown if accepts_new => match &self.accepted {
                Some(accepted) if accepted.key_data() != key.key_data() => Err(changed(&fingerprint(accepted))),
                _ => Ok(()),
            },
            Verdict::Unknown => Err(Failure::new(
                Reason::HostKeyUnknown,
                format!(
                    "The host key {shown} of {endpoint} is not known: compare it with the VM's (ssh-keygen -lf \
                     /etc/ssh/ssh_host_ed25519_key.pub) and add the line of `ssh-keyscan -p {port} {host}` to known_hosts."
                ),
            )),
        }
    }
}

impl client::Handler for Verifier {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        // Certificates are never asked for, so one is as good as no key.
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else { return Ok(false) };
        let _ = self.facts.host_key.set(key.clone());
        match self.judge(key) {
            Ok(()) => Ok(true),
            Err(failure) => {
                let _ = self.facts.refused_key.set(failure);
                Ok(false)
            }
        }
    }

    async fn disconnected(&mut self, reason: DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        let end = match reason {
            DisconnectReason::ReceivedDisconnect(info) => End::Disconnect(info.reason_code as u32),
            DisconnectReason::Error(russh::Error::KeepaliveTimeout | russh::Error::InactivityTimeout) => End::Silence,
            DisconnectReason::Error(russh::Error::IO(error)) if error.kind() == std::io::ErrorKind::TimedOut => {
                End::Silence
            }
            DisconnectReason::Error(_) => End::Other,
        };
        let _ = self.facts.end.set(end);
        self.facts.over.notify_waiters();
        Ok(())
    }
}

impl Facts {
    /// Of a session that carries another one: reading pauses below both.
    pub(crate) fn above(gate: Arc<Gate>) -> Facts {
        Facts { gate, ..Facts::default() }
    }

    pub(crate) fn reach(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// Waits for the end of a session that had begun.
    pub(crate) async fn ended(&self) {
        let over = self.over.notified();
        if self.end.get().is_none() {
            over.await;
        }
    }

    /// Names an attempt that ran out of time, wherever it was.
    pub(crate) fn attempt_timeout(&self, endpoint: &Endpoint, seconds: u64) -> Failure {
        match self.stage.load(Ordering::Relaxed) {
            stage if stage == Stage::Handshaking as u8 => self.handshake_timeout(endpoint, seconds),
            stage if stage == Stage::Connecting as u8 => dial::unanswered(endpoint, seconds),
            _ => dial::unresolvable(endpoint, dial::NO_DNS_ANSWER),
        }
    }

    /// Names a handshake that ended with an error.
    pub(crate) fn handshake_failure(&self, endpoint: &Endpoint, error: &russh::Error) -> Failure {
        if let Some(failure) = self.refused_key.get() {
            return failure.clone();
        }
        match self.words.opening() {
            Opening::Foreign => return not_ssh(endpoint),
            Opening::TurnedAway => return turned_away(endpoint),
            Opening::Silent => {
                return Failure::turned_away(format!(
                    "{endpoint} accepts the connection and closes it at once: see that the SSH server runs behind that port (a \
                     load balancer without a backend or an overloaded sshd does this)."
                ));
            }
            Opening::Ssh => {}
        }
        use russh::Error;
        match error {
            Error::NoCommonAlgo { kind: AlgorithmKind::Key, .. } => Failure::new(
                Reason::NegotiationFailed,
                format!(
                    "{endpoint} has no host key of a kind that is supported (ed25519, ECDSA): run `ssh-keygen -A` on the VM \
                     and restart its SSH server."
                ),
            ),
            Error::NoCommonAlgo { kind, .. } => Failure::new(
                Reason::NegotiationFailed,
                format!(
                    "{endpoint} shares no {} algorithm with us: allow a current one in the VM's sshd_config, or update its \
                     SSH server.",
                    algorithm_name(kind)
                ),
            ),
            Error::Version => not_ssh(endpoint),
            Error::IO(_) | Error::Disconnect | Error::HUP | Error::SendError | Error::RecvError => Failure::new(
                Reason::ConnectionLost,
                format!(
                    "{endpoint} closed the connection during the SSH handshake: look at the SSH server's log on the VM \
                     (journalctl -u ssh)."
                ),
            ),
            _ => Failure::new(
                Reason::NegotiationFailed,
                format!(
                    "The key exchange with {endpoint} failed: something in between may alter the data; look at the SSH \
                     server's log on the VM (journalctl -u ssh)."
                ),
            ),
        }
    }

    /// Names a handshake that did not come to its end in time.
    pub(crate) fn handshake_timeout(&self, endpoint: &Endpoint, seconds: u64) -> Failure {
        match self.words.opening() {
            Opening::Foreign => not_ssh(endpoint),
            Opening::TurnedAway => turned_away(endpoint),
            Opening::Silent | Opening::Ssh => Failure::new(
                Reason::TimedOut,
                format!(
                    "{endpoint} accepts the connection, but its SSH server did not answer within {seconds} s: the VM may be \
                     overloaded, suspended or out of memory."
                ),
            ),
        }
    }

    /// Whether sshd ended the session because it takes no more sign-in attempts.
    pub(crate) fn ended_by_auth(&self) -> bool {
        let codes = [
            Disconnect::ProtocolError as u32,
            Disconnect::NoMoreAuthMethodsAvailable as u32,
            Disconnect::IllegalUserName as u32,
        ];
        matches!(self.end.get(), Some(End::Disconnect(code)) if codes.contains(code))
    }

    /// Names the loss of a session that stood.
    pub(crate) fn lost(&self, endpoint: &Endpoint) -> Failure {
        let message = match self.end.get() {
            Some(End::Silence) => format!(
                "{endpoint} stopped answering: the VM may be suspended, overloaded or cut off; the connection is made anew."
            ),
            Some(End::Disconnect(_)) => {
                format!("The SSH server of {endpoint} ended the connection; it is made anew.")
            }
            _ => format!(
                "The connection to {endpoint} was lost (the VM or its SSH server restarted, or the network broke); it is \
                 made anew."
            ),
        };
        Failure::new(Reason::ConnectionLost, message)
    }
}

fn algorithm_name(kind: &AlgorithmKind) -> &'static str {
    match kind {
        AlgorithmKind::Kex => "key exchange",
        AlgorithmKind::Key => "host key",
        AlgorithmKind::Cipher => "cipher",
        AlgorithmKind::Compression => "compression",
        AlgorithmKind::Mac => "MAC",
    }
}

fn not_ssh(endpoint: &Endpoint) -> Failure {
    Failure::new(
        Reason::NotSsh,
        format!("What listens on {endpoint} does not speak SSH: correct the port (SSH is usually on 22)."),
    )
}

fn turned_away(endpoint: &Endpoint) -> Failure {
    Failure::turned_away(format!(
        "The SSH server of {endpoint} takes no more connections for now: raise MaxStartups (or ease PerSourcePenalties) in \
         its sshd_config if this stays."
    ))
}
