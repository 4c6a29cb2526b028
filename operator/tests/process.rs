//! The binary as a cluster runs it: with the rights of `config/rbac` and no more, its health ports, and its end on SIGTERM.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it must be"
)]

mod secrecy;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use catalyst_lab::{AUDITED_GROUP, ControlPlane, ControlPlaneOptions};
use catalyst_operator::{build::HTTPRoute, crd::CatalystInstance};
use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    core::v1::{ConfigMap, Pod, Secret, Service},
    networking::v1::{Ingress, NetworkPolicy, ServiceCIDR},
    policy::v1::PodDisruptionBudget,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use world::{World, install_crds, install_http_routes, plane, until, within};

/// Where `config` installs the operator, and as whom it runs.
const SYSTEM: &str = "catalyst-system";
const ACCOUNT: &str = "catalyst-operator";

/// The operator's process; killed if the test ends early.
struct Process {
    child: Child,
    admin: SocketAddr,
    log: tempfile::NamedTempFile,
}

impl Process {
    fn start(kubeconfig: &Path, namespace: &str, settings: &[(&str, &str)]) -> Process {
        let admin = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = tempfile::NamedTempFile::new().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_catalyst-operator"))
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .env("POD_NAME", "the-pod")
            .env("POD_NAMESPACE", namespace)
            .env("ADMIN_ADDRESS", admin.to_string())
            .env("WATCH_NAMESPACES", "")
            .envs(settings.iter().copied())
            .stdout(Stdio::from(log.reopen().unwrap()))
            .spawn()
            .unwrap();
        Process { child, admin, log }
    }

    fn terminate(&self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
    }

    async fn is_ready(&self) {
        until("ready", || async { (status_of(self.admin, "/readyz").await? == 200).then_some(()) }).await;
    }

