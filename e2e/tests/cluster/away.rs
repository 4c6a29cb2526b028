//! A VM that is away for long, in each way: its pods wait out of the Service and are not restarted. First of the cases that take long (they
//! begin in the order of their names), since the others have their turns while it waits.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use catalyst_e2e::instance::Instance;
use catalyst_lab::DevVm;
use serde_json::json;

use crate::faults::{Fault, leaves, returns};
use crate::{Turn, alone};

/// How long a pod has to bear it without a restart.
const AWAY_FOR: Duration = Duration::from_secs(300);

#[tokio::test]
async fn a_vm_that_is_away_for_five_minutes_takes_the_pod_out_of_the_service_and_back_and_never_restarts_it()
-> Result<()> {
    let mut turn = alone().await;
    let lab = turn.stage.lab();
    // None of them is the VM of the other cases, which have their turns while this one waits.
    let vms = [lab.further_vm(1), lab.further_vm(2), lab.further_vm(3)];
    let outcome = async {
        tokio::try_join!(vms[0].up(), vms[1].up(), vms[2].up())?;
        away(&mut turn, vms.clone()).await
    }
    .await;
    let mended = tokio::try_join!(vms[0].down(), vms[1].down(), vms[2].down());
    outcome?;
    mended.map(drop)
}

/// An instance on a VM of its own for each way of going away, so that all share one wait.
async fn away(turn: &mut Turn, [first, second, third]: [DevVm; 3]) -> Result<()> {
    let stage = turn.stage;
    let [stopped, frozen, cut] = Fault::ALL;
    let ready = |fault: Fault, vm| Instance::ready_with(stage, vm, fault.name(), json!({}));
    let (one, two, three) = tokio::try_join!(ready(stopped, first), ready(frozen, second), ready(cut, third))?;
    let all = [&one, &two, &three];
    let mut before = Vec::new();
    for instance in all {
        before.push(instance.pods().await?);
    }
    let start = Instant::now();
    tokio::try_join!(leaves(&one, stopped), leaves(&two, frozen), leaves(&three, cut))?;
    // Longer than anything that restarts a pod too eagerly would wait. Shows an absence, so there is nothing to await.
    turn.let_others(AWAY_FOR.saturating_sub(start.elapsed())).await;
    let waited = start.elapsed().as_secs();
    for (instance, before) in all.into_iter().zip(before) {
        let (how, after) = (instance.namespace(), instance.pods().await?);
        ensure!(
            !after.is_empty() && after == before,
            "{how}: the pods were {before:?}, and {waited} s later {after:?}"
        );
        ensure!(after.iter().all(|(_, restarts)| *restarts == 0), "{how}: restarted: {after:?}");
        ensure!(instance.ready_endpoints().await? == 0, "{how}: it is in the Service without its VM");
        println!("{how}: the same pods {waited} s later: {after:?}");
    }
    tokio::try_join!(returns(&one, stopped), returns(&two, frozen), returns(&three, cut))?;
    for instance in all {
        instance.await_ready(Duration::from_secs(60)).await?;
    }
    tokio::try_join!(one.delete(), two.delete(), three.delete()).map(drop)
}
