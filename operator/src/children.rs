//! What the watches and our own writes last showed of our objects, as far as apply decides on it, so that a pass need not read it.
//!
//! Invariant: what is held of an object is not older than what any watch of ours has shown of it, nor than the answer to a write of
//! ours. Where that would be in doubt nothing is held, and what is not held has to be read (so is what never carries our mark), unless it is
//! not wanted, when only what is ours would matter, or the instance is new, when it is met as it is made.

mod held;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::{
    core::v1::{ConfigMap, Service},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
};
use kube::{api::ObjectMeta, runtime::watcher};

use self::held::{Held, Place, Texts, place};
use crate::{live::Kinded, shown::Shown, versions::version_of};

/// Kinds of which metadata is all that a pass needs.
const HELD: [&str; 5] = [Service::KIND, Ingress::KIND, ConfigMap::KIND, NetworkPolicy::KIND, PodDisruptionBudget::KIND];

/// One for the process.
#[derive(Clone, Debug, Default)]
pub struct Children(Arc<Mutex<Followed>>);

#[derive(Debug, Default)]
struct Followed {
    /// (kind, namespace that is watched by itself; `None`: all) → what is held.
    watches: HashMap<(&'static str, Option<String>), Watch>,
    /// What objects have in common.
    texts: Texts,
}

type Objects = HashMap<Place, Held>;

#[derive(Debug, Default)]
struct Watch {
    /// `None`: it has not told yet what there is.
    objects: Option<Objects>,
    /// What it has told so far of what there is, while it begins anew.
    listing: Objects,
    /// There by an answer to a write of ours, and not shown yet as it is now.
    unshown: HashSet<Place>,
    /// What is not held may be there all the same, until it has told anew what there is.
    doubtful: bool,
}

impl Children {
    /// Follows a watch of a kind, in `scope` (a namespace; `None`: all).
    pub fn follow<K, S>(&self, kind: &'static str, scope: Option<&str>, event: &watcher::Event<Shown<K, S>>) {
        if !HELD.contains(&kind) {
            return;
        }
        let mut followed = self.followed();
        let Followed { watches, texts } = &mut *followed;
        let watch = watches.entry((kind, scope.map(str::to_owned))).or_default();
        match event {
            watcher::Event::Init => watch.listing = Objects::new(),
            watcher::Event::InitApply(object) => {
                if let Some((at, held)) = Held::shown(object, texts) {
                    watch.listing.insert(at, held);
                }
            }
            watcher::Event::InitDone => {
                let mut listed = std::mem::take(&mut watch.listing);
                for (at, before) in watch.objects.take().unwrap_or_default() {
                    // We wrote it after the list was made, and the watch is going to say so.
                    if listed.get(&at).is_some_and(|now| now.version < before.version) {
                        listed.remove(&at);
                        watch.unshown.insert(at);
                    }
                }
                watch.unshown.retain(|at| !listed.contains_key(at));
                watch.objects = Some(listed);
                watch.doubtful = false;
            }
            watcher::Event::Apply(object) => watch.note(&object.metadata, Held::shown(object, texts)),
            watcher::Event::Delete(object) => watch.note(&object.metadata, None),
        }
    }

    /// The API server has answered a write of ours with this. It takes the place of what is held, and of nothing else: an object of
    /// which nothing is held may be gone again by now, as the watch has told.
    pub fn wrote(&self, kind: &'static str, answer: &ObjectMeta) {
        let (Some(namespace), Some(name), Some(version)) = (&answer.namespace, &answer.name, version_of(answer)) else {
            return;
        };
        let at = place(namespace, name);
        let mut followed = self.followed();
        let Followed { watches, texts } = &mut *followed;
        for scope in [Some(namespace.clone()), None] {
            let Some(watch) = watches.get_mut(&(kind, scope)) else { continue };
            let Some(objects) = &mut watch.objects else {
                // Perhaps it is newer than the list that is on its way.
                watch.unshown.insert(at.clone());
                continue;
            };
            match objects.get(&at) {
                None => {
                    watch.unshown.insert(at.clone());
                }
                Some(held) if held.version < version => {
                    objects.remove(&at);
                    objects.extend(Held::answered(answer, texts));
                }
                Some(_) => {}
            }
        }
    }

