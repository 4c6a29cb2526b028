//! What makes an instance be looked at again: itself, its objects, its pods, and Secrets that it refers to.
//!
//! All watches but that of Ingresses are of metadata. An event is turned into the name of an instance and forgotten, but for what
//! `children` keeps of our own objects: so unrelated ones cost no memory. Of each event the version is noted, and goes with the
//! trigger: what is only the echo of a write of ours need not be looked at.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    time::{Duration, Instant},
};

use futures::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Pod, Secret, Service},
        networking::v1::{Ingress, IngressSpec, NetworkPolicy},
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, Store, store::Writer},
        watcher,
    },
};

use crate::{
    build::HTTPRoute,
    children::Children,
    crd::CatalystInstance,
    hosts::HostClaims,
    live::Kinded,
    names::INSTANCE_LABEL,
    secret_uses::SecretUses,
    shown::{Beside, Nothing, Shown},
    versions::{Versions, version_of},
    watches::RefusedWatches,
};

/// An instance as the watch keeps it.
pub type Watched = Shown<CatalystInstance>;
/// A stream of instances to look at.
pub type Triggers = BoxStream<'static, Result<Trigger, watcher::Error>>;

/// An instance to look at, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    /// The instance.
    pub instance: ObjectRef<Watched>,
    /// Why.
    pub cause: Cause,
}

/// Why an instance is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An object of this kind is in this version now: news, unless the version is one that we wrote.
    Version(&'static str, u64),
    /// Something that we did not write.
    News,
}

impl Trigger {
    /// News of an instance.
    #[must_use]
    pub fn news(namespace: &str, name: &str) -> Self {
        Self { instance: ObjectRef::new(name).within(namespace), cause: Cause::News }
    }
}

/// The kind of pods.
pub const POD: &str = "Pod";

/// Objects of a page of a first list. Ten kinds are listed beside each other, and each page is held whole; kube's own 500 take some MiB more
/// that are not given back. (Secrets come in pages of 500 all the same: most are none of ours, and there may be very many.)
const PAGE: u32 = 100;

/// Where to watch: one namespace, or all.
#[derive(Clone)]
pub struct Scope {
    /// With which client.
    pub client: Client,
    /// The namespace; `None`: all.
    pub namespace: Option<String>,
    /// Where it is noted what the watches show.
    pub versions: Versions,
    /// Where it is noted which of them are refused.
    pub refused: RefusedWatches,
    /// Where it is kept what they show of our objects.
    pub children: Children,
}

impl Scope {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    /// The events of one kind.
    fn watch<K, S>(
        &self,
        kind: &'static str,
        config: watcher::Config,
    ) -> impl Stream<Item = Result<watcher::Event<Shown<K, S>>, watcher::Error>> + Send + 'static + use<K, S>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + 'static,
        S: Beside + Clone + Debug + Send + Sync + 'static,
    {
        let versions = self.versions.clone();
        let (refused, namespace) = (self.refused.clone(), self.namespace.clone());
        let (children, scope) = (self.children.clone(), self.namespace.clone());
        let mut listed = false;
        watcher::watcher(self.api::<Shown<K, S>>(), config)
            .default_backoff()
            // That it begins says nothing yet: only what it is answered does.
            .inspect(move |outcome| match outcome {
                Ok(watcher::Event::Init) => {}
                _ => refused.note(namespace.as_deref(), kind, outcome, Instant::now()),
            })
            .inspect_ok(move |event| children.follow(kind, scope.as_deref(), event))
            .inspect_ok(move |event| match event {
                watcher::Event::Init => {}
                watcher::Event::InitDone if std::mem::replace(&mut listed, true) => {}
                watcher::Event::InitDone => versions.listed(kind),
                watcher::Event::Apply(object) | watcher::Event::InitApply(object) | watcher::Event::Delete(object) => {
                    versions.seen(kind, &object.metadata);
                }
            })
    }
}

