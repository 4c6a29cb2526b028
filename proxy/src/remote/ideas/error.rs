//! Why something with ideas failed.

use catalyst_ssh::Failure;

use crate::remote::RemoteError;

/// Why something with ideas failed; the text is for the person who asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IdeasError {
    /// No idea has this id or slug.
    #[error("Idea not found")]
    NotFound,
    /// The idea's `meta.json` cannot be read.
    #[error("The idea {slug} cannot be read: its meta.json is damaged ({problem}). Repair or remove {path} on the VM")]
    Damaged {
        /// The folder's name.
        slug: String,
        /// Where the file is.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Others changed the idea each time that this change was tried.
    #[error("The idea is being changed by others all the time. Try again")]
    Contended,
    /// The VM said no.
    #[error("The dev-VM could not {what}: {cause}")]
    Refused {
        /// What was tried.
        what: String,
        /// What the VM said.
        cause: String,
    },
    /// No answer in time.
    #[error("The dev-VM did not {what} in time. It may be overloaded or frozen")]
    TimedOut {
        /// What was tried.
        what: String,
    },
    /// The connection broke, and again when tried anew.
    #[error("The connection to the dev-VM broke while it should {what}. Try again")]
    Broken {
        /// What was tried.
        what: String,
    },
    /// The way to the VM is closed.
    #[error(transparent)]
    Ssh(#[from] Failure),
    /// A script on the VM could not be run.
    #[error("{0}")]
    Remote(RemoteError),
}

impl From<RemoteError> for IdeasError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Ssh(failure) => IdeasError::Ssh(failure),
            other => IdeasError::Remote(other),
        }
    }
}

impl IdeasError {
    pub(super) fn refused(what: &str, cause: &str) -> IdeasError {
        IdeasError::Refused { what: what.to_owned(), cause: cause.to_owned() }
    }
}
