//! What the terminal is measured against: wetty (npm) and sshx (crates.io), each of one pinned version, in the lab's cache.
//!
//! An install is complete or not there: it is made beside its place and renamed into it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail, ensure};
use catalyst_lab::folders;
use tokio::process::Command;

const WETTY: &str = "3.2.0";
/// Of both crates, sshx and sshx-server.
const SSHX: &str = "0.4.1";

/// What is there to be started.
#[derive(Debug)]
pub(crate) struct Peers {
    /// The script that node runs.
    pub(crate) wetty: PathBuf,
    /// The part that runs on the VM.
    pub(crate) sshx: PathBuf,
    pub(crate) sshx_server: PathBuf,
}

impl Peers {
    /// Finds them in the cache.
    ///
    /// # Errors
    /// When one is missing; says how to get it.
    pub(crate) fn find() -> anyhow::Result<Peers> {
        let (wetty, sshx) = (wetty_in(&place("wetty", WETTY)?), place("sshx", SSHX)?.join("bin"));
        let peers = Peers { wetty, sshx: sshx.join("sshx"), sshx_server: sshx.join("sshx-server") };
        for part in [&peers.wetty, &peers.sshx, &peers.sshx_server] {
            ensure!(
                part.is_file(),
                "{} is missing, which the terminal is measured against. `bench-proxy --install` gets it (`make bench` does that, and \
                 installs what it needs: protoc, make, g++, python3); to measure without the terminal, name the other groups by --only.",
                part.display()
            );
        }
        Ok(peers)
    }

    /// Installs those that are missing: some minutes, most of them for sshx, which is compiled.
    ///
    /// # Errors
    /// What npm or cargo says.
    pub(crate) async fn install() -> anyhow::Result<Peers> {
        let wetty = place("wetty", WETTY)?;
        if !wetty_in(&wetty).is_file() {
            install("npm", &wetty, |npm, aside| {
                npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"]).arg(aside);
                npm.arg(format!("wetty@{WETTY}"));
            })
            .await?;
        }
        let sshx = place("sshx", SSHX)?;
        if !sshx.join("bin/sshx-server").is_file() {
            install("cargo", &sshx, |cargo, aside| {
                // Both share what is compiled for them.
                cargo.env("CARGO_TARGET_DIR", aside.join("target"));
                cargo.args(["install", "--quiet", "--locked", "--version", SSHX, "--root"]).arg(aside);
                cargo.args(["sshx", "sshx-server"]);
            })
            .await?;
        }
        Peers::find()
    }
}

fn place(name: &str, version: &str) -> anyhow::Result<PathBuf> {
    Ok(folders::cache()?.join(format!("{name}-{version}")))
}

fn wetty_in(place: &Path) -> PathBuf {
    place.join("node_modules/wetty/build/main.js")
}

/// Has `program` install into a folder beside `place`, which then takes that place.
async fn install(program: &str, place: &Path, arguments: impl FnOnce(&mut Command, &Path)) -> anyhow::Result<()> {
    let (cache, name) = (place.parent().context("no cache")?, place.file_name().context("no name")?.display());
    eprintln!("installing {name} with {program}");
    std::fs::create_dir_all(cache).with_context(|| format!("create {}", cache.display()))?;
    let aside = tempfile::Builder::new().prefix(&format!("{name}.installing-")).tempdir_in(cache)?;
    let mut command = Command::new(program);
    arguments(&mut command, aside.path());
    let command = command.current_dir(aside.path()).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.with_context(|| format!("start {program}"))?;
    if !output.status.success() {
        bail!("{program} could not install {name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let compiled = aside.path().join("target");
    if compiled.exists() {
        std::fs::remove_dir_all(compiled)?;
    }
    // What is there is a remnant, or this would not have been called.
    if place.exists() {
        std::fs::remove_dir_all(place).with_context(|| format!("remove the incomplete {}", place.display()))?;
    }
    std::fs::rename(aside.path(), place).with_context(|| format!("move what was installed to {}", place.display()))
}
