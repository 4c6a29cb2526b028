//! Kubernetes objects → what matters of them. Pure.

use std::time::Duration;

use catalyst_ssh::{
    Reason as SshReason,
    health_log::{FOLDER_USABLE, IDEAS_PATH_UNWRITABLE, VM_USABLE},
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodStatus, Secret},
    networking::v1::IngressClass as ApiIngressClass,
};
use k8s_openapi::jiff::Timestamp;
use kube::{ResourceExt, api::ObjectMeta};
use serde_json::Value;

use crate::{
    apply::{APPLIED_REPLICAS_ANNOTATION, left_to_scaler},
    build::CONFIG_CHECKSUM,
    container::{CATALYST_SECRET, COOKIE_SECRET, COOKIE_SECRET_PREVIOUS},
    crd::{ROTATE_CATALYST_SECRET_ANNOTATION, ROTATE_COOKIE_SECRET_ANNOTATION, ROTATE_SSH_KEY_ANNOTATION},
    names::CONTAINER,
    observed::{
        Answers, AppSecret, DeploymentView, IngressClass, Ownership, PodView, Referenced, RouteView, SecretText,
        SshKeySecret,
    },
};

/// The kubelet's reason for a container that was ended because it took more memory than its limit.
const OUT_OF_MEMORY: &str = "OOMKilled";
/// The label by which a Deployment's controller tells apart the templates that pods were made from.
const TEMPLATE_LABEL: &str = "pod-template-hash";
/// A container that ran for longer the kubelet starts anew without a wait (twice its `MaxContainerBackOff`): its end is no crash. And a
/// crash that is longer past says nothing of how the container is now.
const CRASHED_LATELY: Duration = Duration::from_secs(600);
/// The reasons of a container that ended before its process began.
const NEVER_BEGAN: [&str; 2] = ["StartError", "ContainerCannotRun"];
/// What precedes the cause in the words of a container runtime.
const BEFORE_CAUSE: [&str; 2] = ["error during container init: ", "unable to start container process: "];
/// Longest last words that are kept, in characters.
const LAST_WORDS: usize = 300;

pub(super) fn owner(meta: &ObjectMeta, instance: &str) -> Ownership {
    let controller = meta.owner_references.iter().flatten().find(|reference| reference.controller == Some(true));
    match controller {
        Some(reference) if reference.uid == instance => Ownership::Ours,
        Some(reference) => Ownership::Foreign(Some(format!("{}/{}", reference.kind, reference.name))),
        None => Ownership::Foreign(None),
    }
}

/// What the server reads of the application Secret.
pub(crate) fn app_secret(secret: Secret, instance: &str) -> Referenced<AppSecret> {
    let entry = |key: &str| secret.data.as_ref()?.get(key).map(|bytes| SecretText::new(bytes.0.clone()));
    let value = AppSecret {
        catalyst_secret: entry(CATALYST_SECRET),
        cookie_secret: entry(COOKIE_SECRET),
        cookie_secret_previous: entry(COOKIE_SECRET_PREVIOUS),
        answers: answers(&secret),
    };
    Referenced::Found { owner: owner(&secret.metadata, instance), value }
}

/// Every entry of the Secret with the SSH key.
pub(crate) fn ssh_key(secret: Secret, instance: &str) -> Referenced<SshKeySecret> {
    let (owner, answers) = (owner(&secret.metadata, instance), answers(&secret));
    let entries = secret.data.unwrap_or_default().into_iter();
    let entries = entries.map(|(key, bytes)| (key, SecretText::new(bytes.0))).collect();
    Referenced::Found { owner, value: SshKeySecret { entries, answers } }
}

fn answers(secret: &Secret) -> Answers {
    let requests = [ROTATE_SSH_KEY_ANNOTATION, ROTATE_CATALYST_SECRET_ANNOTATION, ROTATE_COOKIE_SECRET_ANNOTATION];
    let annotations = secret.metadata.annotations.iter().flatten();
    let answers = annotations.filter(|(name, _)| requests.contains(&name.as_str()));
    answers.map(|(name, value)| (name.clone(), value.clone())).collect()
}

