//! One instance after another: by the operator, and its objects by those with whom a person would make them, kubectl and Helm.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use catalyst_bench::table::{Table, Wanted};
use catalyst_lab::{
    ControlPlaneOptions, Progress,
    parts::{self, Part},
};
use kube::{
    Api,
    api::{DynamicObject, PostParams},
    runtime::wait::await_condition,
};
use tokio::process::Command;

use crate::{
    changes::{SUSPENDED, is_ready},
    percentile,
    process::Operator,
    stage::{Stage, TEMPLATE, instance, resource},
};

/// How many are timed of each.
const TIMES: usize = 20;
/// Longer than one takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// On a control plane of its own, which holds nothing else.
pub(crate) async fn measure(binary: &Path, table: &mut Table) -> anyhow::Result<()> {
    let helm = parts::ensure(Part::Helm, &Progress::stderr()).await?;
    let stage = Stage::start(binary, ControlPlaneOptions::default()).await?;
    let operator = Operator::start(binary, &stage, "one").await?;
    let mut operated = by_operator(&stage).await.context("creating instances")?;
    operator.settled(&stage).await?;
    operator.end().await?;
    let mut applied = by_kubectl(&stage).await.context("kubectl apply")?;
    let mut installed = by_helm(&stage, &helm.program()).await.context("helm install")?;
    let many = format!("p50 of {TIMES}, one after another");
    let process = format!("{many}; {} objects, a process each time", stage.objects.len());
    table.add("one instance by the operator", percentile(&mut operated, 50), "ms", Wanted::Nothing, many);
    for (what, took) in [("kubectl apply --server-side", &mut applied), ("helm install", &mut installed)] {
        let what = format!("its objects by `{what}`");
        table.add(&what, percentile(took, 50), "ms", Wanted::Nothing, process.clone());
    }
    stage.end().await
}

/// Until the operator has said what it says last.
async fn by_operator(stage: &Stage) -> anyhow::Result<Vec<Duration>> {
    let api: Api<DynamicObject> = Api::namespaced_with(stage.client.clone(), "default", &resource());
    let said = |object: Option<&DynamicObject>| object.is_some_and(|object| is_ready(object, SUSPENDED));
    let mut took = Vec::new();
    for number in 0..TIMES {
        let name = format!("o{number}");
        let object = serde_json::from_value(instance(&name))?;
        let begun = Instant::now();
        api.create(&PostParams::default(), &object).await?;
        let waiting = tokio::time::timeout(DEADLINE, await_condition(api.clone(), &name, said));
        waiting.await.context("the instance did not come to a status")??;
        took.push(begun.elapsed());
    }
    Ok(took)
}

async fn by_kubectl(stage: &Stage) -> anyhow::Result<Vec<Duration>> {
    let file = stage.folder().join("objects.yaml");
    let mut took = Vec::new();
    for number in 0..TIMES {
        std::fs::write(&file, objects(stage, &format!("k{number}")))?;
        let mut command = stage.plane().kubectl().await?;
        command.env("KUBECONFIG", stage.plain_kubeconfig());
        command.args(["apply", "--server-side", "-f"]).arg(&file);
        took.push(timed(command).await?);
    }
    Ok(took)
}

async fn by_helm(stage: &Stage, helm: &Path) -> anyhow::Result<Vec<Duration>> {
    let chart = stage.folder().join("chart");
    std::fs::create_dir_all(chart.join("templates"))?;
    std::fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: objects\nversion: 0.0.0\n")?;
    std::fs::write(chart.join("templates/objects.yaml"), objects(stage, "{{ .Release.Name }}"))?;
    let mut took = Vec::new();
    for number in 0..TIMES {
        let mut command = Command::new(helm);
        // What it keeps for the next time goes with the rest.
        command.env("HOME", stage.folder()).env("KUBECONFIG", stage.plain_kubeconfig());
        command.args(["install", &format!("h{number}")]).arg(&chart);
        took.push(timed(command).await?);
    }
    Ok(took)
}

/// The objects of the instance of that name.
fn objects(stage: &Stage, name: &str) -> String {
    stage.objects.iter().map(|object| format!("---\n{}\n", object.to_string().replace(TEMPLATE, name))).collect()
}

async fn timed(mut command: Command) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let output = command.kill_on_drop(true).output().await.with_context(|| format!("run {command:?}"))?;
    let took = begun.elapsed();
    let words = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "it ended with {}: {words}", output.status);
    Ok(took)
}
