//! Many instances that run: their pods are on nodes that are objects alone, where kwok says that they are Ready.
//!
//! So the operator has the work of a cluster's whole life with them, and the machine has none of the pods'. What is measured
//! is what the operator holds and takes; how long it all takes is the API server's matter as well.

use std::path::Path;

use anyhow::Context as _;
use catalyst_bench::table::{Table, Wanted};
use catalyst_lab::ControlPlaneOptions;
use tokio::time::{Duration, Instant};

use crate::{
    changes,
    process::Operator,
    stage::{NAMESPACES, Stage, serving},
};

/// Pods of a node: those of its range of addresses.
const PODS: usize = 250;
/// At most as many instances are in a namespace: whoever has ten thousand has not all in ten.
const TOGETHER: usize = 100;
/// What the operator says of an instance whose pods serve.
const AVAILABLE: &str = "Available";
/// An API server that has so much to do answers late at times, and an operator that cannot renew its Lease ends.
const LEASE: (&str, &str) = ("LEASE_SECONDS", "120");

/// `rest`: seconds at rest.
pub(crate) async fn measure(binary: &Path, many: usize, rest: u64, table: &mut Table) -> anyhow::Result<()> {
    let options = ControlPlaneOptions {
        scheduler: true,
        // In MB: the log is read to its end, so it must not be put away meanwhile.
        api_server_flags: vec!["--audit-log-maxsize=10000".to_owned()],
        ..ControlPlaneOptions::default()
    };
    let mut stage = Stage::start(binary, options).await?;
    stage.spread_over(many.div_ceil(TOGETHER).max(NAMESPACES));
    stage.add_fake_nodes(many.div_ceil(PODS) + 1, PODS).await?;
    let remark = |what: &str| format!("{what}; {many} instances that run");

    let mut operator = Operator::start_with(&[LEASE], binary, &stage, "fleet").await?;
    let creating = operator.while_it_runs(changes::create(&stage, many, serving, AVAILABLE));
    let created = creating.await.context("creating instances")?;
    let what = format!("{many} instances, their pods on nodes that kwok plays");
    table.add(&what, created, "s", Wanted::Nothing, "created at once, until the last is Ready");
    operator.calm(many).await?;
    let (cpu, writes) = (operator.cpu()?, stage.operators_writes()?.len());
    let each = |total: f64| total / many as f64;
    table.add("resident memory", operator.rss()?, "MiB", Wanted::Nothing, remark("at rest after they were made"));
    table.add("resident memory, at its peak", operator.peak()?, "MiB", Wanted::Nothing, remark("while they were made"));
    let one = format!("{:.0} ms an instance", each(cpu) * 1000.0);
    table.add("CPU time of the operator's process", cpu, "s", Wanted::Nothing, remark(&one));
    let made = each(writes as f64);
    table.add("writes of the operator's account but its Lease", made, "", Wanted::Nothing, remark("an instance made"));

    tokio::time::sleep(Duration::from_secs(rest)).await;
    let written = stage.operators_writes()?.len() - writes;
    let what = remark(&format!("in {rest} s"));
    table.add("writes at rest but the Lease", written as f64, "", Wanted::AtMost(0.0), what);
    let idle = (operator.cpu()? - cpu) / rest as f64 * 1000.0;
    table.add("CPU time at rest", idle, "ms/s", Wanted::Nothing, remark("of the operator's process"));

    operator.end().await?;
    let before = stage.operators_writes()?.len();
    let begun = Instant::now();
    operator = Operator::start_with(&[LEASE], binary, &stage, "again").await?;
    let synced = begun.elapsed().as_secs_f64();
    operator.reconciled(many).await?;
    let looked = begun.elapsed().as_secs_f64();
    operator.calm(many).await?;
    let written = stage.operators_writes()?.len() - before;
    table.add("restart: synced", synced, "s", Wanted::Nothing, remark("from start to Ready"));
    table.add("restart: every instance looked at", looked, "s", Wanted::Nothing, remark("from start to the last pass"));
    table.add("restart: writes but the Lease", written as f64, "", Wanted::AtMost(0.0), remark("unchanged"));
    table.add("restart: resident memory", operator.rss()?, "MiB", Wanted::Nothing, remark("at rest"));
    operator.end().await?;
    stage.end().await
}
