//! The one follower of an idea on this replica: reads the latest run's log as it grows, then the next run's.
//!
//! It keeps its place in the log, so that a lost connection costs neither a line nor a repetition.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::counts::Counts;
use super::frame::{Frame, Reader};
use super::history::{self, Show};
use super::hub::Hub;
use super::tail::{LOOK_AGAIN, NO_SUCH_RUN, Tail};
use super::vm::Vm;
use super::{Mode, RunError, RunObserver};
use crate::agent::Event;
use crate::remote::{Following, Piece};

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LAST: Duration = Duration::from_secs(5);
/// Viewers hear of an outage that lasts longer than this.
const SILENT_OUTAGE: Duration = Duration::from_secs(5);
/// How often it is looked whether the follower is still wanted.
const CHECK: Duration = Duration::from_secs(5);
/// How often the VM is asked for a run that nobody told of: a line of the index may have been lost.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// A command that runs for this long has found its way, though it prints nothing.
const PROVEN: Duration = Duration::from_millis(500);
/// Whose log says nothing for this long gives its channel to one whose log does.
const SILENT: Duration = Duration::from_secs(30);
/// The first pause before it is looked again for a run that is to come; it grows.
const GONE_FIRST: Duration = Duration::from_millis(200);

pub(super) struct Follower {
    pub(super) hub: Arc<Hub>,
    pub(super) vm: Arc<Vm>,
    pub(super) observer: Arc<dyn RunObserver>,
    pub(super) counts: Arc<Counts>,
}

/// The growing pause between attempts, and since when they fail.
struct Outage {
    pause: Duration,
    since: Option<Instant>,
    told: bool,
}

impl Outage {
    const NONE: Outage = Outage { pause: BACKOFF_FIRST, since: None, told: false };

    /// The way works: the next failure begins another outage.
    fn over(&mut self, hub: &Hub) {
        if self.since.is_some() {
            *self = Outage::NONE;
            hub.trouble(None);
        }
    }
}

impl Follower {
    /// Follows until nobody wants it any more.
    pub(super) async fn run(self) {
        let mut outage = Outage::NONE;
        let Some(mut reader) = self.begin(&mut outage).await else { return };
        let mut gone = GONE_FIRST;
        let mut right = None;
        loop {
            if reader.run() == 0 || reader.over() {
                self.hub.run_over();
                let Some(next) = self.next_run(reader.run()).await else { return };
                reader = Reader::beginning(next);
            }
            let mut changes = self.hub.changes();
            match self.follow(&mut reader, &mut outage, &mut right).await {
                Ok(Followed::On) => gone = GONE_FIRST,
                Ok(Followed::Gone) => {
                    // Announced but not there yet, or gone: only a later run proves the latter.
                    if self.hub.known() > reader.run() {
                        reader = Reader::beginning(reader.run() + 1);
                    } else if self.hub.try_end() {
                        return;
                    }
                    // What waits for the end of a run may begin in an hour; that it does is announced.
                    sleep(GONE_FIRST).await;
                    let _ = tokio::time::timeout(gone, changes.changed()).await;
                    gone = (gone * 2).min(BACKOFF_LAST);
                }
                Ok(Followed::Unwanted) => return,
                Err(error) => {
                    if !self.pause(&mut outage, error).await {
                        return;
                    }
                }
            }
        }
    }

    /// Finds the end of the latest log; the ring begins there.
    async fn begin(&self, outage: &mut Outage) -> Option<Reader> {
        loop {
            match self.try_begin().await {
                Ok(reader) => {
                    *outage = Outage::NONE;
                    return Some(reader);
                }
                Err(error) => {
                    if !self.pause(outage, error).await {
                        return None;
                    }
                }
            }
        }
    }

