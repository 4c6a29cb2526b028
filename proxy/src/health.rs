//! Whether the VM can be reached: a task dials anew every [`Timing::interval`]; a request only reads the outcome.
//!
//! A fresh dial is the only proof: old sessions outlive a killed sshd. An outcome that is too old counts as none.
//! Whether the ideas folder can be used is looked at beside it and is no more than a warning: a pod that left its
//! Service for it could not tell anybody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use catalyst_ssh::{
    Failure, Reason,
    health_log::{FOLDER_UNUSABLE, FOLDER_USABLE, IDEAS_PATH_UNWRITABLE, VM_UNUSABLE, VM_USABLE},
};
use tokio_util::sync::CancellationToken;

use crate::dial::Dial;
use crate::metrics::Metrics;
use crate::remote::ideas::Ideas;

/// After a connection that was turned away.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// The ideas folder is looked at once in so many checks.
const FOLDER_EVERY: u32 = 6;

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// From one dial's start to the next one's.
    pub interval: Duration,
    /// The longest that a dial may take.
    pub deadline: Duration,
}

/// A VM that froze just after a dial began well is known after interval and deadline, 8 s, and with a readiness
/// period of 10 s the pod is out of its Service within 20 s.
impl Default for Timing {
    fn default() -> Self {
        Timing { interval: Duration::from_secs(5), deadline: Duration::from_millis(3000) }
    }
}

/// Why the VM is not usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A name of [`Reason`], or `Checking` before the first outcome, `CheckStalled`, [`IDEAS_PATH_UNWRITABLE`].
    pub reason: &'static str,
    /// A sentence with the remedy.
    pub message: String,
}

/// The latest outcome.
#[derive(Clone, Debug)]
pub struct Snapshot {
    problem: Option<Problem>,
    at: Instant,
    stale_after: Duration,
}

impl Snapshot {
    /// What is wrong, if anything is.
    pub fn problem(self) -> Option<Problem> {
        if self.at.elapsed() > self.stale_after {
            return Some(Problem {
                reason: "CheckStalled",
                message: "The server has not been able to check the VM for a while; look at its load and log.".into(),
            });
        }
        self.problem
    }
}

/// Keeps the latest outcome.
pub struct Health {
    latest: RwLock<Snapshot>,
    folder: RwLock<Option<Problem>>,
    outcomes: AtomicU64,
}

impl Health {
    /// Starts the tasks; they end with `until`.
    pub fn watch(
        dial: Arc<Dial>,
        ideas: Arc<Ideas>,
        timing: Timing,
        metrics: Arc<Metrics>,
        until: CancellationToken,
    ) -> Arc<Health> {
        let checking = Problem { reason: "Checking", message: "The VM is being checked for the first time.".into() };
        let first = Snapshot {
            problem: Some(checking),
            at: Instant::now(),
            stale_after: (timing.interval + timing.deadline) * 3,
        };
        let health =
            Arc::new(Health { latest: RwLock::new(first), folder: RwLock::new(None), outcomes: AtomicU64::new(0) });
        let (watched, looked_at) = (health.clone(), health.clone());
        tokio::spawn(async move {
            let both = async {
                tokio::join!(
                    watched.keep_checking(dial, timing, metrics),
                    looked_at.keep_looking(&ideas, timing.interval * FOLDER_EVERY)
                )
            };
            until.run_until_cancelled(both).await;
        });
        health
    }

