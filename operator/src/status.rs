//! What an instance's status says, from what was validated and observed. Pure; the same facts give the same status, and
//! nothing in it moves with the clock but the times of transitions.

mod conditions;
mod diagnosis;
mod parts;
mod rollout;

use std::time::Duration;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

pub use self::{
    conditions::{Conditions, READY, RECONCILING, STALLED, conditions},
    diagnosis::{Circumstances, diagnose},
    parts::{Absent, Part, PartState, faulty_parts, parts, without},
    rollout::{FIRST_PODS, Running, rollout_cause},
};
use crate::{
    crd::{CatalystInstanceStatus, HostKeyRecord, RolloutRecord},
    observed::{DeploymentView, SshObservation},
    reason::Reason,
    validated::{Finding, KeyState, ValidatedInstance},
};

/// How long after its pods became ready an instance's server is listened to for what it finds only then.
const NEWS: Duration = Duration::from_secs(60);
/// Longest condition message, in characters.
const LONGEST_MESSAGE: usize = 2048;
/// Options of the line for authorized_keys: the key may run commands and terminals, and nothing else.
pub const KEY_OPTIONS: &str = "restrict,pty";

/// What is to be said of an instance: a reason and a sentence with the particulars and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The reason.
    pub reason: Reason,
    /// For the person who reads it.
    pub message: String,
}

impl Verdict {
    /// A verdict; the message is cut where it would be too long for a condition.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let message: String = message.into();
        let cut = message.chars().count() > LONGEST_MESSAGE;
        let message = if cut { message.chars().take(LONGEST_MESSAGE - 1).chain(['…']).collect() } else { message };
        Self { reason, message }
    }

    /// Several findings as one verdict: the gravest gives the reason, all are told.
    #[must_use]
    pub fn of(findings: &[Finding]) -> Option<Self> {
        let gravest = findings.iter().min_by_key(|finding| finding.reason.severity())?;
        let others = findings.iter().filter(|finding| *finding != gravest);
        let told: Vec<String> = std::iter::once(gravest).chain(others).map(sentence).collect();
        Some(Self::new(gravest.reason, told.join(" ")))
    }
}

/// What is wrong with a field is told as what follows its name; the others are sentences, or end with a command.
fn sentence(finding: &Finding) -> String {
    if finding.reason == Reason::InvalidSpec { ended(&finding.message) } else { finding.message.clone() }
}

/// A sentence with its full stop.
pub(crate) fn ended(sentence: &str) -> String {
    let sentence = sentence.trim_end();
    if sentence.ends_with(['.', '!', '?']) { sentence.to_owned() } else { format!("{sentence}.") }
}

/// What is known besides the verdict.
#[derive(Clone, Debug, Default)]
pub struct Facts<'a> {
    /// `metadata.generation`.
    pub generation: i64,
    /// The validated instance, if it came so far.
    pub instance: Option<&'a ValidatedInstance>,
    /// Whether the instance is paused: its spec may differ from what was applied, so its address stays as it was.
    pub paused: bool,
    /// The Deployment's report, if there is one.
    pub deployment: Option<&'a DeploymentView>,
    /// What the operator saw of the VM, if it has looked.
    pub vm: Option<&'a SshObservation>,
    /// What is to be said of the parts; of those that are missing nothing new is known.
    pub parts: Vec<PartState>,
    /// The record of host keys.
    pub host_keys: Vec<HostKeyRecord>,
    /// A rollout that this pass began: why.
    pub rollout: Option<String>,
}

/// The new status, and when it changes by itself (patience that ends), if nothing else happens.
#[must_use]
pub fn status(
    before: Option<&CatalystInstanceStatus>,
    verdict: &Verdict,
    mut facts: Facts<'_>,
    now: Timestamp,
) -> (CatalystInstanceStatus, Option<Duration>) {
    let mut status = before.cloned().unwrap_or_default();
    let Conditions { conditions, patience } = conditions(before, verdict, &facts.parts, facts.generation, now);
    status.observed_generation = Some(facts.generation);
    status.conditions = conditions;
    status.host_keys = std::mem::take(&mut facts.host_keys);
    note(&mut status, facts, now);
    if !status.conditions.iter().any(|told| told.reason == Reason::HostKeyChanged.as_str()) {
        status.changed_host_key = None;
    }
    (status, patience)
}

