//! `docs/status.md`: what people see of an instance in each of the commonest situations. Each situation is made on a real API
//! server with the operator at work; the document has to say what was seen, and is written by this test with
//! `UPDATE_GENERATED=1`. The test plays the kubelet. Addresses, keys and what differs each time are put into one form.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it must be"
)]

mod world;

use std::path::Path;

use catalyst_operator::{prober::AddressPolicy, reason::Reason};
use catalyst_ssh::testing::{TestSshd, TestSshdOptions};
use k8s_openapi::api::{
    core::v1::{Pod, Secret},
    events::v1::Event,
    networking::v1::IngressClass,
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use world::{World, plane, plugin, until};

const NAMESPACE: &str = "ideas";
/// What the document calls the VM: as long as the address of this machine, so that columns stay where they are.
const VM: &str = "10.20.0.7";
const PREFACE: &str = "# What status looks like

<!-- Written by the test `gallery` of the plugin (UPDATE_GENERATED=1 cargo test --locked --workspace --test gallery). Do not edit. -->

The commonest situations, as `kubectl get` and `kubectl catalyst status` show them. Each was made on an API server with the operator at
work; the VM's address, keys and the random part of names are replaced. What to do is in the message, the line below the headline. The same
message is in `kubectl get cati -o wide`, and in `kubectl describe cati NAME` as that of the condition Ready and as a Warning among the events.
Every reason is in [reasons.md](reasons.md).
";

struct Situation {
    name: &'static str,
    title: &'static str,
    reason: Reason,
}

const SITUATIONS: [Situation; 12] = [
    Situation { name: "works", title: "All is well", reason: Reason::Available },
    Situation {
        name: "new",
        title: "A new instance: the VM does not have its key yet",
        reason: Reason::SSHAuthRejected,
    },
    Situation { name: "rebuilt", title: "The VM was rebuilt", reason: Reason::HostKeyChanged },
    Situation { name: "asleep", title: "No SSH server runs on the VM", reason: Reason::SSHConnectionRefused },
    Situation {
        name: "unset",
        title: "A Secret that was to be made by hand is not there",
        reason: Reason::SecretMissing,
    },
    Situation { name: "placeholder", title: "A secret still is the placeholder", reason: Reason::SecretInvalid },
    Situation { name: "typo", title: "A field cannot be used", reason: Reason::InvalidSpec },
    Situation { name: "image", title: "The image cannot be pulled", reason: Reason::ImagePullFailed },
    Situation { name: "crash", title: "The server ends soon after each start", reason: Reason::PodCrashing },
    Situation { name: "full", title: "No node has room", reason: Reason::PodUnschedulable },
    Situation { name: "class", title: "The ingress controller is not there", reason: Reason::IngressClassMissing },
    Situation { name: "taken", title: "A name is taken", reason: Reason::NameConflict },
];

/// The spec of an instance with whose VM nothing is wrong.
fn with(vm: &TestSshd, more: Value) -> Value {
    let endpoint = vm.endpoint();
    let ssh = json!({"host": endpoint.host, "port": endpoint.port, "user": endpoint.user,
        "knownHosts": vm.known_hosts_text(), "existingKeySecret": "key"});
    let mut spec = json!({"ssh": ssh});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

fn at(sshd: &TestSshd) -> Value {
    let endpoint = sshd.endpoint();
    json!({"ssh": {"host": endpoint.host, "port": endpoint.port, "user": "dev"}})
}

async fn secret(world: &World, name: &str, catalyst: &str) {
    let object: Secret = serde_json::from_value(json!({"metadata": {"name": name},
        "stringData": {"CATALYST_SECRET": catalyst, "COOKIE_SECRET": "0123456789abcdef0123456789abcdef"}}))
    .unwrap();
    Api::<Secret>::namespaced(world.client.clone(), NAMESPACE).create(&PostParams::default(), &object).await.unwrap();
}

/// The kubelet says this of the instance's pod.
async fn kubelet_says(world: &World, name: &str, status: Value) {
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), NAMESPACE);
    let of_instance = ListParams::default().labels(&format!("catalyst.dev/instance={name}"));
    let pod = until("a pod", || async { pods.list(&of_instance).await.unwrap().items.pop() }).await;
    let patch = Patch::Merge(json!({"status": status}));
    pods.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await.unwrap();
}

fn container(state: Value, last: Value) -> Value {
    json!({"phase": "Running", "containerStatuses": [{"name": "catalyst", "image": "proxy:test", "imageID": "", "ready": false,
        "restartCount": 3, "state": state, "lastState": last}]})
}

