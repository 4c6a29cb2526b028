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

    /// Opens a file by its absolute path; none if it is not there.
    pub(crate) async fn open(&self, path: &str) -> Result<Option<FileReader>, RemoteError> {
        let files = self.files().await?;
        Ok(files.open(path).await?)
    }

    async fn files(&self) -> Result<Files, RemoteError> {
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
