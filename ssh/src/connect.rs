//! To a signed-in connection: dial, handshake with host key check, sign in.

use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, AuthResult, Handle};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::connection::Connection;
use crate::dial;
use crate::endpoint::Endpoint;
use crate::failure::{Failure, Reason};
use crate::known_hosts::HostKeyCheck;
use crate::link::{CLOSE_DEADLINE, Link};
use crate::session::{Facts, Stage, Verifier};
use crate::settings::session_config;
use crate::socket::Socket;

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
        let addresses = dial::resolve(self.endpoint, self.deadlines.resolve).await?;
        facts.reach(Stage::Connecting);
        let stream = dial::connect(self.endpoint, addresses, self.deadlines.connect).await?;
        facts.reach(Stage::Handshaking);
        let (socket, hold) = Socket::new(stream, facts.words.clone());
        let (HostKeyCheck::Strict(known_hosts) | HostKeyCheck::AcceptNew(known_hosts)) = self.check;
        let config = session_config(&known_hosts.algorithms(&self.endpoint.host, self.endpoint.port));
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
            Ok(AuthResult::Success) => {
                Ok(Connection::new(Link::new(self.handle, self.hold, self.facts, endpoint.clone(), deadlines.channel)))
            }
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