/// The status with new facts under the old verdict: for a pass whose verdict has to wait.
#[must_use]
pub fn facts_alone(before: &CatalystInstanceStatus, facts: Facts<'_>, now: Timestamp) -> CatalystInstanceStatus {
    let mut status = before.clone();
    note(&mut status, facts, now);
    status
}

/// Whether a server that is ready may have found something that status does not say yet, or not any more: it became ready a
/// moment ago, or something was the matter with it. At rest nothing is asked.
#[must_use]
pub fn may_have_news(status: Option<&CatalystInstanceStatus>, now: Timestamp) -> bool {
    let mut ready = status.into_iter().flat_map(|status| &status.conditions).filter(|told| told.type_ == READY);
    ready.next().is_none_or(|ready| {
        let since = Duration::try_from(now.duration_since(ready.last_transition_time.0)).unwrap_or_default();
        ready.status != "True" || since < NEWS
    })
}

fn note(status: &mut CatalystInstanceStatus, facts: Facts<'_>, now: Timestamp) {
    if let Some(instance) = facts.instance {
        if !facts.paused {
            status.url = instance.public_url.as_ref().map(crate::validated::PublicUrl::origin);
        }
        status.selector = Some(instance.name.selector());
        if let KeyState::Present { public_line } = &instance.ssh.key.state {
            status.authorized_keys_line = Some(format!("{KEY_OPTIONS} {public_line}"));
            status.ssh_public_key = Some(public_line.clone());
        }
    }
    if let Some(SshObservation { host_key: Some(shown), outcome: Err(failure), .. }) = facts.vm
        && failure.reason == catalyst_ssh::Reason::HostKeyChanged
    {
        status.changed_host_key = Some(shown.fingerprint.clone());
    }
    if let Some(deployment) = facts.deployment {
        status.replicas = Some(deployment.replicas);
        status.ready_replicas = Some(deployment.ready);
        status.image.clone_from(&deployment.image);
    }
    if let Some(cause) = facts.rollout {
        status.last_rollout = Some(RolloutRecord { time: Time(now), cause: cause.chars().take(1024).collect() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::{ShownHostKey, SshFailure};

    #[test]
    fn the_gravest_finding_names_the_reason_and_no_other_is_lost() {
        let finding = |reason, message: &str| Finding { reason, field: None, message: message.to_owned() };
        let verdict = Verdict::of(&[
            finding(Reason::PermissiveEgress, "Wide."),
            finding(Reason::SecretMissing, "Missing."),
            finding(Reason::InvalidSpec, "ssh.user must be a name"),
            finding(Reason::HostUnreachable, "Away."),
        ])
        .unwrap();
        assert_eq!(verdict, Verdict::new(Reason::SecretMissing, "Missing. Wide. ssh.user must be a name. Away."));
    }

    #[test]
    fn a_message_is_cut_to_what_a_condition_may_hold() {
        let verdict = Verdict::new(Reason::ApplyRefused, "ä".repeat(5000));
        assert_eq!(verdict.message.chars().count(), LONGEST_MESSAGE);
        assert!(verdict.message.ends_with('…'));
    }

    #[test]
    fn a_second_pass_over_the_same_facts_gives_the_same_status() {
        let verdict = Verdict::new(Reason::SecretMissing, "Missing.");
        let facts = || Facts { generation: 2, ..Facts::default() };
        let (first, _) = status(None, &verdict, facts(), Timestamp::UNIX_EPOCH);
        let (second, _) = status(Some(&first), &verdict, facts(), Timestamp::from_second(1000).unwrap());
        assert_eq!(first, second);
    }

    #[test]
    fn that_somebody_else_scales_the_pods_is_told() {
        let mut valid = crate::validate::tests::valid_instance();
        valid.replicas = 1;
        let told = |wanted: i32| {
            let view = DeploymentView {
                wanted,
                scaled_from: Some(1),
                replicas: wanted,
                updated: wanted,
                available: wanted,
                ready: wanted,
                ..DeploymentView::default()
            };
            let fetched = crate::observed::Fetched { deployment: Some(view), ..Default::default() };
            diagnose(&valid, &fetched, &Circumstances::default())
        };
        assert!(told(1).message.starts_with("The pod is ready."), "{:?}", told(1));
        assert!(!told(1).message.contains("scales"), "{:?}", told(1));
        let scaled = told(3);
        assert_eq!(scaled.reason, Reason::Available);
        let words = "3 pods are ready. Somebody else scales the Deployment, and that number is kept until spec.replicas, which is 1, is changed.";
        assert!(scaled.message.starts_with(words), "{scaled:?}");
    }

    #[test]
    fn while_the_verdict_waits_new_facts_are_told_under_the_old_one() {
        let verdict = Verdict::new(Reason::SSHAuthRejected, "Rejected.");
        let (before, _) = status(None, &verdict, Facts { generation: 2, ..Facts::default() }, Timestamp::UNIX_EPOCH);
        let deployment = DeploymentView { replicas: 3, ..DeploymentView::default() };
        let valid = crate::validate::tests::valid_instance();
        let facts = Facts {
            instance: Some(&valid),
            deployment: Some(&deployment),
            rollout: Some("Why.".to_owned()),
            ..Facts::default()
        };
        let after = facts_alone(&before, facts, Timestamp::from_second(1000).unwrap());
        assert_eq!((&after.conditions, after.observed_generation), (&before.conditions, Some(2)));
        let line = after.authorized_keys_line.unwrap();
        assert!(line.starts_with("restrict,pty ssh-ed25519 "), "{line}");
        assert_eq!((after.replicas, after.last_rollout.unwrap().cause.as_str()), (Some(3), "Why."));
        assert_eq!(after.host_keys, before.host_keys);
    }

    #[test]
    fn the_address_of_a_paused_instance_is_the_one_that_was_applied() {
        let valid = crate::validate::tests::valid_instance();
        let verdict = Verdict::new(Reason::Paused, "Paused.");
        let told = |url: Option<&str>, paused| {
            let before = CatalystInstanceStatus { url: url.map(str::to_owned), ..CatalystInstanceStatus::default() };
            let facts = Facts { instance: Some(&valid), paused, ..Facts::default() };
            status(Some(&before), &verdict, facts, Timestamp::UNIX_EPOCH).0
        };
        let new = valid.public_url.as_ref().map(crate::validated::PublicUrl::origin);
        assert_eq!(told(Some("http://old.example"), true).url.as_deref(), Some("http://old.example"));
        assert_eq!(told(None, true).url, None);
        assert_eq!(told(Some("http://old.example"), false).url, new);
        assert!(told(None, true).selector.is_some() && told(None, true).authorized_keys_line.is_some());
    }

    #[test]
    fn a_changed_host_key_is_told_as_data_for_as_long_as_it_is_the_matter() {
        let failure = |reason| SshFailure { reason, message: "Words.".to_owned() };
        let shown = ShownHostKey { key: "ssh-ed25519 AAAA".to_owned(), fingerprint: "SHA256:new".to_owned() };
        let seen =
            |reason| SshObservation { confirmed: false, host_key: Some(shown.clone()), outcome: Err(failure(reason)) };
        let changed = Verdict::new(Reason::HostKeyChanged, "Changed.");
        let vm = seen(catalyst_ssh::Reason::HostKeyChanged);
        let facts = Facts { vm: Some(&vm), ..Facts::default() };
        let (told, _) = status(None, &changed, facts, Timestamp::UNIX_EPOCH);
        assert_eq!(told.changed_host_key.as_deref(), Some("SHA256:new"));
        // A pass that has not looked knows nothing else.
        let (kept, _) = status(Some(&told), &changed, Facts::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(kept.changed_host_key.as_deref(), Some("SHA256:new"));
        let vm = seen(catalyst_ssh::Reason::AuthRejected);
        let rejected = Verdict::new(Reason::SSHAuthRejected, "Rejected.");
        let facts = Facts { vm: Some(&vm), ..Facts::default() };
        assert_eq!(status(Some(&kept), &rejected, facts, Timestamp::UNIX_EPOCH).0.changed_host_key, None);
    }
}