async fn recorded(world: &World, name: &str) {
    until("the host key is recorded", || async {
        let status = world.instances().get(name).await.unwrap().status?;
        status.host_keys.first().map(|_| ())
    })
    .await;
}

/// Makes them all. The VMs are to be kept.
async fn make(world: &World) -> Vec<TestSshd> {
    let class: IngressClass = serde_json::from_value(json!({"metadata": {"name": "nginx"},
        "spec": {"controller": "k8s.io/ingress-nginx"}}))
    .unwrap();
    Api::<IngressClass>::all(world.client.clone()).create(&PostParams::default(), &class).await.unwrap();
    secret(world, "mine", "CHANGE_ME_CHANGE_ME").await;
    let taken = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "taken"},
        "spec": {"ports": [{"port": 80}]}});
    let services: Api<k8s_openapi::api::core::v1::Service> = Api::namespaced(world.client.clone(), NAMESPACE);
    services.create(&PostParams::default(), &serde_json::from_value(taken).unwrap()).await.unwrap();
    let vms = [(); 4].map(|()| TestSshd::start(TestSshdOptions::default()));
    let [good, new, mut rebuilt, mut asleep] =
        <[TestSshd; 4]>::try_from(futures::future::join_all(vms).await).ok().unwrap();
    let tls = json!({"host": "ideas.example.com", "tls": {"issuer": {"name": "letsencrypt"}}});
    let certificate = json!({"metadata": {"name": "works-tls"}, "stringData": {"tls.crt": "a", "tls.key": "b"}});
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), NAMESPACE);
    secrets.create(&PostParams::default(), &serde_json::from_value(certificate).unwrap()).await.unwrap();
    let key = json!({"metadata": {"name": "key"},
        "stringData": {"id_ed25519": std::fs::read_to_string(good.key_path()).unwrap()}});
    secrets.create(&PostParams::default(), &serde_json::from_value(key).unwrap()).await.unwrap();
    for (name, spec) in [
        ("works", with(&good, json!({"ingress": tls}))),
        ("new", at(&new)),
        ("rebuilt", at(&rebuilt)),
        ("asleep", at(&asleep)),
        ("unset", with(&good, json!({"secrets": {"useExisting": true}}))),
        ("placeholder", with(&good, json!({"secrets": {"existingSecret": "mine"}}))),
        ("typo", json!({"ssh": {"host": "127.0.0.1", "user": "dev", "knownHosts": "no line of ssh-keyscan"}})),
        ("image", with(&good, json!({"image": {"repository": "registry.example.com/catalyst", "tag": "1.2"}}))),
        ("crash", with(&good, json!({}))),
        ("full", with(&good, json!({"resources": {"requests": {"memory": "64Gi"}, "limits": {"memory": "64Gi"}}}))),
        (
            "class",
            with(
                &good,
                json!({"ingress": {"host": "other.example.com", "className": "traefik",
            "tls": {"secretName": "works-tls"}}}),
            ),
        ),
        ("taken", with(&good, json!({}))),
    ] {
        if name == "asleep" {
            asleep.stop();
        }
        world.create(name, spec).await;
    }
    recorded(world, "rebuilt").await;
    rebuilt.stop();
    rebuilt.replace_host_key().unwrap();
    rebuilt.start_again().await.unwrap();
    let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    kubelet_says(world, "works", ready.clone()).await;
    kubelet_says(world, "class", ready).await;
    let unauthorized =
        json!({"waiting": {"reason": "ImagePullBackOff", "message": "failed to authorize: 401 Unauthorized"}});
    kubelet_says(world, "image", container(unauthorized, json!({}))).await;
    let words = "{\"message\":\"the port 3001 is taken\"}\n";
    let ended = json!({"terminated": {"exitCode": 1, "message": words}});
    kubelet_says(world, "crash", container(json!({"waiting": {"reason": "CrashLoopBackOff"}}), ended)).await;
    let full = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient memory."}]);
    kubelet_says(world, "full", json!({"phase": "Pending", "conditions": full})).await;
    vec![good, new, rebuilt, asleep]
}