    /// What is wrong with the ideas folder as it was last seen, if anything is.
    pub fn folder(&self) -> Option<Problem> {
        self.folder.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The latest outcome, at once.
    pub fn now(&self) -> Snapshot {
        self.latest.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another number after each outcome. Within one, only time changes what [`Health::now`] says.
    pub fn outcomes(&self) -> u64 {
        self.outcomes.load(Ordering::Acquire)
    }

    async fn keep_checking(&self, dial: Arc<Dial>, timing: Timing, metrics: Arc<Metrics>) {
        let mut ticks = tokio::time::interval(timing.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let began = Instant::now();
            let outcome = attempt(&dial, timing.deadline).await;
            metrics.vm_checked(outcome.as_ref().err().map(|failure| failure.reason), began.elapsed());
            self.note(outcome);
        }
    }

    /// Looks at the ideas folder while the VM can be reached; an answer that does not come changes nothing.
    async fn keep_looking(&self, ideas: &Ideas, every: Duration) {
        loop {
            if self.now().problem().is_none()
                && let Ok(seen) = ideas.folder_problem().await
            {
                self.note_folder(seen.map(|message| Problem { reason: IDEAS_PATH_UNWRITABLE, message }));
                tokio::time::sleep(every).await;
            } else {
                tokio::time::sleep(every / FOLDER_EVERY).await;
            }
        }
    }

    fn note_folder(&self, seen: Option<Problem>) {
        let mut folder = self.folder.write().unwrap_or_else(PoisonError::into_inner);
        match (&*folder, &seen) {
            (Some(_), None) => tracing::info!("{FOLDER_USABLE}"),
            (before, Some(now)) if before.as_ref() != Some(now) => {
                tracing::warn!(reason = now.reason, cause = now.message, "{FOLDER_UNUSABLE}");
            }
            _ => {}
        }
        *folder = seen;
        self.outcomes.fetch_add(1, Ordering::Release);
    }

    fn note(&self, outcome: Result<(), Failure>) {
        let problem =
            outcome.err().map(|failure| Problem { reason: failure.reason.as_str(), message: failure.message });
        let mut latest = self.latest.write().unwrap_or_else(PoisonError::into_inner);
        match (&latest.problem, &problem) {
            (Some(_), None) => tracing::info!("{VM_USABLE}"),
            (before, Some(now)) if before.as_ref().map(|problem| problem.reason) != Some(now.reason) => {
                tracing::warn!(reason = now.reason, cause = now.message, "{VM_UNUSABLE}");
            }
            _ => {}
        }
        latest.problem = problem;
        latest.at = Instant::now();
        self.outcomes.fetch_add(1, Ordering::Release);
    }
}

/// One attempt, and a second within the same bound where sshd only had no place for a moment (`MaxStartups`).
async fn attempt(dial: &Dial, deadline: Duration) -> Result<(), Failure> {
    let began = Instant::now();
    let outcome = dial.attempt(deadline).await;
    match &outcome {
        Err(failure) if failure.reason == Reason::ConnectionLost && began.elapsed() + ASK_AGAIN < deadline / 2 => {
            tokio::time::sleep(ASK_AGAIN).await;
            dial.attempt(deadline.saturating_sub(began.elapsed())).await
        }
        _ => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_outcome_counts_as_none() {
        let fresh = Snapshot { problem: None, at: Instant::now(), stale_after: Duration::from_secs(25) };
        assert_eq!(fresh.clone().problem(), None);
        let old = Snapshot { stale_after: Duration::ZERO, ..fresh };
        std::thread::yield_now();
        assert_eq!(old.problem().map(|problem| problem.reason), Some("CheckStalled"));
    }

    /// The operator reads it in the pods' logs.
    #[test]
    fn the_log_tells_of_trouble_with_its_reason_and_cause_and_of_its_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = tracing_subscriber::fmt().json().flatten_event(true).with_writer(Arc::new(file.reopen().unwrap()));
        let fresh = Snapshot { problem: None, at: Instant::now(), stale_after: Duration::from_secs(25) };
        let health = Health { latest: RwLock::new(fresh), folder: RwLock::new(None), outcomes: AtomicU64::new(0) };
        tracing::subscriber::with_default(log.finish(), || {
            health.note(Err(Failure::new(Reason::TimedOut, "No answer.")));
            health.note_folder(Some(Problem { reason: IDEAS_PATH_UNWRITABLE, message: "No room.".into() }));
            health.note(Ok(()));
            health.note_folder(None);
        });
        let text = std::fs::read_to_string(file.path()).unwrap();
        let members = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            ["message", "reason", "cause"].map(|member| line[member].as_str().unwrap_or_default().to_owned())
        };
        let told: Vec<_> = text.lines().map(members).collect();
        let expected = [
            [VM_UNUSABLE, "TimedOut", "No answer."],
            [FOLDER_UNUSABLE, IDEAS_PATH_UNWRITABLE, "No room."],
            [VM_USABLE, "", ""],
            [FOLDER_USABLE, "", ""],
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn the_defaults_leave_room_for_a_readiness_period_of_ten_seconds() {
        let timing = Timing::default();
        assert!(timing.interval + timing.deadline + Duration::from_secs(10) < Duration::from_secs(20));
        assert!(timing.interval >= Duration::from_secs(5));
    }
}
