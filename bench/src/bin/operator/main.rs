//! Measures the operator on a real API server, in one run with a plain client that writes the same objects, and prints a
//! Markdown table.
//!
//! The operator is a process of its own and a release build. No kubelet runs, and the instances are suspended (but in
//! [`fleet`]): what is measured is the operator's own work beside the cluster's controllers, and nothing that waits for pods or
//! for a VM.

mod changes;
mod create;
mod fleet;
mod hand;
mod plain;
mod process;
mod stage;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use catalyst_bench::table::{Table, Wanted};
use catalyst_lab::ControlPlaneOptions;
use clap::{Parser, ValueEnum};
use tokio::time::Instant;

use crate::{
    changes::By,
    process::Operator,
    stage::{Stage, instance},
};

/// Measures the operator and prints a table.
#[derive(Debug, Parser)]
struct Args {
    /// The operator to measure, a release build; by default the one beside this program.
    #[arg(long)]
    operator: Option<PathBuf>,
    /// Instances.
    #[arg(long, default_value_t = 1_000)]
    instances: usize,
    /// Unrelated Secrets, and as many Pods.
    #[arg(long, default_value_t = 10_000)]
    unrelated: usize,
    /// Rounds of `create`, of which the middle one counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds at rest.
    #[arg(long, default_value_t = 60)]
    rest: u64,
    /// Changes that are timed.
    #[arg(long, default_value_t = 300)]
    changes: usize,
    /// Instances with pods, on nodes that kwok plays.
    #[arg(long, default_value_t = 1_000)]
    fleet: usize,
    /// Only these groups.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Group>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Group {
    /// Many suspended instances made at once, against a plain client.
    Create,
    /// Many suspended instances: changed, at rest, held and taken over.
    Work,
    /// One after another, against kubectl and Helm.
    Hand,
    /// Many instances with pods.
    Fleet,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let beside = std::env::current_exe()?;
    let binary = match &args.operator {
        Some(path) => path.clone(),
        None => beside.parent().context("this program lies in no folder")?.join("catalyst-operator"),
    };
    process::refuse_debug(&binary)?;
    let mut table = Table::default();
    let groups = if args.only.is_empty() { Group::value_variants() } else { args.only.as_slice() };
    // Each has a control plane of its own, so that none pays for what another left behind.
    for group in groups {
        match group {
            Group::Create => create::measure(&binary, args.instances, args.rounds, &mut table).await?,
            Group::Work => work(&args, &binary, &mut table).await?,
            Group::Hand => hand::measure(&binary, &mut table).await?,
            Group::Fleet => fleet::measure(&binary, args.fleet, args.rest, &mut table).await?,
        }
    }
    println!("{table}");
    if table.missed() > 0 {
        println!("{} targets were missed.", table.missed());
    }
    Ok(())
}

