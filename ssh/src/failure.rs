//! Every way that the way to the VM can fail: the one classification that health, status and diagnosis share.

use crate::key::KeyProblem;
use crate::known_hosts::KnownHostsError;

/// Why the VM cannot be used over SSH.
///
/// The names are part of what users see (health answers, conditions, metrics), so they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The host name has no address.
    HostUnresolvable,
    /// No TCP connection: no route, or nothing answers at that address.
    HostUnreachable,
    /// The host answers, but nothing listens on the port.
    ConnectionRefused,
    /// The TCP connection stands, but the SSH server does not answer.
    TimedOut,
    /// Something listens on the port that does not speak SSH.
    NotSsh,
    /// Both speak SSH, but have no algorithm in common, or the key exchange broke.
    NegotiationFailed,
    /// The host key is not in known_hosts.
    HostKeyUnknown,
    /// known_hosts has other keys for this host.
    HostKeyChanged,
    /// known_hosts marks the host key as revoked.
    HostKeyRevoked,
    /// Our private key cannot be used.
    KeyInvalid,
    /// The server does not accept the key for this user.
    AuthRejected,
    /// The connection was there and is gone.
    ConnectionLost,
    /// The server is signed in to, but refuses the session, the command or the subsystem.
    ChannelRefused,
}

impl Reason {
    /// All reasons, in the order in which a connection meets them.
    pub fn all() -> &'static [Reason] {
        &[
            Reason::HostUnresolvable,
            Reason::HostUnreachable,
            Reason::ConnectionRefused,
            Reason::TimedOut,
            Reason::NotSsh,
            Reason::NegotiationFailed,
            Reason::HostKeyUnknown,
            Reason::HostKeyChanged,
            Reason::HostKeyRevoked,
            Reason::KeyInvalid,
            Reason::AuthRejected,
            Reason::ConnectionLost,
            Reason::ChannelRefused,
        ]
    }

    /// The CamelCase name.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::HostUnresolvable => "HostUnresolvable",
            Reason::HostUnreachable => "HostUnreachable",
            Reason::ConnectionRefused => "ConnectionRefused",
            Reason::TimedOut => "TimedOut",
            Reason::NotSsh => "NotSsh",
            Reason::NegotiationFailed => "NegotiationFailed",
            Reason::HostKeyUnknown => "HostKeyUnknown",
            Reason::HostKeyChanged => "HostKeyChanged",
            Reason::HostKeyRevoked => "HostKeyRevoked",
            Reason::KeyInvalid => "KeyInvalid",
            Reason::AuthRejected => "AuthRejected",
            Reason::ConnectionLost => "ConnectionLost",
            Reason::ChannelRefused => "ChannelRefused",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A [`Reason`] with a sentence about this case and its remedy.
///
/// The message is made of our own words, the endpoint and key fingerprints; never of what the other side sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The class of the failure.
    pub reason: Reason,
    /// What happened and what to do, for the user.
    pub message: String,
    /// Whether the server closed the connection before it began, as sshd does with too many that have not signed in yet:
    /// the next may be taken.
    pub turned_away: bool,
}

impl Failure {
    /// A failure with a message in our own words.
    pub fn new(reason: Reason, message: impl Into<String>) -> Failure {
        Failure { reason, message: message.into(), turned_away: false }
    }

    /// A connection that was closed before it began.
    pub(crate) fn turned_away(message: impl Into<String>) -> Failure {
        Failure { turned_away: true, ..Failure::new(Reason::ConnectionLost, message) }
    }
}

impl From<KeyProblem> for Failure {
    fn from(problem: KeyProblem) -> Failure {
        Failure::new(Reason::KeyInvalid, format!("The SSH key cannot be used: {problem}"))
    }
}

/// An unreadable known_hosts leaves the host key unknown: nobody is trusted until it is mended.
impl From<KnownHostsError> for Failure {
    fn from(error: KnownHostsError) -> Failure {
        Failure::new(Reason::HostKeyUnknown, format!("The known_hosts file cannot be used: {error}."))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_its_own_camel_case_name_that_is_its_variant() {
        let names: HashSet<&str> = Reason::all().iter().map(|reason| reason.as_str()).collect();
        assert_eq!(names.len(), Reason::all().len());
        for reason in Reason::all() {
            assert_eq!(format!("{reason:?}"), reason.as_str());
        }
    }
}
