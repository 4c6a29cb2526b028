//! Room for what clients have sent and what is not carried out yet, in bytes. Stops and answers have their own, so that nothing else
//! keeps them out.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// Of all clients together: some of the longest messages, and very many stops and answers.
const ALL: usize = 64 * 1024 * 1024;
const ALL_URGENT: usize = 16 * 1024 * 1024;

/// Room for whatever is sent, and for stops and answers.
pub struct Inbound {
    any: Arc<Semaphore>,
    urgent: Arc<Semaphore>,
}

/// The room of all clients together.
impl Default for Inbound {
    fn default() -> Inbound {
        Inbound::new(ALL, ALL_URGENT)
    }
}

impl Inbound {
    /// With room for so many bytes.
    pub fn new(any: usize, urgent: usize) -> Inbound {
        Inbound { any: Arc::new(Semaphore::new(any)), urgent: Arc::new(Semaphore::new(urgent)) }
    }

    /// Room for so many bytes, until it is dropped. `urgent`: of a stop or an answer.
    ///
    /// # Errors
    /// If there is not so much at the moment.
    pub fn take(&self, bytes: usize, urgent: bool) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        let part = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = if urgent { &self.urgent } else { &self.any };
        Arc::clone(room).try_acquire_many_owned(part)
    }
}
