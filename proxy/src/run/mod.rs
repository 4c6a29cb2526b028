//! Runs of the agent: started, followed, replayed, stopped; they belong to the VM and outlive every connection.
//!
//! A run is one `claude` process, a turn is one message. Whatever is shown comes from the run's log, so every replica
//! of the proxy and every viewer sees the same frames, each known by (run, seq).

mod counts;
mod error;
mod follow;
mod frame;
mod history;
mod hub;
mod index;
mod question;
mod range;
mod ring;
mod subscription;
mod tail;
mod vm;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

pub use error::RunError;
pub use frame::{Frame, Position};
pub use range::LogRange;
pub use subscription::Subscription;
pub use vm::{RunList, RunSummary};

use counts::Counts;
use follow::Follower;
use history::Recent;
use hub::Hub;
use index::{Hubs, Index};
use vm::{Stopped, Vm};

pub use crate::agent::input::{Permissions, Prompt};
pub use crate::agent::{Answer, Mode, Seq};
use crate::remote::Remote;

/// An idea, as far as its runs need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdeaRef {
    /// UUID.
    pub id: String,
    /// Name of its folder: `[a-z0-9-]+`.
    pub slug: String,
    /// Claude's session to resume, if there was one.
    pub session_id: Option<String>,
}

/// How runs are started and ended.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// `claude`, or the path of it on the VM.
    pub claude_command: String,
    /// A running turn that prints nothing for this long is ended (`CLAUDE_TIMEOUT_MS`).
    pub silence: Duration,
    /// A process that waits for a message for this long is ended; the next message resumes its session.
    pub idle: Duration,
    /// How long an interrupt may take before the process is ended.
    pub stop_grace: Duration,
    /// A request for permission that nobody answers for this long is denied.
    pub approval: Duration,
    /// A turn that works for longer is ended; waiting for answers does not count.
    pub turn: Option<Duration>,
}

impl Default for RunSettings {
    fn default() -> RunSettings {
        RunSettings {
            claude_command: "claude".to_owned(),
            silence: Duration::from_secs(600),
            idle: Duration::from_secs(900),
            stop_grace: Duration::from_secs(5),
            approval: Duration::from_secs(24 * 3600),
            turn: None,
        }
    }
}

/// A message was taken: it is on the VM's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The run that answers it.
    pub run: u64,
}

/// Is told what happens in runs that this replica follows. Both calls may come again for the same event (another
/// replica, a restart), so they must be idempotent.
pub trait RunObserver: Send + Sync {
    /// Claude named its session.
    fn session_started(&self, idea: &IdeaRef, session_id: &str);
    /// A turn is over.
    fn turn_ended(&self, idea: &IdeaRef, mode: Mode, success: bool);
}

/// Longest message, in bytes.
pub const MESSAGE_LIMIT: usize = 10 * 1024 * 1024;

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The latest run, if there was any.
    pub run: Option<u64>,
    /// From where older frames can be paged; none if the beginning is included.
    pub before: Option<Position>,
    /// Whether a turn is running.
    pub live: bool,
}

/// Older frames.
#[derive(Clone, Debug)]
pub struct Page {
    /// In order.
    pub frames: Vec<Arc<Frame>>,
    /// From where still older ones can be paged; none at the beginning.
    pub before: Option<Position>,
}

/// How a turn ends: as [`RunStats::turns_ended`] counts them.
pub const TURN_ENDINGS: &[&str; 3] = &["succeeded", "failed", "stopped"];
/// Why a run ends: as [`RunStats::runs_ended`] counts them. The log lies where the agent writes, so any other word is `other`.
pub const RUN_ENDINGS: &[&str; 12] = &[
    "ended", "idle", "switched", "revoked", "stopped", "silent", "overtime", "full", "lost", "rebooted", "missing",
    "other",
];

/// What a replica follows at the moment, and what it has seen since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunStats {
    /// Ideas whose log is followed.
    pub followed: usize,
    /// Those of them with a turn under way.
    pub turns: usize,
    /// Who looks, over all of them.
    pub viewers: usize,
    /// Ideas with a viewer so far behind that nobody waits for it.
    pub lagging: usize,
    /// Requests for permission that wait for an answer, over all of them.
    pub asking: usize,
    /// Bytes of a log that the viewer which is furthest behind has not taken.
    pub behind: u64,
    /// Events that were decoded.
    pub events: u64,
    /// Turns that were seen to end, in the order of [`TURN_ENDINGS`].
    pub turns_ended: [u64; TURN_ENDINGS.len()],
    /// Runs that were seen to end, in the order of [`RUN_ENDINGS`].
    pub runs_ended: [u64; RUN_ENDINGS.len()],
}

/// All runs of all ideas on the VM, as this replica sees them.
pub struct Runs {
    vm: Arc<Vm>,
    settings: RunSettings,
    observer: Arc<dyn RunObserver>,
    counts: Arc<Counts>,
    hubs: Hubs,
    index: Index,
}

