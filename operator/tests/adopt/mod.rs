//! A Helm release is taken over while it serves: killed at any step and begun again, with an endpoint that is ready at every
//! moment. The objects are those that the chart makes, written as Helm writes them; the control plane's own controllers make
//! pods and endpoints of them, and the test stands in for the kubelet.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use catalyst_operator::{
    crd::CatalystInstance,
    migrate::{
        adopt::{AdoptError, Adoption, Patience},
        plan::Step,
        values::{Migrated, Options, migrate},
    },
    offline::cluster,
};
use futures::StreamExt;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Node, Pod, Secret, Service, ServiceAccount},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, NetworkPolicy},
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::watcher,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::world::{World, plane, until};

const NODE: &str = "adopting-node";

fn values(key: &str) -> String {
    format!(
        "image: {{repository: ghcr.io/your-org/catalyst, tag: main}}\nreplicaCount: 2\nssh:\n  host: 192.0.2.1\n  port: \"22\"\n  \
         user: dev\n  existingKeySecret: catalyst-ssh-key\n  knownHosts: 192.0.2.1 {key}\nsecrets: {{useExisting: true}}\n\
         ingress:\n  enabled: true\n  className: nginx\n  host: adopt.example.com\n  annotations:\n    example.com/own: kept\n"
    )
}

fn migrated(adopting: bool) -> Migrated {
    let key = super::host_key();
    migrate(&values(&key), "values.yaml", &Options { adopting, ..Options::default() }).unwrap()
}

/// As Helm writes an object: its marks, its name as field manager.
async fn helm<K>(world: &World, release: &str, mut object: Value)
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    object["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/name": "catalyst",
        "app.kubernetes.io/instance": release, "helm.sh/chart": "catalyst-0.1.0"});
    for (key, value) in [("release-name", release), ("release-namespace", world.namespace.as_str())] {
        object["metadata"]["annotations"][format!("meta.helm.sh/{key}")] = json!(value);
    }
    create::<K>(world, "helm", object).await;
}

async fn create<K>(world: &World, manager: &str, object: Value)
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    let params = PostParams { field_manager: Some(manager.to_owned()), ..PostParams::default() };
    let object: K = serde_json::from_value(object).unwrap();
    world.api::<K>().create(&params, &object).await.unwrap();
}

