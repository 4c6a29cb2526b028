//! The steps of a pass that are more than one call.

use std::{sync::Arc, time::Duration};

use catalyst_ssh::{Endpoint, PrivateKey};
use k8s_openapi::{
    api::{core::v1::ObjectReference, networking::v1::Ingress},
    jiff::Timestamp,
};
use kube::{ResourceExt, api::ObjectMeta};

use super::{Outcome, ReconcileError, Steps};
use crate::{
    apply::{Act, Applied, Change, Pods},
    build::build,
    crd::{CatalystInstance, CatalystInstanceStatus, PAUSED_ANNOTATION, TRUST_HOST_KEY_ANNOTATION},
    live::Live,
    names::{References, Target},
    observed::{Fetched, Referenced},
    prober::{Answer, Look, Question},
    reason::{Reason, Severity},
    secrets::{Generated, generate},
    status::{
        Circumstances, Facts, Running, Verdict, diagnose, facts_alone, faulty_parts, may_have_news, parts,
        rollout_cause,
    },
    trust::{Trust, consider},
    validate::{ingress_class, validate},
    validated::{Finding, HostKeys, KeyState, MissingSecret, ValidatedInstance},
};

/// How often a matter that no watch tells of (an IngressClass, somebody else's object, a refusal) is looked at again.
const RETRY: Duration = Duration::from_secs(30);

/// Pods that have never run wait this long at most for the first contact with the VM.
const FIRST_CONTACT: Duration = Duration::from_secs(3);

/// How often the server of an instance that became ready a moment ago is listened to.
const LISTEN: Duration = Duration::from_secs(20);

/// What a pass came to.
pub(super) struct Converged<'a> {
    pub(super) verdict: Verdict,
    pub(super) facts: Facts<'a>,
    pub(super) again: Option<Duration>,
    /// The first look at the VM is under way and nothing else is new: the status stays until it is done.
    pub(super) hold: bool,
}

/// Whether a person has told us to keep our hands off.
pub(super) fn paused(instance: &CatalystInstance) -> bool {
    instance.annotations().get(PAUSED_ANNOTATION).is_some_and(|value| value == "true")
}

impl Steps {
    /// Gives an instance that has no status one, before anything that may take its time: no status reads as healthy.
    pub(super) async fn acknowledge(&self, instance: &mut CatalystInstance) -> Result<(), ReconcileError> {
        if instance.status.is_some() {
            return Ok(());
        }
        let verdict = Verdict::new(Reason::Progressing, "The instance has been seen.");
        let facts = Facts { generation: instance.metadata.generation.unwrap_or_default(), ..Facts::default() };
        let (after, _) = crate::status::status(None, &verdict, facts, Timestamp::now());
        self.publisher.publish(&instance.metadata, None, &after).await?;
        instance.status = Some(after);
        Ok(())
    }

    /// Status without a new verdict.
    pub(super) async fn note_facts(&self, instance: &CatalystInstance, facts: Facts<'_>) -> Result<(), ReconcileError> {
        let Some(before) = &instance.status else { return Ok(()) };
        let after = facts_alone(before, facts, Timestamp::now());
        self.publisher.publish(&instance.metadata, Some(before), &after).await?;
        Ok(())
    }

    /// What the cluster says, and what was last seen of the VM's addresses.
    pub(super) async fn fetch(
        &self,
        instance: &CatalystInstance,
        target: &Target,
    ) -> Result<(Fetched, Live), ReconcileError> {
        let host = References::of(instance).ingress_host;
        self.claims.want(target, host.as_deref());
        let (mut fetched, live) =
            self.fetcher.everything(instance, may_have_news(instance.status.as_ref(), Timestamp::now())).await?;
        let uid = instance.uid().unwrap_or_default();
        if let (Some(host), Some(ingress)) = (host, &instance.spec.ingress) {
            let since = live.get::<Ingress>(&target.name).and_then(|meta| meta.creation_timestamp.as_ref());
            let earlier = self.claims.earlier(target, &host, ingress_class(ingress), since);
            fetched.host_taken_by = earlier.map(|claim| format!("{}/{}", claim.namespace, claim.name));
        }
        fetched.host_addresses = self.prober.addresses(&uid, &instance.spec.ssh.host);
        Ok((fetched, live))
    }