    async fn try_begin(&self) -> Result<Reader, RunError> {
        let idea = &self.hub.idea;
        let latest = self.vm.state(idea).await?;
        let window = if latest.run == 0 {
            None
        } else {
            history::window(&self.vm, idea, latest.run, Some(latest.size), Show::Everything).await?
        };
        let mut reader = match window {
            Some(window) => {
                self.catch_up(&window.frames, latest.mode);
                window.reader
            }
            None => Reader::beginning(latest.run),
        };
        // The window ends with a complete line: the rest of the last one is read anew.
        reader = reader.reopened();
        reader.set_build(latest.mode == Mode::Build);
        self.hub.begin(reader.position(), &latest, reader.state());
        Ok(reader)
    }

    /// Tells the observer of the session, and how the last turn ended, in case no replica looked then.
    fn catch_up(&self, frames: &[Arc<Frame>], mode: Mode) {
        let last = |wanted: fn(&Event) -> bool| frames.iter().rposition(|frame| wanted(&frame.event));
        let session = last(|event| matches!(event, Event::System { .. }));
        let asked = last(|event| matches!(event, Event::User { .. } | Event::System { .. }));
        let result = last(|event| matches!(event, Event::Result(_))).filter(|result| Some(*result) > asked);
        for frame in session.into_iter().chain(result).filter_map(|at| frames.get(at)) {
            self.observe(frame, mode);
        }
    }

    fn observe(&self, frame: &Frame, mode: Mode) {
        match &frame.event {
            Event::System { session_id, .. } if !session_id.is_empty() => {
                self.observer.session_started(&self.hub.idea, session_id);
            }
            Event::Result(turn) => self.observer.turn_ended(&self.hub.idea, mode, turn.error.is_none()),
            _ => {}
        }
    }

    /// What was read of the log, to everybody.
    fn tell(&self, reader: &Reader, events: u64, frames: Vec<Arc<Frame>>) {
        let mode = if reader.build() { Mode::Build } else { Mode::Chat };
        for frame in &frames {
            self.observe(frame, mode);
        }
        self.counts.followed(events, frames.iter().map(Arc::as_ref));
        self.hub.push(frames, reader.position(), reader.state());
    }

    /// Waits until a run after `last` exists.
    async fn next_run(&self, last: u64) -> Option<u64> {
        let mut changes = self.hub.changes();
        let mut asked = Instant::now();
        loop {
            if asked.elapsed() >= ASK_AGAIN {
                asked = Instant::now();
                if let Ok(latest) = self.vm.state(&self.hub.idea).await {
                    self.hub.found(latest.run);
                }
            }
            if self.hub.known() > last {
                return Some(last + 1);
            }
            if self.hub.try_end() || self.hub.ended() {
                return None;
            }
            let _ = tokio::time::timeout(CHECK, changes.changed()).await;
        }
    }

