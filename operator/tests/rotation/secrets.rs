//! Replacing the generated values of the application Secret on request.

use std::collections::BTreeMap;

use catalyst_operator::crd::{CatalystInstance, CatalystInstanceStatus};
use k8s_openapi::{
    ByteString,
    api::{apps::v1::Deployment, core::v1::Secret},
};
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use super::HOST_KEY;
use crate::world::{World, until};

async fn ask(world: &World, annotation: &str, value: Value) {
    world.edit::<CatalystInstance>("x", json!({"metadata": {"annotations": {annotation: value}}})).await;
}

/// Awaits what status says then.
async fn status(world: &World, what: &str, wanted: impl Fn(&CatalystInstanceStatus) -> bool) -> CatalystInstanceStatus {
    until(what, || async { world.api::<CatalystInstance>().get("x").await.unwrap().status.filter(&wanted) }).await
}

async fn values(world: &World, name: &str) -> BTreeMap<String, ByteString> {
    world.exists::<Secret>(name).await.data.unwrap()
}

async fn checksum(world: &World) -> String {
    let deployment: Deployment = world.exists("x").await;
    let template = deployment.spec.unwrap().template.metadata.unwrap();
    template.annotations.unwrap()["catalyst.dev/secret-checksum"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_generated_secret_is_replaced_on_request_and_the_cookies_of_the_one_before_stay_valid() {
    let world = World::with_operator("renewal").await;
    world.apply("x", json!({"ssh": {"host": "192.0.2.1", "user": "dev", "knownHosts": HOST_KEY}})).await;
    let first = values(&world, "x-secrets").await;
    let before = checksum(&world).await;

    ask(&world, "catalyst.dev/rotate-cookie-secret", json!("1")).await;
    let told =
        status(&world, "the cookie secret is another", |status| status.cookie_secret_rotation.as_deref() == Some("1"))
            .await;
    assert_eq!(told.catalyst_secret_rotation, None);
    let second = values(&world, "x-secrets").await;
    assert_eq!(second["CATALYST_SECRET"], first["CATALYST_SECRET"], "people sign in as before");
    assert_ne!(second["COOKIE_SECRET"], first["COOKIE_SECRET"]);
    assert_eq!(second["COOKIE_SECRET_PREVIOUS"], first["COOKIE_SECRET"]);
    let rolled = until("the pods are replaced", || async {
        let now = checksum(&world).await;
        (now != before).then_some(now)
    })
    .await;
    until("the event", || async {
        world.events("SecretRotated").await.iter().any(|note| note.contains("stay valid")).then_some(())
    })
    .await;

    ask(&world, "catalyst.dev/rotate-catalyst-secret", json!("1")).await;
    status(&world, "the sign-in secret is another", |status| status.catalyst_secret_rotation.as_deref() == Some("1"))
        .await;
    let third = values(&world, "x-secrets").await;
    assert_ne!(third["CATALYST_SECRET"], second["CATALYST_SECRET"]);
    assert_eq!(third["COOKIE_SECRET"], second["COOKIE_SECRET"]);
    until("the pods are replaced again", || async { (checksum(&world).await != rolled).then_some(()) }).await;
    assert!(world.api::<Secret>().get_opt("x-secrets-next").await.unwrap().is_none());
    // No value is in any event.
    for note in world.events("SecretRotated").await {
        for value in third.values().chain(first.values()) {
            assert!(!note.contains(std::str::from_utf8(&value.0).unwrap()), "{note}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_dies_after_the_values_in_use_were_deleted_has_left_those_that_take_their_place() {
    let mut world = World::with_operator("renewal-death").await;
    world.apply("x", json!({"ssh": {"host": "192.0.2.1", "user": "dev", "knownHosts": HOST_KEY}})).await;
    let first = world.exists::<Secret>("x-secrets").await;
    world.exists::<Deployment>("x").await;
    status(&world, "a status", |status| !status.conditions.is_empty()).await;
    world.stop_operator().await;

    // As an operator leaves it that dies right there.
    let mut next = Secret { data: first.data.clone(), ..Secret::default() };
    next.metadata.name = Some("x-secrets-next".to_owned());
    next.metadata.owner_references = first.metadata.owner_references.clone();
    next.metadata.labels = first.metadata.labels.clone();
    next.metadata.annotations = Some([("catalyst.dev/rotate-cookie-secret".to_owned(), "1".to_owned())].into());
    let data = next.data.as_mut().unwrap();
    data.insert("COOKIE_SECRET".to_owned(), ByteString(b"another-cookie-secret".to_vec()));
    data.insert("COOKIE_SECRET_PREVIOUS".to_owned(), first.data.as_ref().unwrap()["COOKIE_SECRET"].clone());
    let next = world.api::<Secret>().create(&PostParams::default(), &next).await.unwrap();
    ask(&world, "catalyst.dev/rotate-cookie-secret", json!("1")).await;
    world.api::<Secret>().delete("x-secrets", &DeleteParams::default()).await.unwrap();
    world.start_operator().await;
    status(&world, "the rotation has ended", |status| status.cookie_secret_rotation.as_deref() == Some("1")).await;
    assert_eq!(world.exists::<Secret>("x-secrets").await.data, next.data, "the values are lost, others were generated");
    assert!(world.api::<Secret>().get_opt("x-secrets-next").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_own_secret_is_not_replaced_but_told_how_to_be() {
    let world = World::with_operator("renewal-own").await;
    let mine: Secret = serde_json::from_value(json!({"metadata": {"name": "mine"},
        "stringData": {"CATALYST_SECRET": "0123456789abcdef", "COOKIE_SECRET": "fedcba9876543210"}}))
    .unwrap();
    world.api::<Secret>().create(&PostParams::default(), &mine).await.unwrap();
    let ssh = json!({"host": "192.0.2.1", "user": "dev", "knownHosts": HOST_KEY});
    world.apply("x", json!({"ssh": ssh, "secrets": {"existingSecret": "mine"}})).await;
    let before = values(&world, "mine").await;
    world.exists::<Deployment>("x").await;
    ask(&world, "catalyst.dev/rotate-catalyst-secret", json!("1")).await;
    status(&world, "the request is answered", |status| status.catalyst_secret_rotation.as_deref() == Some("1")).await;
    let notes = world.events("SecretRotationRefused").await;
    assert!(notes.iter().any(|note| note.contains("Secret mine are yours")), "{notes:?}");
    assert_eq!(values(&world, "mine").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_while_nobody_works_is_carried_out_beside_what_was_done_and_not_noted() {
    let mut world = World::with_operator("renewal-late").await;
    world.apply("x", json!({"ssh": {"host": "192.0.2.1", "user": "dev", "knownHosts": HOST_KEY}})).await;
    world.exists::<Deployment>("x").await;
    status(&world, "a status", |status| !status.conditions.is_empty()).await;
    world.stop_operator().await;

    // As an operator leaves it that dies before it has noted that the other request is carried out.
    let answers = json!({"metadata": {"annotations": {"catalyst.dev/rotate-catalyst-secret": "1"}}});
    world.edit::<Secret>("x-secrets", answers).await;
    let first = world.exists::<Secret>("x-secrets").await;
    let mut next = Secret { data: first.data.clone(), ..Secret::default() };
    next.metadata.name = Some("x-secrets-next".to_owned());
    next.metadata.owner_references = first.metadata.owner_references.clone();
    world.api::<Secret>().create(&PostParams::default(), &next).await.unwrap();
    ask(&world, "catalyst.dev/rotate-catalyst-secret", json!("1")).await;
    ask(&world, "catalyst.dev/rotate-cookie-secret", json!("1")).await;
    world.start_operator().await;
    let told =
        status(&world, "both are answered", |status| status.cookie_secret_rotation.as_deref() == Some("1")).await;
    assert_eq!(told.catalyst_secret_rotation.as_deref(), Some("1"));
    let (first, now) = (first.data.unwrap(), values(&world, "x-secrets").await);
    assert_eq!(now["CATALYST_SECRET"], first["CATALYST_SECRET"], "replaced a second time");
    assert_ne!(now["COOKIE_SECRET"], first["COOKIE_SECRET"], "noted, and not replaced");
    assert!(world.api::<Secret>().get_opt("x-secrets-next").await.unwrap().is_none());
}
