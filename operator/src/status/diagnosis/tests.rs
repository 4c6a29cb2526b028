use std::net::{IpAddr, Ipv4Addr};

use catalyst_ssh::Reason as SshReason;

use super::*;
use crate::{
    crd::CatalystInstance,
    observed::{AppSecret, Ownership, Referenced, SecretText, ShownHostKey, SshFailure, SshKeySecret, SshObservation},
    status::{Part, parts},
    validate::validate,
    validated::Defaults,
};

fn valid(spec: serde_json::Value) -> ValidatedInstance {
    let instance: CatalystInstance = serde_json::from_value(serde_json::json!({
        "apiVersion": "catalyst.dev/v1alpha1", "kind": "CatalystInstance",
        "metadata": {"name": "c", "namespace": "n", "uid": "u"}, "spec": spec
    }))
    .unwrap();
    let key = catalyst_ssh::generate_ed25519("c").unwrap().private_openssh;
    let secret = || Some(SecretText::new("x".repeat(32)));
    let fetched = Fetched {
        app_secret: Referenced::Found {
            owner: Ownership::Ours,
            value: AppSecret { catalyst_secret: secret(), cookie_secret: secret(), ..AppSecret::default() },
        },
        ssh_key: Referenced::Found {
            owner: Ownership::Ours,
            value: SshKeySecret {
                entries: [("id_ed25519".to_owned(), SecretText::new(key))].into(),
                ..SshKeySecret::default()
            },
        },
        ..Fetched::default()
    };
    validate(&instance, &fetched, &Defaults { proxy_image: "proxy:1".into() }).unwrap()
}

fn instance() -> ValidatedInstance {
    valid(serde_json::json!({"ssh": {"host": "192.168.1.100", "user": "dev"}}))
}

fn deployment(ready: i32) -> DeploymentView {
    DeploymentView {
        generation: 1,
        observed_generation: 1,
        wanted: 1,
        replicas: 1,
        updated: 1,
        ready,
        available: ready,
        ..DeploymentView::default()
    }
}

fn running() -> PodView {
    PodView { name: "c-1".into(), phase: "Running".into(), ..PodView::default() }
}

fn seen(outcome: Result<(), SshReason>) -> Option<SshObservation> {
    Some(SshObservation {
        confirmed: false,
        host_key: Some(ShownHostKey { key: "ssh-ed25519 B".into(), fingerprint: "SHA256:B".into() }),
        outcome: outcome.map_err(|reason| SshFailure { reason, message: message(reason) }),
    })
}

fn message(reason: SshReason) -> String {
    match reason {
        SshReason::AuthRejected => "It failed: authorized_keys".to_owned(),
        other => format!("It failed: {other}"),
    }
}

fn unready(pod: PodView, ssh: Option<SshObservation>) -> Verdict {
    let fetched = Fetched { deployment: Some(deployment(0)), pods: vec![pod], ssh, ..Fetched::default() };
    diagnose(&instance(), &fetched, &Circumstances::default())
}

#[test]
fn ready_pods_make_it_available_and_a_warning_stays_a_warning() {
    let fetched = Fetched { deployment: Some(deployment(1)), ..Fetched::default() };
    assert_eq!(diagnose(&instance(), &fetched, &Circumstances::default()).reason, Reason::Available);
    let named = valid(serde_json::json!({"ssh": {"host": "vm.example.com", "user": "dev"}}));
    let verdict = diagnose(&named, &fetched, &Circumstances::default());
    assert_eq!(verdict.reason, Reason::Available);
    assert!(verdict.message.contains("PermissiveEgress"), "{verdict:?}");
}

#[test]
fn a_changed_host_key_is_told_with_the_command_that_trusts_it() {
    let verdict = unready(running(), seen(Err(SshReason::HostKeyChanged)));
    assert_eq!(verdict.reason, Reason::HostKeyChanged);
    assert!(
        verdict.message.contains("kubectl annotate -n n cati c --overwrite catalyst.dev/trust-host-key=SHA256:B"),
        "{verdict:?}"
    );
}