/// The instances: kept in `writer`'s store, and a trigger when what a person can change of one has changed. Our own status
/// patches change neither generation nor annotations, so they trigger nothing.
pub fn instances(scope: &Scope, writer: Writer<Watched>) -> Triggers {
    let mut last: HashMap<String, (Option<i64>, u64)> = HashMap::new();
    // UIDs: what is gone when a list is whole is not remembered, for nobody tells its deletion.
    let mut listed = HashSet::new();
    scope
        .watch::<CatalystInstance, Nothing>(crate::crd::KIND, watcher::Config::default().page_size(PAGE))
        .reflect(writer)
        .try_filter_map(move |event| {
            if let watcher::Event::InitApply(instance) = &event {
                listed.insert(instance.uid().unwrap_or_default());
            }
            let target = match event {
                watcher::Event::Init => {
                    listed.clear();
                    None
                }
                watcher::Event::InitDone => {
                    let listed = std::mem::take(&mut listed);
                    last.retain(|uid, _| listed.contains(uid));
                    None
                }
                watcher::Event::Apply(instance) | watcher::Event::InitApply(instance) => {
                    let now = (instance.metadata.generation, hash(instance.annotations()));
                    let before = last.insert(instance.uid().unwrap_or_default(), now);
                    (before != Some(now)).then(|| news_of(&instance))
                }
                // Told as well: the reconcile finds nothing, and what was remembered of it is forgotten.
                watcher::Event::Delete(instance) => {
                    last.remove(&instance.uid().unwrap_or_default());
                    Some(news_of(&instance))
                }
            };
            futures::future::ready(Ok(target))
        })
        .boxed()
}

fn news_of(instance: &Watched) -> Trigger {
    Trigger { instance: ObjectRef::from_obj(instance), cause: Cause::News }
}

/// Our objects, the pods and the Secrets. A watch that had to begin anew has not told what was deleted meanwhile: then every
/// instance in `known` is looked at.
pub fn surroundings(scope: &Scope, uses: &SecretUses, claims: &HostClaims, known: &Store<Watched>) -> Triggers {
    let labelled = watcher::Config::default().labels(INSTANCE_LABEL).page_size(PAGE);
    let uses = uses.clone();
    let (refused, everybody) = (scope.refused.clone(), known.clone());
    let all = stream::select_all([
        owned::<Deployment>(scope, &labelled, known),
        owned::<Service>(scope, &labelled, known),
        ingresses(scope, claims, known),
        owned::<ConfigMap>(scope, &labelled, known),
        owned::<NetworkPolicy>(scope, &labelled, known),
        owned::<PodDisruptionBudget>(scope, &labelled, known),
        routes(scope, &labelled, known),
        mapped::<Pod, _>(scope, POD, &labelled, known, |pod| {
            pod.labels().get(INSTANCE_LABEL).cloned().into_iter().collect()
        }),
        // Secrets of users carry no label of ours: all are watched, by metadata, and none is kept.
        mapped::<Secret, _>(scope, Secret::KIND, &watcher::Config::default(), known, move |secret| {
            uses.of(secret.metadata.namespace.as_deref().unwrap_or_default(), &secret.name_any())
        }),
    ]);
    // That a watch is refused is told by every instance.
    all.flat_map(move |trigger| {
        let told = if trigger.is_err() && refused.take_news() { everyone(&everybody) } else { Vec::new() };
        stream::iter(std::iter::once(trigger).chain(told.into_iter().map(Ok)).collect::<Vec<_>>())
    })
    .boxed()
}

/// Objects of ours: by our label, and by their owner, who is told also when the label was taken away.
fn owned<K>(scope: &Scope, config: &watcher::Config, known: &Store<Watched>) -> Triggers
where
    K: Kinded + Send + 'static,
{
    mapped::<K, _>(scope, K::KIND, config, known, owners_of)
}

fn owners_of<K: Resource>(object: &K) -> Vec<String> {
    let owners = object.owner_references().iter();
    let mut instances: Vec<String> = owners
        .filter(|owner| owner.kind == crate::crd::KIND && owner.api_version.starts_with(crate::crd::GROUP))
        .map(|owner| owner.name.clone())
        .collect();
    if let Some(label) = object.labels().get(INSTANCE_LABEL).filter(|label| !instances.contains(label)) {
        instances.push(label.clone());
    }
    instances
}

