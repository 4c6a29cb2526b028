//! What may be open at once on one channel for file transfer, and whether all of it is known.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Files that may be open at once on one channel for file transfer. OpenSSH numbers what it has open from 0 on, and russh-sftp
/// takes these handles for text: from 128 on they are none, and the server would not know them again.
pub const OPEN_FILES: usize = 96;
/// With fewer places left than this, they are for whoever reads at the moment.
const SCARCE: usize = OPEN_FILES / 2;

/// The places for files on one channel.
#[derive(Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    doubtful: AtomicBool,
}

/// A place, for as long as a file is open.
pub type Place = OwnedSemaphorePermit;

impl Default for Places {
    fn default() -> Places {
        Places { free: Arc::new(Semaphore::new(OPEN_FILES)), doubtful: AtomicBool::new(false) }
    }
}

impl Places {
    /// A place, when there is one; none in the end of all.
    pub async fn take(&self) -> Option<Place> {
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    /// Whether others may have to wait for a place.
    pub fn are_scarce(&self) -> bool {
        self.free.available_permits() < SCARCE
    }

    /// A file may be open of which nobody knows, for as long as the channel is.
    pub fn doubt(&self) {
        self.doubtful.store(true, Ordering::Release);
    }

    /// Whether that was said: then the channel is for what is open there already, and new files need another.
    pub fn are_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Acquire)
    }
}
