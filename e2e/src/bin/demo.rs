//! `catalyst-demo up`: from nothing to a URL that works, on a lab on this machine. `catalyst-demo down` removes all of it.
//!
//! What it does is what a user does on a cluster of their own: `kubectl apply -k config`, apply a manifest of a dozen lines, put the line that status shows
//! into the VM's authorized_keys, wait for Ready. It says each step with the time it took.

use std::time::{Duration, Instant};

use anyhow::Result;
use catalyst_e2e::instance::Instance;
use catalyst_e2e::stage::Stage;
use catalyst_lab::{Lab, Progress};
use clap::{Parser, Subcommand};

/// Which lab it is on unless told otherwise; `catalyst-lab` has the same default.
const LAB: &str = "demo";
const NAMESPACE: &str = "catalyst";
const READY: Duration = Duration::from_secs(120);

/// The demo of Catalyst Operator on a one-node Kubernetes of this machine's own.
#[derive(Parser)]
#[command(name = "catalyst-demo", version)]
struct Arguments {
    /// Which lab.
    #[arg(long, default_value = LAB, env = "CATALYST_LAB", global = true)]
    name: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the lab, install the operator, apply an example and print the URL. Safe to run again.
    Up,
    /// Remove everything that `up` made; build caches stay.
    Down,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { name, command } = Arguments::parse();
    match command {
        Command::Up => up(&name).await,
        Command::Down => {
            Lab::named(&name)?.down().await?;
            println!("The demo is gone. Build caches stay in ~/.cache/catalyst-lab and target/.");
            Ok(())
        }
    }
}

async fn up(name: &str) -> Result<()> {
    let start = Instant::now();
    let progress = Progress::stderr();
    let stage = Stage::up(name, &progress).await?;
    let instance = Instance::at(&stage, NAMESPACE);
    let (manifest, url) = (manifest(stage.lab(), &instance), instance.url());

    if stage.kubectl(&["get", "namespace", NAMESPACE]).await.is_err() {
        stage.kubectl(&["create", "namespace", NAMESPACE]).await?;
    }
    progress.step("kubectl apply", async { stage.apply(&manifest).await.map(drop) }).await?;
    progress.step("authorize the key on the dev-VM", instance.authorize()).await?;
    progress.step("wait for Ready", instance.await_ready(READY)).await?;
    progress
        .step("let the pods run this image", async {
            stage.renew(NAMESPACE, "catalyst", "catalyst-proxy").await?;
            instance.await_ready(READY).await
        })
        .await?;
    progress.step("open the URL through the ingress", instance.await_reachable()).await?;

    let lab_command = if name == LAB { "catalyst-lab".to_owned() } else { format!("catalyst-lab --name {name}") };
    let table = instance.kubectl(&["get", "cati"]).await?;
    let secret = instance.secret().await?;
    let read_secret = format!(
        "kubectl -n {NAMESPACE} get secret catalyst-secrets -o go-template='{{{{.data.CATALYST_SECRET | base64decode}}}}'"
    );
    println!(
        "\n{manifest}\n{table}
Ready after {:.0} s. Open   {url}
      and sign in with   {secret}
      (which is read by  {read_secret})

  export KUBECONFIG={}
  export PATH={}:{}:$PATH   # the kubectl of the cluster's version with `kubectl catalyst`, and catalyst-lab

What to try next
  · Capture an idea, chat about it, switch to Build and let it write a file.
    {}
  · Close the browser in mid-answer, `kubectl -n {NAMESPACE} delete pod --all`, open it again: the whole answer is there.
  · `kubectl catalyst -n {NAMESPACE} status`: the instance, its objects and pods, and what to do.
  · See what is wrong when something is: `{lab_command} vm cut` cuts the VM's network; then `kubectl -n {NAMESPACE} get cati -w`; `{lab_command} vm mend`.
  · `kubectl -n {NAMESPACE} delete service catalyst`: it is back at once. `kubectl explain cati.spec` shows every field.
  · Apply a second instance, of another name and namespace, with the same spec.ssh; the VM takes its key by
    `{lab_command} vm authorize \"$(kubectl catalyst -n NAMESPACE authorize NAME)\"`.
  · `{lab_command} status` shows the parts of the cluster and their logs; `make demo-down` removes everything.",
        start.elapsed().as_secs_f64(),
        stage.lab().kubeconfig().display(),
        stage.lab().kubectl().as_std().get_program().to_string_lossy().trim_end_matches("/kubectl"),
        catalyst_e2e::stage::root().join("target/release").display(),
        if std::env::var_os("ANTHROPIC_API_KEY").is_some() {
            "The real service answers."
        } else {
            "A local stand-in of the Messages API answers, and says so: the CLI and its tools are real, the words are not."
        },
    );
    Ok(())
}

fn manifest(lab: &Lab, instance: &Instance<'_>) -> String {
    format!(
        "apiVersion: catalyst.dev/v1alpha1
kind: CatalystInstance
metadata:
  name: catalyst
  namespace: {NAMESPACE}
spec:
  ssh:
    host: {}
    user: {}
  ingress:
    className: nginx
    host: {}
  publicUrl: {}   # the lab forwards this port of the machine to the ingress
",
        lab.vm().address(),
        lab.vm().user(),
        instance.host(),
        instance.url(),
    )
}