#[test]
fn a_rejected_key_names_the_user_and_where_the_line_is() {
    let verdict = unready(running(), seen(Err(SshReason::AuthRejected)));
    assert_eq!(verdict.reason, Reason::SSHAuthRejected);
    assert_eq!(verdict.message, "It failed: authorized_keys. The line to add is in status.authorizedKeysLine.");
}

#[test]
fn a_wrong_value_of_the_trust_annotation_is_told_with_the_right_one() {
    let fetched = Fetched {
        deployment: Some(deployment(0)),
        pods: vec![running()],
        ssh: seen(Err(SshReason::HostKeyChanged)),
        ..Fetched::default()
    };
    let told = |approved| {
        diagnose(&instance(), &fetched, &Circumstances { approved: Some(approved), ..Circumstances::default() }).message
    };
    let wrong = told("yes");
    assert!(wrong.contains("catalyst.dev/trust-host-key is \"yes\"") && wrong.contains("must be SHA256:B."), "{wrong}");
    assert!(!told("SHA256:B ").contains("which is not"), "the right value was called wrong");
}

#[test]
fn a_host_key_that_the_spec_lacks_is_told_with_the_field_and_the_line() {
    let key = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    let given = valid(serde_json::json!({"ssh": {"host": "192.168.1.100", "port": 2222, "user": "dev",
        "knownHosts": format!("other ssh-ed25519 {key}")}}));
    let shown = ShownHostKey { key: format!("ssh-ed25519 {key}"), fingerprint: "SHA256:B".into() };
    let ssh = seen(Err(SshReason::HostKeyUnknown)).map(|seen| SshObservation { host_key: Some(shown), ..seen });
    let fetched = Fetched { deployment: Some(deployment(0)), pods: vec![running()], ssh, ..Fetched::default() };
    let verdict = diagnose(&given, &fetched, &Circumstances::default());
    assert_eq!(verdict.reason, Reason::HostKeyUnknown);
    let line = format!("spec.ssh.knownHosts; the line: [192.168.1.100]:2222 ssh-ed25519 {key}");
    assert!(verdict.message.ends_with(&line), "{verdict:?}");
}

#[test]
fn where_only_the_pod_cannot_reach_the_vm_the_policy_is_named() {
    let pod = PodView { ssh_says: Some(SshReason::TimedOut), ..running() };
    let verdict = unready(pod.clone(), seen(Ok(())).map(|seen| SshObservation { confirmed: true, ..seen }));
    assert_eq!(verdict.reason, Reason::PodCannotReachHost);
    assert!(verdict.message.contains("NetworkPolicy c-policy"), "{verdict:?}");
    // After one good look the VM may have come back only now.
    let verdict = unready(pod.clone(), seen(Ok(())));
    assert_eq!(verdict.reason, Reason::PodNotReady);
    assert!(verdict.message.contains("has not tried again yet"), "{verdict:?}");
    let verdict = unready(pod, None);
    assert_eq!(verdict.reason, Reason::SSHTimedOut);
    assert!(verdict.message.contains(": SSHTimedOut."), "the pod's word, not the operator's: {verdict:?}");
}

#[test]
fn a_session_that_is_refused_is_told_though_the_operator_can_sign_in() {
    let pod = PodView { ssh_says: Some(SshReason::ChannelRefused), ..running() };
    let verdict = unready(pod, seen(Ok(())));
    assert_eq!(verdict.reason, Reason::SSHChannelRefused);
    assert!(verdict.message.contains("Raise MaxSessions"), "{verdict:?}");
}

#[test]
fn what_is_refused_for_a_reason_is_not_foretold_for_it_too() {
    let finding = |message: &str| Finding { reason: Reason::HostConflict, field: None, message: message.to_owned() };
    let mut instance = instance();
    instance.advice.push(finding("Another has the host."));
    let fetched = Fetched { deployment: Some(deployment(1)), ..Fetched::default() };
    let told = parts(&instance, &fetched, &[finding("Ingress c was refused.")], &Circumstances::default());
    let exposure = told.iter().find(|told| told.part == Part::Exposure).unwrap();
    assert_eq!(exposure.message, "Ingress c was refused.");
}