/// What many suspended instances take: to change, to hold, at rest and by a new process.
async fn work(args: &Args, binary: &Path, table: &mut Table) -> anyhow::Result<()> {
    let mut stage = Stage::start(binary, ControlPlaneOptions::default()).await?;
    stage.sample(binary).await.context("one instance as a sample")?;
    let many = args.instances;

    plain::apply(&stage, many, plain::FIRST).await.context("plain client")?;
    let mut least = changes::spec(&stage, args.changes, many, By::Ourselves).await.context("changing specs")?;
    let mut least_deleted = changes::deleted(&stage, args.changes, many, By::Ourselves).await.context("deleting")?;
    plain::remove(&stage, plain::FIRST).await.context("removing what the plain client wrote")?;

    let mut operator = Operator::start(binary, &stage, "first").await?;
    changes::create(&stage, many, instance, changes::SUSPENDED).await.context("creating instances")?;
    operator.settled(&stage).await?;
    let rss = operator.rss()?;

    let remark = |what: &str| format!("{what}; {many} instances");
    let took = changes::spec(&stage, args.changes, many, By::Operator).await.context("changing specs")?;
    add_delay(table, "spec change → Deployment", took, &mut least, remark);
    let took = changes::deleted(&stage, args.changes, many, By::Operator).await.context("deleting children")?;
    add_delay(table, "deleted Service → back", took, &mut least_deleted, remark);

    operator.settled(&stage).await?;
    let before = stage.operators_writes()?.len();
    tokio::time::sleep(Duration::from_secs(args.rest)).await;
    let written = stage.operators_writes()?.len() - before;
    table.add("writes at rest but the Lease", written as f64, "", Wanted::AtMost(0.0), format!("in {} s", args.rest));

    let calm = operator.rss()?;
    stage.unrelated(args.unrelated).await.context("creating unrelated objects")?;
    operator.settled(&stage).await?;
    table.add("resident memory", rss, "MiB", Wanted::AtMost(48.0), remark("after they were made"));
    let more = operator.rss()? - calm;
    let what = format!("{} Secrets and as many Pods that are not ours", args.unrelated);
    table.add("more resident memory for unrelated objects", more, "MiB", Wanted::AtMost(1.0), what);

    let before = stage.operators_writes()?.len();
    operator.end().await?;
    let begun = Instant::now();
    operator = Operator::start(binary, &stage, "again").await?;
    let synced = begun.elapsed().as_secs_f64();
    operator.reconciled(many).await?;
    let looked = begun.elapsed().as_secs_f64();
    operator.settled(&stage).await?;
    let written = stage.operators_writes()?.len() - before;
    table.add("restart: synced", synced, "s", Wanted::AtMost(5.0), remark("from start to Ready"));
    table.add(
        "restart: every instance looked at",
        looked,
        "s",
        Wanted::AtMost(5.0),
        remark("from start to the last pass"),
    );
    table.add("restart: writes but the Lease", written as f64, "", Wanted::AtMost(0.0), remark("unchanged"));
    table.add(
        "restart: resident memory",
        operator.rss()?,
        "MiB",
        Wanted::AtMost(48.0),
        remark("when all were looked at"),
    );

    let standby = Operator::start(binary, &stage, "standby").await?;
    let begun = Instant::now();
    operator.terminate()?;
    stage.leader_is("standby").await?;
    table.add(
        "handover on SIGTERM",
        begun.elapsed().as_secs_f64(),
        "s",
        Wanted::AtMost(2.0),
        "until the standby holds the Lease",
    );
    operator.end().await?;
    let next = Operator::start(binary, &stage, "next").await?;
    standby.reconciled(many).await?;
    let begun = Instant::now();
    standby.kill()?;
    stage.leader_is("next").await?;
    table.add("handover on SIGKILL", begun.elapsed().as_secs_f64(), "s", Wanted::AtMost(15.0), "the lease time");
    next.end().await?;
    stage.end().await
}

/// Adds the median and the 99th percentile of what a change took to reach its child, against the targets that both kinds of change share.
/// Beside `least`, what the same writes take whoever makes the change.
fn add_delay(
    table: &mut Table,
    what: &str,
    mut took: Vec<Duration>,
    least: &mut [Duration],
    remark: impl Fn(&str) -> String,
) {
    for (percent, most, how) in [(50, 20.0, "one after another"), (99, 100.0, "the same")] {
        let (ours, least) = (percentile(&mut took, percent), percentile(least, percent));
        table.add(&format!("{what}, p{percent}"), ours, "ms", Wanted::AtMost(most), remark(how));
        let by_hand = format!("the same writes by a plain client: {least:.0} ms");
        table.add(&format!("{what}, p{percent}, over a plain client"), ours / least, "×", Wanted::Nothing, by_hand);
    }
}

/// In milliseconds.
fn percentile(took: &mut [Duration], percent: usize) -> f64 {
    took.sort();
    let index = (took.len() * percent / 100).min(took.len().saturating_sub(1));
    took.get(index).map_or(f64::NAN, |took| took.as_secs_f64() * 1000.0)
}

/// Asks until there is an answer.
async fn until<T, F: Future<Output = anyhow::Result<Option<T>>>>(
    what: &str,
    deadline: Duration,
    mut ask: impl FnMut() -> F,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        if begun.elapsed() > deadline {
            bail!("not within {} s: {what}", deadline.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