    /// What it has logged so far, a line each.
    fn logged(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.log.path()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

async fn status_of(address: SocketAddr, path: &str) -> Option<u16> {
    get(address, path).await?.split_whitespace().nth(1)?.parse().ok()
}

/// The rules of `config/rbac` as `group/resource verb`.
fn granted() -> BTreeSet<String> {
    let rbac = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/rbac");
    let mut granted = BTreeSet::new();
    for file in ["operator.yaml", "leader-election.yaml"] {
        let text = std::fs::read_to_string(rbac.join(file)).unwrap();
        for document in serde_yaml::Deserializer::from_str(&text) {
            let object = serde_json::Value::deserialize(document).unwrap();
            for rule in object["rules"].as_array().into_iter().flatten() {
                let of =
                    |key: &str| rule[key].as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned());
                for (group, resource) in
                    of("apiGroups").flat_map(|group| of("resources").map(move |it| (group.clone(), it)))
                {
                    granted.extend(of("verbs").map(|verb| format!("{group}/{resource} {verb}")));
                }
            }
        }
    }
    granted
}

/// What `user` has used so far, in the same form.
fn used(user: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for request in plane().requests().unwrap().into_iter().filter(|request| request.user == user) {
        let resource = format!("{}/{}", request.group, request.resource);
        // A server-side apply of what is not there yet takes the right to create it as well.
        if request.verb == "patch" && request.code == 201 {
            used.insert(format!("{resource} create"));
        }
        used.insert(format!("{resource} {}", request.verb));
    }
    used
}

/// Grants what `config/namespaced` grants, to whom and where it does: nothing is changed on the way.
async fn grant_as_installed(admin: &Client) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/namespaced");
    let mut kubectl = plane().kubectl().await.unwrap();
    let output = within("kubectl", kubectl.arg("kustomize").arg(folder).output()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut kinds = BTreeSet::new();
    for document in serde_yaml::Deserializer::from_str(&text) {
        let object = serde_json::Value::deserialize(document).unwrap();
        let kind = object["kind"].as_str().unwrap().to_owned();
        let place = object["metadata"]["namespace"].as_str();
        assert!(
            place == Some(SYSTEM) || ["Namespace", "CustomResourceDefinition", "ClusterRole"].contains(&&*kind),
            "{object}"
        );
        match kind.as_str() {
            "Role" => apply::<Role>(Api::namespaced(admin.clone(), SYSTEM), object).await,
            "RoleBinding" => apply::<RoleBinding>(Api::namespaced(admin.clone(), SYSTEM), object).await,
            "ClusterRole" => {
                let to_people = object["metadata"]["labels"].as_object().is_some_and(|labels| {
                    labels.keys().any(|label| label.starts_with("rbac.authorization.k8s.io/aggregate-to-"))
                });
                assert!(to_people, "a right in the whole cluster: {object}");
            }
            "Deployment" => {
                let pod = &object["spec"]["template"]["spec"];
                assert_eq!(pod["serviceAccountName"], ACCOUNT);
                let variables = pod["containers"][0]["env"].as_array().unwrap();
                let watched = variables.iter().find(|variable| variable["name"] == "WATCH_NAMESPACES").unwrap();
                assert_eq!(watched["valueFrom"]["fieldRef"]["fieldPath"], "metadata.namespace");
                let proxy = variables.iter().find(|variable| variable["name"] == "PROXY_IMAGE").unwrap();
                assert_eq!(proxy["value"], format!("catalyst-proxy:{}", env!("CARGO_PKG_VERSION")));
            }
            _ => {}
        }
        kinds.insert(kind);
    }
    assert!(kinds.contains("ServiceAccount") && !kinds.contains("ClusterRoleBinding"), "{kinds:?}");
}

/// Grants `user` what `config/rbac` grants the operator's service account.
async fn grant(admin: &Client, namespace: &str, user: &str) {
    let rbac = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/rbac");
    for file in ["operator.yaml", "leader-election.yaml"] {
        let text = std::fs::read_to_string(rbac.join(file)).unwrap();
        for document in serde_yaml::Deserializer::from_str(&text) {
            let mut object = serde_json::Value::deserialize(document).unwrap();
            object["metadata"]["namespace"] = json!(namespace);
            if object.get("subjects").is_some() {
                let account = json!([{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SYSTEM}]);
                assert_eq!(object["subjects"], account, "{file}");
                object["subjects"] = json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}]);
            }
            match object["kind"].as_str().unwrap() {
                "ClusterRole" => apply::<ClusterRole>(Api::all(admin.clone()), object).await,
                "ClusterRoleBinding" => apply::<ClusterRoleBinding>(Api::all(admin.clone()), object).await,
                "Role" => apply::<Role>(Api::namespaced(admin.clone(), namespace), object).await,
                "RoleBinding" => apply::<RoleBinding>(Api::namespaced(admin.clone(), namespace), object).await,
                other => panic!("{other} in {file}"),
            }
        }
    }
}

async fn apply<K>(api: Api<K>, mut object: serde_json::Value)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    if object["kind"].as_str().unwrap().starts_with("Cluster") {
        object["metadata"].as_object_mut().unwrap().remove("namespace");
    }
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap();
}

/// Without the right to change Services the instance says so, with the API server's words, and goes on with the rest.
async fn a_right_is_taken_away_and_given_back(world: &World) {
    let roles: Api<ClusterRole> = Api::all(world.admin.clone());
    let whole = roles.get("catalyst-operator").await.unwrap();
    let mut less = whole.clone();
    for rule in less
        .rules
        .iter_mut()
        .flatten()
        .filter(|rule| rule.resources.iter().flatten().any(|resource| resource == "services"))
    {
        rule.verbs.retain(|verb| verb != "patch");
    }
    roles.replace("catalyst-operator", &Default::default(), &less).await.unwrap();
    let with_port = |port: u16| json!({"ssh": {"host": "127.0.0.1", "user": "dev"}, "service": {"port": port}});
    let refused = async {
        let mut port = 8000;
        // The API server may go by the old role for a moment.
        until("the refusal is told", || {
            port += 1;
            async move {
                world.apply("x", with_port(port)).await;
                let instance: CatalystInstance = world.exists("x").await;
                let told = world::ready(&instance)?.message.clone();
                told.contains("Service x was refused").then_some(told)
            }
        })
        .await
    };
    let told = refused.await;
    assert!(told.contains("cannot patch resource \"services\""), "{told}");
    let mut whole = whole;
    whole.metadata.resource_version = None;
    roles.replace("catalyst-operator", &Default::default(), &whole).await.unwrap();
    world.apply("x", with_port(9000)).await;
    let api = world.api::<Service>();
    until("the change is made", || async {
        let service = api.get("x").await.unwrap();
        if service.spec?.ports?[0].port != 9000 {
            world
                .edit::<CatalystInstance>(
                    "x",
                    json!({"metadata": {"annotations": {"example.com/again": format!("{:?}", Instant::now())}}}),
                )
                .await;
            return None;
        }
        Some(())
    })
    .await;
}