#[test]
fn both_vantages_failing_is_the_vms_matter_and_a_way_out_is_named() {
    let pod = PodView { ssh_says: Some(SshReason::HostUnreachable), ..running() };
    let verdict = unready(pod, seen(Err(SshReason::HostUnreachable)));
    assert_eq!(verdict.reason, Reason::HostUnreachable);
    assert!(verdict.message.contains("set ssh.knownHosts"), "{verdict:?}");
}

#[test]
fn pods_tell_of_images_crashes_and_nodes() {
    let waiting = |reason: &str| Some((reason.to_owned(), format!("words of {reason}")));
    let pull = PodView { waiting: waiting("ImagePullBackOff"), image: "no:1".into(), ..running() };
    let verdict = unready(pull, seen(Err(SshReason::AuthRejected)));
    assert_eq!(verdict.reason, Reason::ImagePullFailed);
    assert!(verdict.message.contains("no:1"));
    let first = PodView { waiting: waiting("ErrImagePull"), image: "no:1".into(), ..running() };
    assert_eq!(unready(first, None), verdict, "the message alternates with the kubelet's words");
    let never = PodView { waiting: waiting("ErrImageNeverPull"), image: "no:1".into(), ..running() };
    let verdict = unready(never, None);
    assert_eq!(verdict.reason, Reason::ImagePullFailed);
    assert!(verdict.message.contains("image.pullPolicy is Never"), "{verdict:?}");
    let crash = PodView { waiting: waiting("CrashLoopBackOff"), last_words: Some("no secret".into()), ..running() };
    let verdict = unready(crash, seen(Err(SshReason::HostUnreachable)));
    assert_eq!(verdict.reason, Reason::PodCrashing);
    assert!(verdict.message.contains("no secret"));
    let pending = PodView { phase: "Pending".into(), unschedulable: Some("0/1 nodes".into()), ..running() };
    assert_eq!(unready(pending, None).reason, Reason::PodUnschedulable);
    assert_eq!(unready(running(), seen(Ok(()))).reason, Reason::PodNotReady);
}

#[test]
fn a_pod_that_was_quicker_than_the_settings_that_were_put_back_is_not_called_crashing() {
    let lacks = |words: &str| {
        let waiting = Some(("CreateContainerConfigError".to_owned(), words.to_owned()));
        unready(PodView { waiting, phase: "Pending".into(), ..running() }, None).reason
    };
    assert_eq!(lacks("configmap \"c-config\" not found"), Reason::PodNotReady);
    assert_eq!(lacks("secret \"theirs\" not found"), Reason::PodCannotStart);
    assert_eq!(lacks("container has runAsNonRoot and image will run as root"), Reason::PodCannotStart);
    let waiting = Some(("CreateContainerError".to_owned(), "w".to_owned()));
    assert_eq!(unready(PodView { waiting, ..running() }, None).reason, Reason::PodCannotStart);
    let waits = Some(("CrashLoopBackOff".to_owned(), "w".to_owned()));
    let told = unready(PodView { waiting: waits, unstartable: Some("no /x".into()), ..running() }, None);
    assert_eq!(told.reason, Reason::PodCannotStart);
    assert!(told.message.contains("cannot be started: no /x. See"), "{told:?}");
}

#[test]
fn what_a_paused_instance_lacks_is_not_said_to_be_put_back() {
    let waiting = Some(("CreateContainerConfigError".to_owned(), "configmap \"c-config\" not found".to_owned()));
    let pods = vec![PodView { waiting, phase: "Pending".into(), ..running() }];
    let fetched = Fetched { deployment: Some(deployment(0)), pods, ..Fetched::default() };
    let told = diagnose(&instance(), &fetched, &Circumstances { paused: true, ..Circumstances::default() });
    assert_eq!(told.reason, Reason::PodCannotStart);
    assert!(told.message.ends_with("It is put back when the instance is not paused any more."), "{told:?}");
}

