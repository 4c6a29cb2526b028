//! A viewer's way through an idea's frames: what is there already, then what comes, on into later runs.
//!
//! A viewer that keeps up takes from the ring. One that does not reads the log itself, from where it is, until it has
//! caught up: nothing is dropped, nobody waits for it, and what it costs is bounded.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use catalyst_ssh::Lane;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::frame::{Frame, Position, Reader, Resume};
use super::hub::Hub;
use super::ring::{Found, Place};
use super::vm::Vm;
use super::{IdeaRef, RunError, Start};
use crate::agent::{Event, State};
use crate::remote::{Log, READ};

/// A viewer is told of an outage that lasts longer than this.
const SILENT_OUTAGE: Duration = Duration::from_secs(5);
/// Between looks at a log that does not go on as expected.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const BACKOFF_LAST: Duration = Duration::from_secs(5);

/// A viewer's way through an idea's frames.
pub struct Subscription {
    /// Where it begins.
    pub start: Start,
    hub: Arc<Hub>,
    /// The hub's number for this viewer.
    number: u64,
    vm: Arc<Vm>,
    way: Way,
    /// All up to here was given or skipped.
    cursor: Position,
    /// From where the log is read if the viewer falls behind.
    resume: Resume,
    /// The log that was read from last, with its run.
    file: Option<(u64, Log)>,
    pending: VecDeque<Arc<Frame>>,
    changes: watch::Receiver<u64>,
    told: u64,
    outage: Option<(Instant, bool, Duration)>,
}

/// Where a viewer takes its frames from.
enum Way {
    /// From the ring, this frame next.
    Ring(u64),
    /// From the log.
    Log(Box<Reader>),
}

impl Subscription {
    /// From a reader that has read what `frames` say. The hub has counted this viewer already.
    pub(super) fn new(
        hub: Arc<Hub>,
        vm: Arc<Vm>,
        start: Start,
        frames: Vec<Arc<Frame>>,
        reader: Reader,
    ) -> Subscription {
        let changes = hub.changes();
        let mut pending: VecDeque<Arc<Frame>> = frames.into();
        let asked: HashSet<String> =
            reader.state().open_requests().iter().map(|request| request.request_id.clone()).collect();
        for (request_id, decision) in hub.answers(&asked) {
            let event = Event::PermissionClosed { request_id, decision };
            pending.push_back(Arc::new(Frame::beside_log(reader.position(), event)));
        }
        let cursor = reader.skipped().max(reader.position());
        Subscription {
            start,
            cursor,
            resume: reader.resume(),
            file: None,
            number: hub.number(cursor),
            hub,
            vm,
            way: Way::Log(Box::new(reader)),
            pending,
            changes,
            told: 0,
            outage: None,
        }
    }

    /// Straight into the ring, if it has all after `after`.
    pub(super) fn joined(hub: Arc<Hub>, vm: Arc<Vm>, start: Start, after: Position, place: Place) -> Subscription {
        let Place { next, resume } = place;
        let changes = hub.changes();
        Subscription {
            start,
            cursor: after,
            resume: resume.unwrap_or(Resume { run: after.run, offset: 0, state: State::default() }),
            file: None,
            number: hub.number(after),
            hub,
            vm,
            way: Way::Ring(next),
            pending: VecDeque::new(),
            changes,
            told: 0,
            outage: None,
        }
    }

