//! One SSH connection: dial, handshake with host key check, sign in; then channels over it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, AuthResult, Handle, Msg};
use russh::keys::{Algorithm, EcdsaCurve, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{Channel, ChannelMsg, Disconnect, Preferred, cipher, compression};
use russh_sftp::client::SftpSession;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::Endpoint;
use crate::dial::dial;
use crate::exec::Exec;
use crate::failure::{Failure, Reason};
use crate::known_hosts::KnownHosts;
use crate::session::{Facts, Verifier};
use crate::socket::Socket;
use crate::transfer::TransferStream;

/// A keepalive after this much silence; with [`KEEPALIVES_UNANSWERED`] a dead peer is noticed after 12 s.
const KEEPALIVE: Duration = Duration::from_secs(4);
const KEEPALIVES_UNANSWERED: usize = 2;
/// What the server may send on one channel before we allow more; measured for bulk over russh.
const WINDOW: u32 = 8 << 20;
const PACKET: u32 = 65_535;
/// Messages of one channel that wait for its reader before the whole connection waits.
const CHANNEL_MESSAGES: usize = 256;
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// How the host key is checked.
#[derive(Clone, Debug)]
pub enum HostKeyCheck {
    /// Only recorded keys are accepted.
    Strict(Arc<KnownHosts>),
    /// A host without any recorded key is accepted with whatever it shows; a changed key is not.
    AcceptNew(Arc<KnownHosts>),
}

/// How long each step may take. The default suits a VM on the same continent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Name resolution.
    pub resolve: Duration,
    /// The TCP connection, over all addresses.
    pub connect: Duration,
    /// Identification, key exchange and host key.
    pub handshake: Duration,
    /// Sign-in.
    pub auth: Duration,
    /// Opening a channel and starting its command.
    pub channel: Duration,
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines {
            resolve: Duration::from_secs(5),
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            auth: Duration::from_secs(10),
            channel: Duration::from_secs(10),
        }
    }
}

/// All that it takes to connect to the VM.
#[derive(Clone)]
pub struct Connector {
    /// Where and as whom.
    pub endpoint: Endpoint,
    /// Which host keys are accepted.
    pub host_keys: HostKeyCheck,
    /// The key to sign in with.
    pub key: Arc<PrivateKey>,
    /// The deadline of each step.
    pub deadlines: Deadlines,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Connector {
    /// Connects, checks the host key and signs in.
    ///
    /// # Errors
    /// The first step that failed, classified.
    pub async fn connect(&self) -> Result<Connection, Failure> {
        self.connect_after(None).await
    }

    /// As [`Connector::connect`]; where new host keys are accepted, only the one accepted before (if any).
    pub(crate) async fn connect_after(&self, accepted: Option<PublicKey>) -> Result<Connection, Failure> {
        let attempt =
            Attempt { endpoint: &self.endpoint, check: &self.host_keys, deadlines: &self.deadlines, accepted };
        attempt.handshake().await?.sign_in(&self.endpoint, &self.key, &self.deadlines).await
    }
}

/// The steps before sign-in, which a probe without a key takes alone.
pub(crate) struct Attempt<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) check: &'a HostKeyCheck,
    pub(crate) deadlines: &'a Deadlines,
    pub(crate) accepted: Option<PublicKey>,
}

/// A session with a trusted host, not yet signed in.
pub(crate) struct Handshaken {
    handle: Handle<Verifier>,
    hold: oneshot::Sender<()>,
    pub(crate) facts: Arc<Facts>,
}

