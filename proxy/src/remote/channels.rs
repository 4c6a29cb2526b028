//! Who may keep a channel to the VM for long. Invariant: however few sshd allows, one is left for commands.
//!
//! How many there can be is learned by the pool. What they are needed for comes first: what other replicas do, the logs that are
//! read in turns, commands. Shells that spare commands stay where there is room for them, and logs are followed by channels of
//! their own where there is room beside those. Whoever is too many when the number shrinks gives way, and so does who follows a silent log
//! where another waits whose log is not.

use std::sync::{Arc, Once};

use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::{Instant, sleep_until};

/// The courier, and the list of ideas.
const SHELLS: usize = 2;
/// One in so many channels may follow a log.
const FOLLOWERS_SHARE: usize = 4;

/// The channels of the interactive lane.
#[derive(Debug)]
pub(crate) struct Channels {
    possible: watch::Receiver<usize>,
    following: watch::Sender<Followers>,
}

/// Who follows a log by a channel of its own.
#[derive(Clone, Copy, Debug, Default)]
struct Followers {
    now: usize,
    /// Those who would like to.
    waiting: usize,
}

impl Channels {
    /// The index, the logs that are read in turns, and one for commands. The pool has these in any case.
    pub(crate) const NEEDED: usize = 3;

    /// `possible`: as many as there can be.
    pub(super) fn new(possible: watch::Receiver<usize>) -> Arc<Channels> {
        Arc::new(Channels { possible, following: watch::Sender::default() })
    }

    /// The right to follow a log by a channel of its own; none if all are taken, or kept for those who wait.
    pub(crate) fn follow(self: &Arc<Self>) -> Option<Following> {
        let most = self.most();
        let counted = self.following.send_if_modified(|followers| {
            let room = followers.now + followers.waiting < most;
            followers.now += usize::from(room);
            room
        });
        counted.then(|| Following { channels: Arc::clone(self), counted: true })
    }

    /// The same as soon as there is one. Cancel safe.
    pub(crate) async fn turn_to_follow(self: Arc<Self>) -> Following {
        let mut waiting = Waiting::new(&self);
        let (mut possible, mut following) = (self.possible.clone(), self.following.subscribe());
        loop {
            possible.mark_unchanged();
            following.mark_unchanged();
            if waiting.follows() {
                return Following { channels: Arc::clone(&self), counted: true };
            }
            tokio::select! {
                _ = possible.changed() => {}
                _ = following.changed() => {}
            }
        }
    }

    fn most(&self) -> usize {
        followers(*self.possible.borrow())
    }
}

/// One who waits is counted for as long as it does.
struct Waiting<'a> {
    channels: &'a Channels,
    counted: bool,
}

impl Waiting<'_> {
    fn new(channels: &Channels) -> Waiting<'_> {
        channels.following.send_modify(|followers| followers.waiting += 1);
        Waiting { channels, counted: true }
    }

    /// Counts among those who follow from now on, if there is room. Never among both, or one would give way for nothing.
    fn follows(&mut self) -> bool {
        let most = self.channels.most();
        let follows = self.channels.following.send_if_modified(|followers| {
            let room = followers.now < most;
            followers.now += usize::from(room);
            followers.waiting -= usize::from(room);
            room
        });
        self.counted &= !follows;
        follows
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.counted {
            self.channels.following.send_modify(|followers| followers.waiting -= 1);
        }
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
    /// Returns when this right has to be given back: because there are so few channels, or, from `silent` on, because somebody waits for
    /// one. Cancel safe.
    pub(crate) async fn withdrawn(&mut self, silent: Instant) {
        let (mut possible, mut following) = (self.channels.possible.clone(), self.channels.following.subscribe());
        loop {
            possible.mark_unchanged();
            following.mark_unchanged();
            let (most, is_silent) = (self.channels.most(), Instant::now() >= silent);
            if self.give_way(|followers| followers.now + if is_silent { followers.waiting } else { 0 } > most) {
                return;
            }
            tokio::select! {
                _ = possible.changed() => {}
                _ = following.changed(), if is_silent => {}
                () = sleep_until(silent), if !is_silent => {}
            }
        }
    }

    /// Counts it out if there are too many: so no more give way than have to.
    fn give_way(&mut self, too_many: impl FnOnce(&Followers) -> bool) -> bool {
        if self.counted {
            self.counted = !self.channels.following.send_if_modified(|followers| {
                let gives = too_many(followers);
                followers.now -= usize::from(gives);
                gives
            });
        }
        !self.counted
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.give_way(|_| true);
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
    use std::time::Duration;

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

    #[tokio::test]
    async fn as_many_give_way_as_have_to_and_what_ends_leaves_room() {
        let (tell, possible) = watch::channel(16);
        let channels = Channels::new(possible);
        let mut all: Vec<Following> = (0..4).map(|_| channels.follow().unwrap()).collect();
        assert!(channels.follow().is_none());
        tell.send_replace(8);
        let later = Instant::now() + Duration::from_secs(60);
        let gone = all.iter_mut().filter_map(|one| one.withdrawn(later).now_or_never()).count();
        assert_eq!(gone, 2);
        assert!(channels.follow().is_none());
        // Those that gave way are not counted again.
        drop(all);
        let all: Vec<_> = std::iter::from_fn(|| channels.follow()).collect();
        assert_eq!(all.len(), 2);
    }

    #[tokio::test]
    async fn who_follows_a_silent_log_gives_way_to_one_who_waits_and_is_not_before_it_again() {
        let (_tell, possible) = watch::channel(16);
        let channels = Channels::new(possible);
        let mut all: Vec<Following> = (0..4).map(|_| channels.follow().unwrap()).collect();
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(60));
        // Nobody waits: silence alone is no reason.
        assert!(all[0].withdrawn(now).now_or_never().is_none());
        let mut waits = Box::pin(Arc::clone(&channels).turn_to_follow());
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(all[0].withdrawn(later).now_or_never().is_none(), "its log is not silent");
        assert!(all[1].withdrawn(now).now_or_never().is_some());
        assert!(all[2].withdrawn(now).now_or_never().is_none(), "one is enough");
        assert!(channels.follow().is_none(), "it is kept for the one who waits");
        let got = waits.await;
        assert!(channels.follow().is_none());
        // One who waits no more keeps nobody out.
        let mut tired = Box::pin(Arc::clone(&channels).turn_to_follow());
        assert!(tired.as_mut().now_or_never().is_none());
        drop((tired, got));
        assert!(channels.follow().is_some());
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_an_end_and_by_more_channels() {
        let (tell, possible) = watch::channel(8);
        let channels = Channels::new(possible);
        let mut all: Vec<Following> = std::iter::from_fn(|| channels.follow()).collect();
        let mut waiting = [(); 2].map(|()| tokio::spawn(Arc::clone(&channels).turn_to_follow()));
        tokio::task::yield_now().await;
        all.pop();
        tell.send_replace(12);
        for waits in &mut waiting {
            all.push(waits.await.unwrap());
        }
        assert_eq!(all.len(), 3);
        assert!(channels.follow().is_none());
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
