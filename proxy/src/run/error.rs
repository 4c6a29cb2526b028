//! Why something could not be done with a run; each a sentence for the user, with the remedy.

use catalyst_ssh::Failure;

use crate::remote::RemoteError;

/// Why something could not be done with a run.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RunError {
    /// The way to the VM failed.
    #[error(transparent)]
    Ssh(#[from] Failure),
    /// The VM did not run our scripts.
    #[error("{0}")]
    Remote(RemoteError),
    /// No Claude Code on the VM.
    #[error(
        "Claude Code was not found on the VM. Install it there for the SSH user \
         (npm install -g @anthropic-ai/claude-code), or set CLAUDE_COMMAND to its path."
    )]
    ClaudeMissing,
    /// No setsid on the VM.
    #[error("The VM lacks the program setsid, without which runs would end with their connection. Install util-linux.")]
    SetsidMissing,
    /// No room.
    #[error("The VM's disk is full. Free some space there, then send the message again.")]
    DiskFull,
    /// A folder cannot be written.
    #[error("The VM's user may not write {0}. Check its permissions and that the file system is not read-only.")]
    NotWritable(String),
    /// The idea's folder is not there.
    #[error("The idea's folder is no longer on the VM.")]
    IdeaGone,
    /// The process did not come up.
    #[error("The run did not start on the VM: {0}")]
    NotStarted(String),
    /// The process could not be ended.
    #[error("The run could not be stopped: {0}. It may still be working on the VM.")]
    NotStopped(String),
    /// Nobody waits for this answer.
    #[error("This request for permission is no longer open.")]
    RequestGone,
    /// Somebody was faster.
    #[error("This request for permission was already answered.")]
    AlreadyAnswered,
    /// An identifier that is not one.
    #[error("{0} is not a valid identifier: letters, digits, - and _ only, at most 64 of them.")]
    BadIdentifier(&'static str),
    /// The message is empty or too large.
    #[error("{0}")]
    BadMessage(String),
    /// The place asked for does not exist.
    #[error("That place in the history does not exist.")]
    BadPosition,
    /// The proxy is ending.
    #[error("The server is restarting; the run goes on. Try again in a moment.")]
    Unavailable,
}

impl From<RemoteError> for RunError {
    fn from(error: RemoteError) -> RunError {
        match error {
            RemoteError::Ssh(failure) => RunError::Ssh(failure),
            other => RunError::Remote(other),
        }
    }
}
