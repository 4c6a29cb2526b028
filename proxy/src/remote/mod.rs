//! What is executed on the VM: scripts of ours, fed with quoted arguments and data on standard input.
//!
//! Nothing that a user types becomes part of a command line unquoted, and prompts never become part of one at all.

use std::sync::Arc;
use std::time::Duration;

use catalyst_ssh::{Failure, Finished, Lane, Pool};
use tokio::sync::OnceCell;

mod channels;
mod command;
pub mod ideas;
mod logs;
mod program;

pub(crate) use channels::{Channels, Following, Standing};
pub use command::quote;
pub(crate) use logs::{Log, Logs, READ};
pub(crate) use program::{Piece, Stream};

/// Largest output that a script may print before it is refused, in bytes.
const OUTPUT_LIMIT: usize = 16 * 1024 * 1024;
/// How long a script may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// Why something could not be executed on the VM.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RemoteError {
    /// The way to the VM failed.
    #[error(transparent)]
    Ssh(#[from] Failure),
    /// The login shell of the VM's user did not start our script, or ended it early.
    #[error("The VM's login shell did not run a command ({0}). Check that the SSH user has a POSIX login shell.")]
    NoShell(String),
    /// A script did not end in time.
    #[error("The VM did not answer within {} s. It may be overloaded, or its disk may hang.", .0.as_secs())]
    TimedOut(Duration),
}

/// The VM as a place where scripts run: a pool of connections and the folder of the ideas.
pub struct Remote {
    pool: Arc<Pool>,
    base_path: String,
    home: OnceCell<String>,
    /// For those who wait for each byte.
    logs: Logs,
    /// For those who read much.
    bulk_logs: Logs,
    channels: Arc<Channels>,
}

impl Remote {
    /// `ideas_base_path` may begin with `~`, the home of the VM's user.
    pub fn new(pool: Arc<Pool>, ideas_base_path: &str) -> Arc<Remote> {
        Arc::new(Remote {
            base_path: ideas_base_path.to_owned(),
            home: OnceCell::new(),
            logs: Logs::new(Arc::clone(&pool), Lane::Interactive),
            bulk_logs: Logs::new(Arc::clone(&pool), Lane::Bulk),
            channels: Channels::new(pool.possible()),
            pool,
        })
    }

    /// The connections to the VM.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Files that are read through a channel that all readers of a lane share.
    pub(crate) fn logs(&self, lane: Lane) -> &Logs {
        match lane {
            Lane::Interactive => &self.logs,
            Lane::Bulk => &self.bulk_logs,
        }
    }

    /// Who may keep a channel for long.
    pub(crate) fn channels(&self) -> &Arc<Channels> {
        &self.channels
    }

    /// Runs `script` (a constant of ours) under the VM's `sh` with `args` as `$1…` and `stdin` on standard input.
    ///
    /// Whatever the user's shell start-up files print is dropped from the output.
    pub async fn sh(&self, lane: Lane, script: &str, args: &[&str], stdin: &[u8]) -> Result<Finished, RemoteError> {
        self.sh_within(DEADLINE, lane, script, args, stdin).await
    }

    /// As [`Remote::sh`], with a deadline of its own.
    async fn sh_within(
        &self,
        deadline: Duration,
        lane: Lane,
        script: &str,
        args: &[&str],
        stdin: &[u8],
    ) -> Result<Finished, RemoteError> {
        let command = command::shell(script, args);
        let work = async {
            let mut exec = self.pool.exec(lane, &command).await?;
            if !stdin.is_empty() {
                exec.write(stdin).await?;
            }
            exec.close_stdin().await?;
            exec.finish(OUTPUT_LIMIT).await
        };
        let mut finished =
            tokio::time::timeout(deadline, work).await.map_err(|_| RemoteError::TimedOut(deadline))??;
        finished.stdout = command::cut_after_marker(finished.stdout)
            .ok_or_else(|| RemoteError::NoShell(command::exit_words(finished.status)))?;
        Ok(finished)
    }

    /// The home of the VM's user, absolute; asked once.
    pub async fn home(&self) -> Result<String, RemoteError> {
        self.home
            .get_or_try_init(|| async {
                let finished = self.sh(Lane::Interactive, r#"cd && pwd -P"#, &[], b"").await?;
                let home = String::from_utf8_lossy(&finished.stdout).trim_end_matches('\n').to_owned();
                if finished.status == Some(0) && home.starts_with('/') {
                    Ok(home)
                } else {
                    Err(RemoteError::NoShell("the SSH user has no home folder".to_owned()))
                }
            })
            .await
            .cloned()
    }

    /// The folder of the ideas, absolute and without a trailing slash.
    pub async fn base(&self) -> Result<String, RemoteError> {
        let path = self.base_path.trim_end_matches('/');
        if path.starts_with('/') {
            return Ok(path.to_owned());
        }
        let home = self.home().await?;
        let below = path.strip_prefix('~').unwrap_or(path).trim_start_matches('/');
        Ok(if below.is_empty() { home } else { format!("{}/{below}", home.trim_end_matches('/')) })
    }
}
