//! Runs of the agent: started, followed, replayed, stopped; they belong to the VM and outlive every connection.
//!
//! A run is one `claude` process, a turn is one message. Whatever is shown comes from the run's log, so every replica
//! of the proxy and every viewer sees the same frames, each known by (run, seq).

mod error;
mod frame;

use std::sync::Arc;
use std::time::Duration;

pub use error::RunError;
pub use frame::{Frame, Position};

pub use crate::agent::Seq;
use crate::remote::Remote;

/// What the agent may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Reads only.
    Chat,
    /// All tools.
    Build,
}

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
}

impl Default for RunSettings {
    fn default() -> RunSettings {
        RunSettings {
            claude_command: "claude".to_owned(),
            silence: Duration::from_secs(600),
            idle: Duration::from_secs(900),
            stop_grace: Duration::from_secs(5),
        }
    }
}

/// A message was taken: it is on the VM's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The run that answers it.
    pub run: u64,
}

/// The user's word on a tool call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It may run.
    Allow,
    /// It may not; Claude is told why.
    Deny {
        /// The reason.
        message: String,
    },
}

/// Is told what happens in runs that this replica follows. Both calls may come again for the same event (another
/// replica, a restart), so they must be idempotent.
pub trait RunObserver: Send + Sync {
    /// Claude named its session.
    fn session_started(&self, idea: &IdeaRef, session_id: &str);
    /// A turn is over.
    fn turn_ended(&self, idea: &IdeaRef, mode: Mode, success: bool);
}

/// All runs of all ideas on the VM, as this replica sees them.
pub struct Runs {
    _remote: Arc<Remote>,
    _settings: RunSettings,
    _observer: Arc<dyn RunObserver>,
}

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

/// A viewer's way through an idea's frames.
pub struct Subscription {
    /// Where it begins.
    pub start: Start,
}

impl Subscription {
    /// The next frame; waits for it. None when the proxy shuts down.
    pub async fn next(&mut self) -> Option<Result<Arc<Frame>, RunError>> {
        None
    }
}

/// Older frames.
#[derive(Clone, Debug)]
pub struct Page {
    /// In order.
    pub frames: Vec<Arc<Frame>>,
    /// From where still older ones can be paged; none at the beginning.
    pub before: Option<Position>,
}

impl Runs {
    /// Nothing is contacted yet.
    pub fn new(remote: Arc<Remote>, settings: RunSettings, observer: Arc<dyn RunObserver>) -> Arc<Runs> {
        Arc::new(Runs { _remote: remote, _settings: settings, _observer: observer })
    }

    /// Hands a message to Claude: to the process that is there, else to a new one. Queued while a turn runs; the same
    /// `message_id` is delivered once.
    pub async fn send(
        &self,
        _idea: &IdeaRef,
        _mode: Mode,
        _text: &str,
        _message_id: Option<&str>,
    ) -> Result<Accepted, RunError> {
        Err(RunError::Unavailable)
    }

    /// Ends the running turn; returns when it is over.
    pub async fn stop(&self, _idea: &IdeaRef) -> Result<(), RunError> {
        Err(RunError::Unavailable)
    }

    /// Answers a request for permission; the first answer counts.
    pub async fn answer(&self, _idea: &IdeaRef, _request_id: &str, _answer: Answer) -> Result<(), RunError> {
        Err(RunError::Unavailable)
    }

    /// Frames after `after` and on into later runs; without it the recent ones first.
    pub async fn subscribe(&self, _idea: &IdeaRef, _after: Option<Position>) -> Result<Subscription, RunError> {
        Err(RunError::Unavailable)
    }

    /// Frames before a position, back to a message boundary.
    pub async fn page(&self, _idea: &IdeaRef, _before: Position) -> Result<Page, RunError> {
        Err(RunError::Unavailable)
    }
}
