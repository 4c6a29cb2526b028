//! Files on the VM, read at any place through one channel that all readers share: no process and no channel per reader.

use std::sync::Arc;

use catalyst_ssh::{FileReader, Files, Lane, Pool, WeakFiles};
use tokio::sync::Mutex;

use super::RemoteError;

/// What one read asks for at most, in bytes; servers give as much at once since ever.
pub(crate) const READ: u32 = 64 * 1024;

/// The shared channel of one lane; open for as long as a file is.
pub(crate) struct Logs {
    pool: Arc<Pool>,
    lane: Lane,
    files: Mutex<WeakFiles>,
}

impl Logs {
    pub(super) fn new(pool: Arc<Pool>, lane: Lane) -> Logs {
        Logs { pool, lane, files: Mutex::new(WeakFiles::default()) }
    }

    /// Opens a file by its absolute path; none if it is not there. For those who read it at once: see [`Log`] for others.
    pub(crate) async fn open(&self, path: &str) -> Result<Option<FileReader>, RemoteError> {
        let files = self.files().await?;
        Ok(files.open(path).await?)
    }

    /// The channel itself.
    pub(crate) async fn files(&self) -> Result<Files, RemoteError> {
        // Held while the channel is opened, so that many who come at once get one.
        let mut shared = self.files.lock().await;
        if let Some(files) = shared.upgrade() {
            return Ok(files);
        }
        let files = self.pool.files(self.lane).await?;
        *shared = files.downgrade();
        Ok(files)
    }
}

/// A file that is read piece by piece over any time. It stays open in between only while there are places enough, so that
/// nobody's pauses keep others from reading, and while its channel is one that is used for new files, so that no other stays open.
#[derive(Debug)]
pub(crate) struct Log {
    path: String,
    reader: Option<FileReader>,
}

impl Log {
    /// By its absolute path; nothing is opened yet.
    pub(crate) fn new(path: String) -> Log {
        Log { path, reader: None }
    }

    /// Up to `length` bytes from byte `offset` on: empty at the end of the file, none if it is not there. Cancel safe.
    pub(crate) async fn read(&mut self, logs: &Logs, offset: u64, length: u32) -> Result<Option<Vec<u8>>, RemoteError> {
        if self.reader.is_none() {
            self.reader = logs.open(&self.path).await?;
        }
        let Some(reader) = &self.reader else { return Ok(None) };
        let read = reader.read(offset, length).await;
        if read.is_err() || reader.is_wanted_back() {
            self.reader = None;
        }
        Ok(Some(read?))
    }
}
