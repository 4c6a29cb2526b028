//! Events about an instance (`events.k8s.io`). An event is told once: repeats within minutes become a count of the first.
//!
//! Of what was told only what a repeat needs is remembered, a tenth of what kube's own recorder keeps (the whole events): with a
//! thousand new instances that is megabytes.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};

use crate::{
    apply::bounded,
    crd::CatalystInstance,
    reason::{Reason, Severity},
};

/// The longest note that the API takes, in bytes.
pub(crate) const LONGEST_NOTE: usize = 1024;
/// What says the same again within this is counted (as client-go's and kube's recorders do).
const REMEMBERED: Duration = Duration::from_secs(360);
/// How often what is older is looked for.
const SWEPT_EVERY: Duration = Duration::from_secs(10);
const CONTROLLER: &str = "catalyst.dev/operator";

/// Tells events. One for the process: it remembers what was told.
#[derive(Clone)]
pub struct Announcer {
    client: Client,
    identity: Arc<str>,
    told: Arc<Mutex<Told>>,
}

/// (UID of the instance, reason, hash of the object that it concerns too and of the note). The same reason in other words is told
/// anew: a count would leave the first words.
type Key = (String, Reason, u64);

#[derive(Default)]
struct Told {
    events: HashMap<Key, Series>,
    swept: Option<Instant>,
}

/// An event, and how often it was told.
#[derive(Clone, Debug, PartialEq)]
struct Series {
    name: String,
    count: i32,
    last: Instant,
}

impl Announcer {
    /// An announcer; `identity` is this operator's name (its pod's).
    #[must_use]
    pub fn new(client: Client, identity: &str) -> Self {
        Self { client, identity: identity.into(), told: Arc::default() }
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
        if let Err(error) = bounded(self.publish(instance, object, reason, note)).await {
            tracing::warn!(%error, %reason, "an event could not be told");
        }
    }

    async fn publish(
        &self,
        instance: &CatalystInstance,
        object: Option<ObjectReference>,
        reason: Reason,
        note: &str,
    ) -> Result<(), kube::Error> {
        let namespace = instance.namespace().unwrap_or_default();
        let events: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let key = (instance.uid().unwrap_or_default(), reason, hash(object.as_ref(), note));
        let (now, time) = (Instant::now(), MicroTime(Timestamp::now()));
        let before = self.told().before(&key, now);
        if let Some(before) = before {
            let series = Series { count: before.count.saturating_add(1), last: now, ..before };
            let counted = EventSeries { count: series.count, last_observed_time: time.clone() };
            let patch = Patch::Merge(serde_json::json!({ "series": counted }));
            match events.patch(&series.name, &PatchParams::default(), &patch).await {
                // Somebody deleted it.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                counted => {
                    counted?;
                    self.told().events.insert(key, series);
                    return Ok(());
                }
            }
        }
        let name = format!("{}.{:x}", instance.name_any(), time.0.as_nanosecond());
        let event = Event {
            metadata: ObjectMeta { name: Some(name.clone()), namespace: Some(namespace), ..ObjectMeta::default() },
            event_time: Some(time),
            type_: Some(type_of(reason).to_owned()),
            reason: Some(reason.as_str().to_owned()),
            note: Some(cut(note)),
            action: Some("Reconcile".to_owned()),
            regarding: Some(instance.object_ref(&())),
            related: object,
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.identity.to_string()),
            ..Event::default()
        };
        events.create(&PostParams::default(), &event).await?;
        self.told().events.insert(key, Series { name, count: 1, last: now });
        Ok(())
    }

    /// Whoever panics in here leaves at worst one event that is told twice.
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// What was told as this lately.
    fn before(&mut self, key: &Key, now: Instant) -> Option<Series> {
        let lately = |series: &Series| now.saturating_duration_since(series.last) < REMEMBERED;
        if self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEPT_EVERY) {
            self.swept = Some(now);
            self.events.retain(|_, series| lately(series));
        }
        self.events.get(key).filter(|series| lately(series)).cloned()
    }
}

/// What keeps an instance from working is a Warning, also while it may pass by itself: what is only a step on the way is no
/// event. So is what somebody should have a look at.
fn type_of(reason: Reason) -> &'static str {
    match (reason.severity(), reason) {
        (Severity::Stalled | Severity::Reconciling | Severity::Warning, _)
        | (_, Reason::HostKeyTrusted | Reason::SSHKeyRotationRefused | Reason::SecretRotationRefused) => "Warning",
        (Severity::Ready | Severity::Event, _) => "Normal",
    }
}

fn hash(object: Option<&ObjectReference>, note: &str) -> u64 {
    let object = object.map(|object| (&object.kind, &object.name, &object.uid));
    BuildHasherDefault::<DefaultHasher>::default().hash_one((object, note))
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
        let warns = |reason| type_of(reason) == "Warning";
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
    fn what_is_told_again_within_minutes_is_counted_and_nothing_older_is_remembered() {
        let (mut told, now) = (Told::default(), Instant::now());
        let key = |uid: &str| (uid.to_owned(), Reason::SecretMissing, hash(None, "Secret a is missing."));
        assert_eq!(told.before(&key("a"), now), None);
        let series = Series { name: "a.1".to_owned(), count: 1, last: now };
        told.events.insert(key("a"), series.clone());
        let soon = now + REMEMBERED - SWEPT_EVERY;
        assert_eq!(told.before(&key("a"), soon), Some(series));
        assert_eq!(told.before(&key("b"), soon), None, "another instance's");
        let other =
            |object: Option<&ObjectReference>, note: &str| ("a".to_owned(), Reason::SecretMissing, hash(object, note));
        assert_eq!(told.before(&other(None, "Secret b is missing."), soon), None, "other words");
        let object = ObjectReference { kind: Some("Secret".to_owned()), ..ObjectReference::default() };
        assert_eq!(told.before(&other(Some(&object), "Secret a is missing."), soon), None, "of an object");
        assert_eq!(told.before(&key("a"), now + REMEMBERED), None);
        assert!(told.events.is_empty());
    }

    #[test]
    fn a_note_is_cut_between_letters() {
        assert_eq!(cut(&"ä".repeat(2000)).len(), LONGEST_NOTE);
        assert_eq!(cut(&format!("a{}", "ä".repeat(2000))).len(), LONGEST_NOTE - 1);
    }
}
