//! What a pass came to: the verdict, and the reports of what keeps a pass from going its way.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::{ResourceExt, api::ObjectMeta};

use super::{
    Outcome, ReconcileError, Steps,
    steps::{AppliedNow, FIRST_WORD, rolled_out, same_generation},
};
use crate::{
    crd::{CatalystInstance, CatalystInstanceStatus, TRUST_HOST_KEY_ANNOTATION},
    names::Target,
    observed::{DeploymentView, Fetched},
    prober::{Answer, Look},
    reason::{Reason, Severity},
    status::{Circumstances, FIRST_PODS, Facts, Part, Verdict, diagnose, faulty_parts, may_have_news, parts},
    validated::{Finding, ValidatedInstance},
};

/// How often a matter that no watch tells of (an IngressClass, somebody else's object, a refusal) is looked at again.
pub(super) const RETRY: Duration = Duration::from_secs(30);

/// How often the server of an instance that became ready a moment ago is listened to.
const LISTEN: Duration = Duration::from_secs(20);

/// What a pass came to.
pub(super) struct Converged<'a> {
    pub(super) verdict: Verdict,
    pub(super) facts: Facts<'a>,
    pub(super) again: Option<Duration>,
    /// The status stays: the first look at the VM is under way and nothing else is new, or what was just made has no news yet.
    pub(super) hold: bool,
    /// It stays for what was just made alone.
    pub(super) only_made: bool,
}

impl Steps {
    /// The verdict on a valid instance.
    pub(super) fn judge<'a>(
        &self,
        instance: &CatalystInstance,
        valid: &'a ValidatedInstance,
        fetched: &'a mut Fetched,
        now: &AppliedNow,
        look: Option<Answer>,
    ) -> Converged<'a> {
        let pending = matches!(look, Some(Answer::Pending { .. }));
        let mut again = None;
        let mut forbidden = None;
        if let Some(Answer::Known { look, again: due }) = look {
            let Look { observation, forbidden: refused, .. } = look;
            fetched.ssh = observation;
            forbidden = refused;
            again = Some(due);
        }
        let approved = instance.annotations().get(TRUST_HOST_KEY_ANNOTATION).map(String::as_str);
        let circumstances =
            Circumstances { forbidden, approved, said_of_image: said_of_image(instance), ..Circumstances::default() };
        let rolling = now.applied.changes.iter().any(|change| change.kind == "Deployment" && change.spec_changed);
        let verdict = if let Some(verdict) = Verdict::of(&now.applied.refused) {
            again = Some(again.unwrap_or(RETRY).min(RETRY));
            verdict
        } else if let Some(left) = now.first_contact {
            again = Some(left);
            Verdict::new(Reason::Progressing, "The VM's host key is being looked at before the pods start.")
        } else if rolling && fetched.deployment.is_some() {
            Verdict::new(Reason::RolloutInProgress, "The Deployment was changed just now.")
        } else {
            diagnose(valid, fetched, &circumstances)
        };
        if verdict.reason.severity() == Severity::Stalled || valid.advice.iter().any(|found| unwatched(found.reason)) {
            again = Some(again.unwrap_or(RETRY).min(RETRY));
        }
        let serves = fetched.deployment.as_ref().is_some_and(|deployment| deployment.available > 0);
        if verdict.reason.severity() == Severity::Ready
            && serves
            && may_have_news(instance.status.as_ref(), Timestamp::now())
        {
            again = Some(again.unwrap_or(LISTEN).min(LISTEN));
        }
        let unchanged = now.applied.changes.is_empty() && same_generation_and_not_ready(instance);
        let made = !now.applied.changes.is_empty() || fetched.deployment.as_ref().is_some_and(is_new);
        let only_made = instance.status.is_none() && made && is_on_its_way(&verdict);
        if only_made {
            again = Some(again.unwrap_or(FIRST_WORD).min(FIRST_WORD));
        }
        let deployment = fetched.deployment.as_ref();
        let parts = parts(valid, fetched, &now.applied.refused, &circumstances);
        // Also where the pass that made them came to no status.
        let first_pods = || (deployment.is_some() && !rolled_out(instance)).then(|| FIRST_PODS.to_owned());
        let (vm, rollout) = (fetched.ssh.as_ref(), now.rollout.clone().or_else(first_pods));
        let facts = Facts { instance: Some(valid), deployment, vm, parts, rollout, ..Facts::default() };
        Converged { verdict, facts, again, hold: (pending && unchanged) || only_made, only_made }
    }

    /// Findings that keep anything more from being applied.
    pub(super) async fn report_findings(
        &self,
        instance: &CatalystInstance,
        target: &Target,
        findings: &[Finding],
    ) -> Result<Outcome, ReconcileError> {
        let verdict =
            Verdict::of(findings).unwrap_or_else(|| Verdict::new(Reason::InvalidSpec, "The resource cannot be used."));
        let mut again = findings.iter().any(|finding| unwatched(finding.reason)).then_some(RETRY);
        if findings.iter().any(|finding| finding.reason == Reason::EgressCidrExcludesHost) {
            self.prober.renew(&instance.uid().unwrap_or_default(), target.clone());
            again = Some(RETRY);
        }
        let facts = Facts { parts: faulty_parts(findings), ..Facts::default() };
        self.report(instance, &verdict, facts, again).await
    }

    /// An instance that does not parse stalls itself and nothing else.
    pub(super) async fn report_malformed(
        &self,
        metadata: ObjectMeta,
        status: Option<&CatalystInstanceStatus>,
        problem: &str,
    ) -> Result<Outcome, ReconcileError> {
        let message =
            format!("The resource cannot be read ({problem}). Correct the field; nothing is changed until then.");
        let verdict = Verdict::new(Reason::InvalidSpec, message);
        let facts = Facts {
            generation: metadata.generation.unwrap_or_default(),
            host_keys: status.map(|status| status.host_keys.clone()).unwrap_or_default(),
            ..Facts::default()
        };
        let (after, _) = crate::status::status(status, &verdict, facts, Timestamp::now());
        self.publisher.publish(&metadata, status, &after).await?;
        let uid = metadata.uid.unwrap_or_default();
        Ok(Outcome::Done { uid, phase: crate::metrics::Phase::Stalled, again: None, left: None })
    }
}

