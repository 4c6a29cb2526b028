//! A log as it grows: by a channel of its own while there are such, else by reads over one that all share.
//!
//! The first way tells at once what is new (`tail` with inotify); the second asks, soon after there was something and
//! ever less often while there is nothing. Channels are few (sshd's MaxSessions), so runs beyond them take the second, and those
//! that have to give theirs back; see [`crate::remote::Channels`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catalyst_ssh::Lane;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::vm::{Latest, Vm};
use super::{IdeaRef, RunError};
use crate::remote::{Log, Piece, READ, Stream};

/// Pauses between reads that find nothing: the first, and the longest while the log was written to of late.
const PAUSE_FIRST: Duration = Duration::from_millis(25);
const PAUSE_LAST: Duration = Duration::from_millis(250);
/// A log that is silent for this long is asked less often still.
const SILENT: Duration = Duration::from_secs(30);
const PAUSE_SILENT: Duration = Duration::from_secs(1);
/// How long a log may be silent before it is asked whether its run lives; twice as long each time.
const CHECK_FIRST: Duration = Duration::from_secs(5);
const CHECK_LAST: Duration = Duration::from_secs(60);

/// What a status of the program's command `follow` means.
pub(super) const LOOK_AGAIN: u32 = 75;
pub(super) const NO_SUCH_RUN: u32 = 76;

/// A log as it grows.
pub(super) enum Tail {
    /// By a process on the VM.
    Channel(Stream),
    /// By reads.
    Shared(Box<Shared>),
}

impl Tail {
    /// From byte `offset` of a run's log on, by a process of its own.
    pub(super) async fn channel(vm: &Arc<Vm>, idea: &IdeaRef, run: u64, offset: u64) -> Result<Tail, RunError> {
        Ok(Tail::Channel(vm.follow(idea, run, offset).await?))
    }

    /// The same, by reads.
    pub(super) async fn shared(vm: &Arc<Vm>, idea: &IdeaRef, run: u64, offset: u64) -> Result<Tail, RunError> {
        Ok(Tail::Shared(Box::new(Shared::new(vm, idea, run, offset).await?)))
    }

    /// Something may be in the log that was not there: it is read at once, if it is read at all.
    pub(super) fn look(&mut self) {
        if let Tail::Shared(shared) = self {
            (shared.due, shared.pause) = (Instant::now(), PAUSE_FIRST);
        }
    }

    /// The next piece; the first may be empty and says that the way works. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Piece, RunError> {
        match self {
            Tail::Channel(stream) => Ok(stream.next().await?),
            Tail::Shared(shared) => shared.next().await,
        }
    }
}

/// A log that is read through the channel that all share.
pub(super) struct Shared {
    vm: Arc<Vm>,
    idea: IdeaRef,
    run: u64,
    log: Log,
    /// It was there.
    found: bool,
    offset: u64,
    /// When it is read next, and the pause after that.
    due: Instant,
    pause: Duration,
    /// When there was something last.
    written: Instant,
    /// When it is asked next whether the run lives, and how long until then.
    check: (Instant, Duration),
    checking: Option<AbortOnDropHandle<Result<Latest, RunError>>>,
    /// The run is over: what is there now is all.
    over: bool,
}

impl Shared {
    async fn new(vm: &Arc<Vm>, idea: &IdeaRef, run: u64, offset: u64) -> Result<Shared, RunError> {
        let now = Instant::now();
        Ok(Shared {
            log: Log::new(vm.log(idea, run).await?),
            found: false,
            vm: Arc::clone(vm),
            idea: idea.clone(),
            run,
            offset,
            due: now,
            pause: PAUSE_FIRST,
            written: now,
            check: (now + CHECK_FIRST, CHECK_FIRST),
            checking: None,
            over: false,
        })
    }

    async fn next(&mut self) -> Result<Piece, RunError> {
        loop {
            sleep_until(self.due).await;
            let logs = self.vm.remote().logs(Lane::Interactive);
            let Some(bytes) = self.log.read(logs, self.offset, READ).await? else { return self.absent().await };
            if !std::mem::replace(&mut self.found, true) && bytes.is_empty() {
                return Ok(Piece::Output(Bytes::new()));
            }
            let now = Instant::now();
            if !bytes.is_empty() {
                self.offset += bytes.len() as u64;
                (self.due, self.pause, self.written) = (now, PAUSE_FIRST, now);
                self.check = (now + CHECK_FIRST, CHECK_FIRST);
                return Ok(Piece::Output(Bytes::from(bytes)));
            }
            if self.over {
                return Ok(Piece::Ended(0));
            }
            if now >= self.check.0 || self.checking.is_some() {
                let latest = Self::judge(&mut self.checking, &self.vm, &self.idea).await?;
                self.over = latest.is_over(self.run);
                if latest.run < self.run {
                    // The file is open; whether it still is the run's log is seen by the path alone.
                    self.log = Log::new(self.vm.log(&self.idea, self.run).await?);
                }
                let next = (self.check.1 * 2).min(CHECK_LAST);
                self.check = (Instant::now() + next, next);
                continue;
            }
            let longest = if now.duration_since(self.written) > SILENT { PAUSE_SILENT } else { PAUSE_LAST };
            self.due = now + self.pause;
            self.pause = (self.pause * 2).min(longest);
        }
    }

    async fn absent(&mut self) -> Result<Piece, RunError> {
        let latest = Self::judge(&mut self.checking, &self.vm, &self.idea).await?;
        Ok(Piece::Ended(match latest.run.cmp(&self.run) {
            std::cmp::Ordering::Less => NO_SUCH_RUN,
            std::cmp::Ordering::Equal if latest.live => LOOK_AGAIN,
            // Over, and there is no log.
            _ => 0,
        }))
    }

    /// How the idea's latest run stands. In a task of its own, which goes on when the caller is cancelled.
    async fn judge(
        checking: &mut Option<AbortOnDropHandle<Result<Latest, RunError>>>,
        vm: &Arc<Vm>,
        idea: &IdeaRef,
    ) -> Result<Latest, RunError> {
        let task = checking.get_or_insert_with(|| {
            let (vm, idea) = (Arc::clone(vm), idea.clone());
            AbortOnDropHandle::new(tokio::spawn(async move { vm.state(&idea).await }))
        });
        let judged = task.await;
        *checking = None;
        judged.unwrap_or_else(|error| Err(super::vm::unexpected(&error.to_string())))
    }
}
