//! Files on the VM, read at any place: many of them, and many reads at once, over one channel and without a process each.

use std::sync::{Arc, OnceLock, Weak};

use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};

use crate::failure::{Failure, Reason};
use crate::link::Link;

/// A channel through which files are read. It is closed with the last clone and the last [`FileReader`].
#[derive(Clone)]
pub struct Files {
    shared: Arc<Shared>,
}

struct Shared {
    session: RawSftpSession,
    link: Arc<Link>,
    /// The slot of a pool, if there is one.
    hold: OnceLock<Box<dyn Send + Sync>>,
}

/// [`Files`] that others may have closed meanwhile.
#[derive(Clone, Default)]
pub struct WeakFiles {
    shared: Weak<Shared>,
}

impl WeakFiles {
    /// The channel, if it is still open and its connection stands.
    pub fn upgrade(&self) -> Option<Files> {
        self.shared.upgrade().map(|shared| Files { shared }).filter(|files| !files.is_closed())
    }
}

impl std::fmt::Debug for WeakFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeakFiles").finish_non_exhaustive()
    }
}

/// A file that is open for reading.
pub struct FileReader {
    files: Files,
    handle: String,
}

impl std::fmt::Debug for FileReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileReader").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").finish_non_exhaustive()
    }
}

impl Files {
    pub(crate) fn new(session: RawSftpSession, link: Arc<Link>) -> Files {
        Files { shared: Arc::new(Shared { session, link, hold: OnceLock::new() }) }
    }

    /// Keeps `lease` for as long as the channel lives.
    pub(crate) fn hold(&self, lease: Box<dyn Send + Sync>) {
        let _first = self.shared.hold.set(lease);
    }

    /// For telling later whether somebody still has it.
    pub fn downgrade(&self) -> WeakFiles {
        WeakFiles { shared: Arc::downgrade(&self.shared) }
    }

    fn is_closed(&self) -> bool {
        self.shared.link.is_closed()
    }

    /// Opens a file by its absolute path; none if there is no such file.
    ///
    /// # Errors
    /// [`Reason::ConnectionLost`], [`Reason::TimedOut`]; [`Reason::ChannelRefused`] if the file may not be read.
    pub async fn open(&self, path: &str) -> Result<Option<FileReader>, Failure> {
        match self.shared.session.open(path, OpenFlags::READ, FileAttributes::empty()).await {
            Ok(opened) => Ok(Some(FileReader { files: self.clone(), handle: opened.handle })),
            Err(Error::Status(status)) if status.status_code == StatusCode::NoSuchFile => Ok(None),
            Err(error) => Err(self.failure(&error)),
        }
    }

    fn failure(&self, error: &Error) -> Failure {
        let endpoint = &self.shared.link.endpoint;
        match error {
            Error::Status(_) | Error::Limited(_) => Failure::new(
                Reason::ChannelRefused,
                format!(
                    "{endpoint} refuses to read a file of the run: check that the SSH user may read its own files."
                ),
            ),
            Error::Timeout => Failure::new(
                Reason::TimedOut,
                format!("{endpoint} did not read a file in time: the VM may be overloaded, or its disk may hang."),
            ),
            _ => self.shared.link.lost(),
        }
    }
}

impl FileReader {
    /// Its length now, in bytes.
    ///
    /// # Errors
    /// As [`Files::open`].
    pub async fn size(&self) -> Result<u64, Failure> {
        match self.files.shared.session.fstat(self.handle.as_str()).await {
            Ok(told) => Ok(told.attrs.size.unwrap_or_default()),
            Err(error) => Err(self.files.failure(&error)),
        }
    }

    /// Up to `length` bytes from byte `offset` on; none at the end of the file. The server may give fewer than there are.
    ///
    /// # Errors
    /// As [`Files::open`].
    pub async fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>, Failure> {
        match self.files.shared.session.read(self.handle.as_str(), offset, length).await {
            Ok(data) => Ok(data.data),
            Err(Error::Status(status)) if status.status_code == StatusCode::Eof => Ok(Vec::new()),
            Err(error) => Err(self.files.failure(&error)),
        }
    }
}

impl Drop for FileReader {
    fn drop(&mut self) {
        let (files, handle) = (self.files.clone(), std::mem::take(&mut self.handle));
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let _gone = files.shared.session.close(handle).await;
        });
    }
}
