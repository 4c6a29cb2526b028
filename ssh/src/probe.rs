//! One bounded attempt, for health and for status: which key the host shows, and how far one gets.

use std::sync::Arc;
use std::time::Duration;

use russh::keys::{PrivateKey, PublicKey};
use tokio::time::timeout;

use crate::connect::{Attempt, Deadlines};
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::known_hosts::{HostKeyCheck, KnownHosts};
use crate::session::Facts;

/// What one attempt saw.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The key that the host showed, also if it is not trusted; none if it did not come so far.
    pub host_key: Option<PublicKey>,
    /// Whether the whole way works (with a key: sign-in too; without: up to the trusted host key).
    pub outcome: Result<(), Failure>,
}

/// Tries the way to the VM once with a fresh connection, within `deadline`, and leaves nothing open.
///
/// Nothing is executed. An untrusted host is never signed in to.
pub async fn probe(
    endpoint: &Endpoint,
    host_keys: &KnownHosts,
    key: Option<&PrivateKey>,
    deadline: Duration,
) -> Observation {
    let facts = Arc::new(Facts::default());
    let check = HostKeyCheck::Strict(Arc::new(host_keys.clone()));
    // Each step may use the whole deadline; the sum is held below.
    let deadlines =
        Deadlines { resolve: deadline, connect: deadline, handshake: deadline, auth: deadline, channel: deadline };
    let attempt = async {
        let attempt = Attempt { endpoint, check: &check, deadlines: &deadlines, accepted: None };
        let handshaken = attempt.handshake_into(&facts).await?;
        if let Some(key) = key {
            handshaken.sign_in(endpoint, &Arc::new(key.clone()), &deadlines).await?.close().await;
        }
        Ok(())
    };
    let outcome = match timeout(deadline, attempt).await {
        Ok(outcome) => outcome,
        Err(_) => Err(facts.attempt_timeout(endpoint, deadline.as_secs())),
    };
    Observation { host_key: facts.host_key.get().cloned(), outcome }
}
