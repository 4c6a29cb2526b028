//! Runs reconciles: what triggers them, how many at a time, and when a failed one is tried again.
//!
//! Invariants: one instance is never reconciled twice at the same time; instances wait for nobody's failure but their own. A pass
//! runs when it is due or when there is news; what our own writes echo is none. None runs before this operator leads.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Client, ResourceExt,
    runtime::{
        applier,
        controller::{self, Action},
        reflector::{self, ObjectRef},
    },
};
use rand::Rng;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::Instrument;

use crate::{
    admin::Readiness,
    apply::Applier,
    backoff::Backoff,
    children::Children,
    events::Announcer,
    fetch::Fetcher,
    hosts::HostClaims,
    live::Kinded as _,
    metrics::{Metrics, Phase},
    names::Target,
    prober::{Prober, ProberSettings},
    publish::Publisher,
    reconcile::{Left, Outcome, ReconcileError, Start, Steps},
    secret_uses::SecretUses,
    triggers::{Cause, Scope, Trigger, Watched, instances, surroundings},
    validated::Defaults,
    versions::Versions,
    watches::RefusedWatches,
};

/// Wait after the first failure of an instance.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// Longest wait between two tries.
const LONGEST_RETRY: Duration = Duration::from_secs(300);
/// A pass that takes longer is given up and tried again.
const PASS_DEADLINE: Duration = Duration::from_secs(120);
/// What a pass may still do when the operator is told to stop; then it is cut off, which it survives as it does a kill.
const LAST_MOMENT: Duration = Duration::from_secs(1);
/// An instance at rest is looked at this often all the same: a watch may have missed something. Reads only.
const AT_REST: Duration = Duration::from_secs(3600);
/// Versions of one instance's objects that are kept until its pass.
const TOLD_APART: usize = 32;
/// Ended SSH looks that wait to be taken up.
const LOOKS_WAITING: usize = 1024;

/// How the controller runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespaces to watch; empty: all.
    pub namespaces: Vec<String>,
    /// Passes at the same time, over all namespaces.
    pub concurrency: u16,
    /// This operator's name in events.
    pub identity: String,
    /// What the operator's release brings.
    pub defaults: Defaults,
    /// Limits of SSH looks.
    pub prober: ProberSettings,
}

/// What the passes share.
struct Shared {
    steps: Steps,
    slots: Semaphore,
    memories: Mutex<HashMap<Target, Memory>>,
    /// Instances that something asks to look at, and that wait for their pass.
    waiting: Mutex<HashMap<Target, Causes>>,
    versions: Versions,
    metrics: Arc<Metrics>,
    /// Cancelled when this operator leads.
    leading: CancellationToken,
    stop: CancellationToken,
}

