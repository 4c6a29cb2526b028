//! What all viewers of one idea on this replica share: one follower, one ring.
//!
//! A hub lives while somebody looks or a turn runs, so that a turn's end is noticed though no browser is open.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::frame::{Frame, Position};
use super::history::{self, Recent};
use super::question::Question;
use super::ring::Ring;
use super::vm::{Latest, Vm};
use super::{IdeaRef, RunError, RunStats};
use crate::agent::{Decision, Event, State};

/// How long a hub lives after something was asked of it, though nobody looks.
pub(super) const LINGER: Duration = Duration::from_secs(20);
/// Frames that the viewer that is furthest may be behind before the follower waits for it.
const LEAD: u64 = 128;
/// How long the follower waits for a viewer at most; one that takes longer leaves the ring.
const PATIENCE: Duration = Duration::from_millis(50);

pub(super) struct Hub {
    pub(super) idea: IdeaRef,
    inner: Mutex<Inner>,
    /// Counts changes; viewers and the follower wait for them.
    changed: watch::Sender<u64>,
    consumed: Notify,
    /// How the latest run stands.
    stands: Question<Latest>,
    /// The same, and what those are shown first who come.
    shows: Question<Arc<(Latest, Recent)>>,
}

struct Inner {
    /// None until the follower knows where it begins.
    ring: Option<Ring>,
    /// The highest run that is known to exist or to be about to.
    known: u64,
    viewers: usize,
    keep_until: Instant,
    turn_open: bool,
    /// Requests for permission that are open by the log.
    asked: Vec<String>,
    answered: HashMap<String, Option<Decision>>,
    /// How far each viewer that has a subscription has come, by its number.
    places: HashMap<u64, Position>,
    /// The number of the last one that came.
    numbers: u64,
    /// Number of the next frame for the viewer that is furthest.
    lead: u64,
    lagging: bool,
    trouble: Option<(u64, RunError)>,
    troubles: u64,
    ended: bool,
}

impl Hub {
    pub(super) fn new(idea: IdeaRef) -> Hub {
        Hub {
            idea,
            inner: Mutex::new(Inner {
                ring: None,
                known: 0,
                viewers: 0,
                keep_until: Instant::now() + LINGER,
                turn_open: false,
                asked: Vec::new(),
                answered: HashMap::new(),
                places: HashMap::new(),
                numbers: 0,
                lead: 0,
                lagging: false,
                trouble: None,
                troubles: 0,
                ended: false,
            }),
            changed: watch::Sender::new(0),
            consumed: Notify::new(),
            stands: Question::default(),
            shows: Question::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics while it holds the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Wakes with every change after this call.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        let mut changes = self.changed.subscribe();
        changes.mark_unchanged();
        changes
    }

    /// Adds what this hub has at the moment.
    pub(super) fn count(&self, stats: &mut RunStats) {
        let inner = self.lock();
        stats.followed += 1;
        stats.viewers += inner.viewers;
        stats.turns += usize::from(inner.turn_open);
        stats.lagging += usize::from(inner.lagging && inner.viewers > 0);
        stats.asking += inner.asked.iter().filter(|request| !inner.answered.contains_key(*request)).count();
        if let Some(head) = inner.ring.as_ref().map(Ring::head) {
            let behind = inner.places.values().map(|place| between(*place, head)).max();
            stats.behind = stats.behind.max(behind.unwrap_or_default());
        }
    }

    // What the follower says.

    pub(super) fn begin(&self, at: Position, latest: &Latest, state: &State) {
        let mut inner = self.lock();
        inner.ring = Some(Ring::new(at));
        inner.known = inner.known.max(latest.run);
        inner.turn_open = latest.live && state.turn_open();
        inner.asked = if latest.live { asked(state) } else { Vec::new() };
        // What begins has reached the VM.
        inner.trouble = None;
        drop(inner);
        self.learn(latest);
        self.change();
    }

    /// Requests that were answered before this replica looked.
    pub(super) fn learn(&self, latest: &Latest) {
        let mut inner = self.lock();
        for request in &latest.answered {
            inner.answered.entry(request.clone()).or_insert(None);
        }
    }

    pub(super) fn push(&self, frames: Vec<Arc<Frame>>, head: Position, state: &State) {
        let mut inner = self.lock();
        inner.turn_open = state.turn_open();
        inner.asked = asked(state);
        if let Some(ring) = &mut inner.ring {
            ring.extend(frames, head);
        }
        inner.trouble = None;
        drop(inner);
        self.change();
    }

    /// Lets a viewer that reads fast keep up, so that it need not go to the log; never for long.
    pub(super) async fn pace(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let consumed = self.consumed.notified();
            {
                let mut inner = self.lock();
                let end = inner.ring.as_ref().map_or(0, Ring::end);
                if inner.viewers == 0 || inner.lagging || end.saturating_sub(inner.lead) < LEAD {
                    return;
                }
                if Instant::now() >= deadline {
                    inner.lagging = true;
                    return;
                }
            }
            let _ = tokio::time::timeout_at(deadline, consumed).await;
        }
    }

