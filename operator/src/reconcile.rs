//! One pass over one instance: fetch, validate, trust, rotate, generate, look, build, apply, judge, status. Reads as the list of
//! its steps.

mod judge;
mod paused;
mod rotate;
mod rotate_secrets;
mod steps;
mod tell;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use kube::ResourceExt;

use self::{
    judge::Converged,
    paused::{is_paused, left_alone},
    steps::FIRST_WORD,
};
use crate::{
    apply::{Applier, ApplyError, refusal},
    crd::{CatalystInstance, CatalystInstanceStatus},
    events::Announcer,
    fetch::{FetchError, Fetcher, Read, Secrets},
    hosts::HostClaims,
    metrics::Phase,
    names::Target,
    prober::Prober,
    publish::{PublishError, Publisher},
    reason::{Reason, Severity},
    secret_uses::SecretUses,
    secrets::GenerateError,
    status::{Facts, Verdict, ended, status},
    validate::validate,
    validated::{Defaults, Finding},
    watches::RefusedWatches,
    words::{missing_right, words},
};

/// What a pass works with. One for the process.
pub struct Steps {
    /// Reads the latest.
    pub fetcher: Fetcher,
    /// Reads what is not older than what is known.
    pub cached: Fetcher,
    /// Writes objects.
    pub applier: Applier,
    /// Writes statuses.
    pub publisher: Publisher,
    /// Looks at VMs.
    pub prober: Prober<Target>,
    /// Tells events.
    pub announcer: Announcer,
    /// Which instance uses which Secret.
    pub uses: SecretUses,
    /// Which Ingress claims which host.
    pub claims: HostClaims,
    /// Which watches are refused.
    pub refused: RefusedWatches,
    /// What the operator's release brings.
    pub defaults: Defaults,
}

/// How a pass ended.
#[derive(Debug)]
pub enum Outcome {
    /// The instance is gone or going; what it owned goes with it by garbage collection.
    Gone,
    /// Its status says how it is.
    Done {
        /// Its UID.
        uid: String,
        /// Its phase.
        phase: Phase,
        /// Look again after this long if nothing happens before; `None`: nothing changes by itself.
        again: Option<Duration>,
        /// What the next pass need not read if nothing but its objects' news comes before it.
        left: Option<Box<Left>>,
    },
}

/// What the pass that made an instance's objects knows of the rest. It has the values of Secrets, so it is kept no longer than until the
/// next pass, which comes a moment later.
#[derive(Debug)]
pub struct Left {
    instance: CatalystInstance,
    secrets: Secrets,
}

/// What a pass starts from.
#[derive(Debug)]
pub enum Start {
    /// The pass before failed, so only the latest is good enough.
    InDoubt,
    /// What is not older than what is known; if there is something left, only the instance's objects have had news since.
    Known(Option<Box<Left>>),
}

/// Why a pass could not be brought to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Something could not be read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Something could not be written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A Secret could not be generated.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// The status could not be written.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The pass was given up.
    #[error("the pass took longer than {} s", .0.as_secs())]
    TimedOut(Duration),
}

impl ReconcileError {
    /// The class, for metrics.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Fetch(_) => "fetch",
            Self::Apply(_) => "apply",
            Self::Generate(_) => "generate",
            Self::Publish(_) => "status",
            Self::TimedOut(_) => "timeout",
        }
    }

    /// What the API server answered, if it did.
    fn answer(&self) -> Option<&kube::Error> {
        match self {
            Self::Fetch(FetchError::Api { source, .. })
            | Self::Apply(ApplyError::Api { source, .. })
            | Self::Generate(GenerateError::Apply(ApplyError::Api { source, .. }))
            | Self::Publish(PublishError::Api(source)) => Some(source),
            _ => None,
        }
    }
}

/// What ends a pass before its last step.
#[derive(Debug)]
enum Stop {
    /// The instance cannot be used as it is: nothing more is changed, and status says why.
    Findings(Vec<Finding>),
    /// The API server could not be used.
    Failed(ReconcileError),
}

impl From<Vec<Finding>> for Stop {
    fn from(findings: Vec<Finding>) -> Self {
        Self::Findings(findings)
    }
}

/// That the API server does not take a Secret is a finding with its remedy, as it is of any other object.
impl From<ReconcileError> for Stop {
    fn from(error: ReconcileError) -> Self {
        let refused = match &error {
            ReconcileError::Generate(GenerateError::Apply(ApplyError::Api { kind, name, source })) => {
                refusal(kind, name, &BTreeMap::new(), source)
            }
            _ => None,
        };
        refused.map_or(Self::Failed(error), |finding| Self::Findings(vec![finding]))
    }
}

