//! What the server works with, checked once; nothing else looks at the environment.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderName;
use catalyst_ssh::Endpoint;
use ipnet::IpNet;

use crate::origin::Origin;

/// A value that must never be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Secret {
        Secret(value.into())
    }

    /// The value, for cryptography only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// What the server works with, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the web app listens.
    pub listen: SocketAddr,
    /// Where /metrics listens; `None` when turned off.
    pub metrics: Option<SocketAddr>,
    /// Who may come in.
    pub web: WebSettings,
    /// The way to the VM.
    pub ssh: SshSettings,
    /// Folder of the ideas on the VM, as given (`~` not yet replaced).
    pub ideas_base_path: String,
    /// How Claude Code is called.
    pub claude_command: String,
    /// How long a run may be silent.
    pub claude_silence: Duration,
    /// A turn that works for longer is ended.
    pub claude_turn: Option<Duration>,
    /// A request for permission that nobody answers for this long is denied.
    pub approval: Duration,
    /// Whether there are terminals.
    pub terminal: TerminalMode,
    /// If they are recorded, bytes of one recording at most.
    pub terminal_recording: Option<u64>,
}

/// Whether there are terminals, and what keeps them while nobody looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TerminalMode {
    /// tmux or screen where the VM has them, else this process.
    #[default]
    Auto,
    /// Only this process.
    Plain,
    /// There are none.
    Off,
}

/// Sign-in and web safety.
#[derive(Clone, Debug)]
pub struct WebSettings {
    /// What people sign in with.
    pub catalyst_secret: Secret,
    /// What signs sessions.
    pub cookie_secret: Secret,
    /// What signed them before.
    pub cookie_secret_previous: Option<Secret>,
    /// Part of the sessions' key.
    pub session_generation: u64,
    /// Whether the cookie is Secure: only when the public URL is https.
    pub secure_cookie: bool,
    /// Exact origins; empty when unset.
    pub allowed_origins: Vec<Origin>,
    /// Reverse proxies that are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which they name the person; nobody else is believed.
    pub identity_header: Option<HeaderName>,
}

/// The way to the VM.
#[derive(Clone, Debug)]
pub struct SshSettings {
    /// Name or address.
    pub host: String,
    /// Port of sshd.
    pub port: u16,
    /// User there.
    pub user: String,
    /// The host to go through, if any.
    pub jump: Option<Endpoint>,
    /// Where the key comes from.
    pub key: KeySource,
    /// known_hosts file, if any.
    pub known_hosts: Option<PathBuf>,
    /// Whether an unknown host key is refused.
    pub strict: bool,
    /// Connections at most.
    pub max_connections: usize,
}

/// Where the private key comes from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A file, read for each connection (SSH_KEY_PATH).
    File(PathBuf),
    /// The value itself (SSH_KEY).
    Value(Secret),
}

/// Everything that is wrong with the settings, one sentence each with the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct SettingsError(pub Vec<String>);
