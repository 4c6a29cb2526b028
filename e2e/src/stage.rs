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
            let archive = root().join(format!("target/images/{image}.tar"));
            ensure!(archive.exists(), "{} is missing: run `make images` first", archive.display());
            progress.step(&format!("image {image}"), stage.lab.load_image(&archive)).await?;
        }
        progress.step("operator", stage.install_operator()).await?;
        Ok(stage)
    }

    async fn install_operator(&self) -> Result<()> {
        let config = root().join("config");
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-k", &config.display().to_string()]).await?;
        self.kubectl(&["wait", "--for=condition=Established", "crd/catalystinstances.catalyst.dev", "--timeout=30s"]).await?;
        // An image under the same tag may be newer than the running pods: name its digest, so that only a new one rolls.
        let digest = self.lab.image_id("catalyst-operator").await?;
        let patch = format!(r#"{{"spec":{{"template":{{"metadata":{{"annotations":{{"catalyst.dev/image-id":"{digest}"}}}}}}}}}}"#);
        self.kubectl(&["-n", "catalyst-system", "patch", "deployment", "catalyst-operator", "-p", &patch]).await?;
        self.kubectl(&["-n", "catalyst-system", "rollout", "status", "deployment/catalyst-operator", "--timeout=120s"]).await?;
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
        let output = tokio::time::timeout(Duration::from_secs(180), self.lab.kubectl().args(args).kill_on_drop(true).output())
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

/// The root of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}