impl Steps {
    /// One pass.
    ///
    /// # Errors
    /// The API server could not be used; what was done so far stays, and the next pass goes on from there.
    pub async fn reconcile(&self, target: &Target, start: Start) -> Result<Outcome, ReconcileError> {
        let begun = Instant::now();
        let (reads, left) = match start {
            Start::InDoubt => (&self.fetcher, None),
            Start::Known(left) => (&self.cached, left),
        };
        let (mut instance, secrets) = match left {
            Some(left) => (Box::new(left.instance), Some(left.secrets)),
            None => match reads.instance(&target.namespace, &target.name).await? {
                None => return Ok(Outcome::Gone),
                Some(Read::Malformed { metadata, status, problem }) => {
                    return self.report_malformed(*metadata, status.as_deref(), &problem).await;
                }
                Some(Read::Instance(instance)) => (instance, None),
            },
        };
        if instance.metadata.deletion_timestamp.is_some() {
            return Ok(Outcome::Gone);
        }
        // Before anything is read: a Secret that is created after the read triggers another pass.
        self.uses.note(&instance);
        if is_paused(&instance) {
            return self.report_paused(&instance, target).await;
        }
        let first_word = self.acknowledge(instance.metadata.clone(), instance.status.is_some());
        let work = async {
            match self.converge(&mut instance, reads, secrets, target).await {
                // What was not looked for is there all the same, or was made since we looked.
                Err(Stop::Failed(ReconcileError::Apply(ApplyError::Unseen { kind, name, source }))) => {
                    tracing::info!(kind, object = %name, said = words(&source), "not created: looking at everything");
                    self.converge(&mut instance, &self.fetcher, None, target).await
                }
                converged => converged,
            }
        };
        let converged = meanwhile(first_word, Box::pin(work)).await;
        match converged {
            // Meanwhile it was given a status, with which what is left does not reckon.
            Ok(Outcome::Done { uid, phase, again, .. }) if begun.elapsed() >= FIRST_WORD => {
                Ok(Outcome::Done { uid, phase, again, left: None })
            }
            Ok(outcome) => Ok(outcome),
            Err(Stop::Findings(findings)) => self.report_findings(&instance, target, &findings).await,
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// Trust, rotation and generating each change what is validated, so it is validated anew after them.
    async fn converge(
        &self,
        instance: &mut CatalystInstance,
        reads: &Fetcher,
        known: Option<Secrets>,
        target: &Target,
    ) -> Result<Outcome, Stop> {
        let (mut fetched, live) = self.fetch(instance, reads, known, target).await?;
        let valid = validate(instance, &fetched, &self.defaults)?;
        self.trust(instance, &valid).await?;
        let rotation = self.rotate(instance, &valid, &mut fetched, target).await?;
        let renewal = self.rotate_secrets(instance, &valid, &mut fetched).await?;
        let valid = validate(instance, &fetched, &self.defaults)?;
        self.generate(instance, &valid, &mut fetched).await?;
        let valid = validate(instance, &fetched, &self.defaults)?;
        let look = self.look(instance, &valid, &fetched, target);
        let applied = self.build_and_apply(instance, &valid, &fetched, &live, look.as_ref()).await?;
        self.tell_repairs(instance, &applied).await;
        let Converged { verdict, facts, again, hold, only_made } =
            self.judge(instance, &valid, &mut fetched, &applied, look);
        if hold {
            self.note_facts(instance, facts).await?;
            let secrets = Secrets { app: fetched.app_secret, ssh_key: fetched.ssh_key };
            let left = only_made.then(|| Box::new(Left { instance: instance.clone(), secrets }));
            return Ok(self.outcome(instance, phase_before(instance), again, left));
        }
        let again = [again, rotation, renewal].into_iter().flatten().min();
        Ok(self.report(instance, &verdict, facts, again).await?)
    }

    /// After failures in a row: says so in status, as far as that can be written. Says it at once where there is no status
    /// yet, so that a person finds words there.
    pub async fn report_failure(&self, target: &Target, error: &ReconcileError, failures: u32) {
        let Ok(Some(Read::Instance(instance))) = self.fetcher.instance(&target.namespace, &target.name).await else {
            return;
        };
        if is_blip(error, failures) && instance.status.is_some() {
            return;
        }
        let failure = failure(error);
        let verdict = if is_paused(&instance) { left_alone(&failure) } else { failure };
        if let Err(error) = self.report(&instance, &verdict, Facts::default(), None).await {
            tracing::debug!(%error, "the failure could not be written to status");
        }
    }

    /// Status from the verdict, an event if the reason is new, and the outcome.
    async fn report(
        &self,
        instance: &CatalystInstance,
        verdict: &Verdict,
        facts: Facts<'_>,
        again: Option<Duration>,
    ) -> Result<Outcome, ReconcileError> {
        let before = instance.status.as_ref();
        let facts = Facts {
            generation: instance.metadata.generation.unwrap_or_default(),
            host_keys: before.map(|status| status.host_keys.clone()).unwrap_or_default(),
            ..facts
        };
        let (after, patience) = status(before, verdict, facts, k8s_openapi::jiff::Timestamp::now());
        self.publisher.publish(&instance.metadata, before, &after).await?;
        if reason_of(before) != Some(verdict.reason.as_str()) && worth_an_event(before, verdict.reason) {
            self.announcer.tell(instance, verdict.reason, &verdict.message).await;
        }
        let again = [again, patience].into_iter().flatten().min();
        Ok(self.outcome(instance, phase_of(&after), again, None))
    }

    fn outcome(
        &self,
        instance: &CatalystInstance,
        phase: Phase,
        again: Option<Duration>,
        left: Option<Box<Left>>,
    ) -> Outcome {
        Outcome::Done { uid: instance.uid().unwrap_or_default(), phase, again, left }
    }
}

/// Awaits `work`; `aside` is done beside it, and given up when the work is done.
async fn meanwhile<T>(aside: impl Future<Output = ()>, work: impl Future<Output = T>) -> T {
    tokio::select! {
        done = work => done,
        never = async { aside.await; std::future::pending().await } => never,
    }
}

/// Whether a failure may be gone with the next try, a moment later. A pass that was given up took its time already.
fn is_blip(error: &ReconcileError, failures: u32) -> bool {
    failures < 3 && !matches!(error, ReconcileError::TimedOut(_))
}

fn failure(error: &ReconcileError) -> Verdict {
    if let Some(words) = error.answer().and_then(missing_right) {
        return Verdict::new(
            Reason::RightMissing,
            format!("The operator lacks a right: {words}. {}", Reason::RightMissing.remedy()),
        );
    }
    let mut words = error.to_string();
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    Verdict::new(Reason::ApplyFailed, format!("{} It is tried again.", ended(&words)))
}

fn reason_of(status: Option<&CatalystInstanceStatus>) -> Option<&str> {
    let ready = status?.conditions.iter().find(|condition| condition.type_ == crate::status::READY)?;
    Some(&ready.reason)
}

/// The steps on the way to a first Available are no news; what went wrong, and that it is right again, is.
fn worth_an_event(before: Option<&CatalystInstanceStatus>, reason: Reason) -> bool {
    match reason.severity() {
        Severity::Stalled | Severity::Warning => true,
        Severity::Ready => before.is_some(),
        Severity::Reconciling => !matches!(
            reason,
            Reason::Progressing | Reason::RolloutInProgress | Reason::PodStarting | Reason::PodNotReady
        ),
        Severity::Event => false,
    }
}

fn phase_of(status: &CatalystInstanceStatus) -> Phase {
    let is = |kind: &str| status.conditions.iter().any(|c| c.type_ == kind && c.status == "True");
    if is(crate::status::READY) {
        Phase::Ready
    } else if is(crate::status::STALLED) {
        Phase::Stalled
    } else {
        Phase::Reconciling
    }
}

fn phase_before(instance: &CatalystInstance) -> Phase {
    instance.status.as_ref().map_or(Phase::Reconciling, phase_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_that_was_given_up_is_told_like_any_other_failure() {
        let error = ReconcileError::TimedOut(Duration::from_secs(120));
        assert_eq!((error.class(), is_blip(&error, 1)), ("timeout", false));
        let told = "The pass took longer than 120 s. It is tried again.";
        assert_eq!(failure(&error), Verdict::new(Reason::ApplyFailed, told));
    }

    /// What the API server answers to the attempt to make a Secret.
    fn not_made(code: u16, words: &str) -> ReconcileError {
        let answer = kube::Error::Api(kube::core::Status::failure(words, "X").with_code(code).boxed());
        GenerateError::Apply(ApplyError::new("Secret", "x-secrets", answer)).into()
    }

    #[test]
    fn the_api_servers_words_are_told_as_one_sentence() {
        let told =
            "Secret x-secrets could not be written: Too many requests, please try again later. It is tried again.";
        let error = not_made(429, "Too many requests, please try again later.");
        assert_eq!(failure(&error), Verdict::new(Reason::ApplyFailed, told));
    }

    #[test]
    fn what_keeps_an_object_from_being_created_though_there_is_none_is_told_in_the_api_servers_words() {
        let answer = kube::core::Status::failure("the quota has been modified", "Conflict").with_code(409).boxed();
        let error =
            ApplyError::Unseen { kind: "Service", name: "x".to_owned(), source: Box::new(kube::Error::Api(answer)) };
        let told = "Service x could not be created: the quota has been modified. It is tried again.";
        assert_eq!(failure(&error.into()), Verdict::new(Reason::ApplyFailed, told));
    }

    #[test]
    fn a_secret_that_a_quota_refuses_asks_for_a_person_and_one_that_may_be_taken_later_is_tried_again() {
        let Stop::Findings(found) =
            Stop::from(not_made(403, "secrets \"x-secrets\" is forbidden: exceeded quota: none"))
        else {
            panic!("tried again for ever");
        };
        assert_eq!((found.len(), found[0].reason), (1, Reason::ApplyRefused));
        assert!(found[0].message.starts_with("Secret x-secrets was refused: "), "{found:?}");
        assert!(matches!(Stop::from(not_made(500, "later")), Stop::Failed(_)));
    }
}
