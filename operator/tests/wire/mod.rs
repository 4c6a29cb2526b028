//! An API server, or a way to it, that is slow, silent, or ends what it began.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use catalyst_operator::crd::CatalystInstance;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service},
};
use kube::api::DeleteParams;
use serde_json::json;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    faults::{self, Decide, End, Fault},
    spec, whole,
    world::{World, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_told_to_stop_cuts_off_what_does_not_end_by_itself() {
    let mut world = World::without_operator("stopping").await;
    let hangs = CancellationToken::new();
    let hung = hangs.clone();
    let decide: Decide = Arc::new(move |request| {
        if faults::writes(request) && request.uri().path().contains("/deployments/") {
            hung.cancel();
            return Fault::Swallow;
        }
        Fault::Pass
    });
    world.apply("x", spec("stopping.example.com")).await;
    let client = faults::client(world.account(), decide).await;
    world.start_operator_with(client).await;
    timeout(Duration::from_secs(60), hangs.cancelled()).await.unwrap();
    let begun = Instant::now();
    world.stop_operator().await;
    // A write that is not answered would hold it for ten. It is to take two; the rest is a busy machine's.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_api_server_and_events_that_never_arrive_keep_nothing_from_being_done() {
    let mut world = World::without_operator("slow").await;
    let decide: Decide = Arc::new(|request| {
        if request.uri().path().contains("/events") {
            return Fault::Swallow;
        }
        Fault::Late(Duration::from_millis(300))
    });
    world.apply("x", spec("slow.example.com")).await;
    let client = faults::client(world.account(), decide).await;
    world.start_operator_with(client).await;
    whole(&world).await;
}

/// The status, of which no answer comes, is tried again; without it nothing would be told.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_whose_answer_never_comes_is_written_again() {
    let mut world = World::without_operator("silent").await;
    let first = Mutex::new(true);
    let decide: Decide = Arc::new(move |request| {
        let status = faults::writes(request) && request.uri().path().ends_with("/x/status");
        if status && std::mem::take(&mut *first.lock().unwrap()) {
            return Fault::Swallow;
        }
        Fault::Pass
    });
    world.apply("x", spec("silent.example.com")).await;
    let client = faults::client(world.account(), decide).await;
    world.start_operator_with(client).await;
    whole(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_that_end_in_any_way_lose_nothing_and_lead_to_no_write() {
    let mut world = World::without_operator("watches").await;
    let client = faults::client(world.account(), faults::end_watches(&[End::Closed, End::Expired, End::Torn])).await;
    world.start_operator_with(client).await;
    world.apply("x", spec("watches.example.com")).await;
    whole(&world).await;
    for edit in 0..3 {
        world.edit::<ConfigMap>("x-config", json!({"data": {"SSH_HOST": format!("10.0.0.{edit}")}})).await;
        until("it is put back", || async {
            let map = world.api::<ConfigMap>().get("x-config").await.unwrap();
            (map.data?.get("SSH_HOST")? == "127.0.0.1").then_some(())
        })
        .await;
        world.api::<Service>().delete("x", &DeleteParams::default()).await.unwrap();
        world.exists::<Service>("x").await;
    }
    world.edit::<CatalystInstance>("x", json!({"spec": {"replicas": 2}})).await;
    until("the change is made", || async {
        (world.api::<Deployment>().get("x").await.unwrap().spec?.replicas? == 2).then_some(())
    })
    .await;
    world.settled().await;
    // What status says may still change: the looks at the VM go on.
    let objects = || world.writes().into_iter().filter(|write| !write.contains("/status")).collect::<Vec<_>>();
    let writes = objects();
    world.another_pass("x", "one").await;
    assert_eq!(objects(), writes);
}
