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
mod files;
mod folder;
mod gate;
pub mod health_log;
mod key;
mod known_hosts;
mod link;
mod opening;
mod output;
mod places;
mod pool;
mod probe;
mod rsa;
mod session;
mod settings;
mod sign_in;
mod socket;
mod terminal;
#[cfg(feature = "testing")]
pub mod testing;
mod transfer;

pub use connect::{Connector, Deadlines};
pub use connection::Connection;
pub use endpoint::Endpoint;
pub use exec::{Exec, Finished};
pub use failure::{Failure, Reason};
pub use files::{FileReader, Files, WeakFiles};
pub use key::{GeneratedKey, KeyProblem, generate_ed25519, parse_certificate, parse_private_key, public_line};
pub use known_hosts::{HostKeyCheck, KnownHosts, KnownHostsError, Verdict, fingerprint, known_hosts_line};
pub use output::Output;
pub use places::{OPEN_FILES, Place, Places};
pub use pool::{ConnectorSource, Lane, LaneStats, Pool, PoolLimits, PoolStats, Sftp};
pub use probe::{Observation, probe, probe_as};
pub use russh::keys::{Certificate, PrivateKey, PublicKey};
pub use russh_sftp;
pub use terminal::{Size, TerminalChannel, TerminalReader, TerminalWriter};
