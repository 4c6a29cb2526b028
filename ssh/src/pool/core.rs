//! What a pool's connections and the slots on them share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use russh::keys::PublicKey;
use tokio::sync::{Notify, Semaphore, watch};

use super::PoolLimits;
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
    pub(super) limits: PoolLimits,
    /// Channels that the interactive lane can have.
    pub(super) possible: watch::Sender<usize>,
}

impl Core {
    pub(super) fn new(limits: PoolLimits) -> Core {
        Core {
            possible: watch::Sender::new(possible(&limits, None)),
            state: Mutex::new(State::default()),
            changed: Notify::new(),
            dials: Semaphore::new(DIALS),
            terminals_dials: Semaphore::new(TERMINALS_DIALS),
            limits,
        }
    }

    /// Says how many channels the interactive lane can have, if that has changed.
    pub(super) fn tell(&self, state: &State) {
        let now = possible(&self.limits, state.interactive.allowed());
        self.possible.send_if_modified(|told| std::mem::replace(told, now) != now);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn possible(limits: &PoolLimits, allowed: Option<usize>) -> usize {
    let capacity = limits.channels_per_connection;
    limits.connections(Lane::Interactive, allowed) * allowed.map_or(capacity, |allowed| allowed.min(capacity))
}
