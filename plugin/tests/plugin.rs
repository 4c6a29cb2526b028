//! The plugin's binary against a real API server with the operator at work: what people see and what it does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it must be"
)]

mod world;

use std::path::Path;

use catalyst_lab::{ControlPlane, ControlPlaneOptions};
use catalyst_operator::{args::MigrateArgs, build::HTTPRoute, crd, migrate::command, prober::AddressPolicy};
use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::Deployment,
        core::v1::Secret,
        rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    runtime::{conditions, wait::await_condition},
};
use serde::Deserialize;
use serde_json::{Value, json};
use world::{World, plane, plugin, plugin_as, spec, status, until};

/// A route of `a-good`, in a cluster that knows routes.
async fn a_route(client: &kube::Client) {
    let name = "httproutes.gateway.networking.k8s.io";
    let crd = catalyst_lab::http_routes_crd().await.unwrap();
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    crds.patch(name, &PatchParams::apply("test"), &Patch::Apply(&crd)).await.unwrap();
    await_condition(crds, name, conditions::is_crd_established()).await.unwrap();
    let routes: Api<HTTPRoute> = Api::namespaced(client.clone(), "status");
    let route = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "a-good", "labels": {"catalyst.dev/instance": "a-good"}},
        "spec": {"parentRefs": [{"name": "public"}], "hostnames": ["a.example.com"],
            "rules": [{"backendRefs": [{"name": "a-good", "port": 80}], "timeouts": {"request": "0s", "backendRequest": "0s"}}]}});
    let params = PatchParams::apply("test");
    until("routes are served", || async { routes.patch("a-good", &params, &Patch::Apply(&route)).await.ok() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_what_is_wrong_first_with_the_remedy_and_the_objects_that_the_operator_made() {
    let world = World::new("status").await;
    let (stop, operator) = world.operator(&["status"], AddressPolicy::refusing(Vec::new()));
    let bad = json!({"ssh": {"host": "192.0.2.1", "user": "dev"}, "secrets": {"existingSecret": "none"}});
    world.create("a-good", spec()).await;
    world.create("z-bad", bad).await;
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), "status");
    until("the Deployment is there", || async { deployments.get_opt("a-good").await.unwrap() }).await;
    until("z-bad is judged", || async {
        let instance = world.instances().get("z-bad").await.unwrap();
        instance.status?.conditions.into_iter().find(|one| one.reason == "SecretMissing")
    })
    .await;
    a_route(&world.client).await;
    let (code, text, errors) = plugin(&["status", "-n", "status"]);
    assert_eq!((code, errors.as_str()), (1, ""), "{text}");
    assert!(text.starts_with("✗ status/z-bad  SecretMissing\n  Secret none"), "{text}");
    for line in [
        "Deployment a-good  0/1 ready, proxy:test",
        "Service a-good  ClusterIP port 80",
        "HTTPRoute a-good  a.example.com by public",
        "Secret a-good-ssh-key  generated",
        "Secret none  missing",
        "As soon as a pod is ready, open it: kubectl catalyst open -n status a-good",
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
    let hint = "has no Deployment yet; `kubectl catalyst status -n status z-bad` says why";
    assert!(code == 2 && errors.contains(hint), "{errors}");
    // Nothing runs here, so there is nothing to open and no log.
    let (code, _, errors) = plugin(&["open", "-n", "status", "z-bad"]);
    assert!(code == 2 && errors.contains("no pod of status/z-bad is ready. SecretMissing: Secret none"), "{errors}");
    let (code, _, errors) = plugin(&["logs", "-n", "status", "z-bad"]);
    assert!(
        code == 2 && errors.contains("has no pods; `kubectl catalyst status -n status z-bad` says why"),
        "{errors}"
    );
    stop.cancel();
    operator.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_may_be_left_out_where_there_is_only_one_and_mistakes_are_told_with_what_there_is() {
    let world = World::new("names").await;
    let (code, _, errors) = plugin(&["authorize", "-n", "names"]);
    assert!(code == 2 && errors.contains("no CatalystInstance in namespace names"), "{errors}");
    world.instance("one", spec(), status("True", "Available", "Fine.")).await;
    let (code, line, hint) = plugin(&["authorize", "-n", "names"]);
    assert_eq!((code, line.as_str()), (0, "restrict,pty ssh-ed25519 AAAAC3 catalyst-x\n"));
    assert!(hint.ends_with("with your own ssh: kubectl catalyst authorize --install -n names one\n"), "{hint}");
    let waiting = json!({"status": {"nextAuthorizedKeysLine": "restrict,pty ssh-ed25519 AAAANEXT x"}});
    world.instances().patch_status("one", &PatchParams::default(), &Patch::Merge(waiting)).await.unwrap();
    let (code, line, _) = plugin(&["authorize", "-n", "names"]);
    assert_eq!((code, line.as_str()), (0, "restrict,pty ssh-ed25519 AAAANEXT x\n"), "a new key waits for the VM");
    let (code, _, errors) = plugin(&["authorize", "-n", "names", "two"]);
    assert!(code == 2 && errors.contains("no CatalystInstance two in namespace names. Here are: one."), "{errors}");
    world.instance("two", spec(), status("True", "Available", "Fine.")).await;
    let (code, _, errors) = plugin(&["authorize", "-n", "names"]);
    assert!(code == 2 && errors.contains("which one? Here are: one, two."), "{errors}");
    let (code, text, errors) = plugin(&["authorize", "-n", "names", "one", "-o", "json"]);
    assert!(code == 2 && text.is_empty() && errors.contains("-o json is for status and doctor"), "{errors}");
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
async fn generated_secrets_are_replaced_on_request_and_a_persons_own_are_not() {
    let world = World::new("renewal").await;
    let (stop, operator) = world.operator(&["renewal"], AddressPolicy::refusing(Vec::new()));
    world.create("x", spec()).await;
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), "renewal");
    let values = async || secrets.get_opt("x-secrets").await.unwrap()?.data;
    let first = until("the values", || async { values().await }).await;
    let (code, text, errors) = plugin(&["rotate-secret", "-n", "renewal", "--cookie"]);
    assert!(code == 0 && errors.is_empty() && text.contains("Sessions go on."), "{text}{errors}");
    let of = |entry: &'static str, before: ByteString| {
        until(entry, move || {
            let before = before.clone();
            async move { values().await.filter(|now| now.get(entry).is_some_and(|value| *value != before)) }
        })
    };
    let second = of("COOKIE_SECRET", first["COOKIE_SECRET"].clone()).await;
    assert_eq!(second["CATALYST_SECRET"], first["CATALYST_SECRET"]);
    let (code, text, errors) = plugin(&["rotate-secret", "-n", "renewal", "x"]);
    assert!(code == 0 && errors.is_empty() && text.contains("Everyone is signed out."), "{text}{errors}");
    let third = of("CATALYST_SECRET", second["CATALYST_SECRET"].clone()).await;
    assert_eq!(third["COOKIE_SECRET"], second["COOKIE_SECRET"]);
    // The command that is printed last shows what became of it.
    let printed = text.trim_end().rsplit_once(": kubectl ").expect("a command").1.to_owned();
    until("its events", || async {
        let output = plane().kubectl().await.unwrap().args(printed.split(' ')).output().await.unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{printed}: {}", String::from_utf8_lossy(&output.stderr));
        shown.contains("SecretRotated").then_some(())
    })
    .await;

    let own = json!({"ssh": {"host": "192.0.2.1", "user": "dev"}, "secrets": {"existingSecret": "mine"}});
    world.create("own", own).await;
    let (code, _, errors) = plugin(&["rotate-secret", "-n", "renewal", "own"]);
    assert!(code == 2 && errors.contains("the secrets of renewal/own are yours (spec.secrets)"), "{errors}");
    assert_eq!(world.annotation("own", crd::ROTATE_CATALYST_SECRET_ANNOTATION).await, None);
    stop.cancel();
    operator.await.unwrap();
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
    let known = file("known-hosts", &sshd.known_hosts_text());
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
    assert!(code == 2 && errors.contains("add the line by hand: kubectl catalyst authorize -n install x"), "{errors}");
}

