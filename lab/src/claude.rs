//! The real Claude Code CLI, from npm, in one pinned version, installed once into the user's cache.
//!
//! An install is complete or not there: it is made beside its place and renamed into it, so that a killed or a concurrent
//! install never leaves a half of one.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;

use crate::folders;

/// The version whose flags and output the product is tested with (the proxy's `tests/claude_protocol`).
pub const VERSION: &str = "2.1.197";

const PACKAGE: &str = "@anthropic-ai/claude-code";
/// The package is 235 MB unpacked.
const INSTALL_DEADLINE: Duration = Duration::from_secs(600);

/// Variables that keep the CLI from talking to anything but the API, for every place where the lab starts it.
pub const QUIET: [(&str, &str); 4] = [
    ("DISABLE_TELEMETRY", "1"),
    ("DISABLE_ERROR_REPORTING", "1"),
    ("DISABLE_AUTOUPDATER", "1"),
    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
];

/// The native binary of the CLI; installs it when it is not in the cache yet.
///
/// # Errors
/// When npm is missing or fails (its own words are in the error), or the cache cannot be written.
pub async fn install() -> anyhow::Result<PathBuf> {
    let cache = folders::cache()?;
    let place = cache.join(format!("claude-{VERSION}"));
    if let Some(binary) = binary_in(&place)? {
        return Ok(binary);
    }
    std::fs::create_dir_all(&cache).with_context(|| format!("create {}", cache.display()))?;
    let aside = tempfile::Builder::new()
        .prefix(&format!("claude-{VERSION}.installing-"))
        .tempdir_in(&cache)
        .with_context(|| format!("create a folder in {}", cache.display()))?;
    npm_install(aside.path()).await?;
    if binary_in(aside.path())?.is_none() {
        bail!("npm installed {PACKAGE} {VERSION} without a binary for this machine; is it Linux on x86-64 or arm64?");
    }
    // What is there without a binary is a remnant; what is there with one was finished by another process meanwhile.
    if binary_in(&place)?.is_none() {
        remove(&place)?;
        match std::fs::rename(aside.path(), &place) {
            Ok(()) => {}
            Err(_) if binary_in(&place)?.is_some() => {}
            Err(error) => return Err(error).with_context(|| format!("move the installed CLI to {}", place.display())),
        }
    }
    binary_in(&place)?.with_context(|| format!("{} holds no claude binary", place.display()))
}

async fn npm_install(folder: &Path) -> anyhow::Result<()> {
    let manifest = folder.join("package.json");
    std::fs::write(&manifest, "{\"private\":true}\n").with_context(|| format!("write {}", manifest.display()))?;
    // The platform's package holds the binary itself, so the package's own script (which copies it) is not needed.
    let install = Command::new("npm")
        .args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .arg(format!("{PACKAGE}@{VERSION}"))
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(INSTALL_DEADLINE, install).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => {
            bail!("npm is not on the PATH; install Node.js 20 or later, the Claude Code CLI comes from npm")
        }
        Ok(Err(error)) => return Err(error).context("start npm"),
        Err(_) => bail!("npm did not install {PACKAGE} within {} minutes", INSTALL_DEADLINE.as_secs() / 60),
    };
    if !output.status.success() {
        bail!("npm could not install {PACKAGE} {VERSION}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn binary_in(place: &Path) -> anyhow::Result<Option<PathBuf>> {
    let packages = place.join("node_modules/@anthropic-ai");
    let entries = match std::fs::read_dir(&packages) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read {}", packages.display())),
    };
    for entry in entries {
        let folder = entry.with_context(|| format!("read {}", packages.display()))?.path();
        let is_native =
            folder.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with("claude-code-linux-"));
        let binary = folder.join("claude");
        if is_native && binary.is_file() {
            return Ok(Some(binary));
        }
    }
    Ok(None)
}

fn remove(place: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(place) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove the incomplete {}", place.display()))
        }
        _ => Ok(()),
    }
}
