//! Ends what tmux and screen keep of terminals that are not used any more: nobody looks, and nothing was typed or printed for the
//! idle limit. A plain terminal's task keeps its own limit.

use std::sync::Arc;
use std::time::Duration;

use catalyst_ssh::Lane;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{TerminalError, Terminals};
use crate::settings::TerminalMode;

const SWEEP: &str = include_str!("sweep.sh");
const EVERY: Duration = Duration::from_secs(3600);

impl Terminals {
    /// Sweeps every hour until cancelled. Several replicas may do so at once.
    pub async fn keep_sweeping(self: Arc<Self>, until: CancellationToken) {
        if self.settings.mode == TerminalMode::Off {
            return;
        }
        while until.run_until_cancelled(sleep(EVERY)).await.is_some() {
            if let Err(error) = self.sweep().await {
                tracing::debug!(cause = %error, "unused terminals were not looked for; it is tried again in an hour");
            }
        }
    }

    /// Ends the terminals of all ideas that are not used any more.
    ///
    /// # Errors
    /// When the VM cannot be asked.
    pub async fn sweep(&self) -> Result<(), TerminalError> {
        let idle = self.settings.idle.as_secs().to_string();
        let finished = self.remote.sh(Lane::Bulk, SWEEP, &[&idle], b"").await?;
        for name in String::from_utf8_lossy(&finished.stdout).lines() {
            tracing::info!(name, "terminal ended: nobody has used it for long");
        }
        Ok(())
    }
}