pub(super) fn deployment(deployment: &Deployment) -> DeploymentView {
    let spec = deployment.spec.as_ref();
    let status = deployment.status.clone().unwrap_or_default();
    let template = spec.map(|spec| &spec.template);
    let asked_for = deployment.metadata.annotations.as_ref().and_then(|all| all.get(APPLIED_REPLICAS_ANNOTATION));
    let condition = |kind: &str, value: &str| {
        status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == kind && condition.status == value)
            .map(|condition| condition.message.clone().unwrap_or_default())
    };
    DeploymentView {
        created: deployment.metadata.creation_timestamp.as_ref().map(|time| time.0),
        generation: deployment.metadata.generation.unwrap_or_default(),
        observed_generation: status.observed_generation.unwrap_or_default(),
        wanted: spec.and_then(|spec| spec.replicas).unwrap_or(1),
        scaled_from: asked_for
            .filter(|replicas| left_to_scaler(Some(&deployment.metadata), replicas))
            .and_then(|replicas| replicas.parse().ok()),
        replicas: status.replicas.unwrap_or_default(),
        updated: status.updated_replicas.unwrap_or_default(),
        ready: status.ready_replicas.unwrap_or_default(),
        available: status.available_replicas.unwrap_or_default(),
        replica_failure: condition("ReplicaFailure", "True"),
        stuck: status.conditions.iter().flatten().any(|condition| {
            condition.type_ == "Progressing" && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
        }),
        template: template.cloned(),
        image: template
            .and_then(|template| template.spec.as_ref()?.containers.first())
            .and_then(|container| container.image.clone()),
    }
}

/// Whether the Deployment's own report leaves nothing to ask its pods.
pub(super) fn settled(view: &DeploymentView) -> bool {
    view.observed_generation >= view.generation
        && view.updated >= view.wanted
        && view.available >= view.wanted
        && view.replicas <= view.wanted
}

pub(super) fn ingress_class(class: ApiIngressClass) -> IngressClass {
    IngressClass { name: class.metadata.name.unwrap_or_default() }
}

/// What Gateways say of a route. Read from JSON, because whoever changed the route may have left out what we set, and because of
/// its status nothing is ours.
pub(super) fn route(generation: Option<i64>, status: Option<&Value>) -> RouteView {
    let mut refusals: Vec<String> = Vec::new();
    let parents = status.and_then(|status| status.get("parents"));
    for parent in parents.and_then(Value::as_array).into_iter().flatten() {
        let conditions = parent.get("conditions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let current = |condition: &&Value| {
            let observed = condition.get("observedGeneration").and_then(Value::as_i64);
            observed.is_none() || observed == generation
        };
        let said = |kind: &str, status: &str| {
            let is = |condition: &&Value, member: &str, value: &str| {
                condition.get(member).and_then(Value::as_str) == Some(value)
            };
            conditions.iter().filter(current).find(|it| is(it, "type", kind) && is(it, "status", status))
        };
        let refused = said("Accepted", "False").or_else(|| said("ResolvedRefs", "False"));
        match refused {
            None if said("Accepted", "True").is_some() => return RouteView::Accepted,
            None => {}
            Some(condition) => {
                let member = |name: &str| condition.get(name).and_then(Value::as_str).unwrap_or_default();
                let gateway = parent.pointer("/parentRef/name").and_then(Value::as_str).unwrap_or("of unknown name");
                refusals.push(plain(&format!("Gateway {gateway}: {}: {}", member("reason"), member("message"))));
            }
        }
    }
    if refusals.is_empty() { RouteView::Unheard } else { RouteView::Refused(refusals.join("; ")) }
}