fn file(name: &str, text: &str) -> std::path::PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// What `catalyst-operator migrate` prints is this function's, too, as its own test says.
#[test]
fn migrate_prints_what_the_operators_own_command_prints_and_asks_no_cluster() {
    let values = file("values.yaml", "ssh: {host: 192.0.2.1, user: dev}\nsecrets: {catalystSecret: guess-me}\n");
    let (name, namespace) = (Some("ideas".to_owned()), Some("team".to_owned()));
    let given =
        MigrateArgs { values: values.clone(), name, namespace, adopt: None, yes: false, timeout: 600, drain: 15 };
    let made = command::convert(&given).unwrap();
    assert!(made.yaml.contains("name: ideas\n  namespace: team\n") && !made.notes.is_empty(), "{made:?}");
    let nowhere = Path::new("/nowhere/config");
    let arguments = ["migrate", "--values", values.to_str().unwrap(), "--name", "ideas", "-n", "team"];
    assert_eq!(plugin_as(nowhere, &arguments), (0, made.yaml, made.notes));
    let missing = MigrateArgs { values: "/nowhere/values".into(), ..given };
    let refusal = format!("Error: {}\n", command::convert(&missing).unwrap_err());
    assert_eq!(plugin_as(nowhere, &["migrate", "--values", "/nowhere/values"]), (2, String::new(), refusal));
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
    world.instance("other", spec(), status("True", "Available", "Fine.")).await;
    let (code, text, _) = plugin(&["doctor", "-n", "doctor", "other"]);
    assert!(code == 1 && text.contains("instance doctor/other") && !text.contains("doctor/x"), "{text}");
    let (code, _, errors) = plugin(&["doctor", "-n", "doctor", "none"]);
    assert!(
        code == 2 && errors.contains("no CatalystInstance none in namespace doctor. Here are: other, x."),
        "{errors}"
    );
    the_operators_rights_are_those_of_its_role(&world).await;
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

/// An operator whose account has all rights, then one less, then only those in the namespace.
async fn the_operators_rights_are_those_of_its_role(world: &World) {
    let labels = json!({"app.kubernetes.io/name": "catalyst-operator"});
    let template = json!({"metadata": {"labels": labels},
        "spec": {"serviceAccountName": "op", "containers": [{"name": "operator", "image": "operator:test"}]}});
    let deployment = json!({"metadata": {"name": "operator", "labels": labels},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}});
    let deployment: Deployment = serde_json::from_value(deployment).unwrap();
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), "doctor");
    deployments.create(&PostParams::default(), &deployment).await.unwrap();
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/rbac/operator.yaml")).unwrap();
    let mut role: ClusterRole =
        ClusterRole::deserialize(serde_yaml::Deserializer::from_str(&text).next().unwrap()).unwrap();
    let roles: Api<ClusterRole> = Api::all(world.client.clone());
    role = roles.create(&PostParams::default(), &role).await.unwrap();
    let binding = |kind: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": {"name": "op"}, "subjects": [{"kind": "ServiceAccount", "name": "op", "namespace": "doctor"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "catalyst-operator"}})
    };
    let everywhere: ClusterRoleBinding = serde_json::from_value(binding("ClusterRoleBinding")).unwrap();
    let bindings: Api<ClusterRoleBinding> = Api::all(world.client.clone());
    bindings.create(&PostParams::default(), &everywhere).await.unwrap();
    // The API server may go by the rights from before for a moment.
    let says = async |lines: &[&str]| {
        until(&lines.join(", "), || async {
            let (_, text, _) = plugin(&["doctor", "-n", "doctor"]);
            lines.iter().all(|line| text.contains(line)).then_some(())
        })
        .await;
    };
    let (all, cluster) = ("✓ operator's rights: all that is needed", "operator's view of the cluster");
    says(&[all, &format!("✓ {cluster}: all that is needed")]).await;
    for rule in role.rules.iter_mut().flatten() {
        if rule.resources.iter().flatten().any(|resource| resource == "poddisruptionbudgets") {
            rule.verbs.retain(|verb| verb != "delete");
        }
    }
    roles.replace("catalyst-operator", &PostParams::default(), &role).await.unwrap();
    says(&["✗ operator's rights: missing: delete poddisruptionbudgets"]).await;
    roles.delete("catalyst-operator", &Default::default()).await.unwrap();
    role.rules = ClusterRole::deserialize(serde_yaml::Deserializer::from_str(&text).next().unwrap()).unwrap().rules;
    role.metadata.resource_version = None;
    roles.create(&PostParams::default(), &role).await.unwrap();
    bindings.delete("op", &Default::default()).await.unwrap();
    let here: RoleBinding = serde_json::from_value(binding("RoleBinding")).unwrap();
    Api::<RoleBinding>::namespaced(world.client.clone(), "doctor").create(&PostParams::default(), &here).await.unwrap();
    says(&[all, &format!("! {cluster}: missing: list ingressclasses, list servicecidrs, list nodes"), "clusterCidrs"])
        .await;
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
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubeconfig-of-nobody");
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "users": [{"name": "u", "user": {}}],
        "clusters": [{"name": "c", "cluster": {"server": format!("https://127.0.0.1:{port}")}}]});
    std::fs::write(&path, config.to_string()).unwrap();
    path
}