/// The section of a situation as it is seen now; `None`: it has not come to it yet.
async fn section(world: &World, situation: &Situation, vms: &[TestSshd]) -> Option<String> {
    let Situation { name, title, reason } = situation;
    let instance = world.instances().get(name).await.unwrap();
    let conditions = instance.status?.conditions;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    if ready.reason != reason.as_str() {
        return None;
    }
    let mut kubectl = plane().kubectl().await.unwrap();
    let table = kubectl.args(["get", "cati", "-n", NAMESPACE, name]).output().await.unwrap();
    let table = without_age(&String::from_utf8(table.stdout).unwrap());
    let (_, status, errors) = plugin(&["status", "-n", NAMESPACE, name]);
    assert_eq!(errors, "");
    let said = |text: &str| status.matches(text).count();
    // It may have changed between the two looks.
    if said(&ready.message) == 0 {
        return None;
    }
    assert_eq!(said(&ready.message), 1, "it is told once, at the top: {status}");
    // What asks for somebody is a Warning among the events as well.
    if *reason != Reason::Available {
        let events: Api<Event> = Api::namespaced(world.client.clone(), NAMESPACE);
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let told = |event: &Event| {
            event.regarding.as_ref().is_some_and(|it| it.name.as_deref() == Some(name))
                && event.reason.as_deref() == Some(reason.as_str())
        };
        let event = events.iter().find(|event| told(event))?;
        assert_eq!(event.type_.as_deref(), Some("Warning"), "{event:?}");
    }
    let seen = format!(
        "## {title}\n\n```console\n$ kubectl get cati -n {NAMESPACE} {name}\n{table}\n$ kubectl catalyst status -n {NAMESPACE} {name}\n{status}```\n"
    );
    Some(settled(&seen, name, vms))
}

/// What the document says already may be believed at once; anything else has to stay so for a while.
async fn settled_section(world: &World, situation: &Situation, vms: &[TestSshd], before: &str) -> String {
    let (mut last, mut same) = (None, 0);
    loop {
        let seen = section(world, situation, vms).await;
        same = if seen == last { same + 1 } else { 0 };
        last.clone_from(&seen);
        if let Some(seen) = seen.filter(|seen| same > 5 || before.contains(seen)) {
            return seen;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// The rows, the last column of which is the age.
fn without_age(table: &str) -> String {
    let mut rows = table.lines().map(|row| {
        let row = row.trim_end();
        let start = row.rfind(' ').map_or(0, |at| at + 1);
        format!("{}{}", &row[..start], if row.ends_with("AGE") { "AGE" } else { "5m" })
    });
    let rows: Vec<_> = rows.by_ref().collect();
    rows.join("\n")
}

/// What differs each time in one form.
fn settled(text: &str, name: &str, vms: &[TestSshd]) -> String {
    let mut text = text.replace("127.0.0.1", VM);
    for vm in vms {
        text = text.replace(&vm.endpoint().port.to_string(), "22");
    }
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let length = rest.find(|letter: char| !in_word(letter)).unwrap_or(rest.len()).max(first.len_utf8());
        let (word, after) = rest.split_at(length);
        out.push_str(&one_form(word, name));
        rest = after;
    }
    out
}

fn in_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "-+/:".contains(letter)
}

fn one_form(word: &str, name: &str) -> String {
    if let Some(bare) = word.strip_suffix(':') {
        return format!("{}:", one_form(bare, name));
    }
    if word.starts_with("AAAA") {
        return "AAAA…".to_owned();
    }
    if let Some((before, _)) = word.split_once("SHA256:") {
        return format!("{before}SHA256:…");
    }
    // A pod: NAME-REPLICASET-POD.
    let random = |part: &str| part.chars().all(|letter| letter.is_ascii_alphanumeric());
    match word.strip_prefix(name).and_then(|rest| rest.strip_prefix('-')).and_then(|rest| rest.split_once('-')) {
        Some((set, pod)) if random(set) && (8..=10).contains(&set.len()) && random(pod) && pod.len() == 5 => {
            format!("{name}-6d4f8b7c9d-x7k2p")
        }
        _ => word.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gallery_shows_what_is_really_seen() {
    let world = World::new(NAMESPACE).await;
    let (stop, operator) = world.operator(&[], AddressPolicy::allowing_own_machine(Vec::new()));
    let vms = make(&world).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/status.md");
    let update = std::env::var_os("UPDATE_GENERATED").is_some();
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let mut text = PREFACE.to_owned();
    for situation in &SITUATIONS {
        let seen = tokio::time::timeout(world::DEADLINE, settled_section(&world, situation, &vms, &before)).await;
        text.push_str(&format!("\n{}", seen.unwrap_or_else(|_| panic!("not seen: {}", situation.name))));
    }
    stop.cancel();
    operator.await.unwrap();
    if update {
        std::fs::write(&path, &text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = found.lines().zip(text.lines()).find(|(found, seen)| found != seen);
    assert!(
        found == text,
        "docs/status.md does not say what is seen ({differs:?}): run this test with UPDATE_GENERATED=1"
    );
}
