//! An operator that dies between any two writes of a change: the next one brings the change to its end.

use std::sync::atomic::{AtomicUsize, Ordering};

use catalyst_operator::crd::CatalystInstance;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
};
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::{
    faults::{self, Death},
    spec, whole,
    world::{
        World, until,
        vm::{at, authorize, pods_become_ready, sshd},
    },
};

/// Starts an operator that dies after `point` writes; whether it died before `done`.
async fn dies(world: &mut World, point: usize, done: impl AsyncFn(&World)) -> bool {
    let death = Death::after(point);
    let client = faults::client(world.account(), death.decide()).await;
    world.start_operator_with(client).await;
    let died = tokio::select! {
        () = death.dead.cancelled() => true,
        () = done(world) => false,
    };
    world.kill_operator().await;
    world.start_operator().await;
    done(world).await;
    world.settled().await;
    // The first may add a word to status, of what the cluster's controllers have said meanwhile.
    world.another_pass("x", "after").await;
    let writes = world.writes();
    world.another_pass("x", "rest").await;
    assert_eq!(world.writes(), writes, "it does not come to rest after {point}");
    died
}

/// An instance at rest, and no operator.
async fn at_rest(name: &str) -> World {
    let mut world = World::with_operator(name).await;
    world.apply("x", spec(&format!("{name}.example.com"))).await;
    whole(&world).await;
    world.settled().await;
    world.stop_operator().await;
    world
}

async fn everything_else_is_there(world: &World) {
    world.exists::<Service>("x").await;
    world.exists::<Deployment>("x").await;
}

/// Makes `change` and has it interrupted at every point; at how many points there was something to interrupt.
async fn at_every_point(
    name: &str,
    points: usize,
    change: impl AsyncFn(&World) + Copy,
    done: impl AsyncFn(&World) + Copy,
) -> usize {
    let died = AtomicUsize::new(0);
    let one = |point: usize| {
        let died = &died;
        async move {
            let mut world = at_rest(&format!("{name}-{point}")).await;
            change(&world).await;
            if dies(&mut world, point, done).await {
                died.fetch_add(1, Ordering::SeqCst);
            }
            everything_else_is_there(&world).await;
        }
    };
    futures::future::join_all((1..=points).map(one)).await;
    died.into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_removal_is_brought_to_its_end() {
    let change = async |world: &World| {
        let mut less = spec("");
        less["ingress"] = Value::Null;
        less["networkPolicy"] = json!({"enabled": false});
        world.apply("x", less).await;
    };
    let done = async |world: &World| {
        until("both go", || async {
            let ingress = world.api::<Ingress>().get_opt("x").await.unwrap();
            let policy = world.api::<NetworkPolicy>().get_opt("x-policy").await.unwrap();
            (ingress.is_none() && policy.is_none()).then_some(())
        })
        .await;
    };
    assert!(at_every_point("removal", 3, change, done).await >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_change_is_brought_to_its_end() {
    let change = async |world: &World| {
        let mut other = spec("other.example.com");
        other["replicas"] = json!(2);
        other["service"] = json!({"port": 8080});
        world.apply("x", other).await;
    };
    let done = async |world: &World| {
        until("all is changed", || async {
            let port = world.api::<Service>().get("x").await.unwrap().spec?.ports?[0].port;
            let replicas = world.api::<Deployment>().get("x").await.unwrap().spec?.replicas?;
            world.api::<PodDisruptionBudget>().get_opt("x").await.unwrap()?;
            (port == 8080 && replicas == 2).then_some(())
        })
        .await;
    };
    assert!(at_every_point("change", 5, change, done).await >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_repair_is_brought_to_its_end() {
    let change = async |world: &World| {
        let port = json!({"spec": {"ports": [{"name": "http", "port": 8080, "targetPort": 1, "protocol": "TCP"}]}});
        world.edit::<Service>("x", port).await;
        world.edit::<ConfigMap>("x-config", json!({"data": {"SSH_HOST": "10.0.0.1"}})).await;
    };
    let done = async |world: &World| {
        until("both are as they were", || async {
            let ports = world.api::<Service>().get("x").await.unwrap().spec?.ports?;
            let map = world.api::<ConfigMap>().get("x-config").await.unwrap().data?;
            (ports.len() == 1 && ports[0].port == 80 && map["SSH_HOST"] == "127.0.0.1").then_some(())
        })
        .await;
    };
    assert!(at_every_point("repair", 4, change, done).await >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_rotation_makes_new_values_once() {
    let change = async |world: &World| {
        let mut before = Secret { data: world.exists::<Secret>("x-secrets").await.data, ..Secret::default() };
        before.metadata.name = Some("before".to_owned());
        world.api::<Secret>().create(&PostParams::default(), &before).await.unwrap();
        let ask = json!({"metadata": {"annotations": {"catalyst.dev/rotate-cookie-secret": "1"}}});
        world.edit::<CatalystInstance>("x", ask).await;
    };
    let done = async |world: &World| {
        until("the request is answered", || async {
            let status = world.api::<CatalystInstance>().get("x").await.unwrap().status?;
            (status.cookie_secret_rotation.as_deref() == Some("1")).then_some(())
        })
        .await;
        let [now, before] = [world.exists::<Secret>("x-secrets").await, world.exists::<Secret>("before").await];
        let (now, before) = (now.data.unwrap(), before.data.unwrap());
        // One that came between would be the previous one.
        assert_eq!(now["COOKIE_SECRET_PREVIOUS"], before["COOKIE_SECRET"], "replaced twice: {:#?}", world.writes());
        assert_ne!(now["COOKIE_SECRET"], before["COOKIE_SECRET"]);
        assert!(world.api::<Secret>().get_opt("x-secrets-next").await.unwrap().is_none());
    };
    assert!(at_every_point("values", 5, change, done).await >= 4);
}

/// The new key is accepted while nobody looks, so that each operator meets all that is left to do.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_rotation_ends_with_the_key_that_the_vm_accepts_and_no_other() {
    let one = |point: usize| async move {
        let sshd = sshd().await;
        let mut world = World::with_operator(&format!("turn-{point}")).await;
        world.apply("x", at(&sshd)).await;
        authorize(&sshd, &world.reason("x", "SSHAuthRejected").await);
        pods_become_ready(&world).await;
        world.reason("x", "Available").await;
        let ask = json!({"metadata": {"annotations": {"catalyst.dev/rotate-ssh-key": "1"}}});
        world.edit::<CatalystInstance>("x", ask).await;
        let status = || async { world.api::<CatalystInstance>().get("x").await.unwrap().status.unwrap() };
        let next = until("the next line", || async { status().await.next_authorized_keys_line }).await;
        world.stop_operator().await;
        let path = sshd.authorized_keys_path();
        let lines = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{lines}{next}\n")).unwrap();
        let next = next.as_str();
        let done = async |world: &World| {
            until("the new key is in use", || async {
                let now = world.api::<CatalystInstance>().get("x").await.unwrap().status?;
                let over = now.next_authorized_keys_line.is_none() && now.ssh_key_rotation.as_deref() == Some("1");
                (over && now.authorized_keys_line.as_deref() == Some(next)).then_some(())
            })
            .await;
        };
        let died = dies(&mut world, point, done).await;
        assert!(world.api::<Secret>().get_opt("x-ssh-key-next").await.unwrap().is_none());
        world.exists::<Secret>("x-ssh-key").await;
        died
    };
    let died = futures::future::join_all((1..=5).map(one)).await;
    assert!(died.iter().filter(|died| **died).count() >= 3, "{died:?}");
}