/// `now`: what has ended long before it does not count any more.
pub(super) fn pod(pod: &Pod, now: Timestamp) -> PodView {
    let nothing = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&nothing);
    let condition = |kind: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == kind);
    let containers = || status.container_statuses.iter().flatten();
    let container = containers().find(|container| container.name == CONTAINER).or_else(|| containers().next());
    PodView {
        name: pod.metadata.name.clone().unwrap_or_default(),
        settings: pod.annotations().get(CONFIG_CHECKSUM).cloned(),
        revision: pod.labels().get(TEMPLATE_LABEL).cloned().unwrap_or_default(),
        ready: condition("Ready").is_some_and(|ready| ready.status == "True"),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        phase: status.phase.clone().unwrap_or_default(),
        unschedulable: condition("PodScheduled")
            .filter(|scheduled| scheduled.status == "False")
            .map(|scheduled| scheduled.message.clone().unwrap_or_default()),
        waiting: container.and_then(|container| container.state.as_ref()?.waiting.as_ref()).map(|waiting| {
            (waiting.reason.clone().unwrap_or_default(), plain(waiting.message.as_deref().unwrap_or_default()))
        }),
        failed: status
            .reason
            .clone()
            .filter(|_| status.phase.as_deref() == Some("Failed"))
            .map(|reason| (reason, plain(status.message.as_deref().unwrap_or_default()))),
        last_words: container.and_then(last_words),
        crashes: container.is_some_and(|container| crashes(container, now)),
        unstartable: container.and_then(unstartable),
        last_exit: container.and_then(last_end).map(|ended| ended.exit_code),
        out_of_memory: container.and_then(last_end).is_some_and(|end| end.reason.as_deref() == Some(OUT_OF_MEMORY)),
        image: pod
            .spec
            .as_ref()
            .and_then(|spec| spec.containers.first())
            .and_then(|container| container.image.clone())
            .unwrap_or_default(),
        ssh_says: None,
    }
}

/// Whether the image of its container is what it waits for.
pub(super) fn cannot_pull(pod: &PodView) -> bool {
    pod.waiting.as_ref().is_some_and(|(reason, _)| matches!(reason.as_str(), "ErrImagePull" | "ImagePullBackOff"))
}

fn last_end(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let ended = container.state.as_ref().and_then(|state| state.terminated.as_ref());
    ended.or_else(|| container.last_state.as_ref()?.terminated.as_ref())
}

fn crashes(container: &ContainerStatus, now: Timestamp) -> bool {
    let short = |from: Timestamp, to: Timestamp| {
        Duration::try_from(to.duration_since(from)).unwrap_or_default() < CRASHED_LATELY
    };
    let lately = |end: &ContainerStateTerminated| {
        let (started, finished) = (end.started_at.as_ref().map(|at| at.0), end.finished_at.as_ref().map(|at| at.0));
        let ran_shortly = started.zip(finished).is_none_or(|(started, finished)| short(started, finished));
        end.exit_code != 0 && !never_began(end) && ran_shortly && finished.is_none_or(|finished| short(finished, now))
    };
    container.restart_count >= 2 && last_end(container).is_some_and(lately)
}

fn never_began(end: &ContainerStateTerminated) -> bool {
    end.reason.as_deref().is_some_and(|reason| NEVER_BEGAN.contains(&reason))
}

/// The kubelet says it while it tries, and while it waits before it tries again. Identifiers are another each time.
fn unstartable(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref();
    let tries = state.and_then(|state| state.waiting.as_ref());
    let words = match tries.filter(|waiting| waiting.reason.as_deref() == Some("RunContainerError")) {
        Some(waiting) => waiting.message.as_deref(),
        None if state.is_some_and(|state| state.running.is_some()) => return None,
        None => last_end(container).filter(|end| never_began(end))?.message.as_deref(),
    };
    let words = words.unwrap_or_default();
    let cause = BEFORE_CAUSE.iter().find_map(|before| words.split_once(before)).map(|(_, cause)| cause);
    Some(plain(&without_identifiers(cause.unwrap_or_default().trim_end_matches(": unknown"))))
}

