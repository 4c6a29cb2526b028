//! What a pool's connections and the slots on them share.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use russh::keys::PublicKey;
use tokio::sync::{Notify, Semaphore};

use super::lane::LaneState;

/// What a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Somebody waits for each byte.
    Interactive,
    /// Much data; takes no connection from interactive work.
    Bulk,
}

/// sshd turns connections away at random from its tenth on that has not signed in (MaxStartups), whoever they are from.
const DIALS: usize = 3;
/// So many of them may be terminals': one is left for commands, which all wait for it.
const TERMINALS_DIALS: usize = DIALS - 1;

#[derive(Default)]
pub(super) struct State {
    pub(super) interactive: LaneState,
    pub(super) bulk: LaneState,
    pub(super) closed: bool,
    /// The host key of this process's first connection, for sources that accept new host keys.
    pub(super) accepted: Option<PublicKey>,
}

impl State {
    pub(super) fn lane(&mut self, lane: Lane) -> &mut LaneState {
        match lane {
            Lane::Interactive => &mut self.interactive,
            Lane::Bulk => &mut self.bulk,
        }
    }
}

/// The bookkeeping of a pool, and who waits for a change of it.
pub(super) struct Core {
    state: Mutex<State>,
    pub(super) changed: Notify,
    /// Dials that may be under way at once, terminals' included.
    pub(super) dials: Semaphore,
    pub(super) terminals_dials: Semaphore,
    /// How long a connection without channels is kept if it is not its lane's last.
    pub(super) idle: Duration,
}

impl Core {
    pub(super) fn new(idle: Duration) -> Core {
        Core {
            state: Mutex::new(State::default()),
            changed: Notify::new(),
            dials: Semaphore::new(DIALS),
            terminals_dials: Semaphore::new(TERMINALS_DIALS),
            idle,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
