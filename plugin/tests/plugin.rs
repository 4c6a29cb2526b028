//! The plugin's binary against a real API server with the operator at work: what people see and what it does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it must be"
)]

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, OnceLock, mpsc},
    time::Duration,
};

use catalyst_lab::{ControlPlane, ControlPlaneOptions};
use catalyst_operator::crd::{self, CatalystInstance};
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Namespace},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    runtime::{conditions, wait::await_condition},
};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);

/// One control plane for all tests, with the CRD.
fn plane() -> &'static ControlPlane {
    static PLANE: OnceLock<ControlPlane> = OnceLock::new();
    PLANE.get_or_init(|| {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let plane = ControlPlane::start(ControlPlaneOptions::default()).await.unwrap();
                let crds: Api<CustomResourceDefinition> = Api::all(plane.client().await.unwrap());
                for crd in crd::all() {
                    let name = crd.name_any();
                    crds.patch(&name, &PatchParams::apply("test"), &Patch::Apply(&crd)).await.unwrap();
                    await_condition(crds.clone(), &name, conditions::is_crd_established()).await.unwrap();
                }
                sender.send(plane).unwrap();
                std::future::pending::<()>().await;
            });
        });
        receiver.recv().unwrap()
    })
}

/// Exit code, standard output, standard error of the plugin.
fn plugin_as(kubeconfig: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-catalyst"))
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn plugin(arguments: &[&str]) -> (i32, String, String) {
    plugin_as(plane().kubeconfig(), arguments)
}

struct World {
    client: kube::Client,
    namespace: String,
}

impl World {
    async fn new(namespace: &str) -> World {
        let client = plane().client().await.unwrap();
        let object: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        Api::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();
        World { client, namespace: namespace.to_owned() }
    }

    fn instances(&self) -> Api<CatalystInstance> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// An instance with a status as the operator writes it.
    async fn instance(&self, name: &str, spec: Value, status: Value) {
        let object: CatalystInstance =
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap();
        self.instances().create(&PostParams::default(), &object).await.unwrap();
        let params = PatchParams::default();
        self.instances().patch_status(name, &params, &Patch::Merge(json!({"status": status}))).await.unwrap();
    }

    async fn annotation(&self, name: &str, key: &str) -> Option<String> {
        self.instances().get(name).await.unwrap().annotations().get(key).cloned()
    }
}

fn status(ready: &str, reason: &str, message: &str) -> Value {
    let condition = |kind: &str, status: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1})
    };
    let stalled = if ready == "True" { "False" } else { "True" };
    json!({"observedGeneration": 1, "conditions": [condition("Ready", ready), condition("Stalled", stalled)],
        "hostKeys": [{"host": "192.0.2.1", "port": 22, "key": "ssh-ed25519 AAAA", "fingerprint": "SHA256:old",
            "recordedAt": "2026-01-01T00:00:00Z"}],
        "authorizedKeysLine": "restrict,pty ssh-ed25519 AAAAC3 catalyst-x"})
}

fn spec() -> Value {
    json!({"ssh": {"host": "192.0.2.1", "user": "dev"}})
}

