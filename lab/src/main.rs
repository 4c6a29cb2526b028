//! The lab's command line.

use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use catalyst_lab::parts::{self, Part};
use catalyst_lab::{ControlPlane, ControlPlaneOptions, DevVm, Lab, Progress, preflight};
use clap::{Parser, Subcommand};

/// A real one-node Kubernetes and a dev-VM on this machine, without Docker.
///
/// Every part is a real one: etcd, Kubernetes, containerd, CoreDNS, ingress-nginx, OpenSSH, the Claude Code CLI. All of a lab is below
/// ~/.local/state/catalyst-lab/NAME, builds are in ~/.cache/catalyst-lab.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Which lab; several stand side by side.
    #[arg(long, default_value = "demo", env = "CATALYST_LAB", global = true)]
    name: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start what of the lab does not run, and await that all of it answers; builds and installs first what is missing.
    Up,
    /// End all of the lab and remove all that it left.
    Down,
    /// Show every part, whether it answers, and its log; fails if one does not.
    Status,
    /// Copy all logs, those of pods and of the dev-VM among them, to a folder that outlives the lab.
    Logs {
        /// The folder, made if it is missing.
        to: PathBuf,
    },
    /// Print the path of the kubeconfig.
    Kubeconfig,
    /// Print the URL that leads to the ingress, for the host NAME if given: http://NAME.localhost:PORT.
    Url {
        /// A name below `.localhost`, which browsers take for this machine.
        host: Option<String>,
    },
    /// List the labs of this machine.
    List,
    /// Build all parts into the cache.
    Build,
    /// Load an image's archive (`docker save`, `buildah push IMAGE docker-archive:FILE:IMAGE`) into the node.
    LoadImage {
        /// The archive.
        archive: PathBuf,
    },
    /// Run kubectl on the lab.
    Kubectl {
        /// kubectl's arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run etcd, an API server and controllers alone, as a test has them; print the kubeconfig's path, end with standard input.
    ControlPlane,
    /// Do to the dev-VM what happens to machines, to see what the product makes of it; or let somebody sign in there.
    Vm {
        #[command(subcommand)]
        event: VmEvent,
    },
    /// Say what this machine lacks for a lab, and how to get it.
    Preflight {
        /// Install what Debian packages have.
        #[arg(long)]
        install: bool,
        /// A further program, or path, and the Debian package that has it: PROGRAM=PACKAGE.
        #[arg(long, value_name = "PROGRAM=PACKAGE")]
        also: Vec<String>,
    },
    /// Serve the lab's stand-in for the Messages API (run inside the dev-VM by the lab itself).
    #[command(hide = true)]
    MessagesApi {
        /// Address to listen on.
        #[arg(long)]
        listen: SocketAddr,
    },
}

#[derive(Subcommand)]
enum VmEvent {
    /// Its network cable is pulled.
    Cut,
    /// The cable is put back.
    Mend,
    /// sshd ends, with the sessions left as they are.
    StopSshd,
    /// sshd starts.
    StartSshd,
    /// sshd and its sessions stand still, as on a machine that swaps itself to death.
    Freeze,
    /// They go on.
    Thaw,
    /// Everything on it ends and it boots again.
    Reboot,
    /// It is given another host key, as if it were made anew.
    ReplaceHostKey,
    /// The holder of a key may sign in from now on.
    Authorize {
        /// The line for authorized_keys, as status.authorizedKeysLine of an instance has it.
        line: String,
    },
}

async fn befall(vm: &DevVm, event: VmEvent) -> anyhow::Result<()> {
    match event {
        VmEvent::Cut => vm.cut().await,
        VmEvent::Mend => vm.mend().await,
        VmEvent::StopSshd => vm.stop_sshd().await,
        VmEvent::StartSshd => vm.start_sshd().await,
        VmEvent::Freeze => vm.freeze().await,
        VmEvent::Thaw => vm.thaw().await,
        VmEvent::Reboot => vm.reboot().await,
        VmEvent::ReplaceHostKey => vm.replace_host_key().await,
        VmEvent::Authorize { line } => vm.authorize(&line),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("catalyst-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let progress = Progress::stderr();
    let lab = || Lab::named(&arguments.name);
    // Or a path or an address would be told that leads nowhere, or a folder left of a lab that nobody made.
    let that_is_there = || {
        let lab = lab()?;
        if !Lab::all()?.iter().any(|name| name == lab.name()) {
            let name = lab.name();
            bail!("there is no lab {name}; `catalyst-lab list` shows which there are, --name chooses one");
        }
        anyhow::Ok(lab)
    };
    match arguments.command {
        Command::Up => {
            let lab = lab()?;
            lab.up(&progress).await?;
            print(lab.status().await?)?;
        }
        Command::Down => {
            let lab = lab()?;
            progress.step(&format!("taking the lab {} down", lab.name()), lab.down()).await?;
        }
        Command::Status => {
            let status = lab()?.status().await?;
            print(&status)?;
            return Ok(if status.is_up() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Logs { to } => {
            lab()?.keep_logs(&to).await?;
            print(format_args!("the lab's logs are in {}", to.display()))?;
        }
        Command::Kubeconfig => print(that_is_there()?.kubeconfig().display())?,
        Command::Url { host: None } => print(format_args!("http://{}", that_is_there()?.ingress_addr()))?,
        Command::Url { host: Some(host) } => {
            print(format_args!("http://{host}.localhost:{}", that_is_there()?.ingress_addr().port()))?;
        }
        Command::List => Lab::all()?.iter().try_for_each(print)?,
        Command::Build => {
            for part in Part::ALL {
                print(parts::ensure(part, &progress).await?.program().display())?;
            }
        }
        Command::LoadImage { archive } => {
            progress.step(&format!("loading {}", archive.display()), lab()?.load_image(&archive)).await?;
        }
        Command::Kubectl { arguments } => {
            let status = lab()?.kubectl().args(arguments).status().await.context("run kubectl")?;
            return Ok(status
                .code()
                .and_then(|code| u8::try_from(code).ok())
                .map_or(ExitCode::FAILURE, ExitCode::from));
        }
        Command::ControlPlane => {
            let plane = ControlPlane::start(ControlPlaneOptions::default()).await?;
            print(plane.kubeconfig().display())?;
            tokio::select! {
                ended = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())) => ended?.map(drop)?,
                interrupted = tokio::signal::ctrl_c() => interrupted?,
            }
            // Reading standard input cannot be cancelled, so the process is not left to wait for it.
            plane.stop().await?;
            std::process::exit(0);
        }
        Command::Vm { event } => {
            befall(&that_is_there()?.vm(), event).await?;
        }
        Command::Preflight { install, also } => {
            let also = also.iter().map(|pair| need(pair)).collect::<anyhow::Result<Vec<_>>>()?;
            if install {
                preflight::install_also(&also, &progress).await?;
            }
            preflight::check_also(&also)?;
            print("nothing is missing")?;
        }
        Command::MessagesApi { listen } => catalyst_lab::messages_api::serve(listen).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a line. A reader that has gone, as `head` does, wants no more, and what was asked is done all the same.
fn print(line: impl Display) -> anyhow::Result<()> {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("print"),
    }
}

fn need(pair: &str) -> anyhow::Result<(String, String)> {
    match pair.split_once('=') {
        Some((program, package)) if !program.is_empty() && !package.is_empty() => {
            Ok((program.to_owned(), package.to_owned()))
        }
        _ => bail!("--also takes PROGRAM=PACKAGE, not {pair:?}"),
    }
}
