//! Who may keep a channel to the VM for long. Invariant: however few sshd allows, one is left for commands.
//!
//! How many there can be is learned by the pool. What they are needed for comes first: what other replicas do, the logs that are
//! read in turns, commands. Shells that spare commands stay where there is room for them, and logs are followed by channels of
//! their own where there is room beside those. Whoever is too many when the number shrinks gives way.

use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use tokio::sync::{OwnedMutexGuard, watch};

/// The courier, and the list of ideas.
const SHELLS: usize = 2;
/// One in so many channels may follow a log.
const FOLLOWERS_SHARE: usize = 4;

/// The channels of the interactive lane.
#[derive(Debug)]
pub(crate) struct Channels {
    possible: watch::Receiver<usize>,
    following: Mutex<usize>,
}

impl Channels {
    /// The index, the logs that are read in turns, and one for commands. The pool has these in any case.
    pub(crate) const NEEDED: usize = 3;

    /// `possible`: as many as there can be.
    pub(super) fn new(possible: watch::Receiver<usize>) -> Arc<Channels> {
        Arc::new(Channels { possible, following: Mutex::new(0) })
    }

    /// The right to follow a log by a channel of its own; none if all are taken.
    pub(crate) fn follow(self: &Arc<Self>) -> Option<Following> {
        let mut following = self.following();
        if *following >= followers(*self.possible.borrow()) {
            return None;
        }
        *following += 1;
        Some(Following { channels: Arc::clone(self), counted: true })
    }

    fn following(&self) -> MutexGuard<'_, usize> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn followers(possible: usize) -> usize {
    (possible / FOLLOWERS_SHARE).min(possible.saturating_sub(Channels::NEEDED + SHELLS))
}

fn room_for_shells(possible: usize) -> bool {
    possible >= Channels::NEEDED + SHELLS
}

/// The right to follow a log by a channel of its own.
#[derive(Debug)]
pub(crate) struct Following {
    channels: Arc<Channels>,
    counted: bool,
}

impl Following {
    /// Returns when there are so few channels that this one has to be given back. Cancel safe.
    pub(crate) async fn withdrawn(&mut self) {
        let mut possible = self.channels.possible.clone();
        loop {
            let most = followers(*possible.borrow_and_update());
            if self.give_way(most) {
                return;
            }
            if possible.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Counts it out if more than `most` are counted: so no more give way than have to.
    fn give_way(&mut self, most: usize) -> bool {
        let mut following = self.channels.following();
        if self.counted && *following > most {
            *following -= 1;
            self.counted = false;
        }
        !self.counted
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.give_way(0);
    }
}

/// A shell that stays on the VM while there are channels enough: what it does, commands can do, too.
pub(crate) struct Standing<T> {
    channels: Arc<Channels>,
    shell: Arc<tokio::sync::Mutex<Option<T>>>,
    watched: Once,
}

/// The shell in the hands of whoever uses it.
pub(crate) type Held<T> = OwnedMutexGuard<Option<T>>;

impl<T: Send + 'static> Standing<T> {
    /// There is none yet.
    pub(crate) fn new(channels: &Arc<Channels>) -> Standing<T> {
        Standing { channels: Arc::clone(channels), shell: Arc::default(), watched: Once::new() }
    }

    /// When nobody else has it.
    pub(crate) async fn hold(&self) -> Held<T> {
        Arc::clone(&self.shell).lock_owned().await
    }

    /// Unless somebody else has it.
    pub(crate) fn try_hold(&self) -> Option<Held<T>> {
        Arc::clone(&self.shell).try_lock_owned().ok()
    }

    /// Whether one may stay.
    pub(crate) fn may_stay(&self) -> bool {
        room_for_shells(*self.channels.possible.borrow())
    }

    /// Leaves `shell` there for whoever comes next, or ends it where there are too few channels.
    pub(crate) fn leave(&self, held: &mut Held<T>, shell: T) {
        if !self.may_stay() {
            return;
        }
        **held = Some(shell);
        self.watched.call_once(|| {
            let (kept, mut possible) = (Arc::downgrade(&self.shell), self.channels.possible.clone());
            tokio::spawn(async move {
                loop {
                    if !room_for_shells(*possible.borrow_and_update()) {
                        let Some(shell) = kept.upgrade() else { return };
                        *shell.lock().await = None;
                    }
                    if possible.changed().await.is_err() {
                        return;
                    }
                }
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn commands_and_what_is_needed_have_their_channels_first() {
        for (possible, shells, most) in
            [(3, false, 0), (4, false, 0), (5, true, 0), (6, true, 1), (8, true, 2), (64, true, 16)]
        {
            assert_eq!((room_for_shells(possible), followers(possible)), (shells, most), "{possible}");
            let kept = most + if shells { SHELLS } else { 0 };
            assert!(kept + Channels::NEEDED <= possible, "{possible}");
        }
    }

    #[test]
    fn as_many_give_way_as_have_to_and_what_ends_leaves_room() {
        let (tell, possible) = watch::channel(16);
        let channels = Channels::new(possible);
        let mut all: Vec<Following> = (0..4).map(|_| channels.follow().unwrap()).collect();
        assert!(channels.follow().is_none());
        tell.send_replace(8);
        let gone = all.iter_mut().filter_map(|one| one.withdrawn().now_or_never()).count();
        assert_eq!(gone, 2);
        assert!(channels.follow().is_none());
        // Those that gave way are not counted again.
        drop(all);
        let all: Vec<_> = std::iter::from_fn(|| channels.follow()).collect();
        assert_eq!(all.len(), 2);
    }

    #[tokio::test]
    async fn a_shell_goes_when_channels_get_few_and_none_is_left_there_then() {
        let (tell, possible) = watch::channel(64);
        let standing = Standing::new(&Channels::new(possible));
        let (lives, ended) = tokio::sync::oneshot::channel::<()>();
        standing.leave(&mut standing.hold().await, lives);
        assert!(standing.hold().await.is_some());
        tell.send_replace(4);
        // The shell's other end tells.
        assert!(ended.await.is_err());
        let (lives, ended) = tokio::sync::oneshot::channel::<()>();
        standing.leave(&mut standing.hold().await, lives);
        assert!(ended.await.is_err() && standing.hold().await.is_none());
    }
}