    /// The metadata of an object, in which managed fields and annotations are ours alone. `None`: it has to be read.
    #[must_use]
    pub fn get(&self, kind: &'static str, namespace: &str, name: &str) -> Option<ObjectMeta> {
        let followed = self.followed();
        let at = place(namespace, name);
        let in_scope = |scope| followed.watches.get(&(kind, scope))?.objects.as_ref()?.get(&at);
        in_scope(Some(namespace.to_owned())).or_else(|| in_scope(None))?.meta(namespace, name)
    }

    /// Whether there is no such object of ours: each watch has told what there is, and whatever we wrote has been shown. There may be
    /// one of somebody else's.
    #[must_use]
    pub fn lacks(&self, kind: &'static str, namespace: &str, name: &str) -> bool {
        let followed = self.followed();
        let at = place(namespace, name);
        let watch = |scope| followed.watches.get(&(kind, scope));
        watch(Some(namespace.to_owned())).or_else(|| watch(None)).is_some_and(|watch| {
            let told = watch.objects.as_ref().filter(|_| !watch.doubtful);
            told.is_some_and(|objects| !objects.contains_key(&at)) && !watch.unshown.contains(&at)
        })
    }

    /// Versions of this kind may be given out a second time: nothing is held until a watch tells it.
    pub fn doubt(&self, kind: &str) {
        let mut followed = self.followed();
        for (_, watch) in followed.watches.iter_mut().filter(|((of, _), _)| *of == kind) {
            watch.objects.iter_mut().for_each(Objects::clear);
            watch.doubtful = true;
        }
    }

