//! Keeps `meta.json` in step with the runs: Claude's session and the status of the idea.
//!
//! What is to be written is kept by idea until it is written, so a VM that is away for a while loses nothing and the
//! memory is bounded by the number of ideas. Every write looks at what is there first: repeating one changes nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::remote::ideas::{Change, Idea, Ideas, IdeasError, Status};
use crate::run::{IdeaRef, Mode, RunObserver};

const RETRY: Duration = Duration::from_secs(5);
const PENDING_LIMIT: usize = 4096;

/// The idea as its runs know it.
pub fn reference(idea: &Idea) -> IdeaRef {
    IdeaRef { id: idea.id.clone(), slug: idea.slug.clone(), session_id: idea.session_id.clone() }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Talking,
    Building,
    Built,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Pending {
    session_id: Option<String>,
    steps: Vec<Step>,
}

impl Pending {
    /// What has to change in the idea as it is now; `None` when nothing has to.
    fn change(&self, idea: &Idea) -> Option<Change> {
        let status = self.steps.iter().fold(idea.status, |status, step| match (step, status) {
            (Step::Talking, Status::Captured) => Status::Chatting,
            (Step::Building, _) => Status::Building,
            (Step::Built, Status::Building) => Status::Done,
            (_, status) => status,
        });
        let session_id = self.session_id.clone().filter(|new| idea.session_id.as_ref() != Some(new));
        if status == idea.status && session_id.is_none() {
            return None;
        }
        Some(Change {
            status: (status != idea.status).then_some(status),
            session_id: session_id.map(Some),
            ..Change::default()
        })
    }
}

/// Takes what runs tell, and has it written by a task of its own.
#[derive(Default)]
pub struct Observer {
    pending: Mutex<HashMap<String, Pending>>,
    /// Held while writing: whoever writes next finds what was written or is to be tried again, nothing in between.
    writing: tokio::sync::Mutex<()>,
    wake: Notify,
}

impl Observer {
    /// A message was taken.
    pub fn turn_accepted(&self, idea: &IdeaRef, mode: Mode) {
        self.note(idea, |pending| {
            pending.steps.push(match mode {
                Mode::Chat => Step::Talking,
                Mode::Build => Step::Building,
            });
        });
    }

    /// Writes what is told, until cancelled.
    pub async fn keep_writing(self: Arc<Self>, ideas: Arc<Ideas>, until: CancellationToken) {
        loop {
            if until.run_until_cancelled(self.wake.notified()).await.is_none() {
                return;
            }
            while !self.write_all(&ideas).await {
                if until.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_none() {
                    return;
                }
            }
        }
    }

    /// Writes everything that is pending; `false` when something has to be tried again.
    pub async fn write_all(&self, ideas: &Ideas) -> bool {
        let _one_writer = self.writing.lock().await;
        let all: Vec<(String, Pending)> = self.pending().drain().collect();
        let mut complete = true;
        for (id, pending) in all {
            match ideas.update_if(&id, |idea| pending.change(idea)).await {
                Ok(_) | Err(IdeasError::NotFound | IdeasError::Damaged { .. }) => {}
                Err(error) => {
                    tracing::warn!(idea = id, cause = %error, "the idea's state is not written yet; trying again");
                    complete = false;
                    let mut waiting = self.pending();
                    let newer = waiting.remove(&id).unwrap_or_default();
                    waiting.insert(id, merged(pending, newer));
                }
            }
        }
        complete
    }

    fn note(&self, idea: &IdeaRef, change: impl FnOnce(&mut Pending)) {
        let mut pending = self.pending();
        if pending.len() >= PENDING_LIMIT && !pending.contains_key(&idea.id) {
            tracing::warn!(idea = idea.slug, "too many ideas wait to be written; this one's state is not kept");
            return;
        }
        let entry = pending.entry(idea.id.clone()).or_default();
        change(entry);
        entry.steps.dedup();
        drop(pending);
        self.wake.notify_one();
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<String, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn merged(mut older: Pending, newer: Pending) -> Pending {
    older.session_id = newer.session_id.or(older.session_id);
    older.steps.extend(newer.steps);
    older.steps.dedup();
    // Only the end of a long row matters.
    let surplus = older.steps.len().saturating_sub(4);
    older.steps.drain(..surplus);
    older
}

impl RunObserver for Observer {
    fn session_started(&self, idea: &IdeaRef, session_id: &str) {
        if crate::remote::ideas::is_identifier(session_id) && idea.session_id.as_deref() != Some(session_id) {
            self.note(idea, |pending| pending.session_id = Some(session_id.to_owned()));
        }
    }

    fn turn_ended(&self, idea: &IdeaRef, mode: Mode, success: bool) {
        if mode == Mode::Build && success {
            self.note(idea, |pending| pending.steps.push(Step::Built));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::ideas::Slug;

    fn idea(status: Status) -> Idea {
        Idea { status, ..Idea::new(&Slug::accept("x").unwrap(), "X") }
    }

    fn status_after(status: Status, steps: &[Step]) -> Status {
        let pending = Pending { session_id: None, steps: steps.to_vec() };
        pending.change(&idea(status)).and_then(|change| change.status).unwrap_or(status)
    }

    #[test]
    fn talking_moves_only_a_new_idea() {
        assert_eq!(status_after(Status::Captured, &[Step::Talking]), Status::Chatting);
        assert_eq!(status_after(Status::Done, &[Step::Talking]), Status::Done);
    }

    #[test]
    fn a_build_goes_through_building_to_done_and_a_late_repetition_changes_nothing() {
        assert_eq!(status_after(Status::Chatting, &[Step::Building]), Status::Building);
        assert_eq!(status_after(Status::Building, &[Step::Built]), Status::Done);
        assert_eq!(status_after(Status::Captured, &[Step::Building, Step::Built]), Status::Done);
        assert_eq!(status_after(Status::Chatting, &[Step::Built]), Status::Chatting);
    }

    #[test]
    fn a_session_is_written_once() {
        let pending = Pending { session_id: Some("s1".into()), steps: vec![] };
        let mut idea = idea(Status::Chatting);
        let change = pending.change(&idea).unwrap();
        idea.apply(&change);
        assert_eq!(idea.session_id.as_deref(), Some("s1"));
        assert_eq!(pending.change(&idea), None);
    }
}