    /// Follows one run. `right`: to a channel of its own, if it has one already, or got one and shall go on with it.
    async fn follow(
        &self,
        reader: &mut Reader,
        outage: &mut Outage,
        right: &mut Option<Following>,
    ) -> Result<Followed, RunError> {
        *reader = std::mem::replace(reader, Reader::beginning(0)).reopened();
        let (run, from) = (reader.run(), reader.fed());
        let channels = self.vm.remote().channels();
        let mut channel = right.take().or_else(|| channels.follow());
        let mut silent = Instant::now() + SILENT;
        // Of a log that is read and says something.
        let mut turn: Option<Turn> = None;
        let mut tail = match &mut channel {
            Some(channel) => tokio::select! {
                tail = Tail::channel(&self.vm, &self.hub.idea, run, from) => tail?,
                () = channel.withdrawn(silent) => return Ok(Followed::On),
            },
            None => Tail::shared(&self.vm, &self.hub.idea, run, from).await?,
        };
        let mut changes = self.hub.changes();
        // Since when the command runs.
        let mut runs: Option<Instant> = None;
        loop {
            let check = if outage.since.is_some() { PROVEN } else { CHECK };
            let piece = tokio::select! {
                piece = tail.next() => piece?,
                () = withdrawn(&mut channel, silent) => return Ok(Followed::On),
                granted = granted(&mut turn) => {
                    *right = Some(granted);
                    return Ok(Followed::On);
                }
                changed = tokio::time::timeout(check, changes.changed()) => {
                    if changed.is_ok() {
                        tail.look();
                    }
                    if Instant::now() >= silent {
                        turn = None;
                    }
                    if runs.is_some_and(|since| since.elapsed() >= PROVEN) {
                        outage.over(&self.hub);
                    }
                    if self.hub.ended() || (!self.hub.wanted() && self.hub.try_end()) {
                        return Ok(Followed::Unwanted);
                    }
                    continue;
                }
            };
            match piece {
                Piece::Output(bytes) if bytes.is_empty() => {
                    runs.get_or_insert_with(Instant::now);
                }
                Piece::Output(bytes) => {
                    outage.over(&self.hub);
                    silent = Instant::now() + SILENT;
                    if channel.is_none() && turn.is_none() {
                        turn = Some(Box::pin(Arc::clone(channels).turn_to_follow()));
                    }
                    let mut frames = Vec::new();
                    let events = reader.feed(&bytes, &mut frames);
                    self.tell(reader, events, frames);
                    if reader.over() {
                        return Ok(Followed::On);
                    }
                    // What it says itself does not wake it; that the hub ended before this is seen here.
                    changes.mark_unchanged();
                    if self.hub.ended() {
                        return Ok(Followed::Unwanted);
                    }
                    self.hub.pace().await;
                }
                Piece::NotDelivered => {
                    let delivered = self.vm.remote().deliver().await?;
                    return delivered.map(|()| Followed::On).map_err(|finished| super::vm::failure_of(&finished));
                }
                Piece::Ended(NO_SUCH_RUN) => {
                    outage.over(&self.hub);
                    return Ok(Followed::Gone);
                }
                Piece::Ended(LOOK_AGAIN) => {
                    outage.over(&self.hub);
                    if reader.fed() == from {
                        sleep(BACKOFF_FIRST).await;
                    }
                    return Ok(Followed::On);
                }
                Piece::Ended(0) => {
                    // All of the log, and no last line: there was no room for it anywhere, or the log is shorter than
                    // it was, as after a power failure.
                    outage.over(&self.hub);
                    let mut frames = Vec::new();
                    reader.end_lost(&mut frames);
                    self.tell(reader, 0, frames);
                    return Ok(Followed::On);
                }
                Piece::Ended(status) => return Err(super::vm::unexpected(&format!("exit status {status}"))),
            }
        }
    }

    /// Waits before the next attempt; false if there shall be none.
    async fn pause(&self, outage: &mut Outage, error: RunError) -> bool {
        let since = *outage.since.get_or_insert_with(Instant::now);
        if !outage.told {
            tracing::info!(idea = %self.hub.idea.id, %error, "following a run was interrupted");
        }
        if !outage.told && since.elapsed() >= SILENT_OUTAGE {
            outage.told = true;
            self.hub.trouble(Some(error));
        }
        if self.hub.ended() || self.hub.try_end() {
            return false;
        }
        sleep(outage.pause).await;
        outage.pause = (outage.pause * 2).min(BACKOFF_LAST);
        true
    }
}

/// Waits for the right to a channel.
type Turn = Pin<Box<dyn Future<Output = Following> + Send>>;

/// Returns when a channel has to be given back, if there is one whose log is silent from then on.
async fn withdrawn(channel: &mut Option<Following>, silent: Instant) {
    match channel {
        Some(channel) => channel.withdrawn(silent).await,
        None => std::future::pending().await,
    }
}

/// The right to a channel, if it is waited for.
async fn granted(turn: &mut Option<Turn>) -> Following {
    match turn {
        Some(turn) => turn.await,
        None => std::future::pending().await,
    }
}

/// How following went on.
enum Followed {
    /// Look again from the reader's place, with or without a channel.
    On,
    /// There is no such run.
    Gone,
    /// Nobody looks and no turn runs.
    Unwanted,
}

#[cfg(test)]
mod tests;
