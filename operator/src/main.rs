//! The binary: reads arguments, wires the parts, and ends them in order.

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use catalyst_operator::{
    admin::{self, Readiness},
    args::{Args, ClusterArgs, Command, DiffArgs, MigrateCommand, Output, RenderArgs, RunArgs, UpgradeArgs},
    controller::{self, Settings},
    crd,
    leader::{Election, LeaseSettings},
    metrics::Metrics,
    migrate::command,
    networks::ClusterNetworks,
    offline::{self, cluster::Cluster},
    prober::{AddressPolicy, ProberSettings},
    reason, telemetry,
    validated::Defaults,
};
use clap::Parser;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long one SSH look at a VM may take.
const LOOK_DEADLINE: Duration = Duration::from_secs(8);
/// A connection on which nothing comes for longer is dead. The API server ends each watch before.
const SILENCE: Duration = Duration::from_secs(310);
/// The proxy of this release, where none is named.
const RELEASE_PROXY: &str = concat!("catalyst-proxy:", env!("CARGO_PKG_VERSION"));

/// There are differences, or pods that would restart.
const DIFFERENT: u8 = 1;
/// Bad input, or a cluster that could not be asked.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let (outcome, failed) = match Args::parse().into_command() {
        Command::Run(args) => (serve(*args), 1),
        other => (look(other), FAILED),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("Error: {error:#}");
        ExitCode::from(failed)
    })
}

fn serve(args: RunArgs) -> anyhow::Result<ExitCode> {
    telemetry::start(args.log_format, &args.log)?;
    // One thread: it waits for the API server most of the time, and to wake another costs more than that other does.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(run(args));
    // A name look-up of the resolver cannot be cancelled; it must not hold the process up.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome.map(|()| ExitCode::SUCCESS)
}

/// The commands that print and end.
fn look(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let different = match command {
        Command::Run(args) => return serve(*args),
        Command::Crds => shown(&crd::manifests()?, false),
        Command::Docs => shown(&crd::reference_markdown(), false),
        Command::Reasons => shown(&reason::reasons_markdown(), false),
        Command::Render(RenderArgs { file, namespace, proxy_image }) => {
            let sources = offline::read(&file)?;
            offline::agree(&sources, namespace.as_deref())?;
            let namespace = namespace.as_deref().unwrap_or("default");
            shown(&offline::render(&sources, namespace, &defaults(proxy_image))?, false)
        }
        Command::Diff(DiffArgs { render: RenderArgs { file, namespace, proxy_image }, cluster }) => {
            let sources = offline::read(&file)?;
            offline::agree(&sources, namespace.as_deref())?;
            let text = runtime.block_on(async {
                let cluster = connect(&cluster).await?;
                let namespace = namespace.unwrap_or_else(|| cluster.namespace.clone());
                anyhow::Ok(offline::diff::diff(&cluster, &sources, &namespace, &defaults(proxy_image)).await?)
            })?;
            shown(&text, !text.is_empty())
        }
        Command::Migrate(MigrateCommand { migrate, cluster }) => {
            let converted = match &migrate.adopt {
                None => {
                    let converted = command::convert(&migrate)?;
                    eprint!("{}", converted.notes);
                    converted
                }
                Some(release) => runtime.block_on(async {
                    let cluster = connect(&cluster).await?;
                    anyhow::Ok(command::adopt(&migrate, release, cluster, |line| eprintln!("{line}")).await?)
                })?,
            };
            shown(&converted.yaml, false)
        }
        Command::UpgradePreview(UpgradeArgs { namespace, proxy_image, output, cluster }) => {
            let previews = runtime.block_on(async {
                let cluster = connect(&cluster).await?;
                anyhow::Ok(offline::upgrade::preview(&cluster, namespace.as_deref(), &defaults(proxy_image)).await?)
            })?;
            let text = match output {
                Output::Text => offline::upgrade::text(&previews),
                Output::Json => serde_json::to_string_pretty(&previews)? + "\n",
            };
            shown(&text, previews.iter().any(|preview| matches!(preview.fate, offline::upgrade::Fate::Restart(_))))
        }
    };
    Ok(if different { ExitCode::from(DIFFERENT) } else { ExitCode::SUCCESS })
}