impl Attempt<'_> {
    pub(crate) async fn handshake(self) -> Result<Handshaken, Failure> {
        self.handshake_into(&Arc::new(Facts::default())).await
    }

    pub(crate) async fn handshake_into(self, facts: &Arc<Facts>) -> Result<Handshaken, Failure> {
        let stream = dial(self.endpoint, self.deadlines).await?;
        let (socket, hold) = Socket::new(stream, facts.words.clone());
        let (HostKeyCheck::Strict(known_hosts) | HostKeyCheck::AcceptNew(known_hosts)) = self.check;
        let config = session_config(known_hosts.algorithms(&self.endpoint.host, self.endpoint.port));
        let verifier = Verifier {
            endpoint: self.endpoint.clone(),
            check: self.check.clone(),
            accepted: self.accepted,
            facts: facts.clone(),
        };
        match timeout(self.deadlines.handshake, client::connect_stream(Arc::new(config), socket, verifier)).await {
            Ok(Ok(handle)) => Ok(Handshaken { handle, hold, facts: facts.clone() }),
            Ok(Err(error)) => Err(facts.handshake_failure(self.endpoint, &error)),
            Err(_) => Err(facts.handshake_timeout(self.endpoint, self.deadlines.handshake.as_secs())),
        }
    }
}

impl Handshaken {
    pub(crate) async fn sign_in(
        mut self,
        endpoint: &Endpoint,
        key: &Arc<PrivateKey>,
        deadlines: &Deadlines,
    ) -> Result<Connection, Failure> {
        let credential = PrivateKeyWithHashAlg::new(key.clone(), None);
        let answer = match timeout(deadlines.auth, self.handle.authenticate_publickey(&endpoint.user, credential)).await
        {
            Ok(answer) => answer,
            Err(_) => return Err(self.facts.handshake_timeout(endpoint, deadlines.auth.as_secs())),
        };
        match answer {
            Ok(AuthResult::Success) => Ok(Connection {
                shared: Arc::new(Shared {
                    handle: self.handle,
                    _hold: self.hold,
                    facts: self.facts,
                    endpoint: endpoint.clone(),
                    channel_deadline: deadlines.channel,
                }),
            }),
            Ok(AuthResult::Failure { partial_success: true, .. }) => Err(Failure::new(
                Reason::AuthRejected,
                format!(
                    "{endpoint} accepts the key of {} but asks for a second factor: allow `AuthenticationMethods publickey` \
                     for this user in the VM's sshd_config.",
                    endpoint.user
                ),
            )),
            Ok(AuthResult::Failure { .. }) => Err(rejected(endpoint)),
            Err(_) => {
                // The reason of the end is recorded by the session's task, which is done when the sender is closed.
                let _ = timeout(CLOSE_DEADLINE, &mut self.handle).await;
                if self.facts.ended_by_auth() { Err(rejected(endpoint)) } else { Err(self.facts.lost(endpoint)) }
            }
        }
    }
}

fn rejected(endpoint: &Endpoint) -> Failure {
    Failure::new(
        Reason::AuthRejected,
        format!(
            "{endpoint} does not accept the key for user {user}: add its public half to ~{user}/.ssh/authorized_keys on the VM \
             (the directory 0700, the file 0600, both owned by {user}), or correct the user.",
            user = endpoint.user
        ),
    )
}

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
        let goodbye = self.shared.handle.disconnect(Disconnect::ByApplication, "", "");
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

fn session_config(recorded: Vec<Algorithm>) -> client::Config {
    client::Config {
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        channel_buffer_size: CHANNEL_MESSAGES,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: KEEPALIVES_UNANSWERED,
        nodelay: true,
        preferred: Preferred {
            key: Cow::Owned(host_key_algorithms(recorded)),
            cipher: Cow::Owned(ciphers(has_aes_instructions())),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        ..client::Config::default()
    }
}

/// Kinds that are recorded for the host come first, or a host with two keys would look as if its key had changed.
fn host_key_algorithms(recorded: Vec<Algorithm>) -> Vec<Algorithm> {
    let supported = [
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    ];
    let (first, rest): (Vec<_>, Vec<_>) = supported.into_iter().partition(|algorithm| recorded.contains(algorithm));
    first.into_iter().chain(rest).collect()
}

fn ciphers(aes_first: bool) -> Vec<cipher::Name> {
    let (first, second) = if aes_first {
        (cipher::AES_256_GCM, cipher::CHACHA20_POLY1305)
    } else {
        (cipher::CHACHA20_POLY1305, cipher::AES_256_GCM)
    };
    vec![first, second, cipher::AES_256_CTR, cipher::AES_192_CTR, cipher::AES_128_CTR]
}

fn has_aes_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}