/// The release `catalyst` as the chart makes it, and the Secrets that people make beside it.
async fn install_release(world: &World) {
    let labels = json!({"app.kubernetes.io/name": "catalyst", "app.kubernetes.io/instance": "catalyst"});
    let key = catalyst_ssh::generate_ed25519("catalyst").unwrap().private_openssh;
    create::<Secret>(
        world,
        "kubectl-create",
        json!({"metadata": {"name": "catalyst-ssh-key"}, "stringData": {"id_ed25519": key}}),
    )
    .await;
    let secrets = json!({"CATALYST_SECRET": "0123456789abcdef", "COOKIE_SECRET": "fedcba9876543210"});
    create::<Secret>(world, "kubectl-create", json!({"metadata": {"name": "catalyst-secrets"}, "stringData": secrets}))
        .await;
    helm::<ServiceAccount>(world, "catalyst", json!({"metadata": {"name": "catalyst"}})).await;
    let config = json!({"SSH_HOST": "192.0.2.1", "SSH_PORT": "22", "SSH_USER": "dev", "HELM_ONLY": "1"});
    helm::<ConfigMap>(world, "catalyst", json!({"metadata": {"name": "catalyst-config"}, "data": config})).await;
    helm::<Service>(
        world,
        "catalyst",
        json!({"metadata": {"name": "catalyst"}, "spec": {"selector": labels,
        "ports": [{"name": "http", "port": 80, "targetPort": 3001}]}}),
    )
    .await;
    helm::<Deployment>(
        world,
        "catalyst",
        json!({"metadata": {"name": "catalyst"}, "spec": {"replicas": 2,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "catalyst", "image": "old"}]}}}}),
    )
    .await;
    let backend = json!({"service": {"name": "catalyst", "port": {"number": 80}}});
    let annotations = json!({"example.com/own": "kept", "nginx.ingress.kubernetes.io/configuration-snippet": "x;"});
    helm::<Ingress>(world, "catalyst", json!({"metadata": {"name": "catalyst", "annotations": annotations}, "spec": {"ingressClassName": "nginx",
        "rules": [{"host": "adopt.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]}}))
    .await;
    helm::<NetworkPolicy>(
        world,
        "catalyst",
        json!({"metadata": {"name": "catalyst-policy"}, "spec": {"podSelector": {"matchLabels": labels},
        "policyTypes": ["Ingress", "Egress"]}}),
    )
    .await;
    let record = json!({"owner": "helm", "name": "catalyst", "status": "deployed", "version": "1"});
    create::<Secret>(
        world,
        "helm",
        json!({"metadata": {"name": "sh.helm.release.v1.catalyst.v1", "labels": record},
        "type": "helm.sh/release.v1", "stringData": {"release": "x"}}),
    )
    .await;
    // Of another release in the same namespace.
    helm::<ConfigMap>(world, "other", json!({"metadata": {"name": "other-config"}, "data": {"a": "1"}})).await;
}

/// What a kubelet does, as far as controllers see it: pods run and are ready a moment after they are bound, and go when told.
struct Kubelet {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Kubelet {
    async fn start(world: &World) -> Kubelet {
        let nodes: Api<Node> = Api::all(world.admin.clone());
        let node: Node = serde_json::from_value(json!({"metadata": {"name": NODE}})).unwrap();
        match nodes.create(&PostParams::default(), &node).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            outcome => drop(outcome.unwrap()),
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (pods, stopped) = (world.api::<Pod>(), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut address = 0;
            while !stopped.load(Ordering::Relaxed) {
                for pod in pods.list(&ListParams::default()).await.unwrap().items {
                    look_after(&pods, &pod, &mut address).await;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Kubelet { stop, task }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

async fn look_after(pods: &Api<Pod>, pod: &Pod, address: &mut u8) {
    let name = pod.name_any();
    if pod.metadata.deletion_timestamp.is_some() {
        let _ = pods.delete(&name, &DeleteParams::default().grace_period(0)).await;
        return;
    }
    if pod.spec.as_ref().unwrap().node_name.is_none() {
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"apiVersion": "v1", "kind": "Node", "name": NODE}});
        let _ = pods.create_subresource::<Value, Value>("binding", &name, &PostParams::default(), &binding).await;
        return;
    }
    if pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some()) {
        return;
    }
    *address += 1;
    let ip = format!("10.200.0.{address}");
    let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        {"type": "ContainersReady", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    let _ = pods.patch_status(&name, &PatchParams::default(), &Patch::Strategic(&status)).await;
}

/// Watches the Service's endpoints from the moment when there is one; notes every moment without.
struct Endpoints {
    gaps: Arc<Mutex<Vec<String>>>,
    seen: Arc<Mutex<usize>>,
    task: tokio::task::JoinHandle<()>,
}

impl Endpoints {
    fn watch(world: &World) -> Endpoints {
        let (gaps, seen) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let config = watcher::Config::default().labels("kubernetes.io/service-name=catalyst");
        let mut events = watcher(world.api::<EndpointSlice>(), config).boxed();
        let (noted, counted) = (Arc::clone(&gaps), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            let mut slices: HashMap<String, usize> = HashMap::new();
            let ready = |slice: &EndpointSlice| {
                let ready = |endpoint: &&k8s_openapi::api::discovery::v1::Endpoint| {
                    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
                };
                slice.endpoints.iter().filter(ready).count()
            };
            while let Some(event) = events.next().await {
                match event.unwrap() {
                    watcher::Event::Apply(slice) | watcher::Event::InitApply(slice) => {
                        slices.insert(slice.name_any(), ready(&slice));
                    }
                    watcher::Event::Delete(slice) => drop(slices.remove(&slice.name_any())),
                    watcher::Event::Init | watcher::Event::InitDone => continue,
                }
                let now: usize = slices.values().sum();
                let mut before = counted.lock().unwrap();
                if now == 0 && *before > 0 {
                    noted.lock().unwrap().push(format!("none of {slices:?}"));
                }
                *before = (*before).max(now);
            }
        });
        Endpoints { gaps, seen, task }
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn adoption(world: &World, instance: CatalystInstance, step: Duration) -> Adoption {
    Adoption {
        cluster: cluster::connect(Some(plane().kubeconfig()), None).await.unwrap(),
        release: "catalyst".into(),
        namespace: world.namespace.clone(),
        instance,
        patience: Patience { step, drain: Duration::from_millis(200) },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serving_release_is_taken_over_without_a_gap_though_the_run_is_killed_at_every_step() {
    let world = World::with_operator("adopt").await;
    let kubelet = Kubelet::start(&world).await;
    install_release(&world).await;
    let endpoints = Endpoints::watch(&world);
    until("the release serves", || {
        let seen = *endpoints.seen.lock().unwrap();
        async move { (seen == 2).then_some(()) }
    })
    .await;
    let other = world.exists::<ConfigMap>("other-config").await.metadata.resource_version;
    let key = world.exists::<Secret>("catalyst-ssh-key").await.metadata.resource_version;

    let instance = migrated(true).instance;
    let mut steps = Vec::new();
    for round in 1_u64.. {
        assert!(round < 60, "it does not come to its end: {steps:?}");
        // Every round is a process of its own; most are killed somewhere in the midst of their step first.
        let first = adoption(&world, instance.clone(), Duration::from_secs(60)).await;
        let _ = tokio::time::timeout(Duration::from_millis(round * 37 % 120), first.next()).await;
        match adoption(&world, instance.clone(), Duration::from_secs(60)).await.next().await.unwrap() {
            Some(step) => steps.push(step),
            None => break,
        }
    }
    assert_eq!(*endpoints.gaps.lock().unwrap(), Vec::<String>::new(), "{steps:?}");
    assert!(steps.iter().any(|step| *step == Step::AwaitReady || *step == Step::Finish), "{steps:?}");

    let instance = world.exists::<CatalystInstance>("catalyst").await;
    assert_eq!(instance.annotations().len(), 0, "{:?}", instance.annotations());
    let uid = instance.uid().unwrap();
    let ours = |meta: &kube::api::ObjectMeta| {
        let owned = meta
            .owner_references
            .as_ref()
            .is_some_and(|all| all.iter().any(|one| one.uid == uid && one.controller == Some(true)));
        let helms = meta.managed_fields.iter().flatten().any(|entry| {
            entry.subresource.is_none()
                && ["helm", "catalyst-migrate"].contains(&entry.manager.as_deref().unwrap_or_default())
        });
        let marks = meta.annotations.iter().flatten().any(|(key, _)| key.starts_with("meta.helm.sh/"))
            || meta.labels.iter().flatten().any(|(key, _)| key.starts_with("helm.sh/"));
        owned && !helms && !marks
    };
    let deployment = world.exists::<Deployment>("catalyst").await;
    assert!(ours(&deployment.metadata));
    let service = world.exists::<Service>("catalyst").await;
    assert!(ours(&service.metadata), "{:#?}", service.metadata);
    let selector = service.spec.unwrap().selector.unwrap();
    assert_eq!(selector, [("catalyst.dev/instance".to_owned(), "catalyst".to_owned())].into());
    let ingress = world.exists::<Ingress>("catalyst").await;
    assert!(ours(&ingress.metadata));
    assert_eq!(ingress.annotations().get("example.com/own").map(String::as_str), Some("kept"));
    assert!(!ingress.annotations().keys().any(|key| key.ends_with("configuration-snippet")), "what only Helm set goes");
    let config = world.exists::<ConfigMap>("catalyst-config").await;
    assert!(ours(&config.metadata) && !config.data.unwrap().contains_key("HELM_ONLY"));
    assert!(ours(&world.exists::<NetworkPolicy>("catalyst-policy").await.metadata));

    assert!(world.api::<Secret>().get_opt("sh.helm.release.v1.catalyst.v1").await.unwrap().is_none());
    assert!(world.api::<ServiceAccount>().get_opt("catalyst").await.unwrap().is_none(), "nothing needs it");
    until("the old pods are gone", || async {
        let pods = world.api::<Pod>().list(&ListParams::default()).await.unwrap().items;
        let sets = world.api::<ReplicaSet>().list(&ListParams::default()).await.unwrap().items;
        let new = |labels: &std::collections::BTreeMap<String, String>| labels.get("catalyst.dev/instance").is_some();
        (pods.len() == 2 && pods.iter().all(|pod| new(pod.labels())) && sets.iter().all(|set| new(set.labels())))
            .then_some(())
    })
    .await;
    // What is not ours is as it was.
    assert_eq!(world.exists::<ConfigMap>("other-config").await.metadata.resource_version, other);
    assert_eq!(world.exists::<Secret>("catalyst-ssh-key").await.metadata.resource_version, key);
    kubelet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_writes_nothing_and_without_an_operator_nothing_is_begun() {
    let world = World::without_operator("plan").await;
    install_release(&world).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), values(&super::host_key())).unwrap();
    let kubeconfig = plane().kubeconfig_for("planner", Some("system:masters")).unwrap();
    let run = |kubeconfig: &Path, arguments: &[&str]| {
        let values = file.path().to_str().unwrap();
        let mut command = super::command(&[&["migrate", "--values", values, "-n", "plan"], arguments].concat());
        command.env("KUBECONFIG", kubeconfig);
        super::told(&super::run(command, ""))
    };
    let (code, yaml, told) = run(&kubeconfig, &["--adopt", "catalyst"]);
    assert_eq!(code, 0, "{told}");
    assert!(yaml.contains("kind: CatalystInstance") && yaml.contains("namespace: plan"), "{yaml}");
    for line in [
        "hand Service catalyst over",
        "delete Deployment catalyst without its pods",
        "delete Helm's records",
        "Nothing was changed",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    let (code, _, told) = run(&kubeconfig, &["--adopt", "nonesuch"]);
    assert!(code == 2 && told.contains("no Deployment of the Helm release nonesuch"), "{told}");
    let written: Vec<_> = plane().writes().unwrap().into_iter().filter(|write| write.user == "planner").collect();
    assert!(written.is_empty(), "{written:#?}");

    // Nobody acknowledges the instance.
    let adoption = adoption(&world, migrated(true).instance, Duration::from_secs(1)).await;
    assert_eq!(adoption.next().await.unwrap(), Some(Step::Create));
    match adoption.next().await {
        Err(AdoptError::TimedOut { remedy, .. }) => assert!(remedy.contains("catalyst-operator runs"), "{remedy}"),
        other => panic!("{other:?}"),
    }
    assert!(world.exists::<Deployment>("catalyst").await.metadata.deletion_timestamp.is_none());
}