/// All Ingresses, ours and others': ours are told to their owner, and each change of a host's claims to those who want it.
/// They are read whole, and of each only its claims are kept.
fn ingresses(scope: &Scope, claims: &HostClaims, known: &Store<Watched>) -> Triggers {
    let (claims, known, namespace) = (claims.clone(), known.clone(), scope.namespace.clone());
    let mut lists = Lists::default();
    let mut listed = HashSet::new();
    scope
        .watch::<Ingress, IngressSpec>(Ingress::KIND, watcher::Config::default().page_size(PAGE))
        .map_ok(move |event| {
            if let watcher::Event::InitApply(ingress) = &event {
                listed.insert((ingress.namespace().unwrap_or_default(), ingress.name_any()));
            }
            let (concerned, contested) = match &event {
                watcher::Event::Apply(ingress) | watcher::Event::InitApply(ingress) => {
                    (claims.note(ingress), claims.is_contested(ingress))
                }
                watcher::Event::Delete(ingress) => (claims.forget(ingress), false),
                watcher::Event::Init => {
                    listed.clear();
                    (Vec::new(), false)
                }
                watcher::Event::InitDone => (claims.keep(namespace.as_deref(), &std::mem::take(&mut listed)), false),
            };
            let concerned = concerned.into_iter().map(|it| Trigger::news(&it.namespace, &it.name));
            let mut owners = lists.targets(Ingress::KIND, event, owners_of, &known);
            if contested {
                // Whose claim came first is known only now that ours has a date.
                owners.iter_mut().for_each(|owner| owner.cause = Cause::News);
            }
            stream::iter(owners.into_iter().chain(concerned).map(Ok).collect::<Vec<_>>())
        })
        .try_flatten()
        .boxed()
}

/// How often a cluster that knows no HTTPRoutes is asked whether it does by now.
const GATEWAY_API_EVERY: Duration = Duration::from_secs(10);

/// The routes, from when the cluster knows the kind on: then every instance is looked at, for those that wait for it.
fn routes(scope: &Scope, config: &watcher::Config, known: &Store<Watched>) -> Triggers {
    let (scope, config, known) = (scope.clone(), config.clone(), known.clone());
    stream::once(async move {
        let mut late = false;
        // One that cannot be asked is asked again.
        while !crate::fetch::served::<HTTPRoute>(&scope.client).await.unwrap_or(false) {
            late = true;
            tokio::time::sleep(GATEWAY_API_EVERY).await;
        }
        let waiting = if late { everyone(&known) } else { Vec::new() };
        stream::iter(waiting.into_iter().map(Ok)).chain(owned::<HTTPRoute>(&scope, &config, &known))
    })
    .flatten()
    .boxed()
}

fn everyone(known: &Store<Watched>) -> Vec<Trigger> {
    known.state().iter().map(|instance| news_of(instance)).collect()
}

/// A watch of metadata whose every event names instances of the object's namespace.
fn mapped<K, F>(
    scope: &Scope,
    kind: &'static str,
    config: &watcher::Config,
    known: &Store<Watched>,
    names: F,
) -> Triggers
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + 'static,
    F: Fn(&Shown<K>) -> Vec<String> + Send + 'static,
{
    let known = known.clone();
    let mut lists = Lists::default();
    scope
        .watch::<K, Nothing>(kind, config.clone())
        .try_filter(move |event| futures::future::ready(!is_half_told(kind, event)))
        .map_ok(move |event| stream::iter(lists.targets(kind, event, &names, &known).into_iter().map(Ok)))
        .try_flatten()
        .boxed()
}

/// Whether a Deployment's controller has only begun to say how a new one is: it says the rest a moment later, and only then is there
/// something to be told of it.
fn is_half_told<K>(kind: &str, event: &watcher::Event<Shown<K>>) -> bool {
    kind == Deployment::KIND && matches!(event, watcher::Event::Apply(object) if object.half_told)
}

/// How often a watch has listed all of its objects.
#[derive(Debug, Default)]
struct Lists {
    once: bool,
}