    /// Validates; on the way records a host key, brings a rotation of the SSH key on, and generates Secrets that are missing.
    /// Each changes what is validated, so it is validated anew after it. Tells when to look at the rotation again.
    pub(super) async fn validate(
        &self,
        instance: &mut CatalystInstance,
        fetched: &mut Fetched,
        target: &Target,
    ) -> Result<Result<(ValidatedInstance, Option<Duration>), Vec<Finding>>, ReconcileError> {
        let valid = match validate(instance, fetched, &self.defaults) {
            Ok(valid) => valid,
            Err(findings) => return Ok(Err(findings)),
        };
        self.trust(instance, &valid).await?;
        let rotation = self.rotate(instance, &valid, fetched, target).await?;
        let valid = match validate(instance, fetched, &self.defaults) {
            Ok(valid) => valid,
            Err(findings) => return Ok(Err(findings)),
        };
        let missing = valid.missing_secrets();
        if missing.is_empty() {
            return Ok(Ok((valid, rotation)));
        }
        let generated = generate(&self.applier, &valid, &missing).await?;
        let owner = instance.uid().unwrap_or_default();
        for which in missing {
            match which {
                MissingSecret::App => {
                    let secret = &valid.app_secret.secret;
                    fetched.app_secret = self.fetcher.app_secret(&valid.namespace, secret, &owner).await?;
                }
                MissingSecret::SshKey => {
                    let secret = &valid.ssh.key.secret;
                    fetched.ssh_key = self.fetcher.ssh_key(&valid.namespace, secret, &owner).await?;
                }
            }
        }
        let valid = validate(instance, fetched, &self.defaults);
        if let Ok(valid) = &valid {
            self.tell_generated(instance, valid, &generated).await;
        }
        Ok(valid.map(|valid| (valid, rotation)))
    }

    /// Records the host key that was shown, if it is the first or a person named it. The record is written before anything
    /// is made from it.
    async fn trust(&self, instance: &mut CatalystInstance, valid: &ValidatedInstance) -> Result<(), ReconcileError> {
        if matches!(valid.ssh.host_keys, HostKeys::Given(_)) {
            return Ok(());
        }
        let host = valid.ssh.host.to_string();
        let uid = instance.uid().unwrap_or_default();
        let Some(shown) = self.prober.shown_key(&uid, &host, valid.ssh.port) else { return Ok(()) };
        let approved = instance.annotations().get(TRUST_HOST_KEY_ANNOTATION).cloned();
        let records = instance.status.as_ref().map(|status| status.host_keys.as_slice()).unwrap_or_default();
        let now = Timestamp::now();
        let (records, reason) = match consider(records, &host, valid.ssh.port, &shown, approved.as_deref(), now) {
            Trust::Unchanged => return Ok(()),
            Trust::Recorded(records) => (records, Reason::HostKeyRecorded),
            Trust::Replaced(records) => (records, Reason::HostKeyTrusted),
        };
        let after = CatalystInstanceStatus { host_keys: records, ..instance.status.clone().unwrap_or_default() };
        self.publisher.publish(&instance.metadata, instance.status.as_ref(), &after).await?;
        instance.status = Some(after);
        let note = format!("Host key of {host} port {}: {}. {}", valid.ssh.port, shown.fingerprint, reason.remedy());
        self.announcer.tell(instance, reason, note.trim_end()).await;
        Ok(())
    }

    /// Brings the cluster to what the instance needs.
    pub(super) async fn build_and_apply(
        &self,
        instance: &CatalystInstance,
        valid: &ValidatedInstance,
        fetched: &Fetched,
        live: &Live,
        look: Option<&Answer>,
    ) -> Result<AppliedNow, ReconcileError> {
        let mut desired = build(valid);
        if fetched.gateway_api == Some(false) {
            // Advice says so; its CRD's arrival is seen.
            desired.http_route = None;
        }
        let running = Running {
            template: fetched.deployment.as_ref().and_then(|deployment| deployment.template.as_ref()),
            config: fetched.settings.as_ref(),
            ran: rolled_out(instance),
        };
        let cause = rollout_cause(running, &desired.deployment, &desired.config);
        let first_contact = first_contact_under_way(valid, fetched, look);
        let pods = if first_contact.is_some() { Pods::Later } else { Pods::Now };
        let known_hosts = desired.known_hosts.clone();
        let applied = self.applier.apply(&valid.name, &valid.namespace, desired, live, pods).await?;
        let told = |change: &Change| change.act != Act::Removed && change.name == valid.name.known_hosts();
        // Pods that serve have known the VM all along; those that do not may wait for just this.
        let wait = fetched.deployment.as_ref().is_some_and(|deployment| deployment.available < deployment.wanted);
        if wait && applied.changes.iter().any(told) {
            self.applier.hasten_host_keys(&valid.name, &valid.namespace, &known_hosts).await;
        }
        let rollout = applied.changes.iter().any(|change| change.rollout).then_some(cause);
        Ok(AppliedNow { applied, rollout, first_contact })
    }

