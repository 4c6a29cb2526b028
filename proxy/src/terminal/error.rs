//! Why a terminal cannot be had; each text is for the person, with the remedy.

use std::time::Duration;

use catalyst_ssh::Failure;

use crate::remote::RemoteError;

/// Why a terminal cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TerminalError {
    /// Turned off by the administrator.
    #[error("Terminals are turned off on this server (TERMINAL=off)")]
    Off,
    /// The bound of one replica.
    #[error("{0} terminals are open on this server; close some and try again")]
    TooMany(usize),
    /// The idea's folder cannot be made or entered.
    #[error(
        "The folder {0} on the dev-VM cannot be made or entered. Look at its owner and mode, and whether the disk is full"
    )]
    NoFolder(String),
    /// The login shell ended, or never ran the script.
    #[error("The dev-VM's login shell did not start a terminal. Check that the SSH user has a POSIX login shell")]
    NoShell,
    /// No terminal in time.
    #[error("The dev-VM did not start a terminal within {} s. It may be overloaded or frozen", .0.as_secs())]
    TimedOut(Duration),
    /// There is no such terminal.
    #[error("This idea has no such terminal")]
    NotFound,
    /// The way to the VM failed.
    #[error(transparent)]
    Ssh(#[from] Failure),
    /// A script could not be run.
    #[error("{0}")]
    Remote(RemoteError),
}

impl From<RemoteError> for TerminalError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Ssh(failure) => TerminalError::Ssh(failure),
            other => TerminalError::Remote(other),
        }
    }
}

impl TerminalError {
    /// The enumerated reason, when the way to the VM is the cause.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            TerminalError::Ssh(failure) => Some(failure.reason.as_str()),
            _ => None,
        }
    }

    /// Whether it may go away by itself.
    pub fn may_pass(&self) -> bool {
        matches!(self, TerminalError::Ssh(_) | TerminalError::Remote(_) | TerminalError::TimedOut(_))
    }
}