    /// The way to the VM is broken for long enough that viewers should hear of it, or works again.
    pub(super) fn trouble(&self, error: Option<RunError>) {
        let mut inner = self.lock();
        if error.is_some() {
            inner.troubles += 1;
        }
        let number = inner.troubles;
        inner.trouble = error.map(|error| (number, error));
        drop(inner);
        self.change();
    }

    pub(super) fn known(&self) -> u64 {
        self.lock().known
    }

    /// Whether there is a reason to go on following.
    pub(super) fn wanted(&self) -> bool {
        let inner = self.lock();
        inner.viewers > 0 || inner.turn_open || Instant::now() < inner.keep_until
    }

    /// A run is over, so no turn runs until another begins.
    pub(super) fn run_over(&self) {
        let mut inner = self.lock();
        inner.turn_open = false;
        inner.asked.clear();
        // What waited for the end of this run starts the next.
        inner.keep_until = inner.keep_until.max(Instant::now() + Duration::from_secs(5));
        drop(inner);
        self.change();
    }

    /// Ends the hub unless it is wanted after all.
    pub(super) fn try_end(&self) -> bool {
        let mut inner = self.lock();
        if inner.viewers > 0 || inner.turn_open || Instant::now() < inner.keep_until {
            return false;
        }
        inner.ended = true;
        drop(inner);
        self.change();
        true
    }

    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.change();
    }

    /// Run `run` was found on the VM.
    pub(super) fn found(&self, run: u64) {
        let mut inner = self.lock();
        inner.known = inner.known.max(run);
        drop(inner);
        self.change();
    }

    // What others say.

    /// Run `run` was started, here or by another replica.
    pub(super) fn know(&self, run: u64) {
        let mut inner = self.lock();
        inner.known = inner.known.max(run);
        inner.keep_until = Instant::now() + LINGER;
        drop(inner);
        self.change();
    }

    /// A request for permission was answered, here or at another replica.
    pub(super) fn answered(&self, request: &str, decision: Decision) {
        let mut inner = self.lock();
        if inner.answered.insert(request.to_owned(), Some(decision)) == Some(Some(decision)) {
            return;
        }
        if let Some(ring) = &mut inner.ring {
            let event = Event::PermissionClosed { request_id: request.to_owned(), decision: Some(decision) };
            let head = ring.head();
            ring.extend(vec![Arc::new(Frame::beside_log(head, event))], head);
        }
        drop(inner);
        self.change();
    }

    // What viewers ask.

    /// How the latest run stands, as of after this call: many who come at once share one question to the VM.
    pub(super) async fn latest(&self, vm: &Vm) -> Result<Latest, RunError> {
        self.stands
            .ask(async {
                let latest = vm.state(&self.idea).await?;
                // In case the index was late or lost the line.
                self.learn(&latest);
                if latest.run > 0 {
                    self.know(latest.run);
                }
                Ok(latest)
            })
            .await
    }

    /// The last of the history as of after this call, shared in the same way.
    pub(super) async fn recent(&self, vm: &Vm) -> Result<Arc<(Latest, Recent)>, RunError> {
        self.shows
            .ask(async {
                let latest = self.latest(vm).await?;
                let recent = history::recent(vm, &self.idea, latest.run, latest.live).await?;
                Ok(Arc::new((latest, recent)))
            })
            .await
    }

    /// Counts a viewer in; false if the hub has ended and another is needed.
    pub(super) fn enter(&self) -> bool {
        let mut inner = self.lock();
        if inner.ended {
            return false;
        }
        inner.viewers += 1;
        true
    }

    /// Keeps the hub for a while; false if it has ended and another is needed.
    pub(super) fn keep(&self) -> bool {
        let mut inner = self.lock();
        inner.keep_until = Instant::now() + LINGER;
        !inner.ended
    }

    pub(super) fn leave(&self) {
        let mut inner = self.lock();
        inner.viewers = inner.viewers.saturating_sub(1);
        // A browser that reloads finds everything still there.
        inner.keep_until = inner.keep_until.max(Instant::now() + Duration::from_secs(2));
        drop(inner);
        self.change();
    }

    pub(super) fn ended(&self) -> bool {
        self.lock().ended
    }

    pub(super) fn turn_open(&self) -> bool {
        self.lock().turn_open
    }

    /// The run that is followed now.
    pub(super) fn head(&self) -> Option<Position> {
        self.lock().ring.as_ref().map(Ring::head)
    }

    pub(super) fn with_ring<T>(&self, look: impl FnOnce(&Ring) -> T) -> Option<T> {
        self.lock().ring.as_ref().map(look)
    }

    /// A number for a viewer that begins at `at`; [`Hub::forget`] ends it.
    pub(super) fn number(&self, at: Position) -> u64 {
        let mut inner = self.lock();
        inner.numbers += 1;
        let number = inner.numbers;
        inner.places.insert(number, at);
        number
    }

    /// The viewer of this number has taken all up to `at`.
    pub(super) fn reached(&self, number: u64, at: Position) {
        self.lock().places.insert(number, at);
    }

    /// The viewer of this number goes.
    pub(super) fn forget(&self, number: u64) {
        self.lock().places.remove(&number);
    }

    /// A viewer that has joined says what it takes next, and that it has taken all up to `at`.
    pub(super) fn took(&self, number: u64, next: u64, at: Position) {
        let mut inner = self.lock();
        inner.places.insert(number, at);
        if next > inner.lead {
            inner.lead = next;
            inner.lagging = false;
            drop(inner);
            self.consumed.notify_one();
        }
    }

    /// Those of `requests` that were answered, with the answer where it is known.
    pub(super) fn answers(&self, requests: &HashSet<String>) -> Vec<(String, Option<Decision>)> {
        let inner = self.lock();
        requests.iter().filter_map(|id| inner.answered.get(id).map(|decision| (id.clone(), *decision))).collect()
    }

    /// Trouble that a viewer which knows the first `seen` was not told yet.
    pub(super) fn news(&self, seen: u64) -> Option<(u64, RunError)> {
        self.lock().trouble.clone().filter(|(number, _)| *number > seen)
    }
}

fn asked(state: &State) -> Vec<String> {
    state.open_requests().iter().map(|request| request.request_id.clone()).collect()
}

/// Bytes of the log from one place to another; of a later run's log only those, for how long the logs between are is not known.
fn between(from: Position, to: Position) -> u64 {
    match from.run.cmp(&to.run) {
        std::cmp::Ordering::Less => to.seq.offset,
        std::cmp::Ordering::Equal => to.seq.offset.saturating_sub(from.seq.offset),
        std::cmp::Ordering::Greater => 0,
    }
}
