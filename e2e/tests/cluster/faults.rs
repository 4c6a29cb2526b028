//! The VM goes away in three ways: health says so with a reason, the pod leaves the Service, status and page explain it, and the pod comes back.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use catalyst_e2e::browser::Browser;
use catalyst_e2e::eventually::eventually;
use catalyst_e2e::instance::Instance;
use catalyst_lab::DevVm;
use serde_json::json;

use crate::alone;

/// How a VM goes away.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    SshdStopped,
    SshdFrozen,
    NetworkCut,
}

impl Fault {
    pub(crate) const ALL: [Self; 3] = [Self::SshdStopped, Self::SshdFrozen, Self::NetworkCut];

    /// For people, and as the namespace of its instance.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SshdStopped => "sshd-stopped",
            Self::SshdFrozen => "sshd-frozen",
            Self::NetworkCut => "network-cut",
        }
    }

    /// What health may call it.
    fn reasons(self) -> &'static [&'static str] {
        match self {
            Self::SshdStopped => &["ConnectionRefused"],
            Self::SshdFrozen => &["TimedOut"],
            Self::NetworkCut => &["TimedOut", "HostUnreachable"],
        }
    }

    async fn strike(self, vm: &DevVm) -> Result<()> {
        match self {
            Self::SshdStopped => vm.stop_sshd().await,
            Self::SshdFrozen => vm.freeze().await,
            Self::NetworkCut => vm.cut().await,
        }
    }

    async fn undo(self, vm: &DevVm) -> Result<()> {
        match self {
            Self::SshdStopped => vm.start_sshd().await,
            Self::SshdFrozen => vm.thaw().await,
            Self::NetworkCut => vm.mend().await,
        }
    }
}

/// What the loss of a VM may take to be seen in the Service and by the ingress, and so may its return.
const SEEN: Duration = Duration::from_secs(20);

/// What the page says while the ingress has nobody to ask.
const AWAY: &str = "takes no requests";

/// Strikes, and awaits that the pod has left the Service, with the right answers on the way.
pub(crate) async fn leaves(instance: &Instance<'_>, fault: Fault) -> Result<()> {
    let how = fault.name();
    fault.strike(instance.vm()).await?;
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
    println!("{how}: left the Service after {:.1} s, {health}", start.elapsed().as_secs_f64());
    await_code(instance, 503, SEEN.saturating_sub(start.elapsed())).await?;
    let code = instance.health_code().await?;
    ensure!(code == 503, "{how}: /api/health answers {code}");
    ensure!(fault.reasons().iter().any(|reason| health["reason"] == *reason), "{how}: {health}");
    Ok(())
}

/// Undoes it, and awaits that the pod is back in the Service and reached through the ingress.
pub(crate) async fn returns(instance: &Instance<'_>, fault: Fault) -> Result<()> {
    let how = fault.name();
    fault.undo(instance.vm()).await?;
    let start = Instant::now();
    eventually(&format!("{how} undone: the pod is back"), SEEN, || async {
        match instance.ready_endpoints().await? {
            0 => Err(anyhow!("not ready: {}", instance.health().await?)),
            _ => Ok(()),
        }
    })
    .await?;
    let in_service = start.elapsed();
    await_code(instance, 200, SEEN.saturating_sub(in_service)).await?;
    let (service, ingress) = (in_service.as_secs_f64(), start.elapsed().as_secs_f64());
    println!("{how} undone: back in the Service after {service:.1} s, through the ingress after {ingress:.1} s");
    Ok(())
}

async fn await_code(instance: &Instance<'_>, wanted: u16, deadline: Duration) -> Result<()> {
    eventually(&format!("{wanted} from the ingress"), deadline, || async {
        let (code, body) = instance.http_get("/api/health").await?;
        if code == wanted { Ok(()) } else { Err(anyhow!("{code}: {body}")) }
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_lost_vm_is_explained_by_status_and_by_the_page_until_it_is_back() -> Result<()> {
    let turn = alone().await;
    let stage = turn.stage;
    let vm = stage.lab().vm();
    let instance = Instance::ready(stage, "faults", json!({})).await?;
    let browser = Browser::start().await?;
    browser.sign_in(&instance.url(), &instance.secret().await?).await?;
    // The page's worker has to hold its shell before it can explain anything.
    browser.reload().await?;
    let outcome = async {
        leaves(&instance, Fault::SshdStopped).await?;
        // The operator says so too, with what to do.
        let (message, _) =
            instance.await_condition("Ready", "False", Some("SSHConnectionRefused"), Duration::from_secs(60)).await?;
        ensure!(message.contains(&vm.address().to_string()), "the host is not named: {message}");
        // Who opened the app before gets its shell, where the ingress has nobody to ask and answers 503.
        browser.open(&instance.url()).await?;
        browser.await_text(AWAY, Duration::from_secs(30)).await?;
        browser.screenshot("8-vm-away").await?;
        returns(&instance, Fault::SshdStopped).await?;
        eventually("the page has caught up by itself", Duration::from_secs(60), || async {
            let page = browser.text().await?;
            ensure!(!page.contains(AWAY), "{page}");
            anyhow::Ok(())
        })
        .await?;
        browser.close().await?;
        instance.await_ready(Duration::from_secs(60)).await.map(drop)
    }
    .await;
    // Whatever was done to the VM is undone for the next case.
    let mended = vm.up().await;
    outcome?;
    mended?;
    instance.delete().await
}

#[tokio::test]
async fn a_page_on_which_claude_works_tells_that_the_vm_is_cut_off_and_goes_on_when_it_is_back() -> Result<()> {
    let turn = alone().await;
    let stage = turn.stage;
    let instance = Instance::ready(stage, "working", json!({})).await?;
    let browser = Browser::start().await?;
    browser.sign_in(&instance.url(), &instance.secret().await?).await?;
    browser.new_idea("Cut off", "The VM goes while Claude works.").await?;
    browser.say("SLOW 40").await?;
    browser.ticks_reach(3).await?;
    let fault = Fault::NetworkCut;
    fault.strike(instance.vm()).await?;
    let outcome = async {
        let told = ["The dev-VM is away.", "The server takes no requests."];
        let ((), took) = eventually("the page says so", Duration::from_secs(40), || async {
            let page = browser.text().await?;
            let told = told.iter().any(|words| page.contains(words));
            ensure!(told, "{page}\nthrough the ingress: {:?}", instance.http_get("/api/health").await);
            anyhow::Ok(())
        })
        .await?;
        println!("told by the page after {:.1} s", took.as_secs_f64());
        ensure!(!browser.text().await?.contains("\nConnected\n"), "{}", browser.text().await?);
        anyhow::Ok(())
    }
    .await;
    let mended = fault.undo(instance.vm()).await;
    outcome?;
    mended?;
    browser.results_reach(1).await?;
    ensure!(browser.ticks().await? == (0..40).collect::<Vec<_>>(), "{:?}", browser.ticks().await?);
    browser.close().await?;
    instance.delete().await
}
