//! What clients have sent and what is not carried out yet: bounded in bytes, for each socket and for all of them.
//!
//! What is short and must not wait for others' messages has room of its own: a stop and an answer get through however much else
//! waits, and so does a page that begins to look.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::inbound::{Inbound, Part};
use crate::protocol::Command;

/// Bytes that may wait on one socket: as many as its largest frame has, which so has its place when nothing else waits.
const SOCKET: usize = super::READ_LIMIT;
/// The same for stops and answers, and for what only looks; these are short. One that does not fit here waits with the others.
const SOCKET_SHORT: usize = 1024 * 1024;

/// What a client is told when there is no room left for all of them.
pub(super) const ALL_FULL: &str = "Others send very much at the moment; try again when some of it is done";

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
        Incoming { socket: Inbound::new(SOCKET, SOCKET_SHORT), all }
    }

    /// Room for a command that came in a frame of so many bytes.
    ///
    /// # Errors
    /// What to tell the client, if there is none at the moment.
    pub(super) fn take(&self, bytes: usize, command: &Command) -> Result<Room, &'static str> {
        let own = if command.is_urgent() {
            Some(Part::Urgent)
        } else if command.acts() {
            None
        } else {
            Some(Part::Looks)
        };
        if let Some(own) = own
            && let Ok(room) = self.take_of(bytes, own)
        {
            return Ok(room);
        }
        self.take_of(bytes, Part::Any)
    }

    fn take_of(&self, bytes: usize, part: Part) -> Result<Room, &'static str> {
        let socket = self.socket.take(bytes, part);
        let socket = socket.map_err(|_| "Too much waits on this connection; try again when some of it is done")?;
        let all = self.all.take(bytes, part);
        let all = all.map_err(|_| ALL_FULL)?;
        Ok(Room { _socket: socket, _all: all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Command = Command::Subscribe { after: None };
    const STOP: Command = Command::Cancel;

    fn message() -> Command {
        Command::Chat { message: String::new(), message_id: None }
    }

    #[test]
    fn a_socket_and_all_of_them_have_so_much_room_which_comes_back() {
        let all = Arc::new(Inbound::new(2 * SOCKET, SOCKET));
        let sockets: Vec<_> = (0..3).map(|_| Incoming::new(Arc::clone(&all))).collect();
        let first = sockets[0].take(SOCKET, &message()).map_err(str::to_owned).unwrap();
        assert!(sockets[0].take(1, &message()).is_err_and(|told| told.contains("this connection")));
        let _second = sockets[1].take(SOCKET, &message()).map_err(str::to_owned).unwrap();
        let refused = sockets[2].take(1, &message());
        assert!(refused.is_err_and(|told| told.contains("Others")), "what is small counts, too");
        drop(first);
        assert!(sockets[2].take(SOCKET, &message()).is_ok());
    }

    #[test]
    fn a_stop_and_a_look_find_room_behind_whatever_else_waits_and_behind_each_other() {
        for (short, other) in [(STOP, LOOK), (LOOK, STOP)] {
            let all = Arc::new(Inbound::new(SOCKET, SOCKET));
            let (full, free) = (Incoming::new(Arc::clone(&all)), Incoming::new(Arc::clone(&all)));
            let _message = full.take(SOCKET, &message()).map_err(str::to_owned).unwrap();
            assert!(full.take(100, &short).is_ok() && free.take(100, &short).is_ok(), "{short:?}");
            // A long one, too, and when there is no more room for such it is as any other.
            let _many = full.take(SOCKET_SHORT, &short).map_err(str::to_owned).unwrap();
            assert!(full.take(1, &short).is_err_and(|told| told.contains("this connection")), "{short:?}");
            assert!(full.take(1, &other).is_ok(), "{other:?} behind {short:?}");
            assert!(free.take(SOCKET_SHORT, &short).is_ok(), "{short:?}");
        }
    }

    #[test]
    fn what_changes_something_has_no_room_of_its_own_unless_it_is_urgent() {
        let full = Incoming::new(Arc::new(Inbound::new(0, SOCKET)));
        for acts in [message(), Command::Revoke { rule: String::new() }, Command::Trim { keep: 1 }] {
            assert!(full.take(1, &acts).is_err_and(|told| told.contains("Others")), "{acts:?}");
        }
        for short in [LOOK, STOP, Command::Unsubscribe, Command::Permissions, Command::Runs { before: None }] {
            assert!(full.take(1, &short).is_ok(), "{short:?}");
        }
    }
}
