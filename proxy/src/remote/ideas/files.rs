//! The one SFTP session of the ideas: opened when first needed, opened anew when it breaks, each call with a deadline.
//!
//! Invariant: each operation has one file open at a time, so no more are open than operations may be under way.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use catalyst_ssh::russh_sftp::client::error::Error as SftpError;
use catalyst_ssh::russh_sftp::protocol::{File, OpenFlags, StatusCode};
use catalyst_ssh::{Lane, Places, Sftp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::IdeasError;
use crate::remote::Remote;

/// For a whole operation, a new session included: longer than any healthy VM needs, shorter than the browser waits.
const DEADLINE: Duration = Duration::from_secs(15);

/// Files on the VM.
pub(super) struct Files {
    remote: Arc<Remote>,
    session: Mutex<Option<Arc<Session>>>,
}

struct Session {
    sftp: Arc<Sftp>,
    /// In doubt when an operation was left in its midst: what it opened may stay open, for as long as the session does.
    places: Places,
}

/// An operation under way on a session.
struct UnderWay<'a> {
    session: &'a Session,
    over: bool,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.session.places.doubt();
        }
    }
}

/// How an attempt on an SFTP session ended.
pub(super) enum Attempt {
    /// There is no such file or folder.
    Missing,
    /// The VM refused, and would again.
    Refused(String),
    /// The session is broken; another may work.
    Broken(String),
}

impl From<SftpError> for Attempt {
    fn from(error: SftpError) -> Self {
        match error {
            SftpError::Status(status) => match status.status_code {
                StatusCode::NoSuchFile => Attempt::Missing,
                StatusCode::ConnectionLost | StatusCode::NoConnection => Attempt::Broken(status.error_message),
                StatusCode::PermissionDenied => Attempt::Refused("permission denied".to_owned()),
                _ => Attempt::Refused(status.error_message),
            },
            other => Attempt::Broken(other.to_string()),
        }
    }
}

impl From<std::io::Error> for Attempt {
    fn from(error: std::io::Error) -> Self {
        let shown = error.to_string();
        match error.into_inner().map(|inner| inner.downcast::<SftpError>()) {
            Some(Ok(inner)) => Attempt::from(*inner),
            // The VM's own answer to a read or write comes as bare words.
            Some(Err(_)) => Attempt::Refused(shown),
            None => Attempt::Broken(shown),
        }
    }
}

impl Files {
    /// Nothing is opened yet.
    pub(super) fn new(remote: Arc<Remote>) -> Files {
        Files { remote, session: Mutex::new(None) }
    }

    /// Runs one operation that may be repeated safely; a broken session is replaced once.
    ///
    /// # Errors
    /// When the VM cannot be reached, refuses, or does not answer in time. `Ok(None)` says that the file is missing.
    pub(super) async fn with<T, F, Fut>(&self, what: &str, operation: F) -> Result<Option<T>, IdeasError>
    where
        F: Fn(Arc<Sftp>) -> Fut,
        Fut: Future<Output = Result<T, Attempt>>,
    {
        let mut last = String::new();
        let deadline = Instant::now() + DEADLINE;
        let late = || IdeasError::TimedOut { what: what.to_owned() };
        for _ in 0..2 {
            let session = self.session(deadline).await?;
            let _place = timeout_at(deadline, session.places.take()).await.map_err(|_| late())?;
            let mut under_way = UnderWay { session: &session, over: false };
            let done = timeout_at(deadline, operation(session.sftp.clone())).await;
            under_way.over = done.is_ok();
            drop(under_way);
            match done {
                Ok(Ok(value)) => return Ok(Some(value)),
                Ok(Err(Attempt::Missing)) => return Ok(None),
                Ok(Err(Attempt::Refused(cause))) => return Err(IdeasError::refused(what, &cause)),
                Ok(Err(Attempt::Broken(cause))) => {
                    self.forget(&session).await;
                    last = cause;
                }
                Err(_) => return Err(late()),
            }
        }
        tracing::warn!(what, cause = last, "the SFTP session to the VM broke twice");
        Err(IdeasError::Broken { what: what.to_owned() })
    }

