//! What is told of instances: the same for people and for programs. Pure data, and the reading of an instance's own status.

use catalyst_operator::{
    crd::CatalystInstance,
    reason::Reason,
    status::{READY, RECONCILING, STALLED},
};
use kube::ResourceExt;
use serde::Serialize;

use crate::hints::Hints;

/// The condition of the Secrets.
const SECRETS: &str = "SecretsReady";
const EXPOSURE: &str = "ExposureReady";

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Mark {
    /// A person must act.
    Bad,
    /// A person should know.
    Warning,
    /// It passes by itself, or might.
    Waiting,
    /// It could not be looked at.
    Unknown,
    /// As it should be.
    Good,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceReport {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) mark: Mark,
    pub(crate) reason: String,
    pub(crate) message: String,
    /// What to do; empty where the message says it.
    pub(crate) remedy: String,
    /// The command of ours that helps, if there is one.
    pub(crate) next: Option<String>,
    pub(crate) url: Option<String>,
    pub(crate) conditions: Vec<ConditionReport>,
    pub(crate) objects: Vec<ObjectReport>,
    pub(crate) notes: Vec<String>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConditionReport {
    #[serde(rename = "type")]
    pub(crate) type_: String,
    pub(crate) status: String,
    pub(crate) mark: Mark,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// One object, with those below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ObjectReport {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) mark: Mark,
    pub(crate) detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) below: Vec<ObjectReport>,
}

/// What the status of an instance says; objects are still to be added.
pub(crate) fn of(instance: &CatalystInstance, hints: &Hints) -> InstanceReport {
    let (namespace, name) = (instance.namespace().unwrap_or_default(), instance.name_any());
    let status = instance.status.clone().unwrap_or_default();
    let mut conditions: Vec<_> = status
        .conditions
        .iter()
        .map(|condition| ConditionReport {
            type_: condition.type_.clone(),
            status: condition.status.clone(),
            mark: mark_of(&condition.type_, &condition.status, &condition.reason),
            reason: condition.reason.clone(),
            message: hints.of_operator(&condition.message),
        })
        .collect();
    let is = |kind: &str| status.conditions.iter().any(|one| one.type_ == kind && one.status == "True");
    let ready = conditions.iter().find(|condition| condition.type_ == READY).cloned();
    let current = status.observed_generation == instance.metadata.generation;
    let (mark, reason, message) = match ready {
        None => {
            let doctor = hints.ours("doctor", instance);
            let message = format!("No operator has looked at it yet. Look whether one runs: {doctor}");
            (Mark::Bad, "NotSeen".to_owned(), message)
        }
        Some(ready) if !current => {
            (Mark::Waiting, ready.reason, format!("Not of the present spec yet: {}", ready.message))
        }
        Some(ready) if is(STALLED) => (Mark::Bad, ready.reason, ready.message),
        Some(ready) if is(RECONCILING) => (Mark::Waiting, ready.reason, ready.message),
        Some(ready) => (ready.mark, ready.reason, ready.message),
    };
    conditions.sort_by(|one, other| (one.mark, &one.type_).cmp(&(other.mark, &other.type_)));
    let known = Reason::ALL.iter().find(|known| known.as_str() == reason);
    let remedy = known.filter(|known| mark != Mark::Good && known.leaves_remedy()).map(|known| known.remedy());
    InstanceReport {
        mark,
        remedy: remedy.unwrap_or_default().to_owned(),
        next: known.and_then(|known| next(*known, instance)).map(|verb| hints.ours(verb, instance)),
        url: status.url.clone(),
        conditions,
        objects: Vec::new(),
        notes: notes(instance, mark, hints),
        namespace,
        name,
        reason,
        message,
    }
}

fn mark_of(kind: &str, status: &str, reason: &str) -> Mark {
    let wanted = if [RECONCILING, STALLED].contains(&kind) { "False" } else { "True" };
    let warning = Reason::ALL
        .iter()
        .any(|known| known.as_str() == reason && known.severity() == catalyst_operator::reason::Severity::Warning);
    match status {
        "Unknown" => Mark::Unknown,
        status if status != wanted && kind == RECONCILING => Mark::Waiting,
        status if status != wanted => Mark::Bad,
        _ if warning => Mark::Warning,
        _ => Mark::Good,
    }
}

/// The command of ours that mends it.
fn next(reason: Reason, instance: &CatalystInstance) -> Option<&'static str> {
    match reason {
        Reason::SSHAuthRejected => Some("authorize"),
        // Keys that a person gave are corrected where they are given.
        Reason::HostKeyChanged if instance.spec.ssh.known_hosts.is_none() => Some("trust-host"),
        _ => None,
    }
}