/// What WorkloadReady says of an image that cannot be pulled; Ready may say something else.
pub(super) fn said_of_image(instance: &CatalystInstance) -> Option<&str> {
    let mut told = instance.status.iter().flat_map(|status| &status.conditions);
    let told = told.find(|told| told.type_ == Part::Workload.condition())?;
    (told.reason == Reason::ImagePullFailed.as_str()).then_some(told.message.as_str())
}

/// Reasons that no watch of ours tells the end of.
fn unwatched(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NameConflict
            | Reason::IngressClassMissing
            | Reason::Progressing
            | Reason::ApplyRefused
            | Reason::RightMissing
            | Reason::WebhookUnavailable
    )
}

/// Whether nothing more is to be said than that what was made is not there yet: its own first word comes in a moment, and with it
/// another pass.
fn is_on_its_way(verdict: &Verdict) -> bool {
    matches!(verdict.reason, Reason::Progressing | Reason::RolloutInProgress)
}

/// Whether it was made so short a time ago that its controller may not have looked at it yet. By a clock ahead of the API server's that
/// ends sooner; by one behind it, it is not new at first, and then for as much longer as the clock is behind.
fn is_new(deployment: &DeploymentView) -> bool {
    let age = deployment.created.map(|created| Timestamp::now().duration_since(created));
    age.and_then(|age| Duration::try_from(age).ok()).is_some_and(|age| age < FIRST_WORD)
}

fn same_generation_and_not_ready(instance: &CatalystInstance) -> bool {
    same_generation(instance) && super::phase_before(instance) != crate::metrics::Phase::Ready
}