    async fn session(&self, deadline: Instant) -> Result<Arc<Session>, IdeasError> {
        let mut held = self.session.lock().await;
        if let Some(session) = held.as_ref().filter(|session| !session.places.are_doubtful()) {
            return Ok(session.clone());
        }
        let sftp = timeout_at(deadline, self.remote.pool().sftp())
            .await
            .map_err(|_| IdeasError::TimedOut { what: "open an SFTP session".to_owned() })??;
        let session = Arc::new(Session { sftp: Arc::new(sftp), places: Places::default() });
        *held = Some(session.clone());
        Ok(session)
    }

    async fn forget(&self, broken: &Arc<Session>) {
        let mut held = self.session.lock().await;
        if held.as_ref().is_some_and(|session| Arc::ptr_eq(session, broken)) {
            *held = None;
        }
    }
}

/// Reads a file of at most `limit` bytes.
pub(super) async fn read(sftp: &Sftp, path: &str, limit: u64) -> Result<Vec<u8>, Attempt> {
    let file = sftp.open(path).await?;
    let mut bytes = Vec::new();
    let mut bounded = file.take(limit + 1);
    bounded.read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > limit {
        return Err(Attempt::Refused(format!("the file is over {limit} bytes")));
    }
    Ok(bytes)
}

/// The entries of a folder; more than `most` if there are more, and then read no further; none if it is not there. Over the channel of
/// those who read much, since what the ideas' session offers for it reads all of them, and copies what it has for each hundred. What
/// becomes of that channel does not concern the session.
pub(super) async fn list(remote: &Remote, path: &str, most: usize) -> Result<Option<Vec<File>>, IdeasError> {
    let what = "list the folder";
    let deadline = Instant::now() + DEADLINE;
    let late = |_| IdeasError::TimedOut { what: what.to_owned() };
    for _ in 0..2 {
        let files = timeout_at(deadline, remote.logs(Lane::Bulk).files()).await.map_err(late)??;
        match timeout_at(deadline, files.list(path, most)).await.map_err(late)?.map_err(Attempt::from) {
            Ok(entries) => return Ok(Some(entries)),
            Err(Attempt::Missing) => return Ok(None),
            Err(Attempt::Refused(cause)) => return Err(IdeasError::refused(what, &cause)),
            // It is not used again: the next is another.
            Err(Attempt::Broken(cause)) => tracing::debug!(cause, "a folder's listing broke"),
        }
    }
    Err(IdeasError::Broken { what: what.to_owned() })
}

/// Writes a file that is not there yet, or one of our own temporary ones.
pub(super) async fn write(sftp: &Sftp, path: &str, bytes: &[u8]) -> Result<(), Attempt> {
    let mut file = sftp.open_with_flags(path, OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE).await?;
    let written: Result<(), Attempt> = async {
        file.write_all(bytes).await?;
        file.shutdown().await?;
        Ok(())
    }
    .await;
    // A full disk is reported as a plain failure: say what it most likely is.
    written.map_err(|attempt| match attempt {
        Attempt::Refused(cause) => Attempt::Refused(format!("{cause}; is the VM's disk full?")),
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_the_vm_is_told_from_a_broken_session() {
        let attempt = |error: std::io::Error| Attempt::from(error);
        assert!(matches!(attempt(std::io::Error::other("Failure")), Attempt::Refused(cause) if cause == "Failure"));
        assert!(matches!(attempt(SftpError::Timeout.into()), Attempt::Broken(_)));
        assert!(matches!(attempt(SftpError::UnexpectedBehavior("gone".to_owned()).into()), Attempt::Broken(_)));
        assert!(matches!(attempt(std::io::ErrorKind::BrokenPipe.into()), Attempt::Broken(_)));
    }
}