/// What asks to look at one instance.
#[derive(Debug, Default)]
struct Causes {
    news: bool,
    /// Kinds and versions of its objects. Whether we wrote them may be known only when the pass under way has ended.
    versions: Vec<(&'static str, u64)>,
}

impl Causes {
    /// Whether anything is new, our own writes left out; and whether it leaves the instance itself and its Secrets as they were.
    fn told(&self, versions: &Versions) -> (bool, bool) {
        let mut by_others = self.versions.iter().filter(|(kind, version)| !versions.is_echo(kind, *version)).peekable();
        let has_news = self.news || by_others.peek().is_some();
        (has_news, !self.news && by_others.all(|(kind, _)| *kind != Secret::KIND))
    }
}

/// What is remembered of an instance between passes.
struct Memory {
    uid: String,
    backoff: Backoff,
    phase: Option<Phase>,
    /// When it is to be looked at though nothing happens; `None`: at the next occasion.
    due: Option<Instant>,
    /// What the pass before left for this one.
    left: Option<Box<Left>>,
    /// When it may be made again after a failure, if what the failed pass wrote has arrived: it came further.
    goes_on: Option<Instant>,
}

/// Leads from the start, and runs until `stop` is cancelled; see [`stand_by`].
pub async fn run(
    client: Client,
    settings: Settings,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    stop: CancellationToken,
) {
    let leading = CancellationToken::new();
    leading.cancel();
    stand_by(client, settings, metrics, readiness, leading, stop).await;
}

/// Fills the caches and says so to `readiness`, works from when `leading` is cancelled, and ends soon after `stop` is: the
/// passes under way have a moment to end by themselves, and none runs any more when this returns. Boxed: all that it does is
/// compiled here, once, and not by each program that awaits it.
pub fn stand_by(
    client: Client,
    settings: Settings,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    leading: CancellationToken,
    stop: CancellationToken,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let (ended, looks) = mpsc::channel(LOOKS_WAITING);
        let uses = SecretUses::default();
        let claims = HostClaims::of(&settings.namespaces);
        let refused = RefusedWatches::default();
        let versions = Versions::new(settings.namespaces.len().max(1));
        let children = Children::default();
        let shared = Arc::new(Shared {
            steps: Steps {
                fetcher: Fetcher::new(client.clone()),
                cached: Fetcher::cached(client.clone(), versions.clone(), children.clone()),
                applier: Applier::new(client.clone(), Arc::clone(&metrics), versions.clone(), children.clone()),
                publisher: Publisher::new(client.clone(), Arc::clone(&metrics), versions.clone()),
                prober: Prober::new(settings.prober, Arc::clone(&metrics), ended),
                announcer: Announcer::new(client.clone(), &settings.identity),
                uses: uses.clone(),
                claims: claims.clone(),
                refused: refused.clone(),
                defaults: settings.defaults,
            },
            slots: Semaphore::new(usize::from(settings.concurrency)),
            memories: Mutex::default(),
            waiting: Mutex::default(),
            versions: versions.clone(),
            metrics,
            leading,
            stop: stop.clone(),
        });
        let namespaces: Vec<Option<String>> = if settings.namespaces.is_empty() {
            vec![None]
        } else {
            settings.namespaces.into_iter().map(Some).collect()
        };
        let mut caches = Vec::new();
        let mut ended_in = Vec::new();
        let mut loops = Vec::new();
        for namespace in namespaces {
            let scope = Scope {
                client: client.clone(),
                namespace,
                versions: versions.clone(),
                refused: refused.clone(),
                children: children.clone(),
            };
            let (reader, writer) = reflector::store();
            caches.push(reader.clone());
            let (ended, looks) = mpsc::channel(LOOKS_WAITING);
            ended_in.push((scope.namespace.clone(), ended));
            let looks = stream::unfold(looks, |mut looks| async { looks.recv().await.map(|target| (target, looks)) });
            let looks = looks.map(|target: Target| Ok(Trigger::news(&target.namespace, &target.name)));
            let queue = stream::select(
                instances(&scope, writer),
                stream::select(surroundings(&scope, &uses, &claims, &reader), looks),
            );
            let noting = Arc::clone(&shared);
            let queue = queue.map_ok(move |trigger| noting.asked_for(trigger));
            let queue = queue.take_until(stop.clone().cancelled_owned());
            let config = controller::Config::default().concurrency(settings.concurrency);
            let passes = applier(pass, retry, Arc::clone(&shared), reader, queue, config);
            loops.push(passes.for_each(|result| {
                shared.note(result.err());
                futures::future::ready(())
            }));
        }
        let filled = CancellationToken::new();
        let ready = async {
            let waits = caches.iter().map(reflector::Store::wait_until_ready);
            if futures::future::try_join_all(waits).await.is_ok() {
                readiness.caches_filled();
                filled.cancel();
                tracing::info!("caches filled");
            }
        };
        tokio::select! {
            _ = futures::future::join(ready, futures::future::join_all(loops)) => {}
            () = route(looks, ended_in) => {}
            // Before the caches are filled (the CRD is missing, say) nothing runs that would have to end first.
            () = stopped_while_empty(&stop, &filled) => {}
        }
    })
}

async fn stopped_while_empty(stop: &CancellationToken, filled: &CancellationToken) {
    stop.cancelled().await;
    if filled.is_cancelled() {
        std::future::pending::<()>().await;
    }
}

/// Brings each ended look to the loop that knows its instance.
async fn route(mut looks: mpsc::Receiver<Target>, loops: Vec<(Option<String>, mpsc::Sender<Target>)>) {
    while let Some(target) = looks.recv().await {
        let of = |namespace: &Option<String>| namespace.as_ref().is_none_or(|name| *name == target.namespace);
        if let Some((_, ended)) = loops.iter().find(|(namespace, _)| of(namespace)) {
            // A loop that has ended needs no more looks.
            let _ = ended.send(target).await;
        }
    }
}

type Passed = Result<Action, Failed>;

