//! What is known of resource versions: the newest of each kind, below which no read goes; and those of our own writes, whose
//! echoes through the watches tell nothing new.
//!
//! A read "not older than" a version is answered from the API server's cache as soon as that holds it. So it costs little, and
//! shows at least what any watch of ours has shown and whatever we wrote.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::api::ObjectMeta;

/// Own writes that are remembered. One that is forgotten costs a pass that finds nothing to do.
const REMEMBERED: usize = 8192;

/// One for the process.
#[derive(Clone, Debug)]
pub struct Versions(Arc<Mutex<Known>>);

#[derive(Debug)]
struct Known {
    /// Watches of each kind: one for every namespace that is watched by itself.
    watches: usize,
    kinds: HashMap<&'static str, Newest>,
    own: HashSet<(&'static str, u64)>,
    /// The same, oldest first.
    order: VecDeque<(&'static str, u64)>,
}

#[derive(Debug, Default)]
struct Newest {
    /// `None`: in doubt.
    version: Option<u64>,
    /// Watches that have listed all of their objects.
    listed: usize,
}

impl Versions {
    /// Nothing is known yet; each kind is going to have so many watches.
    #[must_use]
    pub fn new(watches: usize) -> Self {
        let (kinds, own, order) = (HashMap::new(), HashSet::new(), VecDeque::new());
        Self(Arc::new(Mutex::new(Known { watches, kinds, own, order })))
    }

    /// A watch has shown an object, or the last of one that is gone; or a write that may have changed nothing was answered
    /// with this, which may be what somebody else wrote.
    pub fn seen(&self, kind: &'static str, object: &ObjectMeta) {
        let Some(version) = version_of(object) else { return };
        self.known().newest(kind, version);
    }

    /// A watch has listed all of its objects.
    pub fn listed(&self, kind: &'static str) {
        let mut known = self.known();
        let newest = known.kinds.entry(kind).or_default();
        newest.listed += 1;
        newest.version.get_or_insert(0);
    }

    /// The API server has answered with this a write of ours that changed the object for certain.
    pub fn wrote(&self, kind: &'static str, answer: &ObjectMeta) {
        let Some(version) = version_of(answer) else { return };
        let mut known = self.known();
        known.newest(kind, version);
        if known.own.insert((kind, version)) {
            known.order.push_back((kind, version));
        }
        if known.order.len() > REMEMBERED
            && let Some(oldest) = known.order.pop_front()
        {
            known.own.remove(&oldest);
        }
    }

    /// Whether an object is as a write of ours left it.
    #[must_use]
    pub fn is_echo(&self, kind: &'static str, version: u64) -> bool {
        self.known().own.contains(&(kind, version))
    }

    /// Whether every watch of a kind has listed its objects.
    #[must_use]
    pub fn is_watched(&self, kind: &str) -> bool {
        let known = self.known();
        known.kinds.get(kind).is_some_and(|newest| newest.listed >= known.watches)
    }

    /// The version that a read of this kind must not be older than; `None`: only the latest will do, since not every watch has
    /// told what there is.
    #[must_use]
    pub fn floor(&self, kind: &str) -> Option<String> {
        let known = self.known();
        let newest = known.kinds.get(kind).filter(|newest| newest.listed >= known.watches)?;
        newest.version.map(|version| version.to_string())
    }

    /// The API server does not come to the version that is known of this kind (its store may have been put back to an earlier
    /// one, which gives versions out a second time): the latest is read until a watch or a write tells another, and no version
    /// passes for one of ours.
    pub fn doubt(&self, kind: &str) {
        let mut known = self.known();
        if let Some(newest) = known.kinds.get_mut(kind) {
            newest.version = None;
        }
        known.own.retain(|(of, _)| *of != kind);
        known.order.retain(|(of, _)| *of != kind);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Whoever panics in here leaves at worst one version too few.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn newest(&mut self, kind: &'static str, version: u64) {
        let newest = self.kinds.entry(kind).or_default();
        newest.version = newest.version.max(Some(version));
    }
}

/// Versions of one kind are numbers that grow; what is none is as good as unknown.
#[must_use]
pub fn version_of(object: &ObjectMeta) -> Option<u64> {
    object.resource_version.as_ref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(version: u64) -> ObjectMeta {
        ObjectMeta { resource_version: Some(version.to_string()), ..ObjectMeta::default() }
    }

    #[test]
    fn the_latest_is_read_until_every_watch_has_listed_and_nothing_older_than_what_is_known_from_then_on() {
        let versions = Versions::new(2);
        versions.seen("Service", &at(7));
        versions.listed("Service");
        assert_eq!((versions.floor("Service"), versions.is_watched("Service")), (None, false));
        versions.listed("Service");
        assert_eq!(versions.floor("Service").as_deref(), Some("7"));
        versions.wrote("Service", &at(9));
        versions.seen("Service", &at(8));
        assert_eq!(versions.floor("Service").as_deref(), Some("9"));
        assert_eq!(versions.floor("Secret"), None);
        versions.listed("Secret");
        versions.listed("Secret");
        assert_eq!(versions.floor("Secret").as_deref(), Some("0"), "of a kind that has no objects any read will do");
    }

    #[test]
    fn a_version_that_is_never_reached_is_given_up_for_the_latest_until_another_is_told() {
        let versions = Versions::new(1);
        versions.listed("Service");
        versions.seen("Service", &at(900));
        versions.wrote("Service", &at(899));
        versions.wrote("Secret", &at(898));
        versions.doubt("Service");
        assert_eq!(versions.floor("Service"), None);
        assert!(
            !versions.is_echo("Service", 899) && versions.is_echo("Secret", 898),
            "versions are given out a second time"
        );
        versions.seen("Service", &at(3));
        assert_eq!(versions.floor("Service").as_deref(), Some("3"));
    }

    #[test]
    fn the_last_of_our_own_writes_are_told_from_those_of_others() {
        let versions = Versions::new(1);
        versions.wrote("Service", &at(1));
        let is_echo = |version| versions.is_echo("Service", version);
        assert!(is_echo(1) && !is_echo(2) && !versions.is_echo("Secret", 1));
        (2..=REMEMBERED as u64 + 1).for_each(|version| versions.wrote("Service", &at(version)));
        assert!(!is_echo(1) && is_echo(2) && is_echo(REMEMBERED as u64 + 1));
        assert_eq!(versions.known().own.len(), REMEMBERED);
    }
}
