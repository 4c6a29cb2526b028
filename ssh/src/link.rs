//! One signed-in session with the VM: what a connection is made of, and what keeps it alive for its commands and files.

use std::sync::Arc;
use std::time::Duration;

use russh::client::{Handle, Msg};
use russh::{Channel, ChannelOpenFailure, Disconnect};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::endpoint::Endpoint;
use crate::failure::{Failure, Reason};
use crate::session::{Facts, Verifier};

/// How long the end of a session is waited for.
pub(crate) const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// A signed-in session; it ends when whoever holds it lets go.
pub(crate) struct Link {
    handle: Handle<Verifier>,
    _hold: oneshot::Sender<()>,
    pub(crate) facts: Arc<Facts>,
    pub(crate) endpoint: Endpoint,
    channel_deadline: Duration,
}

impl Link {
    pub(crate) fn new(
        handle: Handle<Verifier>,
        hold: oneshot::Sender<()>,
        facts: Arc<Facts>,
        endpoint: Endpoint,
        channel_deadline: Duration,
    ) -> Arc<Link> {
        Arc::new(Link { handle, _hold: hold, facts, endpoint, channel_deadline })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Says goodbye to the server, and waits a little for the end.
    pub(crate) async fn close(&self) {
        let goodbye = async {
            if self.handle.disconnect(Disconnect::ByApplication, "", "").await.is_ok() {
                self.facts.ended().await;
            }
        };
        if timeout(CLOSE_DEADLINE, goodbye).await.is_err() {
            tracing::debug!(endpoint = %self.endpoint, "the SSH connection did not close in time");
        }
    }

    /// Returns when the server has answered; it answers in order, so it has taken note of all that came before.
    pub(crate) async fn ping(&self) -> Result<(), Failure> {
        self.handle.send_ping().await.map_err(|_| self.lost())
    }

    pub(crate) async fn open_channel(&self) -> Result<Channel<Msg>, Failure> {
        let opened = self.within_deadline(self.handle.channel_open_session()).await?;
        opened.map_err(|error| match error {
            russh::Error::ChannelOpenFailure(_) => Failure::new(
                Reason::ChannelRefused,
                format!(
                    "{} refuses another session: raise MaxSessions in the VM's sshd_config (the default 10 is enough).",
                    self.endpoint
                ),
            ),
            _ => self.lost(),
        })
    }

    /// A channel from this host to the sshd of another one.
    pub(crate) async fn open_to(&self, target: &Endpoint) -> Result<Channel<Msg>, Failure> {
        let host = target.host.trim_start_matches('[').trim_end_matches(']');
        let opening = self.handle.channel_open_direct_tcpip(host, target.port.into(), "127.0.0.1", 0);
        let opened = self.within_deadline(opening).await?;
        opened.map_err(|error| match error {
            russh::Error::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed) => Failure::new(
                Reason::HostUnreachable,
                format!(
                    "The jump host {} cannot reach {target}: see that the VM runs, that its SSH server listens there, and \
                     that the name and the network are right as seen from the jump host.",
                    self.endpoint
                ),
            ),
            russh::Error::ChannelOpenFailure(_) => Failure::new(
                Reason::ChannelRefused,
                format!(
                    "The jump host {} does not forward to {target}: set `AllowTcpForwarding yes` (and a PermitOpen that \
                     covers it) in its sshd_config, and allow `port-forwarding` for the key.",
                    self.endpoint
                ),
            ),
            _ => self.lost(),
        })
    }

    pub(crate) fn lost(&self) -> Failure {
        self.facts.lost(&self.endpoint)
    }

    pub(crate) async fn within_deadline<T>(&self, step: impl Future<Output = T>) -> Result<T, Failure> {
        let deadline = self.channel_deadline;
        timeout(deadline, step).await.map_err(|_| {
            Failure::new(
                Reason::TimedOut,
                format!(
                    "{} did not start a session within {} s: the VM may be overloaded, suspended or out of memory.",
                    self.endpoint,
                    deadline.as_secs()
                ),
            )
        })
    }
}
