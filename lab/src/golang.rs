//! The Go toolchain as the lab uses it: modules come from the module proxy alone, programs are static.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use serde::Deserialize;
use tokio::process::Command;

/// A build's log; what each command says is appended.
pub(crate) struct Log {
    file: std::fs::File,
}

impl Log {
    pub(crate) fn create(path: &Path) -> anyhow::Result<Log> {
        Ok(Log { file: std::fs::File::create(path).with_context(|| format!("write {}", path.display()))? })
    }

    fn handle(&self) -> anyhow::Result<Stdio> {
        Ok(self.file.try_clone().context("share the log")?.into())
    }
}

/// The folder of a module in Go's own cache, downloaded if it is not there. `module` is PATH@VERSION.
pub(crate) async fn download(module: &str, outside: &Path, log: &Log) -> anyhow::Result<PathBuf> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Downloaded {
        dir: Option<PathBuf>,
        error: Option<String>,
    }
    let mut command = go(outside).await?;
    let output =
        command.args(["mod", "download", "-json", module]).stderr(log.handle()?).output().await.context("run go")?;
    let downloaded: Downloaded = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("go mod download {module} gave no answer (exit {})", output.status))?;
    match downloaded {
        Downloaded { error: Some(error), .. } => bail!("go mod download {module}: {error}"),
        Downloaded { dir: Some(dir), .. } => Ok(dir),
        Downloaded { dir: None, error: None } => bail!("go mod download {module} gave no folder"),
    }
}

/// Compiles `package` of the module in `source` to the static program `output`.
pub(crate) async fn build(source: &Path, package: &str, linker: &str, output: &Path, log: &Log) -> anyhow::Result<()> {
    let mut command = go(source).await?;
    command.args(["build", "-trimpath", "-buildvcs=false", "-ldflags", linker, "-o"]).arg(output).arg(package);
    let status = command.stdout(log.handle()?).stderr(log.handle()?).status().await.context("run go")?;
    if !status.success() {
        bail!("go build {package} ended with {status}");
    }
    Ok(())
}

/// A `go` command in `folder` that asks the module proxies only, never a source host.
async fn go(folder: &Path) -> anyhow::Result<Command> {
    let configured = Command::new("go")
        .args(["env", "GOPROXY"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .await
        .context("run go; the lab needs Go (see `catalyst-lab preflight`)")?;
    let configured = String::from_utf8_lossy(&configured.stdout).trim().to_owned();
    let proxies: Vec<&str> =
        configured.split([',', '|']).filter(|entry| *entry != "direct" && !entry.is_empty()).collect();
    let mut command = Command::new("go");
    command
        .current_dir(folder)
        .env("GOPROXY", if proxies.is_empty() { configured.clone() } else { proxies.join(",") })
        .env("GOWORK", "off")
        .env("GOFLAGS", "-mod=mod")
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    Ok(command)
}

/// Copies a tree; the copy is writable (Go's module cache is not).
pub(crate) fn copy_writable(from: &Path, to: &Path) -> anyhow::Result<()> {
    crate::folders::make(to)?;
    let entries = std::fs::read_dir(from).with_context(|| format!("read {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_writable(&source, &target)?;
        } else {
            std::fs::copy(&source, &target).with_context(|| format!("copy {}", source.display()))?;
            let mode = std::fs::metadata(&target)?.permissions().mode();
            std::fs::set_permissions(&target, std::fs::Permissions::from_mode(mode | 0o200))?;
        }
    }
    Ok(())
}