/// One pass, on a task of its own, so that a slow one keeps no other from being polled. All that it logs has the same id.
fn pass(instance: Arc<Watched>, shared: Arc<Shared>) -> BoxFuture<'static, Passed> {
    let target = Target { namespace: instance.namespace().unwrap_or_default(), name: instance.name_any() };
    Box::pin(async move {
        if !shared.may_begin().await {
            return Ok(Action::await_change());
        }
        let id = format!("{:08x}", rand::random::<u32>());
        let span = tracing::info_span!("pass", namespace = %target.namespace, instance = %target.name, id);
        let running = Arc::clone(&shared);
        let task = tokio::spawn(async move { running.pass(target).await }.instrument(span.clone()));
        let mut task = AbortOnDropHandle::new(task);
        let ended = tokio::select! {
            ended = &mut task => ended,
            () = shared.last_moment() => {
                task.abort();
                task.await
            }
        };
        let passed = match ended {
            Ok(passed) => passed,
            Err(cut_off) if cut_off.is_cancelled() => Ok(Action::await_change()),
            // A panic is a bug; it must not take the other instances with it.
            Err(error) => Err(Failed { wait: LONGEST_RETRY, message: format!("the pass ended abnormally: {error}") }),
        };
        if let Err(failed) = &passed {
            span.in_scope(|| tracing::warn!(wait_ms = failed.wait.as_millis(), error = %failed, "the pass failed"));
        }
        passed
    })
}