async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.unwrap_or_else(|_| panic!("not within 60 s: {what}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_what_is_wrong_first_with_the_remedy_and_the_objects_that_the_operator_made() {
    let world = World::new("status").await;
    let stop = tokio_util::sync::CancellationToken::new();
    let settings = catalyst_operator::controller::Settings {
        namespaces: vec!["status".into()],
        concurrency: 2,
        identity: "test".into(),
        defaults: catalyst_operator::validated::Defaults { proxy_image: "proxy:test".into() },
        prober: catalyst_operator::prober::ProberSettings {
            concurrent: 2,
            deadline: Duration::from_secs(5),
            addresses: catalyst_operator::prober::AddressPolicy::refusing(Vec::new()),
        },
    };
    let operator = catalyst_operator::controller::run(
        world.client.clone(),
        settings,
        Arc::default(),
        catalyst_operator::admin::Readiness::default(),
        stop.clone(),
    );
    let operator = tokio::spawn(operator);
    let bad = json!({"ssh": {"host": "192.0.2.1", "user": "dev"}, "secrets": {"existingSecret": "none"}});
    for (name, spec) in [("a-good", spec()), ("z-bad", bad)] {
        let object: CatalystInstance =
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap();
        world.instances().create(&PostParams::default(), &object).await.unwrap();
    }
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), "status");
    until("the Deployment is there", || async { deployments.get_opt("a-good").await.unwrap() }).await;
    until("z-bad is judged", || async {
        let instance = world.instances().get("z-bad").await.unwrap();
        instance.status?.conditions.into_iter().find(|one| one.reason == "SecretMissing")
    })
    .await;
    let (code, text, errors) = plugin(&["status", "-n", "status"]);
    assert_eq!((code, errors.as_str()), (1, ""), "{text}");
    assert!(text.starts_with("✗ status/z-bad  SecretMissing\n  Secret none"), "{text}");
    for line in [
        "Deployment a-good  0/1 ready, proxy:test",
        "Service a-good  ClusterIP port 80",
        "Secret a-good-ssh-key  generated",
        "Secret none  missing",
        "kubectl catalyst open -n status a-good",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "no colours where nobody looks");
    let (code, text, _) = plugin(&["-n", "status", "status", "-o", "json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, report["instances"][1]["reason"].as_str()), (1, Some("SecretMissing")));
    assert_eq!(report["instances"][1]["mark"], "bad");
    let (code, text, _) = plugin(&["status", "-A"]);
    assert!(code == 1 && text.contains("status/a-good"), "{text}");

    // Its pods are replaced as kubectl does it.
    let (code, text, errors) = plugin(&["restart", "-n", "status", "a-good"]);
    assert!(code == 0 && text.contains("one by one"), "{errors}");
    let template = deployments.get("a-good").await.unwrap().spec.unwrap().template.metadata.unwrap();
    assert!(template.annotations.unwrap().contains_key("kubectl.kubernetes.io/restartedAt"));
    let (code, _, errors) = plugin(&["restart", "-n", "status", "z-bad"]);
    assert!(code == 2 && errors.contains("has no Deployment yet"), "{errors}");
    // Nothing runs here, so there is nothing to open and no log.
    let (code, _, errors) = plugin(&["open", "-n", "status", "z-bad"]);
    assert!(code == 2 && errors.contains("no pod of status/z-bad is ready. SecretMissing: Secret none"), "{errors}");
    let (code, _, errors) = plugin(&["logs", "-n", "status", "z-bad"]);
    assert!(code == 2 && errors.contains("has no pods"), "{errors}");
    stop.cancel();
    operator.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_may_be_left_out_where_there_is_only_one_and_mistakes_are_told_with_what_there_is() {
    let world = World::new("names").await;
    let (code, _, errors) = plugin(&["authorize", "-n", "names"]);
    assert!(code == 2 && errors.contains("no CatalystInstance in namespace names"), "{errors}");
    world.instance("one", spec(), status("True", "Available", "Fine.")).await;
    let (code, line, _) = plugin(&["authorize", "-n", "names"]);
    assert_eq!((code, line.as_str()), (0, "restrict,pty ssh-ed25519 AAAAC3 catalyst-x\n"));
    let waiting = json!({"status": {"nextAuthorizedKeysLine": "restrict,pty ssh-ed25519 AAAANEXT x"}});
    world.instances().patch_status("one", &PatchParams::default(), &Patch::Merge(waiting)).await.unwrap();
    let (code, line, _) = plugin(&["authorize", "-n", "names"]);
    assert_eq!((code, line.as_str()), (0, "restrict,pty ssh-ed25519 AAAANEXT x\n"), "a new key waits for the VM");
    let (code, _, errors) = plugin(&["authorize", "-n", "names", "two"]);
    assert!(code == 2 && errors.contains("no CatalystInstance two in namespace names. Here are: one."), "{errors}");
    world.instance("two", spec(), status("True", "Available", "Fine.")).await;
    let (code, _, errors) = plugin(&["authorize", "-n", "names"]);
    assert!(code == 2 && errors.contains("which one? Here are: one, two."), "{errors}");
    let (code, _, errors) = plugin(&["authorize", "-A"]);
    assert!(code == 2 && errors.contains("-n"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_host_key_is_trusted_only_by_the_fingerprint_that_was_compared() {
    let world = World::new("trust").await;
    let key = crd::TRUST_HOST_KEY_ANNOTATION;
    world.instance("x", spec(), status("False", "HostKeyChanged", "It changed.")).await;
    let (code, _, errors) = plugin(&["trust-host", "-n", "trust"]);
    assert!(code == 2 && errors.contains("the operator has not seen it itself"), "{errors}");
    let seen = json!({"status": {"changedHostKey": "SHA256:new"}});
    world.instances().patch_status("x", &PatchParams::default(), &Patch::Merge(seen)).await.unwrap();
    let (code, text, errors) = plugin(&["trust-host", "-n", "trust"]);
    assert!(code == 2 && errors.contains("nobody can be asked here"), "{errors}");
    assert_eq!(text, "recorded  SHA256:old\nshown now SHA256:new\n");
    let (code, _, errors) = plugin(&["trust-host", "-n", "trust", "--fingerprint", "SHA256:else", "--yes"]);
    assert!(code == 2 && errors.contains("it is not trusted"), "{errors}");
    assert_eq!(world.annotation("x", key).await, None);
    let (code, _, errors) = plugin(&["trust-host", "-n", "trust", "--fingerprint", "SHA256:new", "--yes"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert_eq!(world.annotation("x", key).await.as_deref(), Some("SHA256:new"));

    let (code, text, _) = plugin(&["rotate-key", "-n", "trust"]);
    assert!(code == 0 && text.contains("Until the VM accepts it the old one is used"), "{text}");
    assert!(world.annotation("x", crd::ROTATE_SSH_KEY_ANNOTATION).await.unwrap().ends_with('Z'));
    let own = json!({"ssh": {"host": "192.0.2.1", "user": "dev", "existingKeySecret": "mine", "knownHosts": "h"}});
    world.instance("own", own, status("True", "Available", "Fine.")).await;
    let (code, _, errors) = plugin(&["rotate-key", "-n", "trust", "own"]);
    assert!(code == 2 && errors.contains("Secret mine"), "{errors}");
    let mut through = spec();
    through["ssh"]["jump"] = json!({"host": "192.0.2.2"});
    through["ssh"]["knownHosts"] = json!("h");
    world.instance("jumping", through, status("True", "Available", "Fine.")).await;
    let (code, _, errors) = plugin(&["rotate-key", "-n", "trust", "jumping"]);
    assert!(code == 2 && errors.contains("spec.ssh.jump"), "{errors}");
    assert_eq!(world.annotation("jumping", crd::ROTATE_SSH_KEY_ANNOTATION).await, None);
    let (code, _, errors) = plugin(&["trust-host", "-n", "trust", "own"]);
    assert!(code == 2 && errors.contains("spec.ssh.knownHosts"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_is_installed_once_with_the_users_own_ssh() {
    let sshd = catalyst_ssh::testing::TestSshd::start(catalyst_ssh::testing::TestSshdOptions::default()).await;
    let world = World::new("install").await;
    let endpoint = sshd.endpoint();
    let spec = json!({"ssh": {"host": endpoint.host, "port": endpoint.port.to_string(), "user": endpoint.user}});
    world.instance("x", spec, status("False", "SSHAuthRejected", "No.")).await;
    // A last line without its end must not run into ours.
    let keys = sshd.home().join(".ssh/authorized_keys");
    std::fs::create_dir_all(keys.parent().unwrap()).unwrap();
    std::fs::write(&keys, "# mine").unwrap();
    let known = tempfile(&sshd.known_hosts_text());
    let (known, key) = (format!("UserKnownHostsFile={}", known.display()), sshd.key_path().display().to_string());
    let install = |extra: &[&str]| {
        let arguments =
            ["authorize", "-n", "install", "--install", "--", "-F", "none", "-o", "BatchMode=yes", "-o", &known];
        plugin(&[&arguments[..], extra].concat())
    };
    let (code, text, errors) = install(&["-i", &key]);
    assert_eq!(code, 0, "{errors}");
    assert!(text.contains("is authorised on"), "{text}");
    let (code, text, errors) = install(&["-i", &key]);
    assert!(code == 0 && text.contains("was authorised"), "{text}{errors}");
    assert_eq!(std::fs::read_to_string(&keys).unwrap(), "# mine\nrestrict,pty ssh-ed25519 AAAAC3 catalyst-x\n");
    let (code, _, errors) = install(&["-i", "/nowhere/key", "-o", "IdentitiesOnly=yes"]);
    assert!(code == 2 && errors.contains("add the line by hand"), "{errors}");
}

fn tempfile(text: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("catalyst-plugin-known-hosts-{}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_what_is_missing_and_what_cannot_be_seen() {
    let world = World::new("doctor").await;
    world
        .instance(
            "x",
            json!({"ssh": {"host": "h", "user": "u"}, "ingress": {"host": "a.example", "className": "nonesuch"}}),
            status("False", "SSHAuthRejected", "The key was rejected."),
        )
        .await;
    let (code, text, errors) = plugin(&["doctor", "-n", "doctor"]);
    assert_eq!((code, errors.as_str()), (1, ""), "{text}");
    for line in [
        "✓ API server: Kubernetes 1.",
        "✓ CRD: installed, with the fields of this version",
        "✗ operator: no Deployment is labelled",
        "✓ your rights: all that is needed",
        "✗ IngressClass: missing: nonesuch (of doctor/x)",
        "✗ instance doctor/x: SSHAuthRejected: The key was rejected.",
        "Next: kubectl catalyst authorize -n doctor x",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    // Somebody who may do nothing is told so, and what to do.
    let nobody = plane().kubeconfig_for("nobody", None).unwrap();
    let (code, _, errors) = plugin_as(&nobody, &["status", "-n", "doctor"]);
    assert!(
        code == 2
            && errors.contains("cannot list the instances of namespace doctor")
            && errors.contains("Ask an administrator"),
        "{errors}"
    );
    // No cluster at all.
    let (code, _, errors) = plugin_as(Path::new("/nowhere/config"), &["status"]);
    assert!(code == 2 && errors.contains("no cluster to talk to") && errors.contains("--kubeconfig"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_crd_the_way_to_install_it_is_told() {
    let plane = ControlPlane::start(ControlPlaneOptions { controllers: false, ..ControlPlaneOptions::default() })
        .await
        .unwrap();
    let (code, _, errors) = plugin_as(plane.kubeconfig(), &["status"]);
    assert!(code == 2 && errors.contains("catalyst-operator crds | kubectl apply --server-side"), "{errors}");
    let (code, text, _) = plugin_as(plane.kubeconfig(), &["doctor", "-o", "json"]);
    let checks: Value = serde_json::from_str(&text).unwrap();
    assert!(code == 1 && checks["checks"][1]["mark"] == "bad", "{text}");
    drop(plane);
    let gone = plane_gone();
    let (code, _, errors) = plugin_as(&gone, &["status"]);
    assert!(code == 2 && errors.contains("no answer from the API server"), "{errors}");
}

/// A kubeconfig of a cluster that does not answer.
fn plane_gone() -> std::path::PathBuf {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let path = std::env::temp_dir().join(format!("catalyst-plugin-gone-{}", std::process::id()));
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "users": [{"name": "u", "user": {}}],
        "clusters": [{"name": "c", "cluster": {"server": format!("https://127.0.0.1:{port}")}}]});
    std::fs::write(&path, config.to_string()).unwrap();
    path
}
