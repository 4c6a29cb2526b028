//! The operator as a process among others: election, isolation, an API server that goes away.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it must be"
)]

mod economy;
mod faults;
mod foreign;
mod interrupted;
mod wire;
mod world;

use std::{sync::Arc, time::Duration};

use catalyst_lab::{ControlPlane, ControlPlaneOptions};
use catalyst_operator::{
    admin::Readiness,
    controller,
    crd::CatalystInstance,
    leader::{Election, LeaseSettings},
    metrics::Metrics,
};
use faults::{Death, refuse_first};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        coordination::v1::Lease,
        core::v1::{ConfigMap, Namespace, Secret},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
    core::ApiResource,
};
use serde_json::json;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use world::{World, install_crds, owned::all_objects, plane, settings, until, within};

/// Long enough that a busy machine does not lose a Lease that is kept.
const LEASE: Duration = Duration::from_secs(20);

fn candidate(client: &Client, name: &str, identity: &str) -> Election {
    Election::new(
        client.clone(),
        LeaseSettings { namespace: "default".into(), name: name.into(), identity: identity.into(), duration: LEASE },
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_until_it_releases_and_the_standby_takes_over_at_once() {
    let client = plane().client().await.unwrap();
    let (mut first, mut second) = (candidate(&client, "release", "a"), candidate(&client, "release", "b"));
    within("the first leads", first.acquire(|| {})).await;
    let standing_by = CancellationToken::new();
    let seen = standing_by.clone();
    let mut waiting = Box::pin(second.acquire(move || seen.cancel()));
    tokio::select! {
        () = &mut waiting => panic!("two lead"),
        () = standing_by.cancelled() => {}
    }
    // While the first keeps it, the second waits longer than the Lease's duration.
    tokio::select! {
        () = &mut waiting => panic!("the second took a Lease that is kept"),
        () = first.keep() => panic!("a kept Lease was lost"),
        () = tokio::time::sleep(LEASE + Duration::from_secs(2)) => {}
    }
    first.release().await;
    let begun = Instant::now();
    within("the second leads", waiting).await;
    assert!(begun.elapsed() < LEASE.mul_f64(0.4), "{:?}", begun.elapsed());
    let lease = Api::<Lease>::namespaced(client, "default").get("release").await.unwrap().spec.unwrap();
    assert_eq!((lease.holder_identity.as_deref(), lease.lease_transitions), (Some("b"), Some(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_dies_is_followed_before_the_leases_duration_is_over_and_one_that_lost_it_notices() {
    let client = plane().client().await.unwrap();
    let (mut first, mut second) = (candidate(&client, "death", "a"), candidate(&client, "death", "b"));
    within("the first leads", first.acquire(|| {})).await;
    let begun = Instant::now();
    within("the second leads", second.acquire(|| {})).await;
    let waited = begun.elapsed();
    assert!(waited >= LEASE.mul_f64(0.8) && waited < LEASE, "{waited:?}");
    within("the first notices", first.keep()).await;
    // What is not held is not released.
    first.release().await;
    let lease = Api::<Lease>::namespaced(client, "default").get("death").await.unwrap().spec.unwrap();
    assert_eq!(lease.holder_identity.as_deref(), Some("b"));
}

/// Clocks are compared nowhere: what a holder writes of the time means nothing, only that it writes.
#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_clock_of_a_holder_neither_loses_nor_keeps_the_lease() {
    let client = plane().client().await.unwrap();
    let api = Api::<Lease>::namespaced(client.clone(), "default");
    for (name, offset) in [("slow-clock", -86_400), ("fast-clock", 86_400)] {
        let there = Timestamp::now().checked_add(SignedDuration::from_secs(offset)).unwrap();
        let held = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
            "spec": {"holderIdentity": "a", "leaseDurationSeconds": LEASE.as_secs(), "acquireTime": MicroTime(there), "renewTime": MicroTime(there)}});
        api.patch(name, &PatchParams::apply("a"), &Patch::Apply(&held)).await.unwrap();
        let mut second = candidate(&client, name, "b");
        let begun = Instant::now();
        within("the second leads", second.acquire(|| {})).await;
        let waited = begun.elapsed();
        assert!(waited >= LEASE.mul_f64(0.8) && waited < LEASE, "{name}: {waited:?}");
    }
}

/// A control plane of its own: these tests change what all others share.
async fn own_plane() -> (ControlPlane, Client) {
    let options = ControlPlaneOptions { controllers: false, ..ControlPlaneOptions::default() };
    let plane = ControlPlane::start(options).await.unwrap();
    let client = plane.client().await.unwrap();
    (plane, client)
}

struct Running {
    readiness: Readiness,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn operator(client: &Client, namespaces: &[&str]) -> Running {
    let (readiness, stop) = (Readiness::default(), CancellationToken::new());
    let settings = settings(namespaces.iter().map(|name| (*name).to_owned()).collect());
    let run = controller::run(client.clone(), settings, Arc::new(Metrics::default()), readiness.clone(), stop.clone());
    Running { readiness, stop, task: tokio::spawn(run) }
}

async fn apply(client: &Client, name: &str, spec: serde_json::Value) {
    let resource = ApiResource::erase::<CatalystInstance>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource);
    let object = json!({"apiVersion": "catalyst.dev/v1alpha1", "kind": "CatalystInstance",
        "metadata": {"name": name}, "spec": spec});
    api.patch(name, &PatchParams::apply("user").force(), &Patch::Apply(&object)).await.unwrap();
}

async fn ready_reason(client: &Client, name: &str) -> Option<String> {
    let resource = ApiResource::erase::<CatalystInstance>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource);
    let object = api.get_opt(name).await.ok()??;
    let conditions = object.data.pointer("/status/conditions")?.as_array()?;
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
    Some(ready["reason"].as_str()?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_does_not_parse_stalls_itself_and_nothing_else() {
    let (_plane, client) = own_plane().await;
    install_crds(&client).await;
    // An older schema let it in.
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = "catalystinstances.catalyst.dev";
    let mut crd = crds.get(name).await.unwrap();
    for version in &mut crd.spec.versions {
        let properties = version.schema.as_mut().unwrap().open_api_v3_schema.as_mut().unwrap();
        properties.x_kubernetes_validations = None;
        let spec = properties.properties.as_mut().unwrap().get_mut("spec").unwrap();
        *spec = serde_json::from_value(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"replicas": {"type": "integer", "default": 1}}}))
        .unwrap();
    }
    crds.replace(name, &Default::default(), &crd).await.unwrap();
    until("the schema is gone", || async {
        let resource = ApiResource::erase::<CatalystInstance>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource);
        let object = json!({"apiVersion": "catalyst.dev/v1alpha1", "kind": "CatalystInstance",
            "metadata": {"name": "bad"}, "spec": {"ssh": 5}});
        api.patch("bad", &PatchParams::apply("user"), &Patch::Apply(&object)).await.ok()
    })
    .await;
    apply(&client, "good", json!({"ssh": {"host": "192.0.2.1", "user": "dev"}})).await;

    let operator = operator(&client, &[]);
    let is = |name: &'static str| ready_reason(&client, name);
    until("bad says so", || async { (is("bad").await? == "InvalidSpec").then_some(()) }).await;
    until("good goes on", || async { (is("good").await? != "InvalidSpec").then_some(()) }).await;
    // Corrected, it goes on too.
    apply(&client, "bad", json!({"ssh": {"host": "192.0.2.1", "user": "dev"}})).await;
    until("bad is good", || async { (is("bad").await? != "InvalidSpec").then_some(()) }).await;
    operator.stop.cancel();
    within("the operator stops", operator.task).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_crd_may_come_later_and_the_api_server_may_go_and_come_back() {
    let (plane, client) = own_plane().await;
    let operator = operator(&client, &["default", "kube-system"]);
    assert!(
        timeout(Duration::from_secs(2), until("ready", || async { operator.readiness.get().then_some(()) }))
            .await
            .is_err()
    );
    install_crds(&client).await;
    until("ready once the CRD is there", || async { operator.readiness.get().then_some(()) }).await;
    let spec = |replicas: i32| json!({"ssh": {"host": "192.0.2.1", "user": "dev"}, "replicas": replicas});
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let replicas = async |name: &str| deployments.get_opt(name).await.ok()??.spec?.replicas;
    apply(&client, "before", spec(1)).await;
    until("it has a Deployment", || replicas("before")).await;
    until("it is judged", || ready_reason(&client, "before")).await;

    // It goes while there is something to be done: the pods wait for the first contact with the VM.
    apply(&client, "amid", spec(1)).await;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "default");
    until("it is begun", || async { secrets.get_opt("amid-secrets").await.ok()? }).await;
    plane.stop_api_server().await.unwrap();
    plane.start_api_server().await.unwrap();
    until("the Deployment of the one amid which it went", || replicas("amid")).await;
    until("its status", || ready_reason(&client, "amid")).await;
    // The watches go on, of what was there before and of what comes.
    apply(&client, "before", spec(2)).await;
    until("the change of the one before", || async { (replicas("before").await? == 2).then_some(()) }).await;
    apply(&client, "after", spec(1)).await;
    until("the Deployment of the one after it", || replicas("after")).await;
    until("its status", || ready_reason(&client, "after")).await;
    operator.stop.cancel();
    within("the operator stops", operator.task).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_without_its_crd_still_stops_when_told() {
    let (_plane, client) = own_plane().await;
    let operator = operator(&client, &[]);
    operator.stop.cancel();
    within("the operator stops", operator.task).await.unwrap();
}

/// A VM that does not answer: nothing waits for it, because its host key is given.
fn spec(host: &str) -> serde_json::Value {
    json!({
        "ssh": {"host": "127.0.0.1", "port": 9, "user": "dev",
            "knownHosts": "[127.0.0.1]:9 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ"},
        "ingress": {"host": host},
    })
}

/// Awaits everything that an instance `x` has.
async fn whole(world: &World) {
    all_objects(world, "x").await;
    world.reason("x", "SSHConnectionRefused").await;
    // The controller's word on the Deployment becomes part of status, too.
    until("the Deployment is observed", || async {
        let status = world.api::<Deployment>().get("x").await.unwrap().status?;
        status.observed_generation.and(status.conditions)
    })
    .await;
}

/// What an instance takes until all is written and said; the test finds out that it is not more.
const WRITES: usize = 14;

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_dies_after_any_of_its_writes_leaves_what_the_next_one_brings_to_its_end() {
    let one = |point: usize| async move {
        let mut world = World::without_operator(&format!("death-{point}")).await;
        let death = Death::after(point);
        let client = faults::client(world.account(), death.decide()).await;
        world.start_operator_with(client).await;
        world.apply("x", spec(&format!("death-{point}.example.com"))).await;
        let all = async {
            whole(&world).await;
            world.settled().await;
        };
        tokio::select! {
            () = death.dead.cancelled() => {}
            () = all => return false,
        }
        until("the last write is there", || async { (world.writes().len() == point).then_some(()) }).await;
        world.kill_operator().await;
        world.start_operator().await;
        whole(&world).await;
        world.settled().await;
        let writes = world.writes();
        // A second attempt, by who cannot know of the first, makes nothing and replaces nothing.
        let secrets: Vec<_> = plane().writes().unwrap().into_iter().filter(|it| it.user == world.account()).collect();
        for secret in ["x-secrets", "x-ssh-key"] {
            let these = secrets.iter().filter(|write| write.resource == "secrets" && write.name == secret);
            let (made, refused): (Vec<_>, Vec<_>) = these.partition(|write| write.code == 201);
            assert_eq!(made.len(), 1, "after {point}: {writes:#?}");
            assert!(
                refused.iter().all(|write| write.verb == "create" && write.code == 409),
                "after {point}: {refused:#?}"
            );
        }
        let again = |object: &str| writes.iter().filter(|write| write.ends_with(object)).count();
        for object in ["configmaps x-config", "services x", "deployments x", "ingresses x", "networkpolicies x-policy"]
        {
            assert_eq!(again(object), 1, "{object} after {point}: {writes:#?}");
        }
        // The first looks at what the cluster's controllers have said meanwhile, and may add a word to status.
        world.another_pass("x", "one").await;
        let rested = world.writes();
        assert!(rested.len() <= writes.len() + 1, "after {point} more than a word is added: {rested:#?}");
        world.another_pass("x", "two").await;
        assert_eq!(world.writes(), rested, "after {point} it does not come to rest");
        true
    };
    let died = futures::future::join_all((1..=WRITES).map(one)).await;
    let points = died.iter().filter(|died| **died).count();
    assert!((9..WRITES).contains(&points), "died at {points} points: {died:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_refuses_everything_once_is_asked_again_until_all_is_done() {
    let mut world = World::without_operator("refusing").await;
    let kinds = &[
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (409, "Conflict"),
        (410, "Expired"),
        (503, "ServiceUnavailable"),
    ];
    let client = faults::client(world.account(), refuse_first(kinds)).await;
    world.apply("x", spec("refusing.example.com")).await;
    world.start_operator_with(client).await;
    whole(&world).await;
    world.settled().await;
    // The first may add a word to status, of what the cluster's controllers have said meanwhile.
    world.another_pass("x", "one").await;
    let writes = world.writes();
    world.another_pass("x", "two").await;
    assert_eq!(world.writes(), writes);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_at_once_make_one_of_everything_and_come_to_rest() {
    let mut world = World::without_operator("two").await;
    let (stop, readiness) = (CancellationToken::new(), Readiness::default());
    let client = plane().client_for(world.account(), Some("system:masters")).await.unwrap();
    let other = controller::run(
        client,
        settings(vec![world.namespace.clone()]),
        Arc::new(Metrics::default()),
        readiness.clone(),
        stop.clone(),
    );
    let other = tokio::spawn(other);
    until("the other is ready", || async { readiness.get().then_some(()) }).await;
    world.start_operator().await;
    world.apply("x", spec("two.example.com")).await;
    whole(&world).await;
    world.settled().await;
    let writes = world.writes();
    let instance = world.api::<CatalystInstance>().get("x").await.unwrap();
    let key = world.exists::<Secret>("x-ssh-key").await.data.unwrap()["id_ed25519.pub"].0.clone();
    let line = instance.status.unwrap().authorized_keys_line.unwrap();
    assert!(line.contains(String::from_utf8(key).unwrap().split_whitespace().nth(1).unwrap()), "{line}");
    world.another_pass("x", "one").await;
    assert_eq!(world.writes(), writes, "they fight");
    stop.cancel();
    within("the other stops", other).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_edit_of_somebody_else_is_answered_by_one_write_at_most() {
    let world = World::with_operator("edits").await;
    world.apply("x", spec("edits.example.com")).await;
    whole(&world).await;
    world.settled().await;
    let before = world.writes().len();
    for edit in 0..10 {
        world.edit::<ConfigMap>("x-config", json!({"data": {"SSH_HOST": format!("10.0.0.{edit}")}})).await;
        until("it is put back", || async {
            let map = world.api::<ConfigMap>().get("x-config").await.unwrap();
            (map.data?.get("SSH_HOST")? == "127.0.0.1").then_some(())
        })
        .await;
    }
    world.settled().await;
    let since = world.writes().split_off(before);
    assert_eq!(since, vec!["patch configmaps x-config"; 10]);
}

/// No namespace that goes takes as many writes: one for each object, its events, and a status or two.
const IN_VAIN: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_deleted_goes_with_all_instances_and_little_is_asked_for_in_vain() {
    let world = World::with_operator("going").await;
    world.apply("x", spec("going.example.com")).await;
    whole(&world).await;
    world.settled().await;
    let before = plane().writes().unwrap().len();
    let namespaces: Api<Namespace> = Api::all(world.admin.clone());
    namespaces.delete("going", &DeleteParams::background()).await.unwrap();
    until("the namespace goes", || async { namespaces.get_opt("going").await.unwrap().is_none().then_some(()) }).await;
    until("the instance is forgotten", || async {
        let text = world.metrics.text();
        let forgotten = text.contains("catalyst_operator_instances{phase=\"reconciling\"} 0");
        (forgotten && text.contains("catalyst_operator_queue_depth 0")).then_some(())
    })
    .await;
    world.settled().await;
    // Its objects go one by one and some before the instance, so the operator may miss them; the API server makes none in here any more.
    let since = plane().writes().unwrap().split_off(before);
    let ours: Vec<_> =
        since.iter().filter(|write| write.user == world.account() && write.namespace == "going").collect();
    let made: Vec<_> = ours.iter().filter(|write| write.code == 201 && write.resource != "events").collect();
    assert!(made.is_empty(), "{made:#?}");
    assert!(ours.len() <= IN_VAIN, "{ours:#?}");
}