/// Long runs of hexadecimal digits, such as a container's identifier, are left out.
fn without_identifiers(words: &str) -> String {
    let pieces = words.split_inclusive(|letter: char| !letter.is_ascii_hexdigit());
    let kept = pieces.map(|piece| {
        let rest = piece.trim_start_matches(|letter: char| letter.is_ascii_hexdigit());
        if piece.len() - rest.len() < 32 { piece.to_owned() } else { format!("…{rest}") }
    });
    kept.collect()
}

/// The cause in the termination message, which, with FallbackToLogsOnError, is the end of the log.
fn last_words(container: &ContainerStatus) -> Option<String> {
    let message = last_end(container)?.message.as_deref().map(str::trim).filter(|message| !message.is_empty());
    message.map(|message| plain(&cause_in(message)))
}

/// Of the end of a log, what names the cause: an `Error: …` with what its chain (`Caused by:`) adds, a panic's message, the
/// last line of a JSON log that is an error; or else the last line.
fn cause_in(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let error = |line: &&str| {
        let word = line.split(':').next().unwrap_or_default();
        word.len() < line.len() && !word.contains(char::is_whitespace) && word.ends_with("Error")
    };
    if let Some(at) = lines.iter().rposition(error) {
        return chain(lines.get(at..).unwrap_or_default());
    }
    if let Some(at) = lines.iter().rposition(|line| line.contains("panicked at")) {
        let message = lines.get(at + 1).filter(|line| !line.starts_with("note:"));
        return message.or(lines.get(at)).copied().unwrap_or_default().to_owned();
    }
    let grave = lines.iter().rev().find(|line| is_error_entry(line));
    grave.or(lines.last()).map(|line| said(line)).unwrap_or_default()
}

/// An error and the causes below it, as `error: cause: cause of the cause`; a stack trace is left out.
fn chain(lines: &[&str]) -> String {
    let mut causes: Vec<&str> = lines.iter().take(1).copied().collect();
    let below = lines.iter().skip(1).skip_while(|line| !line.starts_with("Caused by")).skip(1);
    for line in below.take_while(|line| !line.starts_with("at ") && !line.starts_with("Stack backtrace")) {
        // Where there are several, anyhow numbers them.
        let (number, words) = line.split_once(": ").unwrap_or(("", line));
        causes.push(if number.parse::<u32>().is_ok() { words } else { line });
    }
    causes.join(": ")
}

fn is_error_entry(line: &str) -> bool {
    let entry: Option<Value> = serde_json::from_str(line).ok();
    entry
        .as_ref()
        .and_then(|entry| entry.get("level")?.as_str())
        .is_some_and(|level| level.eq_ignore_ascii_case("error") || level.eq_ignore_ascii_case("fatal"))
}

/// The sentence in a line of a JSON log, with its cause if it has one; or the line itself.
fn said(line: &str) -> String {
    let parsed: Option<Value> = serde_json::from_str(line).ok();
    let member = |names: &[&str]| {
        let entry = parsed.as_ref()?;
        names.iter().find_map(|at| entry.pointer(at)?.as_str()).map(str::to_owned)
    };
    let message = member(&["/message", "/fields/message", "/msg", "/error", "/fields/error"]);
    let cause = member(&["/cause", "/fields/cause", "/error", "/fields/error"]);
    match (message, cause) {
        (Some(message), Some(cause)) if !message.contains(&cause) => format!("{message}: {cause}"),
        (Some(message), _) => message,
        (None, _) => line.to_owned(),
    }
}

/// What may stand in a status message: one line, no control characters, bounded.
fn plain(text: &str) -> String {
    let clean = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    clean.take(LAST_WORDS).collect::<String>().trim().to_owned()
}

