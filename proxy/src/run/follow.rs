//! The one follower of an idea on this replica: reads the latest run's log as it grows, then the next run's.
//!
//! It keeps its place in the log, so that a lost connection costs neither a line nor a repetition.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::frame::{Frame, Reader};
use super::history::{self, Show};
use super::hub::Hub;
use super::vm::Vm;
use super::{Mode, RunError, RunObserver};
use crate::agent::Event;
use crate::remote::Piece;

const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LAST: Duration = Duration::from_secs(5);
/// Viewers hear of an outage that lasts longer than this.
const SILENT_OUTAGE: Duration = Duration::from_secs(5);
/// How often it is looked whether the follower is still wanted.
const CHECK: Duration = Duration::from_secs(5);

/// What a status of the program's command `follow` means.
const LOOK_AGAIN: u32 = 75;
const NO_SUCH_RUN: u32 = 76;

pub(super) struct Follower {
    pub(super) hub: Arc<Hub>,
    pub(super) vm: Arc<Vm>,
    pub(super) observer: Arc<dyn RunObserver>,
}

/// The growing pause between attempts, and since when they fail.
struct Outage {
    pause: Duration,
    since: Option<Instant>,
    told: bool,
}

impl Outage {
    const NONE: Outage = Outage { pause: BACKOFF_FIRST, since: None, told: false };
}

impl Follower {
    /// Follows until nobody wants it any more.
    pub(super) async fn run(self) {
        let mut outage = Outage::NONE;
        let Some(mut reader) = self.begin(&mut outage).await else { return };
        loop {
            if reader.run() == 0 || reader.over() {
                self.hub.run_over();
                let Some(next) = self.next_run(reader.run()).await else { return };
                reader = Reader::beginning(next);
            }
            match self.follow(&mut reader, &mut outage).await {
                Ok(Followed::On) => {}
                Ok(Followed::Gone) => {
                    // Announced but not there yet, or gone: only a later run proves the latter.
                    if self.hub.known() > reader.run() {
                        reader = Reader::beginning(reader.run() + 1);
                    } else if self.hub.try_end() {
                        return;
                    }
                    sleep(Duration::from_millis(200)).await;
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
                Ok(reader) => return Some(reader),
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
        self.hub.begin(reader.position(), &latest, latest.live && reader.state().turn_open());
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

    /// Waits until a run after `last` exists.
    async fn next_run(&self, last: u64) -> Option<u64> {
        let mut changes = self.hub.changes();
        loop {
            if self.hub.known() > last {
                return Some(last + 1);
            }
            if self.hub.try_end() || self.hub.ended() {
                return None;
            }
            let _ = tokio::time::timeout(CHECK, changes.changed()).await;
        }
    }

    async fn follow(&self, reader: &mut Reader, outage: &mut Outage) -> Result<Followed, RunError> {
        *reader = std::mem::replace(reader, Reader::beginning(0)).reopened();
        let (run, from) = (reader.run(), reader.fed());
        let mut stream = self.vm.follow(&self.hub.idea, run, from).await?;
        let mut changes = self.hub.changes();
        loop {
            let piece = tokio::select! {
                piece = stream.next() => piece?,
                () = async { let _ = tokio::time::timeout(CHECK, changes.changed()).await; } => {
                    if self.hub.ended() || (!self.hub.wanted() && self.hub.try_end()) {
                        return Ok(Followed::Unwanted);
                    }
                    continue;
                }
            };
            match piece {
                Piece::Output(bytes) => {
                    if outage.since.is_some() {
                        *outage = Outage::NONE;
                        self.hub.trouble(None);
                    }
                    let mut frames = Vec::new();
                    reader.feed(&bytes, &mut frames);
                    let mode = if reader.build() { Mode::Build } else { Mode::Chat };
                    for frame in &frames {
                        self.observe(frame, mode);
                    }
                    self.hub.push(frames, reader.position(), reader.state());
                    if reader.over() {
                        return Ok(Followed::On);
                    }
                    self.hub.pace().await;
                }
                Piece::NotDelivered => {
                    let delivered = self.vm.remote().deliver().await?;
                    return delivered.map(|()| Followed::On).map_err(|finished| super::vm::failure_of(&finished));
                }
                Piece::Ended(NO_SUCH_RUN) => return Ok(Followed::Gone),
                Piece::Ended(LOOK_AGAIN) => {
                    if reader.fed() == from {
                        sleep(BACKOFF_FIRST).await;
                    }
                    return Ok(Followed::On);
                }
                Piece::Ended(0) => {
                    // All of the log, and no last line: there was no room for it anywhere.
                    reader.give_up();
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

/// How following went on.
enum Followed {
    /// Look again from the reader's place.
    On,
    /// There is no such run.
    Gone,
    /// Nobody looks and no turn runs.
    Unwanted,
}