    /// The operator's own look at the VM, where there is a question: no host key yet, or pods that are not ready.
    pub(super) fn look(
        &self,
        instance: &CatalystInstance,
        valid: &ValidatedInstance,
        fetched: &Fetched,
        target: &Target,
    ) -> Option<Answer> {
        let unknown = matches!(&valid.ssh.host_keys, HostKeys::Recorded(lines) if lines.is_empty());
        let unsettled = fetched.deployment.as_ref().is_none_or(|deployment| deployment.available < deployment.wanted);
        let uid = instance.uid().unwrap_or_default();
        if !unknown && (!unsettled || valid.replicas == 0) {
            self.prober.outdate(&uid);
            return None;
        }
        let key = match &fetched.ssh_key {
            Referenced::Found { value, .. } => value
                .entries
                .get(&valid.ssh.key.entry)
                .and_then(|bytes| catalyst_ssh::parse_private_key(bytes.expose()).ok())
                .map(Arc::new),
            Referenced::Missing => None,
        };
        Some(self.prober.ask(&uid, self.question(valid, key)?, target.clone()))
    }

    /// What there is to be asked of the VM with a key; nothing where only the pods go that way, so that what they say counts.
    pub(super) fn question(&self, valid: &ValidatedInstance, key: Option<Arc<PrivateKey>>) -> Option<Question> {
        if valid.ssh.jump.is_some() {
            return None;
        }
        let (known_hosts, first_contact) = match &valid.ssh.host_keys {
            HostKeys::Given(text) => (text.clone(), false),
            HostKeys::Recorded(lines) => (lines.join("\n"), lines.is_empty()),
        };
        let endpoint =
            Endpoint { host: valid.ssh.host.to_string(), port: valid.ssh.port, user: valid.ssh.user.clone() };
        Some(Question { endpoint, known_hosts, first_contact, key })
    }

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
        let circumstances = Circumstances { forbidden, approved };
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
        if verdict.reason.severity() == Severity::Ready && may_have_news(instance.status.as_ref(), Timestamp::now()) {
            again = Some(again.unwrap_or(LISTEN).min(LISTEN));
        }
        let unchanged = now.applied.changes.is_empty() && same_generation_and_not_ready(instance);
        let deployment = fetched.deployment.as_ref();
        let parts = parts(valid, fetched, &now.applied.refused, &circumstances);
        let facts =
            Facts { instance: Some(valid), deployment, parts, rollout: now.rollout.clone(), ..Facts::default() };
        Converged { verdict, facts, again, hold: pending && unchanged }
    }

    /// A paused instance is left as it is; how it is, is told all the same.
    pub(super) async fn report_paused(
        &self,
        instance: &CatalystInstance,
        target: &Target,
    ) -> Result<Outcome, ReconcileError> {
        let (fetched, _) = self.fetch(instance, target).await?;
        let valid = validate(instance, &fetched, &self.defaults);
        let (state, parts) = match &valid {
            Ok(_) if fetched.deployment.is_none() => ("There is no Deployment.".to_owned(), Vec::new()),
            Ok(valid) => {
                let circumstances = Circumstances::default();
                let verdict = diagnose(valid, &fetched, &circumstances);
                (format!("{}: {}", verdict.reason, verdict.message), parts(valid, &fetched, &[], &circumstances))
            }
            Err(findings) => {
                let verdict = Verdict::of(findings);
                let told = verdict.map(|verdict| format!("{}: {}", verdict.reason, verdict.message));
                (told.unwrap_or_default(), faulty_parts(findings))
            }
        };
        let message = format!("Nothing is changed while {PAUSED_ANNOTATION} is \"true\". As it is: {state}");
        let facts =
            Facts { instance: valid.as_ref().ok(), deployment: fetched.deployment.as_ref(), parts, ..Facts::default() };
        self.report(instance, &Verdict::new(Reason::Paused, message), facts, None).await
    }

    /// Findings that keep anything from being applied.
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
        Ok(Outcome::Done { uid, phase: crate::metrics::Phase::Stalled, again: None })
    }

    async fn tell_generated(&self, instance: &CatalystInstance, valid: &ValidatedInstance, generated: &[Generated]) {
        for Generated { which, name, reference } in generated {
            let object = Some(reference.clone());
            match which {
                MissingSecret::App => {
                    let note = format!(
                        "Secret {name} was generated. The secret to sign in with: kubectl get secret -n {} {name} -o \
                         jsonpath='{{.data.{}}}' | base64 -d",
                        valid.namespace,
                        crate::container::CATALYST_SECRET
                    );
                    self.announcer.tell_of(instance, object, Reason::SecretGenerated, &note).await;
                }
                MissingSecret::SshKey => {
                    let KeyState::Present { public_line } = &valid.ssh.key.state else { continue };
                    let note = format!(
                        "An SSH key was generated in Secret {name}. Add this line to ~/.ssh/authorized_keys of {} on {}: {} \
                         {public_line}",
                        valid.ssh.user,
                        valid.ssh.host,
                        crate::status::KEY_OPTIONS
                    );
                    self.announcer.tell_of(instance, object, Reason::SSHKeyGenerated, &note).await;
                }
            }
        }
    }

    /// What was changed or deleted by hand and put back; and a rollout of pods that served before.
    pub(super) async fn tell_repairs(&self, instance: &CatalystInstance, now: &AppliedNow) {
        // Until the first pods exist, what is missing is missing because it has not been made yet.
        let settled = same_generation(instance) && rolled_out(instance);
        for change in &now.applied.changes {
            let was = match change.act {
                Act::Repaired => "changed",
                Act::Created if settled => "missing",
                Act::Created | Act::Updated | Act::Removed => continue,
            };
            let note = format!("{} {} was {was} and has been put back.", change.kind, change.name);
            let object = ObjectReference {
                kind: Some(change.kind.to_owned()),
                namespace: instance.namespace(),
                name: Some(change.name.clone()),
                ..ObjectReference::default()
            };
            self.announcer.tell_of(instance, Some(object), Reason::ObjectRepaired, &note).await;
        }
        if let Some(cause) = now.rollout.as_ref().filter(|_| rolled_out(instance)) {
            self.announcer.tell(instance, Reason::RolloutStarted, cause).await;
        }
    }
}