/// A pass that failed, and how long to wait before the next.
#[derive(Debug)]
struct Failed {
    wait: Duration,
    message: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failed {}

fn retry(_: Arc<Watched>, failed: &Failed, _: Arc<Shared>) -> Action {
    Action::requeue(failed.wait)
}

impl Shared {
    /// Waits for this operator's turn. Told to stop, it begins nothing.
    async fn may_begin(&self) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = self.leading.cancelled() => true,
        }
    }

    async fn last_moment(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(LAST_MOMENT).await;
    }

    async fn pass(&self, target: Target) -> Passed {
        let Ok(_slot) = self.slots.acquire().await else { return Ok(Action::await_change()) };
        let causes = self.waits(|waiting| waiting.remove(&target));
        let start = match self.begins(&target, causes.unwrap_or_default()) {
            Begin::NotYet(wait) => return Ok(Action::requeue(wait)),
            Begin::Now(start) => start,
        };
        let _running = self.metrics.reconcile_begins();
        let begun = Instant::now();
        let outcome = match tokio::time::timeout(PASS_DEADLINE, self.steps.reconcile(&target, start)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ReconcileError::TimedOut(PASS_DEADLINE)),
        };
        match outcome {
            Ok(outcome) => {
                self.metrics.reconciled(begun.elapsed());
                Ok(self.ended(&target, outcome))
            }
            Err(error) => {
                self.metrics.failed(begun.elapsed(), error.class());
                Err(self.failed(&target, error).await)
            }
        }
    }

    /// Notes why an instance is to be looked at.
    fn asked_for(&self, trigger: Trigger) -> ObjectRef<Watched> {
        let Trigger { instance, cause } = trigger;
        let target = Target { namespace: instance.namespace.clone().unwrap_or_default(), name: instance.name.clone() };
        self.waits(|waiting| {
            let causes = waiting.entry(target).or_default();
            match cause {
                Cause::News => causes.news = true,
                // A standby waits long: from some point on it is all the same.
                Cause::Version(..) if causes.versions.len() >= TOLD_APART => causes.news = true,
                Cause::Version(kind, version) => causes.versions.push((kind, version)),
            }
        });
        instance
    }

    /// Whether the pass is made now. None of this instance's is under way, so the answers to all of its writes are there.
    fn begins(&self, target: &Target, causes: Causes) -> Begin {
        let (has_news, leaves_the_rest) = causes.told(&self.versions);
        let mut memories = self.memories();
        let Some(memory) = memories.get_mut(target) else { return Begin::Now(Start::Known(None)) };
        let left = memory.left.take().filter(|_| leaves_the_rest);
        // The echo of a pass that failed says that it came further: the next one goes on from there soon, whatever the back-off.
        if !causes.versions.is_empty()
            && let Some(goes_on) = memory.goes_on.take()
        {
            memory.due = memory.due.map(|due| due.min(goes_on));
        }
        let wait = memory.due.map(|due| due.saturating_duration_since(Instant::now())).unwrap_or_default();
        if !has_news && !wait.is_zero() {
            memory.left = left;
            return Begin::NotYet(wait);
        }
        // A pass that ends abnormally leaves it so, and is made again.
        memory.due = None;
        Begin::Now(if memory.backoff.failures() > 0 { Start::InDoubt } else { Start::Known(left) })
    }

    fn waits<T>(&self, change: impl FnOnce(&mut HashMap<Target, Causes>) -> T) -> T {
        // As for the memories.
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut waiting);
        // A standby is behind with nothing.
        self.metrics.waiting(if self.leading.is_cancelled() { waiting.len() } else { 0 });
        changed
    }

    fn ended(&self, target: &Target, outcome: Outcome) -> Action {
        match outcome {
            Outcome::Gone => {
                self.forget(target);
                Action::await_change()
            }
            Outcome::Done { uid, phase, again, left } => {
                let again = again.unwrap_or_else(|| AT_REST.mul_f64(rand::rng().random_range(0.8..1.2)));
                let before = {
                    let mut memories = self.memories();
                    let memory = memories.entry(target.clone()).or_insert_with(|| Memory::new(&uid));
                    if memory.uid != uid {
                        self.steps.prober.forget(&memory.uid);
                        memory.uid = uid;
                    }
                    memory.backoff.reset();
                    memory.due = Instant::now().checked_add(again);
                    (memory.goes_on, memory.left) = (None, left);
                    memory.phase.replace(phase)
                };
                self.metrics.phase_changed(before, Some(phase));
                Action::requeue(again)
            }
        }
    }

    async fn failed(&self, target: &Target, error: ReconcileError) -> Failed {
        let (wait, failures) = {
            let mut memories = self.memories();
            let memory = memories.entry(target.clone()).or_insert_with(|| Memory::new(""));
            (memory.backoff.next_delay(), memory.backoff.failures())
        };
        let report = self.steps.report_failure(target, &error, failures);
        // What keeps the pass from ending well may keep this from ending at all.
        let _ = tokio::time::timeout(crate::fetch::READ_DEADLINE, report).await;
        if let Some(memory) = self.memories().get_mut(target) {
            let now = Instant::now();
            memory.due = now.checked_add(wait);
            memory.goes_on = now.checked_add(FIRST_RETRY);
        }
        Failed { wait, message: error.to_string() }
    }

    /// Logs what went wrong beside the passes; forgets an instance that the cache does not know any more.
    fn note(&self, error: Option<controller::Error<Failed, kube::runtime::watcher::Error>>) {
        match error {
            None => {}
            Some(controller::Error::ObjectNotFound(gone)) => {
                let namespace = gone.namespace.clone().unwrap_or_default();
                self.forget(&Target { namespace, name: gone.name.clone() });
            }
            // Logged by itself.
            Some(controller::Error::ReconcilerFailed(..)) => {}
            Some(controller::Error::QueueError(error)) => tracing::warn!(%error, "a watch was interrupted"),
            Some(controller::Error::RunnerError(error)) => tracing::error!(%error, "the controller cannot run"),
        }
    }

    fn forget(&self, target: &Target) {
        let memory = self.memories().remove(target);
        self.waits(|waiting| waiting.remove(target));
        self.steps.uses.forget(&target.namespace, &target.name);
        self.steps.claims.want(target, None);
        if let Some(memory) = memory {
            self.steps.prober.forget(&memory.uid);
            self.metrics.phase_changed(memory.phase, None);
        }
    }

    /// A panic while the map was held cannot leave it half changed.
    fn memories(&self) -> MutexGuard<'_, HashMap<Target, Memory>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn new(uid: &str) -> Self {
        let backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
        Self { uid: uid.to_owned(), backoff, phase: None, due: None, left: None, goes_on: None }
    }
}

/// Whether a pass that was asked for is made.
#[derive(Debug)]
enum Begin {
    /// It is.
    Now(Start),
    /// There is nothing new; it is due after this long.
    NotYet(Duration),
}

#[cfg(test)]
mod tests {
    use kube::api::ObjectMeta;

    use super::*;

    #[test]
    fn what_the_last_pass_left_holds_until_there_is_news_of_more_than_the_objects() {
        let versions = Versions::new(1);
        versions.wrote("Secret", &ObjectMeta { resource_version: Some("5".to_owned()), ..ObjectMeta::default() });
        let told = |news, of: &[(&'static str, u64)]| Causes { news, versions: of.to_vec() }.told(&versions);
        assert_eq!(told(false, &[]), (false, true), "it is due");
        assert_eq!(told(false, &[("Secret", 5)]), (false, true), "an echo");
        assert_eq!(told(false, &[("Deployment", 7), ("Secret", 5)]), (true, true));
        assert_eq!(told(false, &[("Deployment", 7), ("Secret", 6)]), (true, false), "another's Secret");
        assert_eq!(told(true, &[]), (true, false), "the instance itself");
    }
}
