//! The way to the dev-VM: connect, verify the host key, authenticate, run commands and move files over SSH.
//!
//! Two invariants hold everywhere: a host whose key is not known is never authenticated to, and every way that this can
//! fail is one [`Reason`] with a message that says what to do and never repeats what the other side sent.

mod connect;
mod connection;
mod dial;
mod endpoint;
mod exec;
mod failure;
mod key;
mod known_hosts;
mod link;
mod pool;
mod probe;
mod session;
mod settings;
mod socket;
#[cfg(feature = "testing")]
pub mod testing;
mod transfer;

pub use connect::{Connector, Deadlines};
pub use connection::Connection;
pub use endpoint::Endpoint;
pub use exec::{Exec, Finished, Output};
pub use failure::{Failure, Reason};
pub use key::{GeneratedKey, KeyProblem, generate_ed25519, parse_private_key, public_line};
pub use known_hosts::{HostKeyCheck, KnownHosts, KnownHostsError, Verdict, fingerprint, known_hosts_line};
pub use pool::{ConnectorSource, Lane, LaneStats, Pool, PoolLimits, PoolStats, Sftp};
pub use probe::{Observation, probe};
pub use russh::keys::{PrivateKey, PublicKey};
pub use russh_sftp;
