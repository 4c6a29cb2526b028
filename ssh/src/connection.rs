//! A signed-in SSH connection and the channels over it.

use std::sync::Arc;
use std::time::Duration;

use russh::client::Msg;
use russh::keys::PublicKey;
use russh::{Channel, ChannelMsg};
use russh_sftp::client::{RawSftpSession, SftpSession};
use tokio::time::timeout;

use crate::exec::Exec;
use crate::failure::{Failure, Reason};
use crate::files::Files;
use crate::link::Link;
use crate::terminal::{Size, TerminalChannel, TerminalReader, TerminalWriter};
use crate::transfer::ChannelBytes;

/// A signed-in SSH connection. Clones share it; it ends when the last clone and the last channel are gone.
#[derive(Clone)]
pub struct Connection {
    link: Arc<Link>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("endpoint", &self.link.endpoint).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(link: Arc<Link>) -> Connection {
        Connection { link }
    }

    /// Runs a command line in the user's shell on the VM.
    ///
    /// # Errors
    /// [`Reason::ChannelRefused`] if the server refuses, [`Reason::ConnectionLost`] if the connection is gone,
    /// [`Reason::TimedOut`] if it does not answer.
    pub async fn exec(&self, command: &str) -> Result<Exec, Failure> {
        let channel = self.link.open_channel().await?;
        self.start_exec(channel, command).await
    }

    /// Opens a file transfer session.
    ///
    /// # Errors
    /// As [`Connection::exec`]; [`Reason::ChannelRefused`] also if the server has no sftp subsystem.
    pub async fn sftp(&self) -> Result<SftpSession, Failure> {
        let channel = self.link.open_channel().await?;
        self.start_sftp(channel).await
    }

    /// Starts a command line on a new pseudo-terminal of this kind (as in terminfo, such as `xterm-256color`) and size.
    ///
    /// # Errors
    /// As [`Connection::exec`].
    pub async fn terminal(
        &self,
        term: &str,
        size: Size,
        command: &str,
    ) -> Result<(TerminalReader, TerminalWriter), Failure> {
        self.channel_for_terminal().await?.start(term, size, command).await
    }

    /// A channel for a terminal that begins later, so that nothing that begins before it can take its place.
    ///
    /// # Errors
    /// As [`Connection::exec`].
    pub async fn channel_for_terminal(&self) -> Result<TerminalChannel, Failure> {
        let channel = self.link.open_channel().await?;
        Ok(TerminalChannel::new(self.link.clone(), channel))
    }

    /// Whether the server answers within this time.
    pub async fn answers(&self, within: Duration) -> bool {
        matches!(timeout(within, self.link.ping()).await, Ok(Ok(()))) && !self.is_closed()
    }

    /// The key that the host showed.
    pub fn host_key(&self) -> Option<&PublicKey> {
        self.link.facts.host_key.get()
    }

    /// Whether the connection is known to be gone.
    pub fn is_closed(&self) -> bool {
        self.link.is_closed()
    }

    /// Says goodbye to the server; channels that are still open end.
    pub async fn close(&self) {
        self.link.close().await;
    }

    pub(crate) async fn open_channel(&self) -> Result<Channel<Msg>, Failure> {
        self.link.open_channel().await
    }

    pub(crate) async fn start_exec(&self, channel: Channel<Msg>, command: &str) -> Result<Exec, Failure> {
        let mut exec = Exec::new(self.link.clone(), channel);
        self.link.within_deadline(exec.start(command)).await??;
        Ok(exec)
    }

    pub(crate) async fn start_sftp(&self, channel: Channel<Msg>) -> Result<SftpSession, Failure> {
        let started = async {
            let bytes = self.start_transfer(channel).await?;
            SftpSession::new(bytes).await.map_err(|_| self.no_transfer())
        };
        self.link.within_deadline(started).await?
    }

    /// The channel is given back by the last of the `Files` and of what they opened.
    pub(crate) async fn start_files(&self, channel: Channel<Msg>) -> Result<Files, Failure> {
        let started = async {
            let session = RawSftpSession::new(self.start_transfer(channel).await?);
            session.init().await.map_err(|_| self.no_transfer())?;
            Ok(Files::new(session, self.link.clone()))
        };
        self.link.within_deadline(started).await?
    }

    async fn start_transfer(&self, mut channel: Channel<Msg>) -> Result<ChannelBytes, Failure> {
        channel.request_subsystem(true, "sftp").await.map_err(|_| self.link.lost())?;
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => break,
                Some(ChannelMsg::Failure | ChannelMsg::Close) => return Err(self.no_transfer()),
                Some(_) => {}
                None => return Err(self.link.lost()),
            }
        }
        Ok(ChannelBytes::new(channel.into_stream(), self.link.clone()))
    }

    fn no_transfer(&self) -> Failure {
        if self.is_closed() {
            return self.link.lost();
        }
        let endpoint = &self.link.endpoint;
        Failure::new(
            Reason::ChannelRefused,
            format!("{endpoint} offers no file transfer: enable `Subsystem sftp internal-sftp` in its sshd_config."),
        )
    }
}