fn shown(text: &str, different: bool) -> bool {
    print!("{text}");
    different
}

async fn connect(ClusterArgs { kubeconfig, context }: &ClusterArgs) -> anyhow::Result<Cluster> {
    Ok(offline::cluster::connect(kubeconfig.as_deref().map(Path::new), context.as_deref()).await?)
}

fn defaults(proxy_image: Option<String>) -> Defaults {
    Defaults { proxy_image: proxy_image.unwrap_or_else(|| RELEASE_PROXY.to_owned()) }
}

async fn run(args: RunArgs) -> anyhow::Result<()> {
    // One TLS provider in the process; an error means that it is set already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let stop = stop_on_signal()?;
    let metrics = Arc::new(Metrics::default());
    let readiness = if args.leader_election { Readiness::with_lease() } else { Readiness::default() };
    let listener = TcpListener::bind(args.admin_address)
        .await
        .with_context(|| format!("cannot listen on {} (ADMIN_ADDRESS)", args.admin_address))?;
    // Answers until the very end, so that a slow stop does not look like a death.
    let served = CancellationToken::new();
    let server = admin::serve(listener, Arc::clone(&metrics), readiness.clone(), served.clone().cancelled_owned());
    let server = tokio::spawn(server);

    let mut config =
        kube::Config::infer().await.context("no way to the API server: no service account, no kubeconfig")?;
    config.read_timeout = Some(SILENCE);
    let client = kube::Client::try_from(config).context("no client of the API server")?;
    let outcome = lead(client, args, metrics, readiness, stop).await;
    served.cancel();
    server.await.context("the health server ended abnormally")??;
    outcome
}

/// Fills the caches, waits for the Lease, works while it holds, and gives it back.
async fn lead(
    client: kube::Client,
    args: RunArgs,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let addresses = AddressPolicy::refusing(args.cluster_cidrs.clone());
    let mut networks = ClusterNetworks::default();
    tokio::select! {
        told = networks.read(&client) => addresses.learn(told),
        () = stop.cancelled() => return Ok(()),
    }
    let _followed = AbortOnDropHandle::new(tokio::spawn(networks.follow(client.clone(), addresses.clone())));
    let identity = args.identity.clone().unwrap_or_else(|| format!("catalyst-operator-{:08x}", rand::random::<u32>()));
    let settings = Settings {
        namespaces: args.namespaces(),
        concurrency: args.concurrency,
        identity: identity.clone(),
        defaults: defaults(args.proxy_image.clone()),
        prober: ProberSettings { concurrent: usize::from(args.ssh_checks), deadline: LOOK_DEADLINE, addresses },
    };
    if !args.leader_election {
        metrics.leads(true);
        controller::run(client, settings, metrics, readiness, stop).await;
        return Ok(());
    }
    let lease = LeaseSettings {
        namespace: args.lease_namespace.clone(),
        name: args.lease_name.clone(),
        identity,
        duration: args.lease_duration(),
    };
    let mut election = Election::new(client.clone(), lease);
    let leading = CancellationToken::new();
    let work = controller::stand_by(client, settings, Arc::clone(&metrics), readiness.clone(), leading.clone(), stop);
    let reign = async {
        election.acquire(|| readiness.lease_seen()).await;
        metrics.leads(true);
        leading.cancel();
        election.keep().await;
    };
    let outcome = tokio::select! {
        () = work => Ok(()),
        () = reign => Err(anyhow::anyhow!("the Lease is lost: ending, so that two never write")),
    };
    metrics.leads(false);
    if outcome.is_ok() {
        election.release().await;
    }
    outcome
}

fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot await SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot await SIGINT")?;
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("stopping");
        told.cancel();
    });
    Ok(stop)
}
