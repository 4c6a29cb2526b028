//! Many instances of every shape at once, against a real API server: all of them converge, and to look at them again
//! writes nothing. `RANDOM_INSTANCES` has it make more of them, such as 500, which takes minutes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it must be"
)]

mod world;

use std::{collections::BTreeSet, sync::Arc};

use catalyst_lab::{ControlPlane, ControlPlaneOptions};
use catalyst_operator::{admin::Readiness, controller, crd::CatalystInstance, metrics::Metrics, prober::AddressPolicy};
use futures::{StreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;
use world::{install_crds, passes, quiet, settings, until, within};

/// As many as fit into the time of a test.
const INSTANCES: usize = 50;
const OPERATOR: &str = "random-operator";

/// One of these.
fn one(random: &mut StdRng, of: &[Value]) -> Value {
    of[random.random_range(0..of.len())].clone()
}

/// Each field with one of its values, or without, as often.
fn some(random: &mut StdRng, fields: &[(&str, &[Value])]) -> Map<String, Value> {
    let mut chosen = Map::new();
    for (name, values) in fields {
        if random.random_bool(0.5) {
            chosen.insert((*name).to_owned(), one(random, values));
        }
    }
    chosen
}

/// A valid spec.
fn spec(random: &mut StdRng, number: usize) -> Value {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    let mut ssh = some(
        random,
        &[
            ("ideasBasePath", &[json!("~/ideas"), json!("/srv/ideas"), json!("~")]),
            ("keyPath", &[json!("/secrets/ssh/id_ed25519"), json!("/keys/id")]),
        ],
    );
    ssh.insert("host".into(), json!("127.0.0.1"));
    ssh.insert("user".into(), one(random, &[json!("dev"), json!("root"), json!("ubuntu")]));
    ssh.insert("port".into(), one(random, &[json!(9), json!("9")]));
    ssh.insert("knownHosts".into(), json!(format!("[127.0.0.1]:9 {key}")));
    let host = format!("i{number}.example.com");
    let labels = json!({"example.com/team": "a", "tier": "web"});
    let mut spec = some(
        random,
        &[
            ("replicas", &[json!(0), json!(1), json!(2), json!(3)]),
            ("suspend", &[json!(false), json!(true)]),
            ("publicUrl", &[json!(format!("https://{host}")), json!(format!("http://{host}:8080"))]),
            ("trustedProxies", &[json!([]), json!(["10.0.0.0/8", "fd00::/8"])]),
            (
                "image",
                &[
                    json!({"repository": "registry.example.com/a/catalyst", "tag": "v1.2"}),
                    json!({"tag": "v3", "pullPolicy": "Always"}),
                    json!({"digest": format!("sha256:{}", "0a".repeat(32)), "pullSecrets": [{"name": "pull"}]}),
                ],
            ),
            (
                "service",
                &[
                    json!({}),
                    json!({"port": 8080, "annotations": {"example.com/a": "b"}}),
                    json!({"type": "NodePort"}),
                    json!({"type": "LoadBalancer", "port": 443}),
                ],
            ),
            (
                "ingress",
                &[
                    json!({"host": host}),
                    json!({"enabled": false, "host": host}),
                    json!({"host": host, "className": "other", "annotations": {"example.com/a": "b"}}),
                    json!({"host": host, "tls": {"secretName": "tls"}, "configurationSnippet": true}),
                    json!({"host": host, "tls": {"issuer": {"name": "letsencrypt", "kind": "ClusterIssuer"}}}),
                ],
            ),
            (
                "networkPolicy",
                &[
                    json!({"enabled": false}),
                    json!({"ingressNamespaces": ["a", "b"], "ingressPodLabels": {"app": "ingress"}}),
                    json!({"ingressCidrs": ["192.168.1.0/24", "fd00::/64"], "metricsNamespaces": ["monitoring"]}),
                    json!({"dnsCidrs": ["169.254.20.10/32"], "extraEgress": [{"cidr": "10.0.0.0/8"},
                        {"cidr": "10.1.0.1/32", "port": 53, "protocol": "UDP"}]}),
                ],
            ),
            (
                "resources",
                &[
                    json!({"requests": {"cpu": "0.5", "memory": "1024Ki"}, "limits": {"cpu": 2, "memory": "1.5Gi"}}),
                    json!({"limits": {"memory": "300000000", "ephemeral-storage": "1G"}}),
                    json!({"requests": {"cpu": "1000m"}}),
                ],
            ),
            (
                "livenessProbe",
                &[json!({"periodSeconds": 7}), json!({"httpGet": {"path": "/api/health", "port": "http"}})],
            ),
            ("readinessProbe", &[json!({"initialDelaySeconds": 0, "failureThreshold": 9, "timeoutSeconds": 2})]),
            ("podAnnotations", &[labels.clone(), json!({})]),
            ("podLabels", &[labels.clone(), json!({})]),
            ("nodeSelector", &[json!({"kubernetes.io/os": "linux"}), json!({})]),
            (
                "tolerations",
                &[
                    json!([]),
                    json!([{"operator": "Exists"}]),
                    json!([{"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute", "tolerationSeconds": 60}]),
                ],
            ),
            (
                "affinity",
                &[json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}]}})],
            ),
            (
                "topologySpreadConstraints",
                &[json!([{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": {"a": "b"}}}])],
            ),
            (
                "securityContext",
                &[
                    json!({"runAsUser": 1000, "runAsGroup": 0}),
                    json!({"fsGroup": -1, "runAsUser": -1}),
                    json!({"readOnlyRootFilesystem": false}),
                ],
            ),
            ("extraEnv", &[json!([]), json!([{"name": "TZ", "value": "UTC"}, {"name": "empty", "value": ""}])]),
        ],
    );
    spec.insert("ssh".into(), Value::Object(ssh));
    Value::Object(spec)
}

/// Runs an operator until `done`, and stops it.
async fn while_running(plane: &ControlPlane, done: impl AsyncFn(&Metrics)) {
    let client = plane.client_for(OPERATOR, Some("system:masters")).await.unwrap();
    let (metrics, readiness, stop) = (Arc::new(Metrics::default()), Readiness::default(), CancellationToken::new());
    // No VM is looked at, which would be looked at again and again.
    let mut settings = settings(Vec::new());
    settings.prober.addresses = AddressPolicy::refusing(Vec::new());
    let run = controller::run(client, settings, Arc::clone(&metrics), readiness.clone(), stop.clone());
    let task = tokio::spawn(run);
    until("the caches are filled", || async { readiness.get().then_some(()) }).await;
    done(&metrics).await;
    stop.cancel();
    within("the operator stops", task).await.unwrap();
}

fn writes(plane: &ControlPlane) -> Vec<String> {
    let ours = plane.writes().unwrap().into_iter().filter(|write| write.user == OPERATOR && write.resource != "events");
    ours.map(|write| format!("{} {} {}", write.verb, write.resource, write.name)).collect()
}

/// What is told of each: reasons and messages.
async fn statuses(client: &Client) -> Vec<(String, Vec<String>)> {
    let all = Api::<CatalystInstance>::all(client.clone()).list(&ListParams::default()).await.unwrap().items;
    let told = |instance: CatalystInstance| {
        let name = instance.name_any();
        let conditions = instance.status.map(|status| status.conditions).unwrap_or_default();
        (
            name,
            conditions.iter().map(|it| format!("{}={} {}: {}", it.type_, it.status, it.reason, it.message)).collect(),
        )
    };
    all.into_iter().map(told).collect()
}

/// Those that have not been judged as they are now, or have no Deployment.
async fn left(client: &Client) -> Vec<String> {
    let instances = Api::<CatalystInstance>::all(client.clone()).list(&ListParams::default()).await.unwrap().items;
    let deployments = Api::<Deployment>::all(client.clone()).list_metadata(&ListParams::default()).await.unwrap();
    let deployed: BTreeSet<String> = deployments.items.iter().map(ResourceExt::name_any).collect();
    let judged = |instance: &CatalystInstance| {
        let seen =
            world::ready(instance).is_some_and(|ready| ready.observed_generation == instance.metadata.generation);
        seen && deployed.contains(&instance.name_any())
    };
    instances.iter().filter(|instance| !judged(instance)).map(ResourceExt::name_any).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn random_instances_converge_and_to_look_at_all_of_them_again_writes_nothing() {
    // Without the controllers, whose own work on five hundred Deployments would be most of the time.
    let options = ControlPlaneOptions { controllers: false, ..ControlPlaneOptions::default() };
    let plane = ControlPlane::start(options).await.unwrap();
    let client = plane.client().await.unwrap();
    install_crds(&client).await;
    let mut random = StdRng::seed_from_u64(17);
    let api = Api::<CatalystInstance>::namespaced(client.clone(), "default");
    let count = std::env::var("RANDOM_INSTANCES").map_or(INSTANCES, |count| count.parse().unwrap());
    let specs: Vec<Value> = (0..count).map(|number| spec(&mut random, number)).collect();
    let shapes: BTreeSet<String> = specs.iter().map(|spec| spec.to_string().replace(char::is_numeric, "")).collect();
    assert!(shapes.len() > count * 9 / 10, "only {} shapes", shapes.len());
    let create = |(number, spec): (usize, Value)| {
        let api = api.clone();
        async move {
            let object = json!({"metadata": {"name": format!("i{number}")}, "spec": spec});
            let instance = serde_json::from_value(object.clone()).unwrap();
            api.create(&PostParams::default(), &instance).await.unwrap_or_else(|error| panic!("{error}: {object}"));
        }
    };
    stream::iter(specs.into_iter().enumerate()).map(create).buffer_unordered(16).collect::<Vec<()>>().await;

    while_running(&plane, async |metrics| {
        // Longer than one wait: as long as it goes on.
        let (mut before, mut idle) = (0, 0);
        loop {
            let now = left(&client).await;
            if now.is_empty() {
                break;
            }
            let count = passes(metrics);
            idle = if count == before { idle + 1 } else { 0 };
            assert!(idle < 30, "they do not converge: {now:?}");
            before = count;
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        quiet(metrics, 0).await;
        let text = metrics.text();
        assert!(!text.contains("catalyst_operator_reconcile_errors_total{"), "{text}");
    })
    .await;
    let made = writes(&plane);
    let applied = |kind: &str| made.iter().filter(|write| write.starts_with(&format!("patch {kind} "))).count();
    assert_eq!((applied("deployments"), applied("services")), (count, count), "one write each");

    let look_at_each = async || {
        while_running(&plane, async |metrics| {
            until("each is looked at", || async { (passes(metrics) >= count).then_some(()) }).await;
            quiet(metrics, 0).await;
        })
        .await;
    };
    // No controller is here to say of a Deployment that none of its pods is wanted, so no pass came of that: the next one tells.
    look_at_each().await;
    let again = writes(&plane).split_off(made.len());
    let objects: Vec<_> = again.iter().filter(|write| !write.starts_with("patch catalystinstances/status ")).collect();
    assert!(objects.is_empty(), "the second pass wrote: {objects:#?}");
    let told = statuses(&client).await;
    look_at_each().await;
    let more = writes(&plane).split_off(made.len() + again.len());
    let now = statuses(&client).await;
    let other: Vec<_> = told.iter().zip(&now).filter(|(one, other)| one != other).take(2).collect();
    assert!(more.is_empty(), "the third pass wrote: {more:#?}, such as {other:#?}");
}
