//! Pods are replaced under load, by a change that works and by two that do not: no reading request fails (one that breaks with a kept
//! connection is asked once more), and status says what is wrong while the old pods serve on.

use std::time::Duration;

use anyhow::{Result, ensure};
use catalyst_e2e::eventually::eventually;
use catalyst_e2e::instance::Instance;
use catalyst_e2e::load::Load;
use serde_json::{Value, json};

use crate::alone;

/// Requests around each change.
const ENOUGH: usize = 120;
const DEADLINE: Duration = Duration::from_secs(120);

async fn change(instance: &Instance<'_>, spec: Value) -> Result<()> {
    let patch = json!({"spec": spec}).to_string();
    instance.kubectl(&["patch", "cati/catalyst", "--type=merge", "-p", &patch]).await?;
    Ok(())
}

/// The names of the pods, in order.
async fn names(instance: &Instance<'_>) -> Result<Vec<String>> {
    let mut names: Vec<String> = instance.pods().await?.into_iter().map(|(name, _)| name).collect();
    names.sort();
    Ok(names)
}

/// Waits until `Ready` has this reason, and that its message says that the old pods serve.
async fn serves_on(instance: &Instance<'_>, reason: &str) -> Result<()> {
    let (message, _) = instance.await_condition("Ready", "False", Some(reason), DEADLINE).await?;
    ensure!(message.contains("go on serving"), "{reason}: {message}");
    Ok(())
}

/// Waits until there are no other pods than these, which served all the time.
async fn only(instance: &Instance<'_>, these: &[String]) -> Result<()> {
    eventually("the pods that served are left", DEADLINE, || async {
        let now = names(instance).await?;
        ensure!(now == these, "{now:?}, not {these:?}");
        Ok(())
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn pods_are_replaced_without_a_failed_request_and_a_bad_image_or_a_pod_too_large_leaves_the_old_ones_serving()
-> Result<()> {
    let turn = alone().await;
    let stage = turn.stage;
    let instance = Instance::ready(stage, "rollout", json!({})).await?;
    let first = names(&instance).await?;
    let load = Load::start(stage, &instance)?;
    load.goes_on(ENOUGH).await?;

    // The same image by its long name is another one to the Deployment.
    change(&instance, json!({"image": {"repository": "docker.io/library/catalyst-proxy"}})).await?;
    instance.await_ready(DEADLINE).await?;
    load.goes_on(ENOUGH).await?;
    let (second, _) = eventually("the old pods are gone", DEADLINE, || async {
        let second = names(&instance).await?;
        ensure!(first.iter().all(|pod| !second.contains(pod)), "not replaced: {first:?}, {second:?}");
        Ok(second)
    })
    .await?;
    let told = instance.get("cati/catalyst").await?["status"]["lastRollout"].clone();
    ensure!(told.to_string().contains("image"), "the cause is not told: {told}");

    change(&instance, json!({"image": {"tag": "0.0.0-nobody-has-made-it"}})).await?;
    serves_on(&instance, "ImagePullFailed").await?;
    load.goes_on(ENOUGH).await?;
    change(&instance, json!({"image": {"tag": null}})).await?;
    instance.await_ready(DEADLINE).await?;
    only(&instance, &second).await?;

    change(&instance, json!({"resources": {"requests": {"cpu": "1000"}, "limits": {"cpu": "1000"}}})).await?;
    serves_on(&instance, "PodUnschedulable").await?;
    load.goes_on(ENOUGH).await?;
    change(&instance, json!({"resources": null})).await?;
    instance.await_ready(DEADLINE).await?;
    only(&instance, &second).await?;

    let (requests, failures) = load.end().await?;
    println!("{requests} requests, of which {} failed", failures.len());
    ensure!(failures.is_empty(), "{} of {requests} failed, the first at {:?}", failures.len(), failures.first());
    instance.delete().await
}
