//! The VM goes away in three ways: health says so with a reason, the pod leaves the Service, comes back, and is not restarted for it.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use catalyst_e2e::browser::Browser;
use catalyst_e2e::eventually::eventually;
use catalyst_e2e::instance::Instance;
use catalyst_lab::DevVm;
use serde_json::json;

use crate::stage;

/// What the issue of a lost VM may take to be seen in the Service, and so may its return.
const SEEN: Duration = Duration::from_secs(20);

/// What the page says while the ingress has nobody to ask.
const AWAY: &str = "takes no requests";

async fn leaves(instance: &Instance<'_>, how: &str) -> Result<String> {
    let start = Instant::now();
    let (health, _) = eventually(&format!("{how}: health is degraded"), SEEN, || async {
        let health = instance.health().await?;
        if health["status"] == "degraded" { Ok(health) } else { Err(anyhow!("{health}")) }
    })
    .await?;
    eventually(&format!("{how}: the pod leaves the Service"), SEEN.saturating_sub(start.elapsed()), || async {
        match instance.ready_endpoints().await? {
            0 => Ok(()),
            ready => Err(anyhow!("{ready} ready")),
        }
    })
    .await?;
    ensure!(instance.health_fails().await?, "{how}: /api/health must answer 503");
    println!("{how}: left the Service after {:.1} s, {health}", start.elapsed().as_secs_f64());
    ensure!(instance.http_get("/api/health").await?.0 == 503, "the ingress must have nobody to ask");
    health["reason"].as_str().map(str::to_owned).ok_or_else(|| anyhow!("no reason: {health}"))
}

async fn returns(instance: &Instance<'_>, how: &str) -> Result<()> {
    let ((), took) = eventually(&format!("{how} undone: the pod is back"), SEEN, || async {
        match instance.ready_endpoints().await? {
            0 => Err(anyhow!("not ready: {}", instance.health().await?)),
            _ => Ok(()),
        }
    })
    .await?;
    println!("{how} undone: back after {:.1} s", took.as_secs_f64());
    Ok(())
}

/// Whatever a case did to the VM is undone for the next one.
async fn mend(vm: &DevVm) -> Result<()> {
    vm.thaw().await?;
    vm.mend().await?;
    vm.start_sshd().await
}

#[tokio::test]
async fn a_lost_vm_takes_the_pod_out_of_the_service_with_a_reason_and_back_without_a_restart() -> Result<()> {
    let stage = stage().await;
    let vm = stage.lab().vm();
    let instance = Instance::ready(stage, "faults", json!({})).await?;
    let browser = Browser::start().await?;
    browser.sign_in(&instance.url(), &instance.secret().await?).await?;
    // The page's worker has to hold its shell before it can explain anything.
    browser.reload().await?;
    let outcome = async {
        vm.stop_sshd().await?;
        let reason = leaves(&instance, "sshd stopped").await?;
        ensure!(reason == "ConnectionRefused", "{reason}");
        // The operator says so too, with what to do.
        let (message, _) =
            instance.await_condition("Ready", "False", Some("SSHConnectionRefused"), Duration::from_secs(60)).await?;
        ensure!(message.contains(&vm.address().to_string()), "the host is not named: {message}");
        // Who opened the app before gets its shell, where the ingress has nobody to ask and answers 503.
        browser.open(&instance.url()).await?;
        browser.await_text(AWAY, Duration::from_secs(30)).await?;
        browser.screenshot("8-vm-away").await?;
        vm.start_sshd().await?;
        returns(&instance, "sshd stopped").await?;
        eventually("the page has caught up by itself", Duration::from_secs(60), || async {
            let page = browser.text().await?;
            ensure!(!page.contains(AWAY), "{page}");
            anyhow::Ok(())
        })
        .await?;
        browser.close().await?;

        vm.freeze().await?;
        let reason = leaves(&instance, "sshd frozen").await?;
        ensure!(reason == "TimedOut", "{reason}");
        vm.thaw().await?;
        returns(&instance, "sshd frozen").await?;

        // The network is cut for five minutes: longer than anything that restarts a pod too eagerly would wait.
        let before = instance.pods().await?;
        let cut = Instant::now();
        vm.cut().await?;
        let reason = leaves(&instance, "network cut").await?;
        ensure!(["TimedOut", "HostUnreachable"].contains(&reason.as_str()), "{reason}");
        tokio::time::sleep(Duration::from_secs(300).saturating_sub(cut.elapsed())).await;
        let after = instance.pods().await?;
        ensure!(!after.is_empty() && after == before, "the pods were {before:?}, and five minutes later are {after:?}");
        vm.mend().await?;
        returns(&instance, "network cut").await?;
        instance.await_ready(Duration::from_secs(60)).await.map(drop)
    }
    .await;
    let mended = mend(&vm).await;
    outcome?;
    mended?;
    instance.delete().await
}
