//! A signed-in SSH connection and the channels over it.

use std::sync::Arc;
use std::time::Duration;

use russh::client::{Handle, Msg};
use russh::keys::PublicKey;
use russh::{Channel, ChannelMsg, Disconnect};
use russh_sftp::client::SftpSession;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::Endpoint;
use crate::exec::Exec;
use crate::failure::{Failure, Reason};
use crate::session::{Facts, Verifier};
use crate::transfer::TransferStream;

/// How long the end of a session is waited for.
pub(crate) const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// A signed-in SSH connection. Clones share it; it ends when the last clone and the last channel are gone.
#[derive(Clone)]
pub struct Connection {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) handle: Handle<Verifier>,
    _hold: oneshot::Sender<()>,
    pub(crate) facts: Arc<Facts>,
    pub(crate) endpoint: Endpoint,
    pub(crate) channel_deadline: Duration,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("endpoint", &self.shared.endpoint).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(
        handle: Handle<Verifier>,
        hold: oneshot::Sender<()>,
        facts: Arc<Facts>,
        endpoint: Endpoint,
        channel_deadline: Duration,
    ) -> Connection {
        Connection { shared: Arc::new(Shared { handle, _hold: hold, facts, endpoint, channel_deadline }) }
    }

    /// Runs a command line in the user's shell on the VM.
    ///
    /// # Errors
    /// [`Reason::ChannelRefused`] if the server refuses, [`Reason::ConnectionLost`] if the connection is gone,
    /// [`Reason::TimedOut`] if it does not answer.
    pub async fn exec(&self, command: &str) -> Result<Exec, Failure> {
        let channel = self.open_channel().await?;
        self.start_exec(channel, command).await
    }

    /// Opens a file transfer session.
    ///
    /// # Errors
    /// As [`Connection::exec`]; [`Reason::ChannelRefused`] also if the server has no sftp subsystem.
    pub async fn sftp(&self) -> Result<SftpSession, Failure> {
        let channel = self.open_channel().await?;
        self.start_sftp(channel).await
    }

    /// The key that the host showed.
    pub fn host_key(&self) -> Option<&PublicKey> {
        self.shared.facts.host_key.get()
    }

    /// Whether the connection is known to be gone.
    pub fn is_closed(&self) -> bool {
        self.shared.handle.is_closed()
    }

    /// Says goodbye to the server; channels that are still open end.
    pub async fn close(&self) {
        let goodbye = async {
            if self.shared.handle.disconnect(Disconnect::ByApplication, "", "").await.is_ok() {
                self.shared.facts.ended().await;
            }
        };
        if timeout(CLOSE_DEADLINE, goodbye).await.is_err() {
            tracing::debug!(endpoint = %self.shared.endpoint, "the SSH connection did not close in time");
        }
    }

    pub(crate) async fn open_channel(&self) -> Result<Channel<Msg>, Failure> {
        let opened = self.within_deadline(self.shared.handle.channel_open_session()).await?;
        opened.map_err(|error| match error {
            russh::Error::ChannelOpenFailure(_) => Failure::new(
                Reason::ChannelRefused,
                format!(
                    "{} refuses another session: raise MaxSessions in the VM's sshd_config (the default 10 is enough).",
                    self.shared.endpoint
                ),
            ),
            _ => self.lost(),
        })
    }

    pub(crate) async fn start_exec(&self, channel: Channel<Msg>, command: &str) -> Result<Exec, Failure> {
        let mut exec = Exec::new(self.clone(), channel);
        self.within_deadline(exec.start(command)).await??;
        Ok(exec)
    }

    pub(crate) async fn start_sftp(&self, mut channel: Channel<Msg>) -> Result<SftpSession, Failure> {
        let endpoint = &self.shared.endpoint;
        let refused = || {
            Failure::new(
                Reason::ChannelRefused,
                format!(
                    "{endpoint} offers no file transfer: enable `Subsystem sftp internal-sftp` in its sshd_config."
                ),
            )
        };
        let started = async {
            channel.request_subsystem(true, "sftp").await.map_err(|_| self.lost())?;
            loop {
                match channel.wait().await {
                    Some(ChannelMsg::Success) => break,
                    Some(ChannelMsg::Failure | ChannelMsg::Close) => return Err(refused()),
                    Some(_) => {}
                    None => return Err(self.lost()),
                }
            }
            SftpSession::new(TransferStream::new(channel.into_stream(), self.clone()))
                .await
                .map_err(|_| if self.is_closed() { self.lost() } else { refused() })
        };
        self.within_deadline(started).await?
    }

    pub(crate) fn lost(&self) -> Failure {
        self.shared.facts.lost(&self.shared.endpoint)
    }

    async fn within_deadline<T>(&self, step: impl Future<Output = T>) -> Result<T, Failure> {
        let deadline = self.shared.channel_deadline;
        timeout(deadline, step).await.map_err(|_| {
            Failure::new(
                Reason::TimedOut,
                format!(
                    "{} did not start a session within {} s: the VM may be overloaded, suspended or out of memory.",
                    self.shared.endpoint,
                    deadline.as_secs()
                ),
            )
        })
    }
}
