//! Many instances of every shape at once, against a real API server: all of them converge, to look at them again writes none of their
//! objects, and to look once more nothing at all. `RANDOM_INSTANCES` has it make more of them, such as 500.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it must be"
)]

mod shapes;
mod world;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use catalyst_lab::{ControlPlane, ControlPlaneOptions};
use catalyst_operator::{admin::Readiness, controller, crd::CatalystInstance, metrics::Metrics, prober::AddressPolicy};
use futures::{StreamExt, stream};
use k8s_openapi::api::{apps::v1::Deployment, networking::v1::IngressClass};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use world::{install_crds, install_http_routes, passes, rests, settings, until, within};

/// As many as fit into the time of a test.
const INSTANCES: usize = 100;
/// No instance takes as many passes to come to rest.
const PASSES_EACH: usize = 10;
/// How long no pass is asked for or runs when they have come to rest.
const REST: Duration = Duration::from_secs(1);
/// The longest that an instance is left without a status while nothing is done for it.
const WITHHELD: Duration = Duration::from_secs(10);
const OPERATOR: &str = "random-operator";

/// Runs an operator until `done`, and stops it.
async fn while_running(plane: &ControlPlane, done: impl AsyncFn(&Metrics)) {
    let client = plane.client_for(OPERATOR, Some("system:masters")).await.unwrap();
    let (metrics, readiness, stop) = (Arc::new(Metrics::default()), Readiness::default(), CancellationToken::new());
    // No VM is looked at, which would be looked at again and again.
    let mut settings = settings(Vec::new());
    settings.prober.addresses = AddressPolicy::refusing(Vec::new());
    settings.concurrency = 16;
    let run = controller::run(client, settings, Arc::clone(&metrics), readiness.clone(), stop.clone());
    let task = tokio::spawn(run);
    until("the caches are filled", || async { readiness.get().then_some(()) }).await;
    done(&metrics).await;
    stop.cancel();
    within("the operator stops", task).await.unwrap();
}

/// Awaits that no pass runs or follows, however long that takes: it ends, for passes are bounded.
async fn rest(metrics: &Metrics, instances: usize) {
    let (mut last, mut since) = (0, Instant::now());
    while since.elapsed() < REST {
        let now = passes(metrics);
        assert!(now <= PASSES_EACH * instances, "they do not come to rest: {}", metrics.text());
        if now != last || !rests(metrics) {
            (last, since) = (now, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Awaits that all are judged and at rest.
async fn converge(client: &Client, metrics: &Metrics, instances: usize) {
    rest(metrics, instances).await;
    let (mut last, mut since) = (passes(metrics), Instant::now());
    loop {
        let left = left(client).await;
        if left.is_empty() {
            return;
        }
        assert!(since.elapsed() < WITHHELD, "they do not converge: {left:?}");
        rest(metrics, instances).await;
        if passes(metrics) != last {
            (last, since) = (passes(metrics), Instant::now());
        }
    }
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
    install_http_routes(&client).await;
    // One that is missing would be looked for again and again.
    for name in ["nginx", "other"] {
        let class = json!({"metadata": {"name": name}, "spec": {"controller": "example.com/none"}});
        let class: IngressClass = serde_json::from_value(class).unwrap();
        Api::all(client.clone()).create(&PostParams::default(), &class).await.unwrap();
    }
    let mut random = StdRng::seed_from_u64(17);
    let api = Api::<CatalystInstance>::namespaced(client.clone(), "default");
    let count = std::env::var("RANDOM_INSTANCES").map_or(INSTANCES, |count| count.parse().unwrap());
    let specs: Vec<Value> = (0..count).map(|number| shapes::valid(&mut random, number)).collect();
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
        converge(&client, metrics, count).await;
        let text = metrics.text();
        assert!(!text.contains("catalyst_operator_reconcile_errors_total{"), "{text}");
    })
    .await;
    let made = writes(&plane);
    let applied = |kind: &str| made.iter().filter(|write| write.starts_with(&format!("patch {kind} "))).count();
    assert_eq!((applied("deployments"), applied("services")), (count, count), "one write each");

    let look_at_each = async || {
        while_running(&plane, async |metrics| {
            rest(metrics, count).await;
            assert!(passes(metrics) >= count, "only {} of {count} are looked at", passes(metrics));
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
