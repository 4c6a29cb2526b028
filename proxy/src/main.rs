//! The binary: reads the settings, listens, serves until it is told to end; says why when it refuses to start.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use anyhow::Context;
use catalyst_proxy::app::AppState;
use catalyst_proxy::args::{Args, Command};
use catalyst_proxy::health::Timing;
use catalyst_proxy::settings::Settings;
use catalyst_proxy::{check, descriptors, server, telemetry, tools};
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Where Kubernetes reads a container's last words.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// So many tasks run before it is looked whether anything has arrived: with tokio's 61, a key waits for all that a full
/// stream gives to do.
const EVENT_INTERVAL: u32 = 12;

fn main() -> ExitCode {
    if let Some(code) = tools::by_name(std::env::args()) {
        return ExitCode::from(u8::try_from(code).unwrap_or(1));
    }
    let args = Args::parse();
    let outcome = match args.command.unwrap_or(Command::Serve) {
        Command::Check => {
            return run(check::run(&args.settings, &mut std::io::stdout())).map_or(ExitCode::FAILURE, exit);
        }
        Command::Serve => {
            telemetry::start(&args.settings);
            args.settings.check().map_err(anyhow::Error::from).and_then(|settings| run(serve(settings))?)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = format!("{error:#}");
            // A problem a line: that is how people read `kubectl logs`.
            for problem in cause.lines() {
                tracing::error!("cannot start: {problem}");
            }
            last_words(&cause);
            ExitCode::FAILURE
        }
    }
}

fn exit(fine: bool) -> ExitCode {
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build()
        .context("cannot start threads")?;
    Ok(runtime.block_on(future))
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    descriptors::raise();
    let draining = CancellationToken::new();
    let listener = listen(settings.listen, "PORT").await?;
    let metrics = match settings.metrics {
        Some(address) => Some(listen(address, "METRICS_PORT").await?),
        None => None,
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        address = %listener.local_addr()?,
        vm = %format!("{}@{}:{}", settings.ssh.user, settings.ssh.host, settings.ssh.port),
        "catalyst-proxy listens"
    );
    let app = AppState::start(&settings, Timing::default(), draining.clone());
    if let Some(metrics) = metrics {
        tokio::spawn(server::serve_metrics(metrics, app.clone()));
    }
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        draining.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("told to end twice: ending at once");
        std::process::exit(1);
    });
    server::serve(listener, app).await;
    tracing::info!("ended");
    Ok(())
}

/// Where IPv6 is turned off, `::` cannot be listened on: then all of IPv4.
async fn listen(address: SocketAddr, variable: &str) -> anyhow::Result<TcpListener> {
    let first = TcpListener::bind(address).await;
    let bound = match first {
        Err(_) if address.ip().is_unspecified() && address.is_ipv6() => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        other => other,
    };
    bound.with_context(|| format!("cannot listen on {address}; is another server there? Set {variable} to a free port"))
}

/// For `kubectl describe` and the operator's status. Only where Kubernetes has put the file.
fn last_words(cause: &str) {
    if let Ok(mut file) = std::fs::OpenOptions::new().write(true).open(TERMINATION_LOG) {
        let short: String = cause.chars().take(2000).collect();
        let _told = file.write_all(short.as_bytes());
    }
}