/// What an operator does more seldom: takes a policy away, gives running pods new host keys, listens to one that is not
/// ready, tells the same event twice.
async fn use_the_rest(world: &World) {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    let known =
        |host: &str| json!({"ssh": {"host": "127.0.0.1", "user": "dev", "knownHosts": format!("{host} {key}")}});
    world.apply("y", known("127.0.0.1")).await;
    let pods = until("a pod", || async {
        let listed = ListParams::default().labels("catalyst.dev/instance=y");
        let pods = world.api::<Pod>().list(&listed).await.unwrap().items;
        (!pods.is_empty()).then_some(pods)
    })
    .await;
    let running = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}});
    world
        .api::<Pod>()
        .patch_status(&pods[0].name_any(), &PatchParams::default(), &Patch::Merge(&running))
        .await
        .unwrap();
    let mut other = known("127.0.0.1,other");
    other["networkPolicy"] = json!({"enabled": false});
    world.apply("y", other).await;
    until("the policy goes", || async {
        world.api::<NetworkPolicy>().get_opt("y-policy").await.unwrap().is_none().then_some(())
    })
    .await;
    install_http_routes(&world.admin).await;
    let mut wide = known("127.0.0.1");
    wide["replicas"] = json!(2);
    wide["gateway"] = json!({"parentRefs": [{"name": "gateway"}], "hostnames": ["process.example.com"]});
    world.apply("y", wide).await;
    world.exists::<PodDisruptionBudget>("y").await;
    world.exists::<HTTPRoute>("y").await;
    world.apply("y", known("127.0.0.1")).await;
    until("the budget goes", || async {
        world.api::<PodDisruptionBudget>().get_opt("y").await.unwrap().is_none().then_some(())
    })
    .await;
    until("the route goes", || async { world.api::<HTTPRoute>().get_opt("y").await.unwrap().is_none().then_some(()) })
        .await;
    // A key is made for the request, and taken back: the operator does not connect to this machine's own address.
    let rotation = json!({"metadata": {"annotations": {"catalyst.dev/rotate-ssh-key": "1"}}});
    world.edit::<CatalystInstance>("y", rotation).await;
    until("the request is refused", || async {
        let told = world.events("SSHKeyRotationRefused").await;
        told.iter().any(|note| note.contains("does not connect to the address of ssh.host")).then_some(())
    })
    .await;
    assert!(world.api::<Secret>().get_opt("y-ssh-key-next").await.unwrap().is_none());
    for host in ["one", "other"] {
        world.edit::<ConfigMap>("y-config", json!({"data": {"SSH_HOST": host}})).await;
        until("it is put back", || async {
            let map = world.api::<ConfigMap>().get("y-config").await.unwrap();
            (map.data?.get("SSH_HOST")? == "127.0.0.1").then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_rights_of_config_rbac_everything_works_and_sigterm_releases_the_lease() {
    let world = World::without_operator("process").await;
    grant(&world.admin, &world.namespace, "confined").await;
    let kubeconfig = plane().kubeconfig_for("confined", Some(AUDITED_GROUP)).unwrap();
    let mut process =
        Process::start(&kubeconfig, &world.namespace, &[("LOG", "info,kube=warn,catalyst_operator=debug")]);
    let admin = process.admin;
    process.is_ready().await;
    assert_eq!(status_of(admin, "/livez").await, Some(200));

    let spec = json!({"ssh": {"host": "127.0.0.1", "user": "dev"}, "ingress": {"host": "process.example.com"}});
    world.apply("x", spec).await;
    world.exists::<Ingress>("x").await;
    // This machine's own address is none that the operator connects to.
    world.reason("x", "HostForbidden").await;
    // Nor is an address of a Service.
    let ranges = Api::<ServiceCIDR>::all(world.admin.clone()).list(&ListParams::default()).await.unwrap().items;
    let range = ranges[0].spec.clone().unwrap().cidrs.unwrap().remove(0);
    let address = range.split('/').next().unwrap().to_owned();
    world.apply("service", json!({"ssh": {"host": address, "user": "dev"}})).await;
    world.reason("service", "HostForbidden").await;
    world.edit::<Deployment>("x", json!({"spec": {"template": {"spec": {"serviceAccountName": "other"}}}})).await;
    world.apply("x", json!({"ssh": {"host": "127.0.0.1", "user": "dev"}})).await;
    until("the Ingress goes", || async { world.api::<Ingress>().get_opt("x").await.unwrap().is_none().then_some(()) })
        .await;
    let instance: CatalystInstance = world.exists("x").await;
    assert_eq!(instance.name_any(), "x");
    use_the_rest(&world).await;
    // Of a paused one each object is looked at.
    world
        .edit::<CatalystInstance>("service", json!({"metadata": {"annotations": {"catalyst.dev/paused": "true"}}}))
        .await;
    world.reason("service", "Paused").await;
    let missing = || granted().difference(&used("confined")).cloned().collect::<Vec<_>>();
    until("every verb that is granted is used", || async {
        let missing = missing();
        if !missing.is_empty() {
            eprintln!("granted and not used yet: {missing:?}");
        }
        missing.is_empty().then_some(())
    })
    .await;
    let metrics = get(admin, "/metrics").await.unwrap();
    assert!(metrics.contains("catalyst_operator_leader 1"), "{metrics}");
    assert!(!metrics.contains("catalyst_operator_reconcile_errors_total{"), "something was refused: {metrics}");
    let refused: Vec<_> =
        plane().requests().unwrap().into_iter().filter(|it| it.user == "confined" && it.code == 403).collect();
    assert!(refused.is_empty(), "{refused:#?}");

    a_right_is_taken_away_and_given_back(&world).await;
    let metrics = get(admin, "/metrics").await.unwrap();
    process.terminate();
    let ended = until("the process ends", || {
        let ended = process.child.try_wait().unwrap();
        async move { ended }
    })
    .await;
    assert!(ended.success(), "{ended}");
    let lease = world.api::<Lease>().get("catalyst-operator").await.unwrap().spec.unwrap();
    assert_eq!(lease.holder_identity.as_deref(), Some(""), "the Lease was not released");
    each_pass_is_told_apart(&process.logged());
    let log = std::fs::read_to_string(process.log.path()).unwrap();
    secrecy::no_secret_is_told(&world, &[("the log", &log), ("/metrics", &metrics)]).await;
}

/// All lines of a pass carry its id, its instance, and no other pass's.
fn each_pass_is_told_apart(log: &[serde_json::Value]) {
    let mut passes = BTreeMap::<&str, Vec<&serde_json::Value>>::new();
    for line in log.iter().filter(|line| ["generated", "applied", "removed"].iter().any(|it| line["message"] == *it)) {
        passes.entry(line["span"]["id"].as_str().unwrap_or_else(|| panic!("no id: {line}"))).or_default().push(line);
    }
    for lines in passes.values() {
        assert!(lines.iter().all(|line| line["span"] == lines[0]["span"]), "{lines:#?}");
        assert!(lines[0]["span"]["instance"].is_string() && lines[0]["span"]["namespace"].is_string(), "{lines:#?}");
    }
    assert!(passes.len() > 3 && passes.values().any(|lines| lines.len() > 5), "{passes:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leads_and_who_stands_by_are_ready_with_full_caches_and_a_kill_is_over_before_the_lease() {
    let options = ControlPlaneOptions { controllers: false, ..ControlPlaneOptions::default() };
    let plane = ControlPlane::start(options).await.unwrap();
    let client = plane.client().await.unwrap();
    let leases = Api::<Lease>::namespaced(client.clone(), "default");
    let leads = |name: &'static str| {
        let leases = leases.clone();
        until("it leads", move || {
            let leases = leases.clone();
            async move { (leases.get_opt("catalyst-operator").await.unwrap()?.spec?.holder_identity? == name).then_some(()) }
        })
    };
    let start = |name| Process::start(plane.kubeconfig(), "default", &[("POD_NAME", name), ("LEASE_SECONDS", "20")]);
    let mut first = start("first");
    leads("first").await;
    let second = start("second");
    for process in [&first, &second] {
        until("only the caches are missing", || async {
            let answer = get(process.admin, "/readyz").await?;
            (answer.starts_with("HTTP/1.1 503") && answer.ends_with("waiting for the caches\n")).then_some(())
        })
        .await;
    }
    install_crds(&client).await;
    first.is_ready().await;
    second.is_ready().await;
    for (process, leader) in [(&first, "catalyst_operator_leader 1"), (&second, "catalyst_operator_leader 0")] {
        let metrics = get(process.admin, "/metrics").await.unwrap();
        assert!(metrics.contains(leader), "{metrics}");
    }
    first.child.kill().unwrap();
    let begun = Instant::now();
    leads("second").await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    until("its metrics say so", || async {
        let metrics = get(second.admin, "/metrics").await.unwrap();
        metrics.contains("catalyst_operator_leader 1").then_some(())
    })
    .await;
}

/// As `config/namespaced` grants them: nothing of the whole cluster.
#[tokio::test(flavor = "multi_thread")]
async fn with_rights_in_its_namespaces_alone_it_works_there_and_touches_nothing_else() {
    let world = World::without_operator(SYSTEM).await;
    let other = World::without_operator("not-watched").await;
    grant_as_installed(&world.admin).await;
    // The API server knows a service account by its name alone, whatever it proves that name with.
    let account = format!("system:serviceaccount:{SYSTEM}:{ACCOUNT}");
    let kubeconfig = plane().kubeconfig_for(&account, Some(AUDITED_GROUP)).unwrap();
    let namespaces = format!(" {SYSTEM}, {SYSTEM},");
    let process = Process::start(&kubeconfig, &world.namespace, &[("WATCH_NAMESPACES", &namespaces)]);
    process.is_ready().await;
    let spec = |host: &str| {
        json!({"ssh": {"host": "192.0.2.1", "user": "dev",
        "knownHosts": "192.0.2.1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ"},
        "ingress": {"host": host}})
    };
    other.apply("x", spec("not-watched.example.com")).await;
    world.apply("x", spec("narrow.example.com")).await;
    world.exists::<Deployment>("x").await;
    world.exists::<Ingress>("x").await;
    let mut less = spec("");
    less["ingress"] = json!(null);
    world.apply("x", less).await;
    until("the Ingress goes", || async { world.api::<Ingress>().get_opt("x").await.unwrap().is_none().then_some(()) })
        .await;
    let made: Vec<_> = plane().requests().unwrap().into_iter().filter(|request| request.user == account).collect();
    let elsewhere: BTreeSet<String> = made
        .iter()
        .filter(|request| request.namespace != world.namespace)
        .map(|request| format!("{} {} {}", request.verb, request.resource, request.code))
        .collect();
    let seen_from_outside = ["list ingressclasses 403", "list nodes 403", "list servicecidrs 403"];
    assert!(elsewhere.iter().all(|request| seen_from_outside.contains(&request.as_str())), "{elsewhere:#?}");
    let refused: Vec<_> = made.iter().filter(|it| it.code == 403 && it.namespace == world.namespace).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}
