//! To a signed-in connection: dial (or go through the jump host), handshake with host key check, sign in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, Handle};
use russh::keys::{Certificate, PrivateKey, PublicKey};
use tokio::io::BufReader;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::connection::Connection;
use crate::dial;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::known_hosts::HostKeyCheck;
use crate::link::Link;
use crate::session::{Facts, Stage, Verifier};
use crate::settings::{Purpose, session_config};
use crate::sign_in::{self, Credentials};
use crate::socket::{Socket, Wire};
use crate::transfer::ChannelBytes;

/// What is taken from the system at once: some packets of an event each; a large one mostly passes by it.
const READ_BUFFER: usize = 8 * 1024;

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
    /// The host to go through, as `ssh -J` does; signed in to with the same key. Its host key has to be
    /// in known_hosts, also where new ones are accepted.
    pub jump: Option<Endpoint>,
    /// Which host keys are accepted.
    pub host_keys: HostKeyCheck,
    /// The key to sign in with.
    pub key: Arc<PrivateKey>,
    /// A certificate of that key, shown before the key itself.
    pub certificate: Option<Certificate>,
    /// The deadline of each step.
    pub deadlines: Deadlines,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Connector");
        shown.field("endpoint", &self.endpoint).field("jump", &self.jump).finish_non_exhaustive()
    }
}

impl Connector {
    /// Connects, checks the host key and signs in.
    ///
    /// # Errors
    /// The first step that failed, classified.
    pub async fn connect(&self) -> Result<Connection, Failure> {
        self.connect_after(None, Purpose::Shared).await
    }

    /// As [`Connector::connect`], for one terminal alone: its reader may pause for as long as it likes. Whether the VM still
    /// answers is for its owner to ask ([`Connection::answers`]).
    ///
    /// # Errors
    /// As [`Connector::connect`].
    pub async fn connect_for_terminal(&self) -> Result<Connection, Failure> {
        self.connect_after(None, Purpose::Terminal).await
    }

    /// As [`Connector::connect`]; where new host keys are accepted, only the one accepted before (if any).
    pub(crate) async fn connect_after(
        &self,
        accepted: Option<PublicKey>,
        purpose: Purpose,
    ) -> Result<Connection, Failure> {
        let facts = Arc::new(Facts::default());
        let handshaken = self.attempt(accepted, purpose).handshake_into(&facts).await?;
        let link = handshaken.sign_in(&self.endpoint, &self.credentials(), &self.deadlines).await?;
        Ok(Connection::new(link))
    }

    pub(crate) fn attempt(&self, accepted: Option<PublicKey>, purpose: Purpose) -> Attempt<'_> {
        Attempt {
            endpoint: &self.endpoint,
            addresses: None,
            jump: self.jump.as_ref().map(|endpoint| Jump { endpoint, credentials: self.credentials() }),
            check: &self.host_keys,
            deadlines: &self.deadlines,
            accepted,
            purpose,
        }
    }

    pub(crate) fn credentials(&self) -> Credentials {
        Credentials { key: self.key.clone(), certificate: self.certificate.clone() }
    }
}

/// The steps before sign-in, which a probe without a key takes alone.
pub(crate) struct Attempt<'a> {
    pub(crate) endpoint: &'a Endpoint,
    /// Where the endpoint is; without them its name is resolved.
    pub(crate) addresses: Option<&'a [SocketAddr]>,
    pub(crate) jump: Option<Jump<'a>>,
    pub(crate) check: &'a HostKeyCheck,
    pub(crate) deadlines: &'a Deadlines,
    pub(crate) accepted: Option<PublicKey>,
    pub(crate) purpose: Purpose,
}

/// The host to go through.
pub(crate) struct Jump<'a> {
    endpoint: &'a Endpoint,
    credentials: Credentials,
}

/// A session with a trusted host, not yet signed in.
pub(crate) struct Handshaken {
    handle: Handle<Verifier>,
    hold: oneshot::Sender<()>,
    facts: Arc<Facts>,
}

