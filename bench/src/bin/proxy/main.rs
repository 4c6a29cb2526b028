//! Measures the proxy against OpenSSH (and, for the terminal, wetty and sshx) doing the same, in one run on loopback, and
//! prints a Markdown table.
//!
//! The proxy is the binary beside this one, in a process of its own; the VM is a real sshd with its default limits; in
//! place of Claude stands `bench-agent`. Both sides of each comparison are read by the same compiled consumer.

mod http;
mod latency;
mod limits;
mod memory;
mod openssh;
mod peers;
mod process;
mod runs;
mod socket;
mod stage;
mod stream;
mod terminal;

use std::path::PathBuf;

use anyhow::Context as _;
use catalyst_bench::table::Table;
use clap::Parser;

/// Measures the proxy and prints a table.
#[derive(Debug, Parser)]
struct Args {
    /// The proxy to measure; by default the one beside this program.
    #[arg(long)]
    proxy: Option<PathBuf>,
    /// Only these groups: stream, latency, runs, memory, http, terminal.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Smaller numbers, to try the benchmark itself; the figures say nothing.
    #[arg(long)]
    small: bool,
    /// Gives the proxy what its pod has by the Helm chart's values: half a processor and 512 MiB. Targets are those without limits.
    #[arg(long)]
    limited: bool,
    /// Installs what the terminal is measured against (wetty and sshx) into the lab's cache, and measures nothing.
    #[arg(long)]
    install: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if args.install {
        return peers::Peers::install().await.map(drop);
    }
    let beside = std::env::current_exe()?;
    let beside = beside.parent().context("this program lies in no folder")?;
    let proxy = args.proxy.unwrap_or_else(|| beside.join("catalyst-proxy"));
    let agent = beside.join("bench-agent");
    let wanted = |group: &str| args.only.is_empty() || args.only.iter().any(|only| only == group);
    let mut table = Table::default();
    // What is missing is told before minutes are spent on the other groups.
    let peers = wanted("terminal").then(peers::Peers::find).transpose()?;
    let limits = args.limited.then(limits::Limits::new).transpose()?;
    for group in ["memory", "stream", "latency", "http", "terminal", "runs"] {
        if !wanted(group) {
            continue;
        }
        // A stage of its own, so that no group pays for what another left behind.
        let stage = stage::Stage::start(&proxy, &agent, limits.as_ref()).await?;
        let done = match group {
            "memory" => memory::measure(&stage, &mut table, args.small).await,
            "stream" => stream::measure(&stage, &mut table, args.small).await,
            "latency" => latency::measure(&stage, &mut table, args.small).await,
            "http" => http::measure(&stage, &mut table, args.small).await,
            "terminal" => {
                let peers = peers.as_ref().context("the group is wanted, so they were looked for")?;
                terminal::measure(&stage, &mut table, args.small, peers, limits.as_ref()).await
            }
            _ => runs::measure(&stage, &mut table, args.small).await,
        };
        done.with_context(|| format!("{group}; the proxy's log: {}", stage.log()))?;
    }
    println!("{table}");
    if table.missed() > 0 {
        println!("{} targets were missed.", table.missed());
    }
    Ok(())
}