impl Lists {
    fn targets<K: Resource>(
        &mut self,
        kind: &'static str,
        event: watcher::Event<K>,
        names: impl Fn(&K) -> Vec<String>,
        known: &Store<Watched>,
    ) -> Vec<Trigger> {
        let (object, cause) = match event {
            watcher::Event::Init => return Vec::new(),
            watcher::Event::InitDone if std::mem::replace(&mut self.once, true) => return everyone(known),
            watcher::Event::InitDone => return Vec::new(),
            // What is listed anew stands for all that happened to it meanwhile, even where the last of it was ours.
            watcher::Event::InitApply(object) | watcher::Event::Delete(object) => (object, Cause::News),
            watcher::Event::Apply(object) => {
                let version = version_of(object.meta());
                (object, version.map_or(Cause::News, |version| Cause::Version(kind, version)))
            }
        };
        let namespace = object.namespace().unwrap_or_default();
        // What one instance writes is an echo for it alone: another that uses the same Secret is told news.
        let owners = owners_of(&object);
        let trigger = |name: String| {
            let cause = if owners.contains(&name) { cause } else { Cause::News };
            Trigger { instance: ObjectRef::new(&name).within(&namespace), cause }
        };
        names(&object).into_iter().map(trigger).collect()
    }
}

fn hash(annotations: &std::collections::BTreeMap<String, String>) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(annotations)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_deployments_controller_has_only_begun_to_say_is_waited_for() {
        let told = || serde_json::from_value::<Shown<Deployment>>(json!({"metadata": {"name": "a"}})).unwrap();
        let begun = || {
            let mut object = told();
            object.half_told = true;
            object
        };
        assert!(is_half_told(Deployment::KIND, &watcher::Event::Apply(begun())));
        assert!(!is_half_told(Deployment::KIND, &watcher::Event::Apply(told())));
        assert!(!is_half_told(Deployment::KIND, &watcher::Event::Delete(begun())));
        assert!(!is_half_told(Deployment::KIND, &watcher::Event::InitApply(begun())));
        assert!(!is_half_told("Service", &watcher::Event::Apply(begun())));
    }

    #[test]
    fn what_is_written_for_one_instance_is_news_to_another_that_uses_it_too() {
        let (known, _writer) = kube::runtime::reflector::store::<Watched>();
        let secret: Secret =
            serde_json::from_value(serde_json::json!({"metadata": {"name": "a-secrets", "namespace": "n",
            "resourceVersion": "7", "labels": {INSTANCE_LABEL: "a"}}}))
            .unwrap();
        let used_by = |_: &Secret| vec!["a".to_owned(), "b".to_owned()];
        let told = Lists::default().targets(Secret::KIND, watcher::Event::Apply(secret), used_by, &known);
        let causes: Vec<(String, bool)> =
            told.into_iter().map(|it| (it.instance.name, matches!(it.cause, Cause::News))).collect();
        assert_eq!(causes, [("a".to_owned(), false), ("b".to_owned(), true)]);
    }

    #[test]
    fn a_watch_that_began_anew_asks_for_every_instance_for_it_has_not_told_what_was_deleted_meanwhile() {
        let (known, mut writer) = kube::runtime::reflector::store::<Watched>();
        let named = |name: &str| kube::api::ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("n".to_owned()),
            ..kube::api::ObjectMeta::default()
        };
        for name in ["a", "b"] {
            let instance: Watched = serde_json::from_value(json!({"metadata": named(name)})).unwrap();
            writer.apply_watcher_event(&watcher::Event::Apply(instance));
        }
        let mut lists = Lists::default();
        let mut told = |event| {
            let targets = lists.targets(POD, event, |pod: &Pod| vec![pod.name_any()], &known);
            let mut names: Vec<String> = targets.into_iter().map(|trigger| trigger.instance.name).collect();
            names.sort();
            names
        };
        let pod = Pod { metadata: named("a"), ..Pod::default() };
        assert_eq!(told(watcher::Event::Init), [""; 0]);
        assert_eq!(told(watcher::Event::InitApply(pod.clone())), ["a"]);
        assert_eq!(told(watcher::Event::InitDone), [""; 0]);
        assert_eq!(told(watcher::Event::Delete(pod)), ["a"]);
        assert_eq!(told(watcher::Event::Init), [""; 0]);
        assert_eq!(told(watcher::Event::InitDone), ["a", "b"]);
    }
}
