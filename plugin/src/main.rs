//! `kubectl catalyst`: what people do with instances, from the outside: see what is wrong and what to do about it, open the
//! app, authorise its key, trust a VM's new host key, move over from Helm.
//!
//! Invariant: nothing is decided here that the operator decides; reasons and remedies are read from status and from the
//! operator's own list of reasons.
//!
//! Exit codes: 0 all is well; 1 something is wrong with what was looked at, or a question was answered with no; 2 the command
//! failed, or its arguments are wrong.

mod args;
mod authorize;
mod context;
mod doctor;
mod hints;
mod logs;
mod open;
mod paint;
mod report;
mod restart;
mod rotate_key;
mod rotate_secret;
mod status;
mod tree;
mod trust_host;

use std::process::ExitCode;

use catalyst_operator::{args::Output, migrate::command};
use clap::Parser;

use crate::{
    args::{Args, Command},
    context::Context,
};

/// Something is wrong with what was looked at.
const WRONG: u8 = 1;
/// The command failed.
const FAILED: u8 = 2;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(WRONG),
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

/// Whether all is well.
async fn run(args: Args) -> anyhow::Result<bool> {
    let Args { scope, command } = args;
    if scope.output == Output::Json && !matches!(command, Command::Status(_) | Command::Doctor(_)) {
        anyhow::bail!("-o json is for status and doctor; this command prints text only");
    }
    if let Command::Migrate(migrate) = &command
        && migrate.adopt.is_none()
    {
        let converted = command::convert(migrate)?;
        eprint!("{}", converted.notes);
        print!("{}", converted.yaml);
        return Ok(true);
    }
    let context = Context::connect(&scope).await?;
    match command {
        Command::Status(args) => status::run(&context, &args).await,
        Command::Open(args) => open::run(&context, &args).await,
        Command::Logs(args) => logs::run(&context, &args).await,
        Command::Restart(args) => restart::run(&context, &args).await,
        Command::Authorize(args) => authorize::run(&context, &args).await,
        Command::RotateKey(args) => rotate_key::run(&context, &args).await,
        Command::RotateSecret(args) => rotate_secret::run(&context, &args).await,
        Command::TrustHost(args) => trust_host::run(&context, &args).await,
        Command::Doctor(args) => doctor::run(&context, &args).await,
        Command::Migrate(args) => {
            if let Some(release) = &args.adopt {
                let cluster = context.cluster.clone();
                let converted = command::adopt(&args, release, cluster, |line| eprintln!("{line}")).await?;
                print!("{}", converted.yaml);
            }
            Ok(true)
        }
    }
}
