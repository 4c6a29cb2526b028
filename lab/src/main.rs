//! The lab's command line.

use std::net::SocketAddr;

use clap::Parser;

/// The lab: a real one-node Kubernetes and a dev-VM, without Docker.
#[derive(Parser)]
enum Command {
    /// Serve the lab's stand-in for the Messages API (run inside the dev-VM by the lab itself).
    MessagesApi {
        /// Address to listen on.
        #[arg(long)]
        listen: SocketAddr,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::MessagesApi { listen } => catalyst_lab::messages_api::serve(listen).await,
    }
}
