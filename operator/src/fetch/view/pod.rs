//! A pod → what matters of it. Pure.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodStatus},
    jiff::Timestamp,
};
use kube::ResourceExt;

use super::log::{cause_in, plain};
use crate::{build::CONFIG_CHECKSUM, names::CONTAINER, observed::PodView};

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

/// `now`: what has ended long before it does not count any more.
pub(in crate::fetch) fn pod(pod: &Pod, now: Timestamp) -> PodView {
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
pub(in crate::fetch) fn cannot_pull(pod: &PodView) -> bool {
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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
    fn a_pod_that_its_node_ended_says_why() {
        let view = pod_of(json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on\nmemory."}));
        assert_eq!(view.failed, Some(("Evicted".into(), "The node was low on memory.".into())));
        assert_eq!(pod_of(json!({"phase": "Failed"})).failed, None);
    }
}
