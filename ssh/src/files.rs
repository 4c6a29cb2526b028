//! Files on the VM, read at any place: many of them, and many reads at once, over one channel and without a process each. Folders,
//! too, of which no more is read than is asked for.
//!
//! Invariant: no more files are open at once on a channel than it has places, and none stays open there that nobody has.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error;
use russh_sftp::protocol::{File, FileAttributes, OpenFlags, StatusCode};
use tokio::time::timeout;

use crate::failure::{Failure, Reason};
use crate::folder;
use crate::link::Link;
use crate::places::{Place, Places};

/// How long a place is waited for.
const PLACE_WITHIN: Duration = Duration::from_secs(30);

/// A channel through which files are read. It is closed with the last clone and the last [`FileReader`].
#[derive(Clone)]
pub struct Files {
    shared: Arc<Shared>,
}

struct Shared {
    session: RawSftpSession,
    link: Arc<Link>,
    places: Places,
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
    place: Option<Place>,
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
        Files { shared: Arc::new(Shared { session, link, places: Places::default(), hold: OnceLock::new() }) }
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
        self.shared.link.is_closed() || self.shared.places.are_doubtful()
    }

    /// Opens a file by its absolute path, when there is a place for it; none if there is no such file. Whoever has one open must
    /// not wait for another.
    ///
    /// # Errors
    /// [`Reason::ConnectionLost`], [`Reason::TimedOut`]; [`Reason::ChannelRefused`] if the file may not be read.
    pub async fn open(&self, path: &str) -> Result<Option<FileReader>, Failure> {
        let place = timeout(PLACE_WITHIN, self.shared.places.take()).await;
        let Ok(Some(place)) = place else {
            return Err(Failure::new(
                Reason::TimedOut,
                format!(
                    "No file could be opened on {} within {} s: too many are read there at once; try again.",
                    self.shared.link.endpoint,
                    PLACE_WITHIN.as_secs()
                ),
            ));
        };
        let (files, path) = (self.clone(), path.to_owned());
        // In a task of its own: a file whose opening nobody awaits any more would stay open on the VM.
        let opening = tokio::spawn(async move { files.open_in(place, path).await });
        opening.await.unwrap_or_else(|_| Err(self.shared.link.lost()))
    }

    async fn open_in(self, place: Place, path: String) -> Result<Option<FileReader>, Failure> {
        match self.shared.session.open(path, OpenFlags::READ, FileAttributes::empty()).await {
            Ok(opened) => Ok(Some(FileReader { files: self, handle: opened.handle, place: Some(place) })),
            Err(Error::Status(status)) if status.status_code == StatusCode::NoSuchFile => Ok(None),
            Err(error) => {
                let answered = matches!(error, Error::Status(_));
                if !answered {
                    self.shared.places.doubt();
                }
                Err(self.failure(&error))
            }
        }
    }

    /// The entries of a folder by its absolute path, in the order in which the server names them: more than `most` if there are more,
    /// but then not many, for it is read no further.
    ///
    /// # Errors
    /// What the server answered, or that it answered nothing.
    pub async fn list(&self, path: &str, most: usize) -> Result<Vec<File>, Error> {
        let place = self.shared.places.take().await;
        let (files, path) = (self.clone(), path.to_owned());
        // In a task of its own: a folder of which nobody awaits the end any more would stay open on the VM.
        let listing = tokio::spawn(async move {
            let listed = folder::entries(&files.shared.session, path, most).await;
            if listed.as_ref().is_err_and(|error| !matches!(error, Error::Status(_))) {
                files.shared.places.doubt();
            }
            drop(place);
            listed
        });
        listing.await.unwrap_or_else(|_| Err(Error::UnexpectedBehavior("the listing ended".to_owned())))
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
    /// Whether whoever does not read on at once should let go of it: others may have to wait for its place, or its channel is not
    /// used for new files any more and closes with the last of its files.
    pub fn is_wanted_back(&self) -> bool {
        let places = &self.files.shared.places;
        places.are_scarce() || places.are_doubtful()
    }

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
        let (files, handle, place) = (self.files.clone(), std::mem::take(&mut self.handle), self.place.take());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if files.shared.session.close(handle).await.is_err() {
                files.shared.places.doubt();
            }
            drop(place);
        });
    }
}