    /// The next frame; waits for it. An error tells of an outage that goes on; the frames come when it is over. None
    /// when the proxy ends. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Arc<Frame>, RunError>> {
        loop {
            if let Some(frame) = self.pending.pop_front() {
                return Some(Ok(frame));
            }
            self.changes.mark_unchanged();
            match self.advance().await {
                Ok(true) => {}
                Ok(false) => {
                    if self.hub.ended() {
                        return None;
                    }
                    if let Some((number, error)) = self.hub.news(self.told) {
                        self.told = number;
                        return Some(Err(error));
                    }
                    // The sender lives as long as the hub, which this viewer holds.
                    let _ = self.changes.changed().await;
                }
                Err(error) => {
                    if let Some(error) = self.pause(error).await {
                        return Some(Err(error));
                    }
                }
            }
        }
    }

    /// The next frame if it is there, for sending several at once.
    pub fn try_next(&mut self) -> Option<Arc<Frame>> {
        if self.pending.is_empty() && matches!(self.way, Way::Ring(_)) {
            self.take_from_ring();
        }
        self.pending.pop_front()
    }

    /// Gets more frames or a step nearer to them; false if there is nothing to do but wait for a change.
    async fn advance(&mut self) -> Result<bool, RunError> {
        if let Way::Ring(_) = self.way {
            return Ok(self.take_from_ring());
        }
        if self.try_join() {
            return Ok(self.take_from_ring() || matches!(self.way, Way::Log(_)));
        }
        self.read_log().await
    }

    fn try_join(&mut self) -> bool {
        let cursor = self.cursor;
        let Some(Some(Place { next, .. })) = self.hub.with_ring(|ring| ring.join(cursor)) else { return false };
        if let Way::Log(reader) = &self.way {
            self.resume = reader.resume();
        }
        self.file = None;
        self.way = Way::Ring(next);
        true
    }

    fn take_from_ring(&mut self) -> bool {
        let Way::Ring(next) = self.way else { return false };
        match self.hub.with_ring(|ring| (ring.from(next), ring.head())) {
            Some((Found::Frames(frames), head)) => {
                let mut next = next;
                for frame in frames {
                    if frame.resume.is_some() {
                        if frame.position() <= self.cursor {
                            next += 1;
                            continue;
                        }
                        if frame.first_position() <= self.cursor {
                            // It begins with what the viewer has: the log is cut finer.
                            self.leave_ring();
                            return true;
                        }
                        self.cursor = frame.position();
                    }
                    if let Some(resume) = &frame.resume {
                        self.resume = resume.clone();
                    }
                    next += 1;
                    self.pending.push_back(frame);
                }
                self.way = Way::Ring(next);
                self.hub.took(self.number, next, head);
                !self.pending.is_empty()
            }
            Some((Found::UpToDate, head)) => {
                self.hub.reached(self.number, head);
                false
            }
            None => false,
            Some((Found::Behind, _)) => {
                self.leave_ring();
                true
            }
        }
    }

    fn leave_ring(&mut self) {
        self.way = Way::Log(Box::new(Reader::new(self.resume.clone()).skipping_to(self.cursor)));
    }

    async fn read_log(&mut self) -> Result<bool, RunError> {
        let Way::Log(reader) = &mut self.way else { return Ok(true) };
        let followed = self.hub.head().map_or(0, |head| head.run).max(self.hub.known());
        if reader.run() == 0 || reader.over() {
            if reader.run() >= followed {
                return Ok(false);
            }
            **reader = Reader::beginning(reader.run() + 1);
            self.cursor = reader.position();
            return Ok(true);
        }
        let (run, fed) = (reader.run(), reader.fed());
        let read = Self::read(&mut self.file, &self.vm, &self.hub.idea, run, fed).await?;
        self.outage = None;
        let Way::Log(reader) = &mut self.way else { return Ok(true) };
        let Some(bytes) = read else {
            // Not begun, or removed: only a later run proves the latter.
            if reader.run() < followed {
                reader.give_up();
                return Ok(true);
            }
            sleep(LOOK_AGAIN).await;
            return Ok(true);
        };
        let mut frames = Vec::new();
        reader.feed(&bytes, &mut frames);
        self.cursor = self.cursor.max(reader.position());
        self.hub.reached(self.number, self.cursor);
        if bytes.is_empty() && frames.is_empty() {
            if reader.run() < self.hub.head().map_or(0, |head| head.run) {
                // The follower has gone on: that was all.
                reader.end_lost(&mut frames);
            } else if self.hub.head().is_none() {
                // The follower begins soon, or tells why it cannot.
                return Ok(false);
            } else {
                sleep(LOOK_AGAIN).await;
            }
        }
        self.pending.extend(frames);
        Ok(true)
    }

    /// A piece of a run's log; empty at its end, none if it is not there.
    async fn read(
        file: &mut Option<(u64, Log)>,
        vm: &Vm,
        idea: &IdeaRef,
        run: u64,
        offset: u64,
    ) -> Result<Option<Vec<u8>>, RunError> {
        if file.as_ref().is_none_or(|(of, _)| *of != run) {
            *file = Some((run, Log::new(vm.log(idea, run).await?)));
        }
        let Some((_, log)) = file else { return Ok(None) };
        Ok(log.read(vm.remote().logs(Lane::Bulk), offset, READ).await?)
    }

    /// Waits after a failure; gives the error once an outage has lasted.
    async fn pause(&mut self, error: RunError) -> Option<RunError> {
        let (since, told, wait) = self.outage.get_or_insert((Instant::now(), false, LOOK_AGAIN));
        if !*told && since.elapsed() >= SILENT_OUTAGE {
            *told = true;
            return Some(error);
        }
        sleep(*wait).await;
        *wait = (*wait * 2).min(BACKOFF_LAST);
        None
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.forget(self.number);
        self.hub.leave();
    }
}