#[test]
fn what_is_the_matter_with_the_newest_template_is_told_before_what_was_with_an_earlier_one() {
    let pod = |name: &str, revision: &str, waits: &str| PodView {
        name: name.into(),
        revision: revision.into(),
        waiting: Some((waits.into(), String::new())),
        ..running()
    };
    let told = |pods: Vec<PodView>| {
        let fetched = Fetched { deployment: Some(deployment(0)), pods, ..Fetched::default() };
        diagnose(&instance(), &fetched, &Circumstances::default())
    };
    let (before, now) = (pod("old", "a", "ErrImagePull"), pod("new", "b", "CrashLoopBackOff"));
    assert_eq!(told(vec![before.clone(), now.clone()]).reason, Reason::PodCrashing);
    // One of the earlier template came anew.
    let anew = PodView { name: "anew".into(), ..before.clone() };
    let verdict = told(vec![before.clone(), now.clone(), anew]);
    assert!(verdict.message.contains("of pod new "), "{verdict:?}");
    // Those of the newest are well, or going.
    assert_eq!(told(vec![before.clone(), PodView { ready: true, ..now.clone() }]).reason, Reason::ImagePullFailed);
    assert_eq!(
        told(vec![before.clone(), PodView { terminating: true, ..now.clone() }]).reason,
        Reason::ImagePullFailed
    );
    // One that a node ended lies there: the earlier template was gone back to.
    let ended = PodView { waiting: None, failed: Some(("Evicted".into(), String::new())), ..now.clone() };
    assert_eq!(told(vec![before.clone(), ended]).reason, Reason::ImagePullFailed);
    // What a pod says of the VM counts until one of the newest template runs.
    let says = PodView { waiting: None, ssh_says: Some(SshReason::TimedOut), ..before };
    let starts = PodView { waiting: Some(("ContainerCreating".into(), String::new())), ..now };
    assert_eq!(told(vec![says.clone(), starts.clone()]).reason, Reason::SSHTimedOut);
    // But not one that was made with other settings: perhaps the VM is another now.
    let says = PodView { settings: Some("before".into()), ..says };
    assert_eq!(told(vec![says, starts]).reason, Reason::PodStarting);
}