/// How to go on, as the notes of a chart tell it; only what can be done as things are.
fn notes(instance: &CatalystInstance, mark: Mark, hints: &Hints) -> Vec<String> {
    let status = instance.status.as_ref();
    let serves = status.and_then(|status| status.ready_replicas).unwrap_or_default() > 0;
    let open = hints.ours("open", instance);
    let mut notes = Vec::new();
    let is = |part: &str, wanted: &str| {
        status.is_some_and(|it| it.conditions.iter().any(|told| told.type_ == part && told.status == wanted))
    };
    // What answers at the URL of one that is not exposed is nobody, or somebody else's.
    match status.and_then(|status| status.url.as_deref()).filter(|_| !is(EXPOSURE, "False")) {
        Some(url) if serves => notes.push(format!("Open {url}, or without an ingress: {open}")),
        None if serves => notes.push(format!("Open it: {open}")),
        _ if mark == Mark::Waiting => notes.push(format!("As soon as a pod is ready, open it: {open}")),
        _ => {}
    }
    if is(SECRETS, "True") {
        let secret = catalyst_operator::names::References::of(instance).app_secret;
        let get = hints.beside(&format!("get secret {secret} -o jsonpath='{{.data.CATALYST_SECRET}}'"), instance);
        notes.push(format!("The secret to sign in with: {get} | base64 -d"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn instance(conditions: Value) -> CatalystInstance {
        serde_json::from_value(json!({"apiVersion": "catalyst.dev/v1alpha1", "kind": "CatalystInstance",
            "metadata": {"name": "x", "namespace": "n", "generation": 2}, "spec": {"ssh": {"host": "h", "user": "u"}},
            "status": {"observedGeneration": 2, "conditions": conditions}}))
        .unwrap()
    }

    fn of_here(instance: &CatalystInstance) -> InstanceReport {
        of(instance, &Hints::default())
    }

    fn condition(kind: &str, status: &str, reason: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": "Words.", "lastTransitionTime": "2026-01-01T00:00:00Z"})
    }

    #[test]
    fn a_stalled_instance_is_bad_and_comes_with_the_command_that_helps_and_a_remedy_only_where_the_message_has_none() {
        let report = of_here(&instance(json!([
            condition("Ready", "False", "SSHAuthRejected"),
            condition("Reconciling", "False", "SSHAuthRejected"),
            condition("Stalled", "True", "SSHAuthRejected"),
        ])));
        assert_eq!((report.mark, report.reason.as_str()), (Mark::Bad, "SSHAuthRejected"));
        assert_eq!(report.remedy, "", "the message says it, with the names of the case");
        assert_eq!(report.next.as_deref(), Some("kubectl catalyst authorize -n n x"));
        let order: Vec<_> = report.conditions.iter().map(|one| (one.type_.as_str(), one.mark)).collect();
        assert_eq!(order, [("Ready", Mark::Bad), ("Stalled", Mark::Bad), ("Reconciling", Mark::Good)]);
        let invalid = json!([condition("Ready", "False", "InvalidSpec"), condition("Stalled", "True", "InvalidSpec")]);
        assert_eq!(of_here(&instance(invalid)).remedy, Reason::InvalidSpec.remedy());
    }

    #[test]
    fn what_passes_by_itself_waits_and_an_outdated_status_says_so() {
        let waiting =
            json!([condition("Ready", "False", "Progressing"), condition("Reconciling", "True", "Progressing")]);
        assert_eq!(of_here(&instance(waiting.clone())).mark, Mark::Waiting);
        let mut old = instance(json!([condition("Ready", "True", "Available")]));
        old.metadata.generation = Some(3);
        let report = of_here(&old);
        assert!(report.mark == Mark::Waiting && report.message.contains("present spec"), "{report:?}");
    }

    #[test]
    fn an_instance_that_no_operator_saw_is_not_well() {
        let report = of_here(&instance(json!([])));
        assert!(report.mark == Mark::Bad && report.message.contains("doctor"), "{report:?}");
    }

    #[test]
    fn a_warning_is_shown_as_one_though_the_instance_is_ready() {
        assert_eq!(of_here(&instance(json!([condition("Ready", "True", "PermissiveEgress")]))).mark, Mark::Warning);
    }

    #[test]
    fn the_notes_tell_only_what_can_be_done() {
        let secrets = |is: &str| condition("SecretsReady", is, "Available");
        let stalled = [condition("Ready", "False", "SSHAuthRejected"), condition("Stalled", "True", "SSHAuthRejected")];
        let notes = |conditions: &[Value], ready: i32| {
            let mut instance = instance(json!(conditions));
            instance.status.as_mut().unwrap().ready_replicas = Some(ready);
            of_here(&instance).notes.join("\n")
        };
        assert_eq!(notes(&[&stalled[..], &[secrets("False")]].concat(), 0), "");
        let key = "The secret to sign in with: kubectl get secret x-secrets -o jsonpath='{.data.CATALYST_SECRET}' -n n | base64 -d";
        assert_eq!(notes(&[&stalled[..], &[secrets("True")]].concat(), 0), key);
        let open = "kubectl catalyst open -n n x";
        let waiting = [condition("Ready", "False", "Progressing"), condition("Reconciling", "True", "Progressing")];
        assert_eq!(notes(&waiting, 0), format!("As soon as a pod is ready, open it: {open}"));
        assert_eq!(notes(&[condition("Ready", "True", "Available")], 1), format!("Open it: {open}"));
        let at = |exposed: &str| {
            let ready = condition("Ready", exposed, "HostConflict");
            let mut instance = instance(json!([ready, condition("ExposureReady", exposed, "HostConflict")]));
            let status = instance.status.as_mut().unwrap();
            (status.ready_replicas, status.url) = (Some(1), Some("http://h".to_owned()));
            of_here(&instance).notes.join("\n")
        };
        assert!(at("True").starts_with("Open http://h, or"), "{}", at("True"));
        assert_eq!(at("False"), format!("Open it: {open}"), "its URL leads to another");
    }

    #[test]
    fn a_host_key_that_a_person_gave_is_not_to_be_trusted_by_a_command() {
        let mut changed = instance(json!([condition("Ready", "False", "HostKeyChanged")]));
        assert_eq!(of_here(&changed).next.as_deref(), Some("kubectl catalyst trust-host -n n x"));
        changed.spec.ssh.known_hosts = Some("h ssh-ed25519 AAAA".to_owned());
        assert_eq!(of_here(&changed).next, None);
    }
}
