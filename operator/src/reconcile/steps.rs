//! The steps of a pass that read or write and are more than one call.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use catalyst_ssh::{Endpoint, PrivateKey};
use k8s_openapi::{
    api::{apps::v1::Deployment, networking::v1::Ingress},
    jiff::Timestamp,
};
use kube::{ResourceExt, api::ObjectMeta};

use super::{ReconcileError, Steps};
use crate::{
    apply::{Act, Applied, Change, Pods, is_as_wanted, replaces_pods},
    build::{Desired, build},
    crd::{CatalystInstance, CatalystInstanceStatus, TRUST_HOST_KEY_ANNOTATION},
    fetch::{Fetcher, Secrets, app_secret_in, ssh_key_in},
    live::Live,
    names::{References, Target, ingress_class},
    observed::{Fetched, Referenced},
    prober::{Answer, Question},
    reason::Reason,
    secrets::generate,
    status::{Facts, Running, Verdict, facts_alone, may_have_news, rollout_cause},
    trust::{Trust, consider},
    validated::{HostKeys, MissingSecret, ValidatedInstance},
};

/// An instance whose first pass takes longer than this gets a status that says no more than that, and one whose objects have told
/// nothing in this time one that says so.
pub(super) const FIRST_WORD: Duration = Duration::from_secs(2);
/// Pods that have never run wait this long at most for the first contact with the VM.
const FIRST_CONTACT: Duration = Duration::from_secs(3);

impl Steps {
    /// Gives an instance that has no status one, unless the pass comes to its own soon: a person should find words there.
    pub(super) async fn acknowledge(&self, instance: ObjectMeta, has_status: bool) {
        if has_status {
            return;
        }
        tokio::time::sleep(FIRST_WORD).await;
        let verdict = Verdict::new(Reason::Progressing, "The instance has been seen.");
        let facts = Facts { generation: instance.generation.unwrap_or_default(), ..Facts::default() };
        let (status, _) = crate::status::status(None, &verdict, facts, Timestamp::now());
        if let Err(error) = self.publisher.publish_first(&instance, &status).await {
            // The pass itself says more of it.
            tracing::debug!(%error, "the first status could not be written");
        }
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
        reads: &Fetcher,
        known: Option<Secrets>,
        target: &Target,
    ) -> Result<(Fetched, Live), ReconcileError> {
        let host = References::of(instance).ingress_host;
        self.claims.want(target, host.as_deref());
        let listen = may_have_news(instance.status.as_ref(), Timestamp::now());
        let (mut fetched, live) = reads.everything(instance, listen, known).await?;
        let uid = instance.uid().unwrap_or_default();
        if let (Some(host), Some(ingress)) = (host, &instance.spec.ingress) {
            let since = live.get::<Ingress>(&target.name).and_then(|meta| meta.creation_timestamp.as_ref());
            let earlier = self.claims.earlier(target, &host, ingress_class(ingress), since);
            fetched.host_taken_by = earlier.map(|claim| format!("{}/{}", claim.namespace, claim.name));
            if self.claims.are_partial() {
                fetched.unseen.push(format!(
                    "Whether an Ingress of another namespace has the host {host} too is not known: the operator sees those of \
                     WATCH_NAMESPACES only."
                ));
            }
        }
        fetched.host_addresses = self.prober.addresses(&uid, &instance.spec.ssh.host);
        Ok((fetched, live))
    }

    /// Records the host key that was shown, if it is the first or a person named it. The record is written before anything
    /// is made from it.
    pub(super) async fn trust(
        &self,
        instance: &mut CatalystInstance,
        valid: &ValidatedInstance,
    ) -> Result<(), ReconcileError> {
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
        let (port, shown) = (valid.ssh.port, shown.fingerprint);
        let note = if reason == Reason::HostKeyTrusted {
            format!(
                "The host key of {host} port {port} is trusted from now on, as {TRUST_HOST_KEY_ANNOTATION} asks: {shown}"
            )
        } else {
            format!("The host key of {host} port {port} was recorded on first contact: {shown} {}", reason.remedy())
        };
        self.announcer.tell(instance, reason, &note).await;
        Ok(())
    }

