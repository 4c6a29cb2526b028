//! The watches that the API server refuses: what they would tell is missed, so a person has to know.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kube::runtime::watcher;

use crate::{reason::Reason, validated::Finding, words::missing_right};

/// A watch that is refused is begun anew within half of this; one of which that is not heard again goes on in silence.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(120);

/// What is refused now. One for the process.
#[derive(Clone, Debug, Default)]
pub struct RefusedWatches(Arc<Mutex<Refused>>);

#[derive(Debug, Default)]
struct Refused {
    /// (namespace, kind) → the API server's words, and when it last said them.
    said: BTreeMap<(Option<String>, &'static str), (String, Instant)>,
    /// Whether one was refused of which nobody has heard yet.
    news: bool,
}

impl RefusedWatches {
    /// Notes how a watch goes on.
    pub fn note<T>(
        &self,
        namespace: Option<&str>,
        kind: &'static str,
        outcome: &Result<T, watcher::Error>,
        now: Instant,
    ) {
        let mut refused = self.refused();
        let key = (namespace.map(str::to_owned), kind);
        match outcome {
            Ok(_) => {
                refused.said.remove(&key);
            }
            Err(error) => {
                if let Some(words) = words(error) {
                    let before = refused.said.insert(key, (words, now));
                    refused.news |= before.is_none_or(|(_, said)| is_past(said, now));
                }
            }
        }
    }

    /// Whether a watch was refused since this was last asked.
    #[must_use]
    pub fn take_news(&self) -> bool {
        std::mem::take(&mut self.refused().news)
    }

    /// The findings for an instance of this namespace.
    #[must_use]
    pub fn findings(&self, namespace: &str, now: Instant) -> Vec<Finding> {
        let refused = self.refused();
        let concern = |watched: &Option<String>| watched.as_ref().is_none_or(|watched| watched == namespace);
        let now_refused =
            refused.said.iter().filter(|((watched, _), (_, said))| concern(watched) && !is_past(*said, now));
        let finding = |(_, (words, _)): (_, &(String, Instant))| Finding {
            reason: Reason::RightMissing,
            field: None,
            message: format!("The operator does not see what changes: {words}. {}", Reason::RightMissing.remedy()),
        };
        now_refused.map(finding).collect()
    }

    /// A panic while the map was held cannot leave it half changed.
    fn refused(&self) -> MutexGuard<'_, Refused> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_past(said: Instant, now: Instant) -> bool {
    now.saturating_duration_since(said) > FORGOTTEN_AFTER
}

fn words(error: &watcher::Error) -> Option<String> {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => missing_right(error).map(str::to_owned),
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => None,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn failed(code: u16, words: &str) -> Result<(), watcher::Error> {
        let status = Status::failure(words, "Forbidden").with_code(code);
        Err(watcher::Error::WatchStartFailed(kube::Error::Api(status.boxed())))
    }

    #[test]
    fn a_watch_that_is_refused_is_told_until_it_goes_on_or_is_not_heard_of_again() {
        let (watches, now) = (RefusedWatches::default(), Instant::now());
        let refused = failed(403, "pods is forbidden: User \"u\" cannot watch resource \"pods\" in API group \"\"");
        watches.note(Some("n"), "Pod", &failed(500, "later"), now);
        assert!(!watches.take_news());
        watches.note(Some("n"), "Pod", &refused, now);
        assert!(watches.take_news() && !watches.take_news());
        watches.note(Some("n"), "Pod", &refused, now);
        assert!(!watches.take_news(), "as before");
        let found = watches.findings("n", now);
        assert_eq!((found.len(), found[0].reason), (1, Reason::RightMissing));
        assert!(found[0].message.contains("cannot watch resource \"pods\""), "{found:?}");
        assert!(watches.findings("other", now).is_empty());
        assert!(watches.findings("n", now + 2 * FORGOTTEN_AFTER).is_empty());
        watches.note(Some("n"), "Pod", &Ok::<(), _>(()), now);
        assert!(watches.findings("n", now).is_empty());
    }
}