    /// Whoever panics in here leaves at worst one object too few.
    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Puts what was told of an object in the place of what is held of it; in doubt, nothing.
    fn note(&mut self, meta: &ObjectMeta, told: Option<(Place, Held)>) {
        let at = place(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
        self.unshown.remove(&at);
        let Some(objects) = &mut self.objects else { return };
        let before = objects.remove(&at);
        match told {
            Some((_, held)) if before.is_some_and(|before| before.version > held.version) => {
                self.unshown.insert(at);
            }
            Some((at, held)) => {
                objects.insert(at, held);
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apply::MANAGER;

    fn object(name: &str, version: u64, owned: bool) -> Service {
        let owners = json!([{"apiVersion": "catalyst.dev/v1alpha1", "kind": "CatalystInstance", "name": "x",
            "uid": "owner", "controller": true}]);
        serde_json::from_value(json!({"metadata": {"namespace": "n", "name": name, "uid": format!("{name}-uid"),
            "resourceVersion": version.to_string(), "generation": 3, "creationTimestamp": "2026-01-02T03:04:05Z",
            "annotations": {"catalyst.dev/applied": version.to_string(), "example.com/a": "foreign"},
            "ownerReferences": if owned { owners } else { json!([]) },
            "managedFields": [
                {"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:spec": {"f:type": {}}}},
                {"manager": MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": {"f:ports": {}}}}]}}))
        .unwrap()
    }

    fn listed(objects: impl IntoIterator<Item = Service>) -> Children {
        let children = Children::default();
        list(&children, objects);
        children
    }

    fn list(children: &Children, objects: impl IntoIterator<Item = Service>) {
        tell(children, watcher::Event::Init);
        objects.into_iter().for_each(|object| tell(children, watcher::Event::InitApply(object)));
        tell(children, watcher::Event::InitDone);
    }

    fn tell(children: &Children, event: watcher::Event<Service>) {
        tell_of(children, None, event);
    }

    fn tell_of(children: &Children, scope: Option<&str>, event: watcher::Event<Service>) {
        let shown = |service: Service| -> Shown<Service> {
            serde_json::from_str(&serde_json::to_string(&service).unwrap()).unwrap()
        };
        let event = match event {
            watcher::Event::Init => watcher::Event::Init,
            watcher::Event::InitDone => watcher::Event::InitDone,
            watcher::Event::InitApply(service) => watcher::Event::InitApply(shown(service)),
            watcher::Event::Apply(service) => watcher::Event::Apply(shown(service)),
            watcher::Event::Delete(service) => watcher::Event::Delete(shown(service)),
        };
        children.follow("Service", scope, &event);
    }

    fn held(children: &Children, name: &str) -> Option<u64> {
        children.get("Service", "n", name).as_ref().and_then(version_of)
    }

    #[test]
    fn what_apply_decides_on_is_held_of_our_objects_and_nothing_of_others() {
        let children = listed([object("ours", 5, true), object("theirs", 6, false)]);
        let meta = children.get("Service", "n", "ours").unwrap();
        let whole = object("ours", 5, true).metadata;
        assert_eq!(
            (&meta.uid, meta.generation, &meta.creation_timestamp),
            (&whole.uid, Some(3), &whole.creation_timestamp)
        );
        assert_eq!(meta.owner_references, whole.owner_references);
        assert_eq!(meta.annotations.unwrap().into_keys().collect::<Vec<_>>(), ["catalyst.dev/applied"]);
        assert_eq!(meta.managed_fields.unwrap()[0].fields_v1, whole.managed_fields.unwrap()[1].fields_v1);
        assert_eq!((held(&children, "theirs"), held(&children, "nobodys")), (None, None));
    }

    #[test]
    fn nothing_is_held_before_a_watch_has_told_what_there_is() {
        let children = Children::default();
        tell(&children, watcher::Event::Init);
        tell(&children, watcher::Event::InitApply(object("a", 5, true)));
        children.wrote("Service", &object("a", 4, true).metadata);
        assert_eq!(held(&children, "a"), None);
        tell(&children, watcher::Event::InitDone);
        assert_eq!(held(&children, "a"), Some(5));
    }

    #[test]
    fn what_we_wrote_is_held_before_the_watch_shows_it_and_not_after_it_showed_that_it_is_gone() {
        let children = listed([object("a", 5, true)]);
        children.wrote("Service", &object("a", 7, true).metadata);
        assert_eq!(held(&children, "a"), Some(7));
        children.wrote("Service", &object("a", 6, true).metadata);
        assert_eq!(held(&children, "a"), Some(7), "answers may come in another order");
        tell(&children, watcher::Event::Delete(object("a", 9, true)));
        children.wrote("Service", &object("a", 8, true).metadata);
        assert_eq!(held(&children, "a"), None);
    }

    #[test]
    fn of_a_watch_that_lags_behind_our_write_nothing_is_held_until_it_has_caught_up() {
        let children = listed([object("a", 5, true)]);
        children.wrote("Service", &object("a", 9, true).metadata);
        tell(&children, watcher::Event::Apply(object("a", 7, true)));
        assert_eq!(held(&children, "a"), None);
        tell(&children, watcher::Event::Apply(object("a", 9, true)));
        assert_eq!(held(&children, "a"), Some(9));
        tell(&children, watcher::Event::Apply(object("a", 10, false)));
        assert_eq!(held(&children, "a"), None, "it was taken from us");
    }

    #[test]
    fn a_watch_that_begins_anew_takes_the_place_of_what_it_told_before() {
        let children = listed([object("a", 5, true), object("b", 6, true), object("c", 7, true)]);
        children.wrote("Service", &object("c", 20, true).metadata);
        tell(&children, watcher::Event::Init);
        tell(&children, watcher::Event::InitApply(object("a", 11, true)));
        assert_eq!(held(&children, "a"), Some(5), "the list is not whole");
        tell(&children, watcher::Event::InitApply(object("c", 7, true)));
        tell(&children, watcher::Event::InitDone);
        assert_eq!((held(&children, "a"), held(&children, "b"), held(&children, "c")), (Some(11), None, None));
        // A store that was put back gives lower versions out again: in doubt it is read, until the watch tells another.
        list(&children, [object("a", 2, true)]);
        assert_eq!(held(&children, "a"), None);
        tell(&children, watcher::Event::Apply(object("a", 3, true)));
        assert_eq!(held(&children, "a"), Some(3));
    }

    #[test]
    fn what_every_watch_lacks_is_not_there_unless_we_wrote_it_a_moment_ago() {
        let children = Children::default();
        let lacks = |name| children.lacks("Service", "n", name);
        assert!(!lacks("a"), "no watch has told");
        tell(&children, watcher::Event::Init);
        assert!(!lacks("a"), "the list is not whole");
        tell(&children, watcher::Event::InitApply(object("b", 5, true)));
        tell(&children, watcher::Event::InitDone);
        assert!(lacks("a") && !lacks("b"));
        children.wrote("Service", &object("a", 7, true).metadata);
        assert!(!lacks("a"), "it was made, and is not shown yet");
        tell(&children, watcher::Event::Apply(object("a", 7, true)));
        tell(&children, watcher::Event::Delete(object("a", 9, true)));
        assert!(lacks("a"), "it came and went");
        children.doubt("Service");
        assert!(!lacks("a") && !lacks("b"), "in doubt it is looked for");
        list(&children, []);
        assert!(lacks("a") && lacks("b"));
    }

    #[test]
    fn what_we_wrote_is_not_lacking_while_a_watch_or_a_list_lags_behind_it() {
        let children = Children::default();
        let lacks = |name| children.lacks("Service", "n", name);
        tell(&children, watcher::Event::Init);
        children.wrote("Service", &object("late", 9, true).metadata);
        tell(&children, watcher::Event::InitApply(object("a", 5, true)));
        tell(&children, watcher::Event::InitApply(object("b", 6, true)));
        tell(&children, watcher::Event::InitDone);
        assert!(!lacks("late"), "it was made after the list");
        children.wrote("Service", &object("a", 10, true).metadata);
        tell(&children, watcher::Event::Apply(object("a", 8, true)));
        assert!(held(&children, "a").is_none() && !lacks("a"), "the watch is behind the write");
        children.wrote("Service", &object("b", 11, true).metadata);
        list(&children, [object("late", 9, true), object("b", 6, true)]);
        assert!(held(&children, "b").is_none() && !lacks("b"), "the list is behind the write");
        for name in ["a", "b"] {
            tell(&children, watcher::Event::Apply(object(name, 12, true)));
            tell(&children, watcher::Event::Delete(object(name, 13, true)));
            assert!(lacks(name), "{name} is gone");
        }
    }

    #[test]
    fn in_doubt_nothing_is_held() {
        let children = listed([object("a", 5, true)]);
        children.doubt("Ingress");
        assert_eq!(held(&children, "a"), Some(5));
        children.doubt("Service");
        children.wrote("Service", &object("a", 6, true).metadata);
        assert_eq!(held(&children, "a"), None);
        tell(&children, watcher::Event::Apply(object("a", 3, true)));
        assert_eq!(held(&children, "a"), Some(3), "what the watch tells from now on is no doubt");
    }

    #[test]
    fn each_namespace_that_is_watched_by_itself_tells_of_its_own() {
        let children = Children::default();
        for event in [watcher::Event::Init, watcher::Event::InitApply(object("a", 5, true)), watcher::Event::InitDone] {
            tell_of(&children, Some("n"), event);
        }
        tell_of(&children, Some("other"), watcher::Event::Init);
        tell_of(&children, Some("other"), watcher::Event::InitDone);
        children.wrote("Service", &object("a", 6, true).metadata);
        assert_eq!(held(&children, "a"), Some(6));
        assert_eq!(children.get("Service", "other", "a").map(|meta| meta.name), None);
    }
}
