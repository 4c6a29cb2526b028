//! What is carried out is what was planned, on what it was planned for: an object that changed hands meanwhile is left alone.

use std::time::Duration;

use catalyst_operator::{
    crd::CatalystInstance,
    migrate::{adopt::AdoptError, seen::Observed, step::Step},
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret},
};
use kube::{ResourceExt, api::DeleteParams};
use serde_json::json;

use super::{adoption, migrated, release};
use crate::world::{World, until};

/// The object of a kind and name that was seen of the release.
fn of_release(seen: &Observed, kind: &str, name: &str) -> catalyst_operator::migrate::seen::ObjectSeen {
    seen.marked.iter().find(|one| one.object.kind == kind && one.object.name == name).unwrap().object.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_not_the_one_that_was_planned_for_any_more_is_not_touched() {
    let world = World::without_operator("precise").await;
    release::install(&world).await;
    release::helm::<ConfigMap>(&world, "catalyst", json!({"metadata": {"name": "extra"}, "data": {"a": "1"}})).await;
    release::helm::<ConfigMap>(&world, "catalyst", json!({"metadata": {"name": "given"}, "data": {"a": "1"}})).await;
    let adoption = adoption(&world, migrated(true).instance, Duration::from_secs(10)).await;
    let seen = adoption.observe().await.unwrap();
    let overtaken = async |step: Step| match adoption.carry_out(&seen, &step, &mut |_| ()).await {
        Err(AdoptError::Overtaken(object)) => object.name,
        other => panic!("{step}: {other:?}"),
    };

    // Another one of that name, though with the release's marks.
    world.api::<ConfigMap>().delete("extra", &DeleteParams::default()).await.unwrap();
    release::helm::<ConfigMap>(&world, "catalyst", json!({"metadata": {"name": "extra"}, "data": {"a": "2"}})).await;
    assert_eq!(overtaken(Step::Remove(of_release(&seen, "ConfigMap", "extra"))).await, "extra");
    assert_eq!(world.exists::<ConfigMap>("extra").await.data.unwrap()["a"], "2");

    // The same one, which another release has taken over.
    world
        .edit::<ConfigMap>("given", json!({"metadata": {"annotations": {"meta.helm.sh/release-name": "other"}}}))
        .await;
    assert_eq!(overtaken(Step::Remove(of_release(&seen, "ConfigMap", "given"))).await, "given");
    world.exists::<ConfigMap>("given").await;

    // A Deployment that somebody has made anew.
    let deployment = world.exists::<Deployment>("catalyst").await;
    world.api::<Deployment>().delete("catalyst", &DeleteParams::foreground()).await.unwrap();
    until("the Deployment is gone", || async {
        world.api::<Deployment>().get_opt("catalyst").await.unwrap().is_none().then_some(())
    })
    .await;
    let mut anew = json!({"metadata": {"name": "catalyst"}, "spec": deployment.spec});
    anew["spec"]["replicas"] = json!(0);
    release::helm::<Deployment>(&world, "catalyst", anew).await;
    assert_eq!(overtaken(Step::Detach(of_release(&seen, "Deployment", "catalyst"))).await, "catalyst");
    assert!(world.exists::<Deployment>("catalyst").await.metadata.deletion_timestamp.is_none());

    // Nothing belongs to an instance that is not there, or it would be deleted with it.
    let name = overtaken(Step::TakeOver(of_release(&seen, "ConfigMap", "catalyst-config"))).await;
    assert_eq!(name, "catalyst");
    let untouched = world.exists::<ConfigMap>("catalyst-config").await;
    assert!(
        untouched.owner_references().is_empty() && untouched.annotations().contains_key("meta.helm.sh/release-name")
    );

    // What is gone needs no deleting, and what is as it was planned of is deleted.
    world.api::<ConfigMap>().delete("extra", &DeleteParams::default()).await.unwrap();
    let seen = adoption.observe().await.unwrap();
    let record = Step::Forget(seen.records.clone());
    for _ in 0..2 {
        adoption.carry_out(&seen, &record, &mut |_| ()).await.unwrap();
    }
    assert!(world.api::<Secret>().get_opt("sh.helm.release.v1.catalyst.v1").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_of_which_nothing_can_be_made_takes_nothing_over() {
    let world = World::without_operator("invalid").await;
    release::install(&world).await;
    let mut instance = migrated(true).instance;
    instance.spec.ssh.known_hosts = Some("no line of known_hosts".into());
    let adoption = adoption(&world, instance, Duration::from_secs(5)).await;
    let before = world.exists::<ConfigMap>("catalyst-config").await.metadata.resource_version;
    for outcome in [adoption.plan().await.map(|_| ()), adoption.next(&mut |_| ()).await.map(|_| ())] {
        match outcome {
            Err(AdoptError::Invalid { name, problems }) => {
                assert!(name == "catalyst" && problems.contains("knownHosts"), "{problems}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(world.api::<CatalystInstance>().get_opt("catalyst").await.unwrap().is_none());
    assert_eq!(world.exists::<ConfigMap>("catalyst-config").await.metadata.resource_version, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_new_pods_are_awaited_it_is_told_what_keeps_them_and_the_live_instance_counts() {
    let world = World::with_operator("waiting").await;
    release::install(&world).await;
    let short = json!({"stringData": {"CATALYST_SECRET": "CHANGE_ME"}});
    world.edit::<Secret>("catalyst-secrets", short).await;
    let adoption = adoption(&world, migrated(true).instance, Duration::from_secs(20)).await;
    let mut told = Vec::new();
    let error = loop {
        match adoption.next(&mut |line| told.push(line.to_owned())).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it came to its end"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("the new pods are ready. The operator says SecretInvalid: "), "{error}");
    assert!(told.iter().any(|line| line.starts_with("waiting: SecretInvalid: ")), "{told:?}");
    // From here on what the instance in the cluster says is what is wanted of the release, not the values.
    world.edit::<CatalystInstance>("catalyst", json!({"spec": {"networkPolicy": {"enabled": false}}})).await;
    let wanted = adoption.observe().await.unwrap().wanted;
    assert!(!wanted.is_empty() && !wanted.iter().any(|one| one.kind == "NetworkPolicy"), "{wanted:?}");
}
