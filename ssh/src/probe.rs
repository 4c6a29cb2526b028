//! One bounded attempt, for health and for status: which key the host shows, and how far one gets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{PrivateKey, PublicKey};
use tokio::time::timeout;

use crate::connect::{Attempt, Connector, Deadlines};
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::known_hosts::{HostKeyCheck, KnownHosts};
use crate::session::Facts;
use crate::settings::Purpose;
use crate::sign_in::Credentials;

/// What one attempt saw.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The key that the host showed, also if it is not trusted; none if it did not come so far.
    pub host_key: Option<PublicKey>,
    /// Whether the whole way works (with a key: sign-in too; without: up to the trusted host key).
    pub outcome: Result<(), Failure>,
}

/// Tries the way to the VM once with a fresh connection, within `deadline`, and leaves nothing open. Only these addresses are
/// connected to: the endpoint's name, which may mean others by now, is what the host key is looked up by and is not resolved.
///
/// Nothing is executed. An untrusted host is never signed in to.
pub async fn probe(
    endpoint: &Endpoint,
    addresses: &[SocketAddr],
    host_keys: &KnownHosts,
    key: Option<&PrivateKey>,
    deadline: Duration,
) -> Observation {
    let check = HostKeyCheck::Strict(Arc::new(host_keys.clone()));
    let deadlines = each(deadline);
    let attempt = Attempt {
        endpoint,
        addresses: Some(addresses),
        jump: None,
        check: &check,
        deadlines: &deadlines,
        accepted: None,
        purpose: Purpose::Shared,
    };
    let credentials = key.map(|key| Credentials { key: Arc::new(key.clone()), certificate: None });
    observe(attempt, credentials, deadline).await
}

/// The same by a connector's own settings (jump host and certificate included), up to being signed in.
pub async fn probe_as(connector: &Connector, deadline: Duration) -> Observation {
    let connector = Connector { deadlines: each(deadline), ..connector.clone() };
    let credentials = connector.credentials();
    observe(connector.attempt(None, Purpose::Shared), Some(credentials), deadline).await
}

/// Each step may use the whole deadline; the sum is held by whoever waits.
fn each(deadline: Duration) -> Deadlines {
    Deadlines { resolve: deadline, connect: deadline, handshake: deadline, auth: deadline, channel: deadline }
}

async fn observe(attempt: Attempt<'_>, credentials: Option<Credentials>, deadline: Duration) -> Observation {
    let facts = Arc::new(Facts::default());
    let (endpoint, deadlines) = (attempt.endpoint, attempt.deadlines);
    let whole = async {
        let handshaken = attempt.handshake_into(&facts).await?;
        if let Some(credentials) = credentials {
            handshaken.sign_in(endpoint, &credentials, deadlines).await?.close().await;
        }
        Ok(())
    };
    let outcome = match timeout(deadline, whole).await {
        Ok(outcome) => outcome,
        Err(_) => Err(facts.attempt_timeout(endpoint, deadline.as_secs())),
    };
    Observation { host_key: facts.host_key.get().cloned(), outcome }
}
