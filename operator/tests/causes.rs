//! What is wrong, as status tells it, against a real API server and a real sshd: each with its remedy, and gone when mended.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it must be"
)]

mod exposure;
mod namesakes;
mod pods;
mod rights;
mod rotation;
mod world;

use std::{
    pin::pin,
    sync::{Arc, Mutex},
};

use catalyst_operator::crd::CatalystInstance;
use exposure::ingress_class;
use futures::StreamExt;
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod, ResourceQuota, Secret, Service},
    networking::v1::Ingress,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;
use world::{
    World, parts, ready, true_conditions, until,
    vm::{at, authorize, pods_become_ready, sshd},
};

/// Every reason that the status of `x` goes through.
fn reasons_from_now_on(world: &World) -> Arc<Mutex<Vec<String>>> {
    let told = Arc::<Mutex<Vec<String>>>::default();
    let (seen, api) = (Arc::clone(&told), world.api::<CatalystInstance>());
    tokio::spawn(async move {
        let mut watch = pin!(watcher(api, watcher::Config::default()).applied_objects());
        while let Some(Ok(instance)) = watch.next().await {
            seen.lock().unwrap().extend(ready(&instance).map(|ready| ready.reason.clone()));
        }
    });
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_key_is_recorded_once_and_a_changed_one_waits_for_a_persons_word() {
    let mut sshd = sshd().await;
    let world = World::with_operator("hostkey").await;
    world.apply("x", at(&sshd)).await;
    let instance = world.reason("x", "SSHAuthRejected").await;
    assert!(ready(&instance).unwrap().message.contains("status.authorizedKeysLine"));
    let recorded = instance.status.clone().unwrap().host_keys;
    assert_eq!(recorded.len(), 1);
    assert!(sshd.known_hosts_text().contains(&recorded[0].key), "the record is not the host's key");
    until("known_hosts is made from the record", || async {
        let map = world.api::<ConfigMap>().get("x-known-hosts").await.unwrap();
        map.data?.values().any(|text| text.contains(&recorded[0].key)).then_some(())
    })
    .await;
    assert_eq!(world.events("HostKeyRecorded").await.len(), 1);
    let known_hosts = world.writes().iter().filter(|write| write.ends_with("x-known-hosts")).count();
    assert_eq!(known_hosts, 2, "before first contact, and with the key");
    let order = world.writes();
    let at = |write: &str| order.iter().rposition(|other| other == write).unwrap();
    let first = order.iter().position(|write| write.contains("catalystinstances")).unwrap();
    assert!(first < at("patch deployments x"), "no status before the wait for the VM: {order:#?}");
    assert!(at("patch configmaps x-known-hosts") < at("patch deployments x"), "pods would start without the key");

    authorize(&sshd, &instance);
    world.reason("x", "RolloutInProgress").await;

    sshd.stop();
    sshd.replace_host_key().unwrap();
    sshd.start_again().await.unwrap();
    let instance = world.reason("x", "HostKeyChanged").await;
    assert_eq!(true_conditions(&instance), ["Stalled"]);
    assert_eq!(instance.status.clone().unwrap().host_keys, recorded, "the changed key was recorded");
    let message = ready(&instance).unwrap().message.clone();
    let fingerprint = message.split("catalyst.dev/trust-host-key=").nth(1).expect("the command").trim().to_owned();
    assert!(fingerprint.starts_with("SHA256:"), "{message}");
    assert_eq!(instance.status.clone().unwrap().changed_host_key.as_ref(), Some(&fingerprint));

    // The ConfigMap's deletion re-trusts nothing.
    world.api::<ConfigMap>().delete("x-known-hosts", &DeleteParams::default()).await.unwrap();
    let map: ConfigMap = world.exists("x-known-hosts").await;
    assert!(map.data.unwrap().values().any(|text| text.contains(&recorded[0].key)));

    let annotated = |value: &str| json!({"metadata": {"annotations": {"catalyst.dev/trust-host-key": value}}});
    world.edit::<CatalystInstance>("x", annotated("yes")).await;
    until("the wrong value is told", || async {
        let instance = world.api::<CatalystInstance>().get("x").await.unwrap();
        let told = format!("catalyst.dev/trust-host-key is \"yes\", which is not the key that the VM shows: its value must be {fingerprint}");
        ready(&instance)?.message.contains(&told).then_some(())
    })
    .await;
    world.edit::<CatalystInstance>("x", annotated(&fingerprint)).await;
    let instance = world.reason("x", "RolloutInProgress").await;
    // What makes a node mount the new known_hosts at once, and replaces no pod.
    until("the pods are touched", || async {
        let pods = world.api::<Pod>().list(&ListParams::default()).await.unwrap().items;
        pods.iter().all(|pod| pod.annotations().contains_key("catalyst.dev/known-hosts")).then_some(())
    })
    .await;
    let trusted = instance.status.unwrap().host_keys;
    assert_eq!((trusted.len(), trusted[0].fingerprint.as_str()), (1, fingerprint.as_str()));
    assert_eq!(world.events("HostKeyTrusted").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_pods_make_it_available_with_its_url_and_a_pod_that_fails_takes_it_back() {
    let sshd = sshd().await;
    let world = World::with_operator("ready").await;
    let mut spec = at(&sshd);
    spec["ingress"] = json!({"host": "x.example.com", "className": "nginx"});
    ingress_class(&world, "nginx").await;
    world.apply("x", spec).await;
    let rejected = world.reason("x", "SSHAuthRejected").await;
    // This operator sees the Ingresses of one namespace.
    let others = ["ExposureReady=Unknown LookForbidden", "NetworkPolicyReady=True Available"];
    let expected =
        ["SecretsReady=True Available", "SSHReady=False SSHAuthRejected", "WorkloadReady=False RolloutInProgress"];
    assert_eq!(parts(&rejected), [&expected[..], &others[..]].concat());
    authorize(&sshd, &rejected);
    pods_become_ready(&world).await;
    let instance = world.reason("x", "Available").await;
    let status = instance.status.clone().unwrap();
    assert_eq!(true_conditions(&instance), ["Ready"]);
    assert_eq!(status.url.as_deref(), Some("http://x.example.com"));
    assert_eq!((status.replicas, status.ready_replicas), (Some(1), Some(1)));
    let expected = ["SecretsReady=True Available", "SSHReady=True Available", "WorkloadReady=True Available"];
    assert_eq!(parts(&instance), [&expected[..], &others[..]].concat());
    assert!(status.ssh_public_key.unwrap().starts_with("ssh-ed25519 "));

    // What was seen before the pods served is told no more.
    let told = reasons_from_now_on(&world);
    let pods = world.api::<Pod>().list(&ListParams::default().labels("catalyst.dev/instance=x")).await.unwrap().items;
    let failing = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [{"name": "catalyst", "image": "catalyst-proxy:test", "imageID": "", "ready": false,
            "restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
            "lastState": {"terminated": {"exitCode": 1, "message": "{\"message\":\"CATALYST_SECRET is not set\"}\n"}}}]}});
    let api = world.api::<Pod>();
    api.patch_status(&pods[0].name_any(), &PatchParams::default(), &Patch::Merge(&failing)).await.unwrap();
    let instance = world.reason("x", "PodCrashing").await;
    assert!(ready(&instance).unwrap().message.contains("CATALYST_SECRET is not set"));
    until("the watch has told of it", || async {
        told.lock().unwrap().contains(&"PodCrashing".to_owned()).then_some(())
    })
    .await;
    let told = told.lock().unwrap().clone();
    assert!(!told.contains(&"SSHAuthRejected".to_owned()), "{told:?}");

    world.edit::<CatalystInstance>("x", json!({"metadata": {"annotations": {"catalyst.dev/paused": "true"}}})).await;
    let paused = world.reason("x", "Paused").await;
    let message = &ready(&paused).unwrap().message;
    assert!(message.contains("PodCrashing") && message.contains("CATALYST_SECRET is not set"), "{message}");
    assert!(parts(&paused).contains(&"ExposureReady=Unknown LookForbidden".to_owned()), "{:?}", parts(&paused));

    world.api::<Service>().delete("x", &DeleteParams::default()).await.unwrap();
    let lacking = until("it is said that the Service is not there", || async {
        let instance = world.api::<CatalystInstance>().get("x").await.unwrap();
        ready(&instance)?.message.contains("As it is: Service x is not there. PodCrashing: ").then_some(instance)
    })
    .await;
    assert!(parts(&lacking).contains(&"ExposureReady=False Paused".to_owned()), "{:?}", parts(&lacking));
    assert!(world.api::<Service>().get_opt("x").await.unwrap().is_none(), "a paused instance is left alone");

    world.api::<Secret>().delete("x-secrets", &DeleteParams::default()).await.unwrap();
    world.api::<Deployment>().delete("x", &DeleteParams::background()).await.unwrap();
    let lacking = until("it is said that all of these are not there", || async {
        let instance = world.api::<CatalystInstance>().get("x").await.unwrap();
        let gone = "As it is: Deployment x is not there. Service x is not there. Secret x-secrets is not there.";
        ready(&instance)?.message.ends_with(gone).then_some(instance)
    })
    .await;
    let told = parts(&lacking);
    for part in ["SecretsReady=False Paused", "WorkloadReady=False Progressing", "ExposureReady=False Paused"] {
        assert!(told.contains(&part.to_owned()), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_generated_secret_is_generated_anew_and_the_line_is_told_again() {
    let sshd = sshd().await;
    let world = World::with_operator("secrets").await;
    world.apply("x", at(&sshd)).await;
    let first = world.reason("x", "SSHAuthRejected").await.status.unwrap();
    let app: Secret = world.exists("x-secrets").await;
    world.settled().await;
    let (told, line) = (world.events("SecretsGenerated").await, first.authorized_keys_line.clone().unwrap());
    assert!(told.len() == 1 && told[0].contains("kubectl get secret -n secrets x-secrets"), "{told:#?}");
    assert!(told[0].ends_with(&line), "{told:#?} does not tell {line}");
    let rollout = first.last_rollout.clone();

    world.api::<Secret>().delete("x-ssh-key", &DeleteParams::default()).await.unwrap();
    let second = until("another line", || async {
        let status = world.api::<CatalystInstance>().get("x").await.unwrap().status.unwrap();
        (status.authorized_keys_line != first.authorized_keys_line).then_some(status)
    })
    .await;
    let line = second.authorized_keys_line.clone().unwrap();
    let told = world.events("SSHKeyGenerated").await;
    assert!(told.iter().any(|note| note.contains(&line)), "{told:#?} does not tell {line}");
    assert_eq!(second.last_rollout, rollout, "the key file is re-read: no rollout is needed");

    world.api::<Secret>().delete("x-secrets", &DeleteParams::default()).await.unwrap();
    let anew = until("other values", || async {
        let secret = world.api::<Secret>().get_opt("x-secrets").await.unwrap()?;
        (secret.data != app.data).then_some(secret)
    })
    .await;
    assert_eq!(anew.data.unwrap().len(), 2);
    let status = until("a rollout", || async {
        let status = world.api::<CatalystInstance>().get("x").await.unwrap().status.unwrap();
        (status.last_rollout != rollout).then_some(status)
    })
    .await;
    assert!(status.last_rollout.unwrap().cause.contains("the values in the application Secret changed"));
    let command =
        "Secret x-secrets was generated. The secret to sign in with: `kubectl get secret -n secrets x-secrets";
    until("the command that shows the new one", || async {
        let told = world.events("SecretGenerated").await;
        let since = world.api::<Secret>().get("x-secrets").await.unwrap().uid();
        told.iter().any(|note| note.starts_with(command)).then_some(())?;
        world.regarding("SecretGenerated").await.contains(&since).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_secret_that_a_person_spoils_is_told_with_the_remedy_and_never_overwritten() {
    let world = World::with_operator("spoilt").await;
    world.apply("x", json!({"ssh": {"host": "192.0.2.1", "user": "dev"}})).await;
    let generated: Secret = world.exists("x-secrets").await;
    world.exists::<Deployment>("x").await;
    let blank: Secret = world.edit("x-secrets", json!({"data": {"COOKIE_SECRET": ""}})).await;
    let instance = world.reason("x", "SecretInvalid").await;
    assert_eq!(true_conditions(&instance), ["Stalled"]);
    assert_eq!(parts(&instance)[0], "SecretsReady=False SecretInvalid");
    let message = ready(&instance).unwrap().message.clone();
    let told = "Secret x-secrets: entry COOKIE_SECRET is missing. Delete the Secret to have it generated anew.";
    assert_eq!(message, told);
    world.another_pass("x", "one").await;
    assert_eq!(world.api::<Secret>().get("x-secrets").await.unwrap().resource_version(), blank.resource_version());

    world.edit::<Secret>("x-secrets", json!({"data": generated.data})).await;
    until("it is well again", || async {
        let instance = world.api::<CatalystInstance>().get("x").await.unwrap();
        (parts(&instance)[0] == "SecretsReady=True Available").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_stalls_with_the_command_and_its_creation_mends_it() {
    let world = World::with_operator("missing").await;
    let spec = json!({"ssh": {"host": "192.0.2.1", "user": "dev"}, "secrets": {"useExisting": true}});
    world.apply("x", spec).await;
    let instance = world.reason("x", "SecretMissing").await;
    assert_eq!(true_conditions(&instance), ["Stalled"]);
    assert!(ready(&instance).unwrap().message.contains("kubectl create secret generic x-secrets -n missing"));
    assert_eq!(parts(&instance), ["SecretsReady=False SecretMissing"]);
    let generation = instance.metadata.generation;

    let secret: Secret = serde_json::from_value(json!({"metadata": {"name": "x-secrets"},
        "stringData": {"CATALYST_SECRET": "0123456789abcdef", "COOKIE_SECRET": "CHANGE_ME"}}))
    .unwrap();
    world.api::<Secret>().create(&PostParams::default(), &secret).await.unwrap();
    let instance = world.reason("x", "SecretInvalid").await;
    assert!(ready(&instance).unwrap().message.contains("COOKIE_SECRET"));

    world.edit::<Secret>("x-secrets", json!({"stringData": {"COOKIE_SECRET": "fedcba9876543210"}})).await;
    world.exists::<Deployment>("x").await;
    let secret: Secret = world.exists("x-secrets").await;
    assert!(secret.owner_references().is_empty(), "a user's Secret was seized");
    assert_eq!(world.api::<CatalystInstance>().get("x").await.unwrap().metadata.generation, generation);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_none_stalls_before_there_is_a_pod_and_a_good_one_mends_it() {
    let world = World::with_operator("malformed").await;
    let none = "-----BEGIN OPENSSH PRIVATE KEY-----\nbm8ga2V5\n-----END OPENSSH PRIVATE KEY-----\n";
    let secret: Secret =
        serde_json::from_value(json!({"metadata": {"name": "mine"}, "stringData": {"id_ed25519": none}})).unwrap();
    world.api::<Secret>().create(&PostParams::default(), &secret).await.unwrap();
    world.apply("x", json!({"ssh": {"host": "192.0.2.1", "user": "dev", "existingKeySecret": "mine"}})).await;
    let instance = world.reason("x", "SSHKeyInvalid").await;
    assert_eq!(true_conditions(&instance), ["Stalled"]);
    assert_eq!(parts(&instance), ["SecretsReady=False SSHKeyInvalid"]);
    let message = ready(&instance).unwrap().message.clone();
    assert!(message.contains("Secret mine, entry id_ed25519, cannot be used"), "{message}");
    assert!(world.api::<Deployment>().get_opt("x").await.unwrap().is_none(), "pods that cannot start");

    let key = catalyst_ssh::generate_ed25519("mine").unwrap();
    world.edit::<Secret>("mine", json!({"stringData": {"id_ed25519": &*key.private_openssh}})).await;
    world.exists::<Deployment>("x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_and_an_admission_policy_are_told_in_the_clusters_words() {
    let world = World::with_operator("refused").await;
    let quota: ResourceQuota =
        serde_json::from_value(json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})).unwrap();
    world.api::<ResourceQuota>().create(&PostParams::default(), &quota).await.unwrap();
    until("the quota is counted", || async { world.api::<ResourceQuota>().get("none").await.unwrap().status?.hard })
        .await;
    let policy: ValidatingAdmissionPolicy = serde_json::from_value(json!({"metadata": {"name": "no-ways-in"},
        "spec": {"failurePolicy": "Fail", "validations": [{"expression": "false", "message": "ask the network team"}],
            "matchConstraints": {"resourceRules": [{"apiGroups": ["networking.k8s.io"], "apiVersions": ["v1"],
                "operations": ["CREATE"], "resources": ["ingresses"]}]}}}))
    .unwrap();
    let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(json!({"metadata": {"name": "no-ways-in"},
        "spec": {"policyName": "no-ways-in", "validationActions": ["Deny"], "matchResources":
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "refused"}}}}}))
    .unwrap();
    let all = PostParams::default();
    kube::Api::all(world.admin.clone()).create(&all, &policy).await.unwrap();
    kube::Api::all(world.admin.clone()).create(&all, &binding).await.unwrap();
    let ingress: Ingress = serde_json::from_value(json!({"metadata": {"name": "dry"},
        "spec": {"defaultBackend": {"service": {"name": "x", "port": {"number": 80}}}}}))
    .unwrap();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    until("the policy is in force", || async {
        world.api::<Ingress>().create(&dry, &ingress).await.is_err().then_some(())
    })
    .await;

    let mut spec = json!({"ssh": {"host": "192.0.2.1", "user": "dev",
        "knownHosts": "192.0.2.1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ"}});
    world.apply("x", spec.clone()).await;
    let instance = world.reason("x", "PodRefused").await;
    let message = &ready(&instance).unwrap().message;
    assert!(message.contains("exceeded quota: none"), "{message}");
    assert!(parts(&instance).contains(&"WorkloadReady=False PodRefused".to_owned()), "{:?}", parts(&instance));
    spec["ingress"] = json!({"host": "refused.example.com"});
    world.apply("x", spec).await;
    let instance = world.reason("x", "ApplyRefused").await;
    let message = &ready(&instance).unwrap().message;
    assert!(message.contains("Ingress x was refused") && message.contains("ask the network team"), "{message}");
    assert!(parts(&instance).contains(&"ExposureReady=False ApplyRefused".to_owned()), "{:?}", parts(&instance));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_only_code_can_refuse_is_told_in_status_and_changes_nothing() {
    let world = World::with_operator("invalid").await;
    world.apply("x", json!({"ssh": {"host": "192.0.2.1", "user": "dev", "knownHosts": "no such line"}})).await;
    let instance = world.reason("x", "InvalidSpec").await;
    assert!(ready(&instance).unwrap().message.contains("ssh.knownHosts"));
    assert!(world.api::<Secret>().get_opt("x-secrets").await.unwrap().is_none());
    world.apply("x", json!({"ssh": {"host": "192.0.2.1", "user": "dev"}})).await;
    world.exists::<Deployment>("x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_of_the_vm_says_nothing_of_a_jump_host_that_comes_later() {
    let sshd = sshd().await;
    let world = World::with_operator("jump").await;
    let mut spec = at(&sshd);
    spec["ssh"]["host"] = json!("localhost");
    spec["ssh"]["knownHosts"] = json!(sshd.known_hosts_text().replace("127.0.0.1", "localhost"));
    world.apply("x", spec.clone()).await;
    world.reason("x", "SSHAuthRejected").await;
    spec["ssh"]["jump"] = json!({"host": "bastion.example.com"});
    spec["networkPolicy"] = json!({"sshEgressCidr": "10.20.0.7/32"});
    world.apply("x", spec.clone()).await;
    world.reason("x", "RolloutInProgress").await;
    // Without the jump host the range is wrong, and the VM is looked at anew.
    spec["ssh"]["jump"] = json!(null);
    world.apply("x", spec).await;
    world.reason("x", "EgressCidrExcludesHost").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_instance_is_left_as_it_is_until_the_annotation_goes() {
    let world = World::without_operator("paused").await;
    world.apply("x", json!({"ssh": {"host": "192.0.2.1", "user": "dev"}})).await;
    world.edit::<CatalystInstance>("x", json!({"metadata": {"annotations": {"catalyst.dev/paused": "true"}}})).await;
    let mut world = world;
    world.start_operator().await;
    let instance = world.reason("x", "Paused").await;
    assert_eq!(true_conditions(&instance), ["Ready"]);
    assert!(world.api::<Deployment>().get_opt("x").await.unwrap().is_none());
    world.edit::<CatalystInstance>("x", json!({"metadata": {"annotations": {"catalyst.dev/paused": null}}})).await;
    world.exists::<Deployment>("x").await;
}