/// What one pass applied, and why pods are replaced, if they are.
pub(super) struct AppliedNow {
    applied: Applied,
    rollout: Option<String>,
    /// The pods wait for the first contact, at most this much longer.
    first_contact: Option<Duration>,
}

/// How much longer first pods wait for the first contact with the VM. A pod that starts before the host key is recorded
/// sees it only when its node refreshes the mounted ConfigMap, a minute later.
fn first_contact_under_way(valid: &ValidatedInstance, fetched: &Fetched, look: Option<&Answer>) -> Option<Duration> {
    let unknown = matches!(&valid.ssh.host_keys, HostKeys::Recorded(lines) if lines.is_empty());
    match look {
        Some(Answer::Pending { since }) if unknown && fetched.deployment.is_none() => {
            FIRST_CONTACT.checked_sub(*since).filter(|left| !left.is_zero())
        }
        _ => None,
    }
}

/// Reasons that no watch of ours tells the end of.
fn unwatched(reason: Reason) -> bool {
    matches!(reason, Reason::NameConflict | Reason::IngressClassMissing | Reason::Progressing)
}

/// Whether it had pods before.
fn rolled_out(instance: &CatalystInstance) -> bool {
    instance.status.as_ref().is_some_and(|status| status.last_rollout.is_some())
}

fn same_generation(instance: &CatalystInstance) -> bool {
    let observed = instance.status.as_ref().and_then(|status| status.observed_generation);
    observed.is_some() && observed == instance.metadata.generation
}

fn same_generation_and_not_ready(instance: &CatalystInstance) -> bool {
    same_generation(instance) && super::phase_before(instance) != crate::metrics::Phase::Ready
}