/// The last word of the server's JSON log on the VM: a member `reason` with one of the names that we share with it, unless
/// a later line says that the VM can be reached.
pub(super) fn ssh_reason_in(log: &str) -> Option<SshReason> {
    for line in log.lines().rev() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
        if said(line) == VM_USABLE {
            return None;
        }
        let word = ["/reason", "/fields/reason"].iter().find_map(|at| entry.pointer(at)?.as_str());
        let Some(word) = word else { continue };
        if let Some(reason) = SshReason::all().iter().find(|reason| reason.as_str() == word) {
            return Some(*reason);
        }
    }
    None
}

/// The last word of the server's JSON log against the ideas folder, unless a later line says that it can be used.
pub(super) fn ideas_path_in(log: &str) -> Option<String> {
    for line in log.lines().rev() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
        let member = |name: &str| {
            let nested = || entry.get("fields")?.get(name)?.as_str();
            entry.get(name).and_then(Value::as_str).or_else(nested)
        };
        if member("message") == Some(FOLDER_USABLE) {
            return None;
        }
        if member("reason") == Some(IDEAS_PATH_UNWRITABLE) {
            return Some(plain(member("cause").unwrap_or("the server says no more")));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use catalyst_ssh::health_log::FOLDER_UNUSABLE;
    use serde_json::json;

    use super::*;

    fn pod_of(status: Value) -> PodView {
        pod_at(status, Timestamp::UNIX_EPOCH)
    }

    fn pod_at(status: Value, now: Timestamp) -> PodView {
        pod(&serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap(), now)
    }

    #[test]
    fn the_last_words_are_the_last_line_of_the_termination_message_without_its_json() {
        let view = pod_of(json!({"phase": "Running", "containerStatuses": [{
            "name": CONTAINER, "image": "i", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
            "lastState": {"terminated": {"exitCode": 1, "message": "{\"message\":\"first\"}\n{\"message\":\"no secret\"}\n"}}
        }]}));
        assert_eq!(view.last_words.as_deref(), Some("no secret"));
        assert_eq!(view.waiting, Some(("CrashLoopBackOff".into(), "back-off".into())));
        assert_eq!((view.crashes, view.last_exit, view.out_of_memory), (true, Some(1), false));
    }

    #[test]
    fn a_container_that_runs_has_crashed_if_it_ended_twice_and_a_short_time_ago() {
        let crashes = |restarts: i32, end: Value, after: u64| {
            let mut end = end;
            end.as_object_mut().unwrap().insert("finishedAt".to_owned(), json!("2026-01-02T03:04:05Z"));
            let status = json!({"phase": "Running", "containerStatuses": [{
                "name": CONTAINER, "image": "i", "imageID": "", "ready": false, "restartCount": restarts,
                "state": {"running": {}}, "lastState": {"terminated": end}
            }]});
            let ended: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
            pod_at(status, ended.checked_add(Duration::from_secs(after)).unwrap()).crashes
        };
        let end = |code: i32| json!({"exitCode": code, "startedAt": "2026-01-02T03:00:00Z"});
        assert!(crashes(2, end(1), 0) && crashes(9, end(137), 599) && crashes(2, json!({"exitCode": 1}), 0));
        assert!(!crashes(1, end(1), 0) && !crashes(2, end(0), 0) && !crashes(2, end(1), 600));
        // A node that is started anew ends containers that ran for long; and one that never began is told otherwise.
        assert!(!crashes(3, json!({"exitCode": 255, "startedAt": "2026-01-01T03:04:05Z"}), 0));
        assert!(!crashes(3, json!({"exitCode": 128, "reason": "StartError"}), 0));
    }

    #[test]
    fn why_a_process_cannot_be_started_is_the_same_while_the_kubelet_tries_and_while_it_waits() {
        let words = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: \
                     unable to start container process: error during container init: exec: \"/no\": stat /no: no such file or directory: unknown";
        let of = |state: Value, last: Value| {
            pod_of(json!({"containerStatuses": [{"name": CONTAINER, "image": "i", "imageID": "", "ready": false,
                "restartCount": 1, "state": state, "lastState": last}]}))
            .unstartable
        };
        let ended = |reason: &str| json!({"terminated": {"exitCode": 128, "reason": reason, "message": words}});
        let tries = of(json!({"waiting": {"reason": "RunContainerError", "message": words}}), json!({}));
        assert_eq!(tries.as_deref(), Some("exec: \"/no\": stat /no: no such file or directory"));
        assert_eq!(of(json!({"waiting": {"reason": "CrashLoopBackOff", "message": "b"}}), ended("StartError")), tries);
        assert_eq!(of(json!({"waiting": {"reason": "CrashLoopBackOff", "message": "b"}}), ended("Error")), None);
        assert_eq!(of(ended("StartError"), json!({})), tries, "before the kubelet has come to say that it waits");
        assert_eq!(of(json!({"running": {}}), ended("StartError")), None);
        let with = |digit: &str| {
            let words = format!(
                "unable to start container process: mkdirat /run/{}/rootfs/x: read-only file system",
                digit.repeat(64)
            );
            of(json!({"waiting": {"reason": "RunContainerError", "message": words}}), json!({})).unwrap()
        };
        assert_eq!((with("a"), with("a")), (with("b"), "mkdirat /run/…/rootfs/x: read-only file system".to_owned()));
        let silent = json!({"waiting": {"reason": "RunContainerError", "message": "task 4711 failed"}});
        assert_eq!(of(silent, json!({})).as_deref(), Some(""));
    }

    #[test]
    fn of_an_error_with_a_chain_of_causes_or_a_trace_what_names_the_cause_is_kept() {
        let anyhow = "starting\nError: cannot listen on 0.0.0.0:3001\n\nCaused by:\n    0: bind\n    1: Address already in use (os error 98)\n";
        assert_eq!(
            cause_in(anyhow),
            "Error: cannot listen on 0.0.0.0:3001: bind: Address already in use (os error 98)"
        );
        let one = "Error: no key\n\nCaused by:\n    SSH_KEY_PATH: no such file\n";
        assert_eq!(cause_in(one), "Error: no key: SSH_KEY_PATH: no such file");
        let node = "/app/server.js:3\nTypeError: SSH_HOST is undefined\n    at start (/app/server.js:3:9)\n    at main\n\nNode.js v20\n";
        assert_eq!(cause_in(node), "TypeError: SSH_HOST is undefined");
        let panic = "thread 'main' panicked at src/main.rs:1:2:\nno secret\nnote: run with `RUST_BACKTRACE=1`\n";
        assert_eq!(cause_in(panic), "no secret");
        let log = "{\"level\":\"ERROR\",\"message\":\"cannot start\",\"error\":\"no secret\"}\n{\"level\":\"INFO\",\"message\":\"bye\"}\n";
        assert_eq!(cause_in(log), "cannot start: no secret");
        assert_eq!(cause_in("sh: catalyst: not found"), "sh: catalyst: not found");
    }

    #[test]
    fn a_route_is_accepted_by_one_gateway_that_speaks_of_it_as_it_is_now() {
        let condition = |kind: &str, status: &str, generation: i64| json!({"type": kind, "status": status, "observedGeneration": generation, "reason": "NotAllowed", "message": "no."});
        let parent = |conditions: Value| json!({"parentRef": {"name": "public"}, "conditions": conditions});
        let view = |parents: Value| route(Some(2), Some(&json!({"parents": parents})));
        let accepted = || parent(json!([condition("Accepted", "True", 2), condition("ResolvedRefs", "True", 2)]));
        let refused = || parent(json!([condition("Accepted", "False", 2)]));
        let words = "Gateway public: NotAllowed: no.".to_owned();
        assert_eq!(view(json!([])), RouteView::Unheard);
        assert_eq!(route(None, None), RouteView::Unheard);
        assert_eq!(view(json!([parent(json!([condition("Accepted", "True", 1)]))])), RouteView::Unheard, "of before");
        assert_eq!(view(json!([refused()])), RouteView::Refused(words.clone()));
        assert_eq!(view(json!([refused(), accepted()])), RouteView::Accepted);
        let unresolved = parent(json!([condition("Accepted", "True", 2), condition("ResolvedRefs", "False", 2)]));
        assert_eq!(view(json!([unresolved])), RouteView::Refused(words));
    }

    #[test]
    fn that_a_container_took_too_much_memory_is_seen_whatever_its_log_says() {
        for (message, words) in [(json!(null), None), (json!("{\"message\":\"a request\"}\n"), Some("a request"))] {
            let view = pod_of(json!({"containerStatuses": [{
                "name": CONTAINER, "image": "i", "imageID": "", "ready": false, "restartCount": 1,
                "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": message}}
            }]}));
            assert_eq!((view.out_of_memory, view.last_words.as_deref()), (true, words));
        }
    }

    #[test]
    fn a_pod_that_its_node_ended_says_why_and_a_rollout_that_comes_no_further_too() {
        let view = pod_of(json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on\nmemory."}));
        assert_eq!(view.failed, Some(("Evicted".into(), "The node was low on memory.".into())));
        assert_eq!(pod_of(json!({"phase": "Failed"})).failed, None);
        let condition = |reason: &str| {
            let status = json!({"conditions": [{"type": "Progressing", "status": "False", "reason": reason}]});
            deployment(&serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap()).stuck
        };
        assert!(condition("ProgressDeadlineExceeded") && !condition("DeploymentPaused"));
    }

    #[test]
    fn a_number_of_pods_is_another_scalers_only_where_the_scale_subresource_set_it() {
        let scaled_from = |manager: Value| {
            let mut fields = json!({"operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}});
            fields.as_object_mut().unwrap().extend(manager.as_object().unwrap().clone());
            let metadata = json!({"annotations": {APPLIED_REPLICAS_ANNOTATION: "2"}, "managedFields": [fields]});
            deployment(&serde_json::from_value(json!({"metadata": metadata})).unwrap()).scaled_from
        };
        assert_eq!(scaled_from(json!({"manager": "kube-controller-manager", "subresource": "scale"})), Some(2));
        assert_eq!(scaled_from(json!({"manager": "kubectl-edit"})), None);
    }

    #[test]
    fn the_pods_word_on_the_vm_is_the_last_known_reason_in_its_log() {
        let log =
            "{\"reason\":\"TimedOut\"}\nnot json\n{\"fields\":{\"reason\":\"HostUnreachable\"}}\n{\"reason\":\"x\"}\n";
        assert_eq!(ssh_reason_in(log), Some(SshReason::HostUnreachable));
        assert_eq!(ssh_reason_in(&format!("{log}{{\"message\":\"{VM_USABLE}\"}}\n")), None);
        assert_eq!(ssh_reason_in("nothing\n"), None);
    }

    #[test]
    fn the_servers_last_word_on_the_ideas_folder_counts() {
        let bad = json!({"fields": {"message": FOLDER_UNUSABLE, "reason": IDEAS_PATH_UNWRITABLE, "cause": "no room"}});
        let good = json!({"fields": {"message": FOLDER_USABLE}});
        assert_eq!(ideas_path_in(&format!("{bad}\nother\n")).as_deref(), Some("no room"));
        assert_eq!(ideas_path_in(&format!("{bad}\n{good}\n")), None);
        assert_eq!(ideas_path_in(&format!("{good}\n{bad}\n")).as_deref(), Some("no room"));
    }

    #[test]
    fn text_of_others_is_one_bounded_line_without_control_characters() {
        assert_eq!(plain("a\u{1b}[31mb\nc"), "a [31mb c");
        assert_eq!(plain(&"x".repeat(5000)).len(), LAST_WORDS);
    }
}
