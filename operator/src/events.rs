//! Events about an instance (`events.k8s.io`). An event is told once: repeats within minutes become a count of the first.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};

use crate::{
    apply::bounded,
    crd::CatalystInstance,
    reason::{Reason, Severity},
};

/// The longest note that the API takes, in bytes.
const LONGEST_NOTE: usize = 1024;

/// Tells events. One for the process: it remembers what was told.
#[derive(Clone)]
pub struct Announcer {
    recorder: Recorder,
}

impl Announcer {
    /// An announcer; `identity` is this operator's name (its pod's).
    #[must_use]
    pub fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter { controller: "catalyst.dev/operator".to_owned(), instance: Some(identity.to_owned()) };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Tells an event. That it cannot be told, or not within the time of any write, keeps nothing from going on, so it is only
    /// logged.
    pub async fn tell(&self, instance: &CatalystInstance, reason: Reason, note: &str) {
        self.tell_of(instance, None, reason, note).await;
    }

    /// Tells an event that concerns another object too. Events of the same reason about different objects are different.
    pub async fn tell_of(
        &self,
        instance: &CatalystInstance,
        object: Option<ObjectReference>,
        reason: Reason,
        note: &str,
    ) {
        let event = Event {
            type_: type_of(reason),
            reason: reason.as_str().to_owned(),
            note: Some(cut(note)),
            action: "Reconcile".to_owned(),
            secondary: object,
        };
        if let Err(error) = bounded(self.recorder.publish(&event, &instance.object_ref(&()))).await {
            tracing::warn!(%error, %reason, "an event could not be told");
        }
    }
}

/// What keeps an instance from working is a Warning, also while it may pass by itself: what is only a step on the way is no
/// event. So is what somebody should have a look at.
fn type_of(reason: Reason) -> EventType {
    match (reason.severity(), reason) {
        (Severity::Stalled | Severity::Reconciling | Severity::Warning, _)
        | (_, Reason::HostKeyTrusted | Reason::SSHKeyRotationRefused | Reason::SecretRotationRefused) => {
            EventType::Warning
        }
        (Severity::Ready | Severity::Event, _) => EventType::Normal,
    }
}

fn cut(note: &str) -> String {
    let mut end = note.len().min(LONGEST_NOTE);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_that_is_away_is_a_warning_and_that_it_is_back_is_none() {
        let warns = |reason| matches!(type_of(reason), EventType::Warning);
        for reason in
            [Reason::HostUnreachable, Reason::SSHTimedOut, Reason::SecretMissing, Reason::SSHKeyRotationRefused]
        {
            assert!(warns(reason), "{reason}");
        }
        for reason in [Reason::Available, Reason::SSHKeyGenerated, Reason::RolloutStarted] {
            assert!(!warns(reason), "{reason}");
        }
    }

    #[test]
    fn a_note_is_cut_between_letters() {
        assert_eq!(cut(&"ä".repeat(2000)).len(), LONGEST_NOTE);
        assert_eq!(cut(&format!("a{}", "ä".repeat(2000))).len(), LONGEST_NOTE - 1);
    }
}