impl Runs {
    /// Nothing is contacted yet.
    pub fn new(remote: Arc<Remote>, settings: RunSettings, observer: Arc<dyn RunObserver>) -> Arc<Runs> {
        Arc::new(Runs {
            vm: Arc::new(Vm::new(remote)),
            settings,
            observer,
            counts: Arc::default(),
            hubs: Mutex::new(HashMap::new()),
            index: Index::new(),
        })
    }

    /// Hands a message to Claude: to the process that is there, else to a new one. Queued while a turn runs; the same
    /// `message_id` is delivered once.
    ///
    /// # Errors
    /// Why the message is not on the VM; it may be sent again with the same `message_id`.
    pub async fn send(
        self: &Arc<Self>,
        idea: &IdeaRef,
        mode: Mode,
        text: &str,
        message_id: Option<&str>,
    ) -> Result<Accepted, RunError> {
        self.send_prompt(idea, Prompt::new(mode, text), message_id).await
    }

    /// As [`Runs::send`], with all that can be said of a message.
    ///
    /// # Errors
    /// As [`Runs::send`].
    pub async fn send_prompt(
        self: &Arc<Self>,
        idea: &IdeaRef,
        prompt: Prompt<'_>,
        message_id: Option<&str>,
    ) -> Result<Accepted, RunError> {
        let text = prompt.text;
        if text.trim().is_empty() {
            return Err(RunError::BadMessage("The message is empty.".to_owned()));
        }
        if text.len() > MESSAGE_LIMIT {
            return Err(RunError::BadMessage(format!(
                "The message is longer than what is taken: it has {:.1} MB, and {:.1} MB are the most. Put what is long into \
                 a file of the project, and name that.",
                text.len() as f64 / 1e6,
                MESSAGE_LIMIT as f64 / 1e6
            )));
        }
        let generated = uuid::Uuid::new_v4().to_string();
        let message_id = message_id.unwrap_or(&generated);
        vm::identifier(message_id, "The message's id")?;
        let run = self.vm.send(idea, message_id, &prompt, &self.settings).await?;
        // Followed though nobody looks: the turn's end is to be noticed.
        self.open_hub(idea, false).know(run);
        Ok(Accepted { run })
    }

    /// Ends the running turn; returns when it is over. Claude is asked to; if it does not within the grace, its process
    /// and all that it started are ended.
    ///
    /// # Errors
    /// If it is not proven that the turn is over.
    pub async fn stop(&self, idea: &IdeaRef) -> Result<(), RunError> {
        let stopped = self.vm.stop(idea, self.settings.stop_grace).await?;
        if stopped == Stopped::Killed {
            tracing::info!(idea = %idea.id, "a run did not answer to an interrupt and was ended");
        }
        Ok(())
    }

    /// Ends the idea's process whatever it does, as before the idea is deleted.
    ///
    /// # Errors
    /// If it is not proven that it is gone.
    pub async fn end(&self, idea: &IdeaRef) -> Result<(), RunError> {
        self.vm.end(idea).await
    }

    /// Answers a request for permission; the first answer counts.
    ///
    /// # Errors
    /// [`RunError::RequestGone`], [`RunError::AlreadyAnswered`], or what kept the answer from Claude.
    pub async fn answer(&self, idea: &IdeaRef, request_id: &str, answer: Answer) -> Result<(), RunError> {
        self.vm.answer(idea, request_id, &answer).await?;
        if let Some(hub) = self.hub(&idea.id) {
            hub.answered(request_id, answer.decision());
        }
        Ok(())
    }

    /// The rules of what is always allowed in an idea, as the CLI writes them.
    ///
    /// # Errors
    /// What kept them from being read.
    pub async fn allowances(&self, idea: &IdeaRef) -> Result<Vec<String>, RunError> {
        self.vm.allowances(idea).await
    }

    /// Has `rule` asked for again from the next message on; gives the rules that are left.
    ///
    /// # Errors
    /// What kept it from being removed.
    pub async fn revoke(&self, idea: &IdeaRef, rule: &str) -> Result<Vec<String>, RunError> {
        self.vm.revoke(idea, rule).await
    }

    /// An idea's runs, newest first, from the one below `before` on.
    ///
    /// # Errors
    /// What kept them from being read.
    pub async fn list(&self, idea: &IdeaRef, before: Option<u64>) -> Result<RunList, RunError> {
        self.vm.runs(idea, before).await
    }

    /// Removes all but the latest `keep` runs with their logs; the latest one always stays.
    ///
    /// # Errors
    /// What kept them from being removed.
    pub async fn trim(&self, idea: &IdeaRef, keep: u64) -> Result<(), RunError> {
        self.vm.trim(idea, keep).await
    }

