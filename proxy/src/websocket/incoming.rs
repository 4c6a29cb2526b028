//! What clients have sent and what is not carried out yet: bounded in bytes, for each socket and for all of them.
//!
//! A stop and an answer have room of their own, so that they get through however much else waits.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::inbound::Inbound;

/// Bytes that may wait on one socket: as many as its largest frame has, which so has its place when nothing else waits.
const SOCKET: usize = super::READ_LIMIT;
/// The same for stops and answers, which are short. One that does not fit here waits with the others.
const SOCKET_URGENT: usize = 1024 * 1024;

/// The room of one socket, and of all.
pub(super) struct Incoming {
    socket: Inbound,
    all: Arc<Inbound>,
}

/// The room that a frame takes until what it asks for is done.
pub(super) struct Room {
    _socket: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Incoming {
    pub(super) fn new(all: Arc<Inbound>) -> Incoming {
        Incoming { socket: Inbound::new(SOCKET, SOCKET_URGENT), all }
    }

    /// Room for a frame of so many bytes. `urgent`: it is a stop or an answer.
    ///
    /// # Errors
    /// What to tell the client, if there is none at the moment.
    pub(super) fn take(&self, bytes: usize, urgent: bool) -> Result<Room, &'static str> {
        if urgent && let Ok(room) = self.take_of(bytes, true) {
            return Ok(room);
        }
        self.take_of(bytes, false)
    }

    fn take_of(&self, bytes: usize, urgent: bool) -> Result<Room, &'static str> {
        let socket = self.socket.take(bytes, urgent);
        let socket = socket.map_err(|_| "Too much waits on this connection; try again when some of it is done")?;
        let all = self.all.take(bytes, urgent);
        let all = all.map_err(|_| "Others send very much at the moment; try again when some of it is done")?;
        Ok(Room { _socket: socket, _all: all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_and_all_of_them_have_so_much_room_which_comes_back() {
        let all = Arc::new(Inbound::new(2 * SOCKET, SOCKET));
        let sockets: Vec<_> = (0..3).map(|_| Incoming::new(Arc::clone(&all))).collect();
        let first = sockets[0].take(SOCKET, false).map_err(str::to_owned).unwrap();
        assert!(sockets[0].take(1, false).is_err_and(|told| told.contains("this connection")));
        let _second = sockets[1].take(SOCKET, false).map_err(str::to_owned).unwrap();
        assert!(sockets[2].take(1, false).is_err_and(|told| told.contains("Others")), "what is small counts, too");
        drop(first);
        assert!(sockets[2].take(SOCKET, false).is_ok());
    }

    #[test]
    fn a_stop_and_an_answer_find_room_behind_whatever_else_waits() {
        let all = Arc::new(Inbound::new(SOCKET, SOCKET));
        let (full, other) = (Incoming::new(Arc::clone(&all)), Incoming::new(Arc::clone(&all)));
        let _prompt = full.take(SOCKET, false).map_err(str::to_owned).unwrap();
        assert!(full.take(100, true).is_ok() && other.take(100, true).is_ok());
        // A long one, too, and when there is no more room for such it is as any other.
        let _answers = full.take(SOCKET_URGENT, true).map_err(str::to_owned).unwrap();
        assert!(full.take(1, true).is_err_and(|told| told.contains("this connection")));
        assert!(other.take(SOCKET_URGENT, true).is_ok());
    }
}