impl Attempt<'_> {
    pub(crate) async fn handshake_into(self, facts: &Arc<Facts>) -> Result<Handshaken, Failure> {
        let (wire, gate) = match &self.jump {
            None => (Wire::Tcp(self.dial(self.endpoint, self.addresses, facts).await?), facts.gate.clone()),
            // What pauses is the reading from the network, at the bottom.
            Some(jump) => (Wire::Jump(Box::new(self.through(jump, facts).await?)), Arc::default()),
        };
        facts.reach(Stage::Handshaking);
        let (socket, hold) = Socket::new(wire, gate, facts.words.clone());
        self.shake_hands(self.endpoint, self.check, self.accepted.clone(), socket, hold, facts).await
    }

    async fn dial(
        &self,
        endpoint: &Endpoint,
        addresses: Option<&[SocketAddr]>,
        facts: &Facts,
    ) -> Result<tokio::net::TcpStream, Failure> {
        let addresses = match addresses {
            Some(addresses) => addresses.to_vec(),
            None => dial::resolve(endpoint, self.deadlines.resolve).await?,
        };
        facts.reach(Stage::Connecting);
        dial::connect(endpoint, addresses, self.deadlines.connect).await
    }

    /// A channel to the VM's sshd over a session with the jump host.
    async fn through(&self, jump: &Jump<'_>, facts: &Facts) -> Result<ChannelBytes, Failure> {
        let stream = self.dial(jump.endpoint, None, facts).await?;
        let jump_facts = Arc::new(Facts::above(facts.gate.clone()));
        let (socket, hold) = Socket::new(Wire::Tcp(stream), facts.gate.clone(), jump_facts.words.clone());
        let (HostKeyCheck::Strict(known_hosts) | HostKeyCheck::AcceptNew(known_hosts)) = self.check;
        let check = HostKeyCheck::Strict(known_hosts.clone());
        let handshaken = self.shake_hands(jump.endpoint, &check, None, socket, hold, &jump_facts).await?;
        let link = handshaken.sign_in(jump.endpoint, &jump.credentials, self.deadlines).await?;
        let channel = link.open_to(self.endpoint).await?;
        Ok(ChannelBytes::new(channel.into_stream(), link))
    }

    async fn shake_hands(
        &self,
        endpoint: &Endpoint,
        check: &HostKeyCheck,
        accepted: Option<PublicKey>,
        socket: Socket,
        hold: oneshot::Sender<()>,
        facts: &Arc<Facts>,
    ) -> Result<Handshaken, Failure> {
        let (HostKeyCheck::Strict(known_hosts) | HostKeyCheck::AcceptNew(known_hosts)) = check;
        let config = session_config(&known_hosts.algorithms(&endpoint.host, endpoint.port), self.purpose);
        let verifier = Verifier { endpoint: endpoint.clone(), check: check.clone(), accepted, facts: facts.clone() };
        // russh reads a packet's length and then the packet: what has arrived is taken from the system at once.
        let socket = BufReader::with_capacity(READ_BUFFER, socket);
        match timeout(self.deadlines.handshake, client::connect_stream(Arc::new(config), socket, verifier)).await {
            Ok(Ok(handle)) => Ok(Handshaken { handle, hold, facts: facts.clone() }),
            Ok(Err(error)) => Err(facts.handshake_failure(endpoint, &error)),
            Err(_) => Err(facts.handshake_timeout(endpoint, self.deadlines.handshake.as_secs())),
        }
    }
}

impl Handshaken {
    pub(crate) async fn sign_in(
        mut self,
        endpoint: &Endpoint,
        credentials: &Credentials,
        deadlines: &Deadlines,
    ) -> Result<Arc<Link>, Failure> {
        sign_in::sign_in(&mut self.handle, &self.facts, endpoint, credentials, deadlines.auth).await?;
        Ok(Link::new(self.handle, self.hold, self.facts, endpoint.clone(), deadlines.channel))
    }
}
