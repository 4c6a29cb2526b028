//! What clients have sent and what is not carried out yet: bounded in bytes, for each socket and for all of them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that may wait on one socket: as many as its largest frame has, which so has its place when nothing else waits.
pub(super) const SOCKET: usize = super::READ_LIMIT;
/// What is no longer than this needs no room beside its socket's: a stop or an answer is taken however much others send.
const SMALL: usize = 16 * 1024;

/// The room of one socket, and of all.
pub(super) struct Incoming {
    socket: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

/// The room that a frame takes until what it asks for is done.
pub(super) struct Room {
    _socket: OwnedSemaphorePermit,
    _all: Option<OwnedSemaphorePermit>,
}

impl Incoming {
    pub(super) fn new(all: Arc<Semaphore>) -> Incoming {
        Incoming { socket: Arc::new(Semaphore::new(SOCKET)), all }
    }

    /// Room for a frame of so many bytes.
    ///
    /// # Errors
    /// What to tell the client, if there is none at the moment.
    pub(super) fn take(&self, bytes: usize) -> Result<Room, &'static str> {
        let part = u32::try_from(bytes).unwrap_or(u32::MAX);
        let socket = Arc::clone(&self.socket).try_acquire_many_owned(part);
        let socket = socket.map_err(|_| "Too much waits on this connection; try again when some of it is done")?;
        let all = match bytes {
            ..=SMALL => None,
            _ => {
                let all = Arc::clone(&self.all).try_acquire_many_owned(part);
                Some(all.map_err(|_| "Others send very much at the moment; try again when some of it is done")?)
            }
        };
        Ok(Room { _socket: socket, _all: all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_and_all_of_them_have_so_much_room_which_comes_back_and_small_frames_always_pass() {
        let all = Arc::new(Semaphore::new(2 * SOCKET));
        let sockets: Vec<_> = (0..3).map(|_| Incoming::new(Arc::clone(&all))).collect();
        let first = sockets[0].take(SOCKET).map_err(str::to_owned).unwrap();
        assert!(sockets[0].take(1).is_err_and(|told| told.contains("this connection")));
        let _second = sockets[1].take(SOCKET).map_err(str::to_owned).unwrap();
        assert!(sockets[2].take(SMALL + 1).is_err_and(|told| told.contains("Others")));
        assert!(sockets[2].take(SMALL).is_ok());
        drop(first);
        assert!(sockets[2].take(SOCKET).is_ok());
    }
}
