//! Room for what clients have sent and what is not carried out yet, in bytes. Stops and answers have their own, and so has what only
//! looks: no message keeps them out, and neither of them the other.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// Of all clients together: some of the longest messages, and very many of whatever is short.
const ALL: usize = 64 * 1024 * 1024;
const ALL_SHORT: usize = 16 * 1024 * 1024;

/// Which part of the room something takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// That for whatever is sent.
    Any,
    /// That for stops and answers.
    Urgent,
    /// That for what only looks.
    Looks,
}

/// Room for whatever is sent, for stops and answers, and for what only looks.
pub struct Inbound {
    any: Arc<Semaphore>,
    urgent: Arc<Semaphore>,
    looks: Arc<Semaphore>,
}

/// The room of all clients together.
impl Default for Inbound {
    fn default() -> Inbound {
        Inbound::new(ALL, ALL_SHORT)
    }
}

impl Inbound {
    /// With room for so many bytes, and for `short` in each of the parts that are not for everything.
    pub fn new(any: usize, short: usize) -> Inbound {
        let [any, urgent, looks] = [any, short, short].map(|bytes| Arc::new(Semaphore::new(bytes)));
        Inbound { any, urgent, looks }
    }

    /// Room for so many bytes, until it is dropped.
    ///
    /// # Errors
    /// If there is not so much at the moment.
    pub fn take(&self, bytes: usize, part: Part) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        let room = match part {
            Part::Any => &self.any,
            Part::Urgent => &self.urgent,
            Part::Looks => &self.looks,
        };
        Arc::clone(room).try_acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX))
    }
}
