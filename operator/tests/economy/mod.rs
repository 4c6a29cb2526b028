//! What a pass costs the API server: nothing is looked at for an echo, no read asks for more than it needs, and a status that
//! is about to be written anyway is not announced.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
};

use axum::http::{Method, Request};
use catalyst_operator::{crd::CatalystInstance, metrics::Metrics, publish::Publisher, versions::Versions};
use futures::StreamExt;
use k8s_openapi::{
    api::core::v1::{Secret, Service},
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};

use crate::{
    apply,
    faults::{Fault, client},
    operator, own_plane, ready_reason, spec, whole,
    world::{World, install_crds, ready, until, within},
};

/// Nothing looks at a VM for it, and nothing about it is looked at again after a while: no class of an Ingress that is missing.
fn suspended() -> Value {
    let mut spec = spec("x.example.com");
    spec["suspend"] = json!(true);
    spec["ingress"] = json!({"enabled": false});
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_takes_one_pass_whose_own_writes_trigger_no_other() {
    let world = World::with_operator("echo").await;
    let mut wanted = suspended();
    world.apply("x", wanted.clone()).await;
    world.reason("x", "Suspended").await;
    world.settled().await;
    let (passes, writes) = (world.passes(), world.writes());

    wanted["service"] = json!({"annotations": {"example.com/a": "1"}});
    world.apply("x", wanted).await;
    until("the annotation", || async {
        let service = world.api::<Service>().get("x").await.unwrap();
        service.annotations().contains_key("example.com/a").then_some(())
    })
    .await;
    world.settled().await;
    assert_eq!(world.writes()[writes.len()..], ["patch services x", "patch catalystinstances/status x"]);
    assert_eq!(world.passes(), passes + 1, "an echo was looked at");
}

/// Whether a request reads an object of a namespace, or several of its pods: what a pass asks for.
fn of_a_pass(request: &Request<kube::client::Body>) -> bool {
    let uri = request.uri().to_string();
    request.method() == Method::GET
        && uri.contains("/namespaces/")
        && !uri.contains("watch=")
        && !uri.contains("limit=")
}

/// Starts the operator; what `words` makes of its requests, in their order.
async fn overheard(
    world: &mut World,
    words: impl Fn(&Request<kube::client::Body>) -> Option<String> + Send + Sync + 'static,
) -> Arc<Mutex<Vec<String>>> {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let asking = Arc::clone(&asked);
    let listening = move |request: &Request<kube::client::Body>| {
        asking.lock().unwrap().extend(words(request));
        Fault::Pass
    };
    let watched = client(world.account(), Arc::new(listening)).await;
    world.start_operator_with(watched).await;
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn at_rest_every_read_is_content_with_what_the_api_servers_cache_holds() {
    let mut world = World::without_operator("cached").await;
    let asked = overheard(&mut world, |request| of_a_pass(request).then(|| request.uri().to_string())).await;
    world.apply("x", suspended()).await;
    world.reason("x", "Suspended").await;
    world.settled().await;
    asked.lock().unwrap().clear();
    world.another_pass("x", "one").await;
    let asked = asked.lock().unwrap().clone();
    let mut read: Vec<String> = asked.iter().map(|uri| kind_of(uri)).collect();
    read.sort();
    // What a watch shows of our objects is not read again, nor is looked for what is not wanted and of which it shows none of ours.
    let needed = ["catalystinstances", "deployments", "secrets", "secrets"];
    assert_eq!(read, needed, "{asked:#?}");
    let latest: Vec<_> = asked.iter().filter(|uri| !uri.contains("resourceVersion=")).collect();
    assert!(latest.is_empty(), "{latest:#?}");
}

/// The resource of a request for one object.
fn kind_of(uri: &str) -> String {
    let path = uri.split('?').next().unwrap_or_default();
    path.split('/').nth_back(1).unwrap_or_default().to_owned()
}

/// What is not there is not looked for: that something is there all the same shows when it is made. And what the pass that made it knows is
/// not read again for the first status.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_instances_objects_are_made_without_looking_for_each() {
    let mut world = World::without_operator("new").await;
    // Reads, the write of the Deployment, and that of the status.
    let asked = overheard(&mut world, |request| {
        let uri = request.uri().to_string();
        let marks = uri.contains("/namespaces/new/deployments/") || uri.contains("/x/status");
        let counts = of_a_pass(request) || (request.method() == Method::PATCH && marks);
        counts.then(|| format!("{} {}", request.method(), kind_of(&uri)))
    })
    .await;
    world.settled().await;
    world.apply("x", suspended()).await;
    world.reason("x", "Suspended").await;
    let asked = asked.lock().unwrap().clone();
    // Its controller may have said something more than once.
    let mut asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    asked.dedup();
    let needed = ["GET catalystinstances", "GET deployments", "PATCH deployments"];
    let made: Vec<&str> = asked.iter().filter(|asked| **asked != "PATCH x").take(3).copied().collect();
    assert_eq!(made, needed, "{asked:#?}");
    // A pass that takes its time is given a first word, and the next starts anew.
    let slow = asked.iter().take(4).any(|asked| *asked == "PATCH x");
    let then = if slow { "GET catalystinstances" } else { "GET deployments" };
    assert_eq!(asked.iter().filter(|asked| **asked != "PATCH x").nth(3), Some(&then), "{asked:#?}");
    world.exists::<Secret>("x-ssh-key").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_does_not_come_to_what_is_known_is_passed_by() {
    let mut world = World::without_operator("behind").await;
    let behind = client(
        world.account(),
        Arc::new(|request| {
            let cached = of_a_pass(request) && request.uri().to_string().contains("resourceVersion=");
            if cached { Fault::Refuse(504, "Timeout") } else { Fault::Pass }
        }),
    )
    .await;
    world.start_operator_with(behind).await;
    world.apply("x", spec("behind.example.com")).await;
    whole(&world).await;
    world.settled().await;
    let failed = world.metrics.text().contains("catalyst_operator_reconcile_errors_total{");
    assert!(!failed, "{}", world.metrics.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_pass_that_takes_its_time_is_announced() {
    let mut world = World::without_operator("announced").await;
    let mut told = pin!(watcher(world.api::<CatalystInstance>(), watcher::Config::default()).applied_objects());
    let slow = client(
        world.account(),
        Arc::new(|request| {
            let stuck = request.method() == Method::POST && request.uri().path().ends_with("/announced/secrets");
            if stuck { Fault::Swallow } else { Fault::Pass }
        }),
    )
    .await;
    world.start_operator_with(slow).await;
    world.apply("x", suspended()).await;
    let message = within("a first word", async {
        loop {
            let instance = told.next().await.unwrap().unwrap();
            if let Some(ready) = ready(&instance) {
                return ready.message.clone();
            }
        }
    })
    .await;
    assert_eq!(message, "The instance has been seen.");
    assert!(world.api::<Secret>().get_opt("x-secrets").await.unwrap().is_none());
}

/// Without the cluster's controllers nobody has news of what was made, so the operator looks by itself.
#[tokio::test(flavor = "multi_thread")]
async fn the_pass_that_makes_an_instances_objects_leaves_its_one_first_status_to_the_next() {
    let (plane, client) = own_plane().await;
    install_crds(&client).await;
    let operator = operator(&client, &[]);
    // Through a jump host no look at the VM asks for a pass either.
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    let ssh = json!({"host": "192.0.2.1", "user": "dev", "jump": {"host": "192.0.2.2"},
        "knownHosts": format!("192.0.2.1,192.0.2.2 {key}")});
    apply(&client, "x", json!({"ssh": ssh})).await;
    until("a status", || ready_reason(&client, "x")).await;
    operator.stop.cancel();
    within("the operator stops", operator.task).await.unwrap();
    let writes = plane.writes().unwrap();
    let received = |resource: &str| -> Vec<Timestamp> {
        let these = writes.iter().filter(|write| write.resource == resource && write.name == "x");
        these.map(|write| write.received.parse().unwrap()).collect()
    };
    let (made, told) = (received("deployments"), received("catalystinstances/status"));
    assert_eq!((made.len(), told.len()), (1, 1), "{writes:#?}");
    let after = told[0].duration_since(made[0]);
    assert!(after > SignedDuration::from_millis(1500), "the status came {after} after the Deployment");
    let status = Api::<CatalystInstance>::namespaced(client, "default").get("x").await.unwrap().status.unwrap();
    assert_eq!(status.last_rollout.unwrap().cause, "The first pods.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_word_never_takes_the_place_of_a_later_one() {
    let world = World::without_operator("later").await;
    let seen = world.apply("x", suspended()).await;
    let publisher = Publisher::new(world.admin.clone(), Arc::<Metrics>::default(), Versions::new(1));
    let word =
        |url: &str| catalyst_operator::crd::CatalystInstanceStatus { url: Some(url.to_owned()), ..Default::default() };
    publisher.publish(&seen.metadata, None, &word("https://later.example.com")).await.unwrap();
    publisher.publish_first(&seen.metadata, &word("https://first.example.com")).await.unwrap();
    let now = world.api::<CatalystInstance>().get("x").await.unwrap();
    assert_eq!(now.status.unwrap().url.as_deref(), Some("https://later.example.com"));
}