    /// Makes the Secrets that are missing, and tells it; one that is there all the same is read.
    pub(super) async fn generate(
        &self,
        instance: &CatalystInstance,
        valid: &ValidatedInstance,
        fetched: &mut Fetched,
    ) -> Result<(), ReconcileError> {
        let missing = valid.missing_secrets();
        let mut generated = Vec::new();
        let outcome = generate(&self.applier, valid, &missing, &mut generated).await;
        // At once, whatever is in the way of the rest: the next pass finds it and cannot tell that it is new.
        self.tell_generated(instance, valid, generated.iter().map(|(told, _)| told)).await;
        outcome?;
        let owner = instance.uid().unwrap_or_default();
        for which in missing {
            let at = generated.iter().position(|(told, _)| told.which == which);
            let made = at.and_then(|at| generated.get_mut(at)).map(|(_, secret)| std::mem::take(secret));
            match (which, made) {
                (MissingSecret::App, Some(secret)) => fetched.app_secret = app_secret_in(secret, &owner),
                (MissingSecret::SshKey, Some(secret)) => fetched.ssh_key = ssh_key_in(secret, &owner),
                (MissingSecret::App, None) => {
                    let secret = &valid.app_secret.secret;
                    fetched.app_secret = self.fetcher.app_secret(&valid.namespace, secret, &owner).await?;
                }
                (MissingSecret::SshKey, None) => {
                    let secret = &valid.ssh.key.secret;
                    fetched.ssh_key = self.fetcher.ssh_key(&valid.namespace, secret, &owner).await?;
                }
            }
        }
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
        let cause = self.cause(instance, valid, fetched, live, &desired).await?;
        let first_contact = first_contact_under_way(valid, fetched, look);
        let pods = if first_contact.is_some() { Pods::Later } else { Pods::Now };
        let known_hosts = desired.known_hosts.clone();
        let mut applied = self.applier.apply(&valid.name, &valid.namespace, desired, live, pods).await?;
        applied.refused.extend(self.refused.findings(&valid.namespace, Instant::now()));
        let told = |change: &Change| change.act != Act::Removed && change.name == valid.name.known_hosts();
        // Pods that serve have known the VM all along; those that do not may wait for just this.
        let wait = fetched.deployment.as_ref().is_some_and(|deployment| deployment.available < deployment.wanted);
        if wait && applied.changes.iter().any(told) {
            self.applier.hasten_host_keys(&valid.name, &valid.namespace, &known_hosts).await;
        }
        let rollout =
            applied.changes.iter().find(|change| change.rollout).zip(cause).map(|(change, cause)| match change.act {
                Act::Repaired => format!("The Deployment was changed by somebody else and has been put back: {cause}"),
                Act::Created | Act::Updated | Act::Removed => cause,
            });
        Ok(AppliedNow { applied, rollout, first_contact })
    }

    /// Why the pods are going to be replaced, if they are: what runs is read before it is written to.
    async fn cause(
        &self,
        instance: &CatalystInstance,
        valid: &ValidatedInstance,
        fetched: &Fetched,
        live: &Live,
        desired: &Desired,
    ) -> Result<Option<String>, ReconcileError> {
        if !replaces_pods(&desired.deployment, live.get::<Deployment>(valid.name.as_str()))? {
            return Ok(None);
        }
        let template = fetched.deployment.as_ref().and_then(|deployment| deployment.template.as_ref());
        let config = match template {
            None => None,
            Some(_) if is_as_wanted(&desired.config, live)? => desired.config.data.clone(),
            Some(_) => self.cached.settings(&valid.namespace, &valid.name.config()).await?,
        };
        let running = Running { template, config: config.as_ref(), ran: rolled_out(instance) };
        Ok(Some(rollout_cause(running, &desired.deployment, &desired.config)))
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
        let Some(question) = self.question(valid, key) else {
            // What was seen on another way says nothing of this one.
            self.prober.forget(&uid);
            return None;
        };
        Some(self.prober.ask(&uid, question, target.clone()))
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
}

/// What one pass applied, and why pods are replaced, if they are.
pub(super) struct AppliedNow {
    pub(super) applied: Applied,
    pub(super) rollout: Option<String>,
    /// The pods wait for the first contact, at most this much longer.
    pub(super) first_contact: Option<Duration>,
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

/// Whether it had pods before.
pub(super) fn rolled_out(instance: &CatalystInstance) -> bool {
    instance.status.as_ref().is_some_and(|status| status.last_rollout.is_some())
}

/// Whether status speaks of the spec as it is now.
pub(super) fn same_generation(instance: &CatalystInstance) -> bool {
    let observed = instance.status.as_ref().and_then(|status| status.observed_generation);
    observed.is_some() && observed == instance.metadata.generation
}