#[test]
fn a_variable_of_which_the_source_is_missing_is_named() {
    let token = serde_json::json!({"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "k"}}});
    let valid = valid(serde_json::json!({"ssh": {"host": "192.168.1.100", "user": "dev"},
        "extraEnv": [{"name": "TEXT", "value": "mine"}, token]}));
    let told = |words: &str| {
        let waiting = Some(("CreateContainerConfigError".to_owned(), words.to_owned()));
        let pod = PodView { waiting, phase: "Pending".into(), ..running() };
        pods::crash(&valid, &pod, false).unwrap().message
    };
    for words in ["secret \"mine\" not found", "couldn't find key k in Secret n/mine"] {
        assert!(told(words).contains("or correct spec.extraEnv, whose TOKEN names it;"), "{}", told(words));
    }
    assert!(told("secret \"other\" not found").contains("or correct what names it;"));
}

#[test]
fn a_crash_loop_is_told_in_the_same_words_while_the_container_runs_for_a_moment_and_however_often() {
    let waits = PodView {
        waiting: Some(("CrashLoopBackOff".into(), "back-off 20s".into())),
        last_words: Some("no secret".into()),
        crashes: true,
        last_exit: Some(1),
        ..running()
    };
    let told = unready(waits.clone(), None);
    assert_eq!(told.reason, Reason::PodCrashing);
    let runs = PodView { waiting: None, ..waits };
    assert_eq!(unready(runs.clone(), None), told);
    assert_eq!(unready(PodView { crashes: false, ..runs.clone() }, None).reason, Reason::PodNotReady);
    // It says so only while it runs: the headline would alternate.
    let says = PodView { ssh_says: Some(SshReason::TimedOut), ..runs };
    assert_eq!(unready(says.clone(), None), told);
    assert_eq!(unready(PodView { crashes: false, ..says }, None).reason, Reason::SSHTimedOut);
}

#[test]
fn a_container_that_takes_too_much_memory_is_told_with_its_limit_and_one_that_dies_silently_with_its_code() {
    let loops = |pod: PodView| {
        let verdict = unready(PodView { waiting: Some(("CrashLoopBackOff".into(), String::new())), ..pod }, None);
        assert_eq!(verdict.reason, Reason::PodCrashing);
        verdict.message
    };
    let killed =
        PodView { out_of_memory: true, last_exit: Some(137), last_words: Some("a request".into()), ..running() };
    let message = loops(killed);
    assert!(
        message.contains("more memory than resources.limits.memory (512Mi) allows (OOMKilled). Raise"),
        "{message}"
    );
    assert!(message.contains("Its last words: a request. See kubectl logs"), "{message}");
    let message = loops(PodView { last_exit: Some(139), ..running() });
    assert!(message.contains("ends again and again with exit code 139, without a word."), "{message}");
    let message = loops(PodView { last_exit: Some(1), last_words: Some("no secret".into()), ..running() });
    assert!(message.contains("with exit code 1; its last words: no secret."), "{message}");
}

#[test]
fn an_image_that_cannot_be_pulled_says_why_in_words_that_stay_the_same() {
    let pulls = |reason: &str, words: &str| {
        let verdict = unready(PodView { waiting: Some((reason.into(), words.into())), ..running() }, None);
        assert_eq!(verdict.reason, Reason::ImagePullFailed);
        verdict.message
    };
    let containerd =
        "failed to pull and unpack image \"docker.io/a/b:1\": failed to resolve reference \"docker.io/a/b:1\": ";
    for (words, means) in [
        ("docker.io/a/b:1: not found", "has no such image or tag. Correct image.repository or image.tag."),
        ("pull access denied, repository does not exist or may require authorization", "without a sign-in"),
        (
            "failed to authorize: unexpected status: 401 Unauthorized",
            "name a Secret with a sign-in in image.pullSecrets",
        ),
        ("dial tcp: lookup registry.exampel.com on 10.96.0.10:53: no such host", "cannot resolve the registry's name"),
        ("dial tcp 10.0.0.9:443: connect: connection refused", "does not reach the registry"),
        (
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "does not trust the registry",
        ),
        ("unexpected status code 429 Too Many Requests: toomanyrequests", "limits how often"),
        ("no match for platform in manifest", "the architecture of the node"),
        ("write /var/lib/containerd/x: no space left on device", "disk is full"),
    ] {
        let first = pulls("ErrImagePull", &format!("{containerd}{words}"));
        assert!(first.contains(means), "{words}: {first}");
        let then =
            pulls("ImagePullBackOff", &format!("Back-off pulling image \"a/b:1\": ErrImagePull: {containerd}{words}"));
        assert_eq!(then, first);
    }
    // Older kubelets only say that they wait.
    let said = pulls("ErrImagePull", "docker.io/a/b:1: not found");
    let waits = Some(("ImagePullBackOff".into(), "Back-off pulling image \"a/b:1\"".into()));
    let pods = vec![PodView { waiting: waits, ..running() }];
    let fetched = Fetched { deployment: Some(deployment(0)), pods, ..Fetched::default() };
    let told = |said: &str| {
        let circumstances = Circumstances { said_of_image: Some(said), ..Circumstances::default() };
        diagnose(&instance(), &fetched, &circumstances).message
    };
    assert_eq!(told(&said), said);
    let of_another = said.replace("The image ", "The image another/");
    assert!(told(&of_another).contains("Check image.repository, image.tag and image.pullSecrets."));
    let digits = "failed to resolve reference \"registry.example.com/a:2.401.429\": not found";
    assert!(!pulls("ErrImagePull", digits).contains("sign-in"), "{}", pulls("ErrImagePull", digits));
    assert!(pulls("ErrImagePull", "?").contains("Check image.repository, image.tag and image.pullSecrets."));
    let pod = PodView { waiting: Some(("ErrImagePull".into(), "401 Unauthorized".into())), ..running() };
    let missing_pull_secrets = vec!["regcred".to_owned()];
    let fetched =
        Fetched { deployment: Some(deployment(0)), pods: vec![pod], missing_pull_secrets, ..Fetched::default() };
    let message = diagnose(&instance(), &fetched, &Circumstances::default()).message;
    assert!(message.contains("Secret regcred, which image.pullSecrets names, does not exist. Create it"), "{message}");
}

#[test]
fn a_pod_that_is_never_started_or_ended_by_its_node_and_a_rollout_that_stands_still_are_told() {
    let pending = || PodView { phase: "Pending".into(), ..running() };
    let creating = PodView { waiting: Some(("ContainerCreating".into(), String::new())), ..pending() };
    let verdict = unready(creating.clone(), None);
    assert_eq!(verdict.reason, Reason::PodStarting);
    assert!(verdict.message.ends_with("kubectl describe pod -n n c-1"), "{verdict:?}");
    assert!(Reason::PodStarting.patience().is_some(), "silent for ever");

    let evicted =
        PodView { failed: Some(("Evicted".into(), "low on memory.".into())), phase: "Failed".into(), ..running() };
    let verdict = unready(evicted.clone(), None);
    assert_eq!(verdict.reason, Reason::PodFailed);
    assert!(verdict.message.contains("Evicted (low on memory)"), "{verdict:?}");
    // Another takes its place, of which nothing is known yet; and then it is.
    let fetched = |pods| Fetched { deployment: Some(deployment(0)), pods, ..Fetched::default() };
    let told = diagnose(&instance(), &fetched(vec![evicted.clone(), pending()]), &Circumstances::default());
    assert_eq!(told, verdict);
    let verdict = diagnose(&instance(), &fetched(vec![evicted, creating]), &Circumstances::default());
    assert_eq!(verdict.reason, Reason::PodStarting);

    let stuck = |pods, stuck| {
        let deployment = Some(DeploymentView { stuck, ..deployment(0) });
        let fetched = Fetched { deployment, pods, ..Fetched::default() };
        diagnose(&instance(), &fetched, &Circumstances::default())
    };
    assert_eq!(stuck(vec![pending()], false).reason, Reason::RolloutInProgress);
    let verdict = stuck(vec![pending()], true);
    assert_eq!(verdict.reason, Reason::RolloutStuck);
    assert!(verdict.message.contains("kubectl describe -n n deployment c"), "{verdict:?}");
    let crash = PodView { waiting: Some(("CrashLoopBackOff".into(), String::new())), ..running() };
    assert_eq!(stuck(vec![crash], true).reason, Reason::PodCrashing, "the cause is known better");
}

#[test]
fn a_deployment_that_somebody_scaled_to_zero_is_not_called_available() {
    let scaled = DeploymentView { wanted: 0, scaled_from: Some(1), replicas: 0, updated: 0, ..deployment(0) };
    let fetched = Fetched { deployment: Some(scaled), ..Fetched::default() };
    let verdict = diagnose(&instance(), &fetched, &Circumstances::default());
    assert_eq!(verdict.reason, Reason::PodNotReady);
    assert!(verdict.message.contains("kubectl scale -n n deployment c --replicas=1"), "{verdict:?}");
    let none = valid(serde_json::json!({"ssh": {"host": "192.168.1.100", "user": "dev"}, "replicas": 0}));
    assert_eq!(diagnose(&none, &fetched, &Circumstances::default()).reason, Reason::Available);
}

#[test]
fn a_quota_is_told_in_the_clusters_words() {
    let deployment = DeploymentView { replica_failure: Some("exceeded quota".into()), ..deployment(0) };
    let fetched = Fetched { deployment: Some(deployment), ..Fetched::default() };
    let verdict = diagnose(&instance(), &fetched, &Circumstances::default());
    assert_eq!(verdict.reason, Reason::PodRefused);
    assert!(verdict.message.contains("exceeded quota"));
}

#[test]
fn a_bad_new_image_says_that_the_old_pods_serve_on() {
    let deployment = DeploymentView { replicas: 2, updated: 1, ready: 1, available: 1, ..deployment(1) };
    let pod = PodView { waiting: Some(("ErrImagePull".into(), "no".into())), ..running() };
    let fetched = Fetched { deployment: Some(deployment), pods: vec![pod], ..Fetched::default() };
    let verdict = diagnose(&instance(), &fetched, &Circumstances::default());
    assert_eq!(verdict.reason, Reason::ImagePullFailed);
    assert!(verdict.message.contains("go on serving"), "{verdict:?}");
}

#[test]
fn a_forbidden_address_matters_only_where_no_key_is_known() {
    let forbidden = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let address = &Circumstances { forbidden, ..Circumstances::default() };
    let fetched = Fetched { deployment: Some(deployment(0)), ..Fetched::default() };
    assert_eq!(diagnose(&instance(), &fetched, address).reason, Reason::HostForbidden);
    for said in [SshReason::HostKeyUnknown, SshReason::ConnectionRefused] {
        let pods = vec![PodView { ssh_says: Some(said), ..running() }];
        let fetched = Fetched { pods, ..fetched.clone() };
        assert_eq!(diagnose(&instance(), &fetched, address).reason, Reason::HostForbidden, "masked by {said}");
    }
    let key = "192.168.1.100 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    let given = valid(serde_json::json!({"ssh": {"host": "192.168.1.100", "user": "dev", "knownHosts": key}}));
    assert_eq!(diagnose(&given, &fetched, address).reason, Reason::RolloutInProgress);
}

#[test]
fn suspended_is_ready_once_the_pods_are_gone() {
    let suspended = valid(serde_json::json!({"ssh": {"host": "192.168.1.100", "user": "dev"}, "suspend": true}));
    let with = |replicas| Fetched {
        deployment: Some(DeploymentView { replicas, wanted: 0, ..deployment(0) }),
        ..Fetched::default()
    };
    assert_eq!(diagnose(&suspended, &with(1), &Circumstances::default()).reason, Reason::RolloutInProgress);
    assert_eq!(diagnose(&suspended, &with(0), &Circumstances::default()).reason, Reason::Suspended);
}

#[test]
fn a_number_of_pods_that_is_not_applied_yet_is_not_said_to_be_somebody_elses() {
    let pods =
        |pods| DeploymentView { wanted: pods, replicas: pods, updated: pods, available: pods, ..deployment(pods) };
    let told = |more: serde_json::Value, deployment: DeploymentView| {
        let mut spec = serde_json::json!({"ssh": {"host": "192.168.1.100", "user": "dev"}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let fetched = Fetched { deployment: Some(deployment), ..Fetched::default() };
        let Verdict { reason, message } = diagnose(&valid(spec), &fetched, &Circumstances::default());
        (reason, message)
    };
    // So it is while an instance is paused: of the spec before nothing else is known than what the Deployment says.
    let three = || serde_json::json!({"replicas": 3});
    let ready = |words: &str| (Reason::Available, words.to_owned());
    assert_eq!(told(three(), pods(1)), ready("The pod is ready. spec.replicas, which is 3, is not applied yet."));
    let none = "The Deployment asks for no pods (replicas: 0). spec.replicas, which is 3, is not applied yet.";
    assert_eq!(told(three(), pods(0)), ready(none));
    let scaled = DeploymentView { scaled_from: Some(1), ..pods(2) };
    assert_eq!(told(three(), scaled), ready("2 pods are ready. spec.replicas, which is 3, is not applied yet."));

    let suspend = || serde_json::json!({"suspend": true});
    let (reason, message) = told(suspend(), pods(2));
    assert_eq!(reason, Reason::RolloutInProgress);
    assert_eq!(message, "suspend: true is not applied yet: the Deployment asks for 2 pods.");
    let (reason, message) = told(suspend(), DeploymentView { scaled_from: Some(0), ..pods(2) });
    assert_eq!(reason, Reason::RolloutInProgress);
    assert!(
        message.contains("by somebody else") && message.contains("kubectl scale -n n deployment c --replicas=0"),
        "{message}"
    );
}