    /// Frames after `after` and on into later runs; without it the recent ones first.
    ///
    /// # Errors
    /// What kept the history from being read; [`RunError::BadPosition`] if `after` is not in it.
    pub async fn subscribe(
        self: &Arc<Self>,
        idea: &IdeaRef,
        after: Option<Position>,
    ) -> Result<Subscription, RunError> {
        // Before the state is asked, so that a run that starts in between is not missed.
        self.index.listen(self).await;
        let hub = self.open_hub(idea, true);
        let entered = Entered(Some(&hub));
        if let Some(after) = after
            && let Some(Some(place)) = hub.with_ring(|ring| ring.join(after).filter(|_| after <= ring.head()))
        {
            let run = Some(hub.known()).filter(|run| *run > 0);
            entered.hand_on();
            self.vm.expect_messages();
            let start = Start { run, before: None, live: hub.turn_open() };
            return Ok(Subscription::joined(hub, Arc::clone(&self.vm), start, after, place));
        }
        let subscription = match after {
            Some(after) => {
                let latest = hub.latest(&self.vm).await?;
                if after.run > latest.run || after.run == 0 {
                    return Err(RunError::BadPosition);
                }
                let reader = history::since(&self.vm, idea, after).await?;
                let live = latest.live && (after.run < latest.run || reader.state().turn_open());
                entered.hand_on();
                let start = Start { run: latest.run(), before: None, live };
                Subscription::new(hub, Arc::clone(&self.vm), start, Vec::new(), reader)
            }
            None => {
                let shared = hub.recent(&self.vm).await?;
                let (latest, recent) = &*shared;
                let live = latest.live && recent.reader.state().turn_open();
                entered.hand_on();
                let start = Start { run: latest.run(), before: recent.before, live };
                let Recent { frames, reader, .. } = recent.clone();
                Subscription::new(hub, Arc::clone(&self.vm), start, frames, reader)
            }
        };
        self.vm.expect_messages();
        Ok(subscription)
    }

    /// Frames before a position, back to a message boundary.
    ///
    /// # Errors
    /// What kept the history from being read; [`RunError::BadPosition`] if the position is not in it.
    pub async fn page(&self, idea: &IdeaRef, before: Position) -> Result<Page, RunError> {
        if before.run == 0 {
            return Err(RunError::BadPosition);
        }
        history::page(&self.vm, idea, before).await
    }

    /// What this replica follows at the moment, and what it has seen.
    pub fn stats(&self) -> RunStats {
        let mut stats = RunStats::default();
        self.counts.tell(&mut stats);
        for hub in self.hubs.lock().unwrap_or_else(PoisonError::into_inner).values() {
            hub.count(&mut stats);
        }
        stats
    }

    /// Ends all following, so that every subscription ends. Runs go on.
    pub fn shut_down(&self) {
        for (_, hub) in self.hubs.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            hub.end();
        }
    }

    fn vm(&self) -> Arc<Vm> {
        Arc::clone(&self.vm)
    }

    fn index(&self) -> &Index {
        &self.index
    }

    fn hub(&self, idea: &str) -> Option<Arc<Hub>> {
        index::look_up(&self.hubs, idea)
    }

    fn has_hubs(&self) -> bool {
        !self.hubs.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The hub of an idea, which is made and set going if there is none. `viewer`: counts one in.
    fn open_hub(self: &Arc<Self>, idea: &IdeaRef, viewer: bool) -> Arc<Hub> {
        let mut hubs = self.hubs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hub) = hubs.get(&idea.id) {
            let kept = if viewer { hub.enter() } else { hub.keep() };
            if kept {
                return Arc::clone(hub);
            }
        }
        let hub = Arc::new(Hub::new(idea.clone()));
        if viewer {
            hub.enter();
        }
        hubs.insert(idea.id.clone(), Arc::clone(&hub));
        drop(hubs);
        let follower = Follower {
            hub: Arc::clone(&hub),
            vm: Arc::clone(&self.vm),
            observer: Arc::clone(&self.observer),
            counts: Arc::clone(&self.counts),
        };
        let (runs, followed) = (Arc::downgrade(self), Arc::clone(&hub));
        tokio::spawn(async move {
            let _ended = Followed { runs, hub: followed };
            follower.run().await;
        });
        hub
    }
}

/// Takes a hub away with its follower, however that ends.
struct Followed {
    runs: Weak<Runs>,
    hub: Arc<Hub>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.hub.end();
        let Some(runs) = self.runs.upgrade() else { return };
        let mut hubs = runs.hubs.lock().unwrap_or_else(PoisonError::into_inner);
        if hubs.get(&self.hub.idea.id).is_some_and(|hub| Arc::ptr_eq(hub, &self.hub)) {
            hubs.remove(&self.hub.idea.id);
        }
    }
}

/// A viewer that was counted in, and is counted out again unless a subscription takes over.
struct Entered<'a>(Option<&'a Arc<Hub>>);

impl Entered<'_> {
    fn hand_on(mut self) {
        self.0 = None;
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Some(hub) = self.0 {
            hub.leave();
        }
    }
}
