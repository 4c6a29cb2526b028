//! The stage on which the demo and the tests play: a lab with both images loaded and the operator installed from `config/`, as a user installs it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use catalyst_lab::{Lab, Progress};
use tokio::io::AsyncWriteExt;

/// The images that `make images` leaves in `target/images`.
const IMAGES: [&str; 2] = ["catalyst-operator", "catalyst-proxy"];

/// A running lab with the operator in it.
pub struct Stage {
    lab: Lab,
}

impl Stage {
    /// Starts the lab of that name (or finds it running), loads the images and installs the operator. Safe to call again.
    ///
    /// # Errors
    /// When a part does not start; the error names the part and its log.
    pub async fn up(name: &str, progress: &Progress) -> Result<Self> {
        let stage = Self { lab: Lab::named(name)? };
        stage.lab.up(progress).await?;
        for image in IMAGES {
            let archive = archive(image);
            ensure!(archive.exists(), "{} is missing: run `make images` first", archive.display());
            progress.step(&format!("image {image}"), stage.lab.load_image(&archive)).await?;
        }
        progress.step("operator", stage.install_operator()).await?;
        Ok(stage)
    }

    async fn install_operator(&self) -> Result<()> {
        let config = root().join("config");
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-k", &config.display().to_string()]).await?;
        self.kubectl(&["wait", "--for=condition=Established", "crd/catalystinstances.catalyst.dev", "--timeout=30s"])
            .await?;
        self.kubectl(&["-n", "catalyst-system", "rollout", "status", "deployment/catalyst-operator", "--timeout=120s"])
            .await?;
        self.renew("catalyst-system", "catalyst-operator", "catalyst-operator").await
    }

    /// Rolls a Deployment whose pods run another image than the archive's: a tag that was loaded again does not roll them by itself.
    ///
    /// # Errors
    /// When the rollout does not end.
    pub async fn renew(&self, namespace: &str, deployment: &str, image: &str) -> Result<()> {
        let wanted = image_id(&archive(image)).await?;
        let images = "jsonpath={.items[*].status.containerStatuses[*].imageID}";
        let selector = self
            .kubectl(&[
                "-n",
                namespace,
                "get",
                "deployment",
                deployment,
                "-o",
                "go-template={{range $k, $v := .spec.selector.matchLabels}}{{$k}}={{$v}},{{end}}",
            ])
            .await?;
        let running =
            self.kubectl(&["-n", namespace, "get", "pods", "-l", selector.trim_end_matches(','), "-o", images]).await?;
        if running.split_whitespace().all(|id| id.ends_with(&wanted)) {
            return Ok(());
        }
        self.kubectl(&["-n", namespace, "rollout", "restart", &format!("deployment/{deployment}")]).await?;
        self.kubectl(&["-n", namespace, "rollout", "status", &format!("deployment/{deployment}"), "--timeout=120s"])
            .await?;
        Ok(())
    }

    /// The lab.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Runs kubectl and returns what it printed.
    ///
    /// # Errors
    /// When it exits non-zero; the error has what it printed on stderr.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let output =
            tokio::time::timeout(Duration::from_secs(180), self.lab.kubectl().args(args).kill_on_drop(true).output())
                .await
                .with_context(|| format!("kubectl {} did not end in 180 s", args.join(" ")))??;
        if !output.status.success() {
            bail!("kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// `kubectl apply -f -` of a manifest.
    ///
    /// # Errors
    /// When the API server refuses it; the error has its words.
    pub async fn apply(&self, manifest: &str) -> Result<String> {
        let mut child = self
            .lab
            .kubectl()
            .args(["apply", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        child.stdin.take().context("kubectl's stdin")?.write_all(manifest.as_bytes()).await?;
        let output = child.wait_with_output().await?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Where `make images` leaves an image.
fn archive(image: &str) -> PathBuf {
    root().join(format!("target/images/{image}.tar"))
}

/// The id of an archive's image, 64 hexadecimal digits: the name of its configuration (Docker image specification 1.2, manifest.json).
async fn image_id(archive: &Path) -> Result<String> {
    let output = tokio::process::Command::new("tar").arg("-xOf").arg(archive).arg("manifest.json").output().await?;
    let manifest: serde_json::Value =
        serde_json::from_slice(&output.stdout).with_context(|| format!("{} is no image", archive.display()))?;
    let config =
        manifest[0]["Config"].as_str().with_context(|| format!("{} names no configuration", archive.display()))?;
    Ok(config.trim_start_matches("blobs/sha256/").trim_end_matches(".json").to_owned())
}

/// The root of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}
