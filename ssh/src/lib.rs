//! The way to the dev-VM: connect, verify the host key, authenticate, run commands and move files over SSH.
//!
//! Two invariants hold everywhere: a host whose key is not known is never authenticated to, and every way that this can
//! fail is one [`Reason`] with a message that says what to do and never repeats what the other side sent.

mod connect;
mod connection;
mod dial;
mod exec;
mod failure;
mod key;
mod known_hosts;
mod pool;
mod probe;
mod session;
mod settings;
mod socket;
#[cfg(feature = "testing")]
pub mod testing;
mod transfer;

use std::fmt;

pub use connect::{Connector, Deadlines, HostKeyCheck};
pub use connection::Connection;
pub use exec::{Exec, Finished, Output};
pub use failure::{Failure, Reason};
pub use key::{GeneratedKey, KeyProblem, generate_ed25519, parse_private_key, public_line};
pub use known_hosts::{KnownHosts, KnownHostsError, Verdict, fingerprint, known_hosts_line};
pub use pool::{ConnectorSource, Lane, LaneStats, Pool, PoolLimits, PoolStats, Sftp};
pub use probe::{Observation, probe};
pub use russh::keys::{PrivateKey, PublicKey};
pub use russh_sftp;

/// Where the VM's SSH server is and as whom to sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or IP literal; an IPv6 literal without brackets.
    pub host: String,
    /// TCP port, usually 22.
    pub port: u16,
    /// The account on the VM.
    pub user: String,
}

/// `host:port`, with brackets around an IPv6 literal; what messages name.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
