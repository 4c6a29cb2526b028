//! Many suspended instances made at once, by the operator and by the plain client by turns.
//!
//! Each round has a control plane of its own, on which the plain client comes before the operator and after it: what slows down as the store
//! fills, and whatever else the machine does meanwhile, is held against both.

use std::path::Path;

use anyhow::Context as _;
use catalyst_bench::table::{Table, Wanted};
use catalyst_lab::ControlPlaneOptions;

use crate::{
    changes, plain,
    process::Operator,
    stage::{Stage, instance},
};

/// What one round took.
struct Round {
    /// Seconds, of all instances.
    plain: [f64; 2],
    operator: f64,
    /// Seconds of the processor that the operator's process took.
    cpu: f64,
    writes: usize,
    /// What the parts of the cluster took of the processor, as words.
    taken: [String; 3],
}

impl Round {
    fn ratio(&self) -> f64 {
        2.0 * self.operator / (self.plain[0] + self.plain[1])
    }
}

pub(crate) async fn measure(binary: &Path, many: usize, rounds: usize, table: &mut Table) -> anyhow::Result<()> {
    let mut measured = Vec::new();
    for number in 1..=rounds {
        let round = round(binary, many).await?;
        let Round { plain: [first, second], operator, taken: [before, during, after], .. } = &round;
        eprintln!("round {number}: {:.2}; the cluster's processor time for each instance:", round.ratio());
        eprintln!(
            "  plain client {first:.1} s: {before}\n  operator {operator:.1} s: {during}\n  plain client {second:.1} s: {after}"
        );
        measured.push(round);
    }
    measured.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    let middle = measured.get(measured.len() / 2).context("no round was made")?;
    let ratios: Vec<String> = measured.iter().map(|round| format!("{:.2}", round.ratio())).collect();
    let [first, second] = middle.plain;
    let each = |total: f64| total / many as f64;
    let of = format!("{many} instances; the middle one of {} rounds", measured.len());
    table.add(
        "created by the operator",
        middle.operator,
        "s",
        Wanted::Nothing,
        format!("{of}, until all children and status are written"),
    );
    let remark = format!("{first:.1} before and {second:.1} after; {of}");
    table.add("the same objects by a plain client", (first + second) / 2.0, "s", Wanted::Nothing, remark);
    table.add("ratio", middle.ratio(), "", Wanted::AtMost(1.15), format!("of the rounds: {}", ratios.join(", ")));
    table.add(
        "CPU time of the operator's process",
        each(middle.cpu) * 1000.0,
        "ms",
        Wanted::Nothing,
        "an instance made",
    );
    let writes = each(middle.writes as f64);
    table.add("writes of the operator's account but its Lease", writes, "", Wanted::Nothing, "an instance made");
    Ok(())
}

async fn round(binary: &Path, many: usize) -> anyhow::Result<Round> {
    let mut stage = Stage::start(binary, ControlPlaneOptions::default()).await?;
    stage.sample(binary).await.context("one instance as a sample")?;
    let (first, before) = by_plain(&stage, many, plain::FIRST).await?;
    plain::remove(&stage, plain::FIRST).await.context("removing what the plain client wrote")?;

    let written = stage.operators_writes()?.len();
    let operator = Operator::start(binary, &stage, "first").await?;
    let (begun, cpu) = (stage.plane().processor_time()?, operator.cpu()?);
    let created = changes::create(&stage, many, instance, changes::SUSPENDED).await.context("creating instances")?;
    let during = stage.taken(&begun, many)?;
    operator.settled(&stage).await?;
    let cpu = operator.cpu()? - cpu;
    let writes = stage.operators_writes()?.len() - written;
    operator.end().await?;

    let (second, after) = by_plain(&stage, many, "again").await?;
    stage.end().await?;
    Ok(Round { plain: [first, second], operator: created, cpu, writes, taken: [before, during, after] })
}

async fn by_plain(stage: &Stage, many: usize, prefix: &str) -> anyhow::Result<(f64, String)> {
    let begun = stage.plane().processor_time()?;
    let took = plain::apply(stage, many, prefix).await.context("plain client")?;
    Ok((took, stage.taken(&begun, many)?))
}
