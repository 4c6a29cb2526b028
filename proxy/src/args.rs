//! The only reader of environment and flags: turns them into [`Settings`], or names everything that is wrong with them.
//!
//! Every value is taken as text and checked here, so that an empty variable counts as unset and a message can name the
//! variable and the remedy. No value of a secret is ever printed.

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderName;
use catalyst_ssh::Endpoint;
use clap::{Parser, Subcommand};
use ipnet::IpNet;

use crate::origin::Origin;
use crate::settings::{KeySource, Secret, Settings, SettingsError, SshSettings, TerminalMode, WebSettings};

/// Secrets shorter than this are refused: a guessable one opens a shell on the VM.
pub const SHORTEST_SECRET: usize = 16;

/// Web UI, REST and WebSocket server of Catalyst: people chat with Claude Code that runs on a dev-VM reached over SSH.
///
/// Every variable has a flag of the same name; a flag wins over its variable, an empty value counts as unset.
/// The server needs CATALYST_SECRET, COOKIE_SECRET, SSH_HOST and SSH_USER.
#[derive(Parser, Debug)]
#[command(name = "catalyst-proxy", version, max_term_width = 110)]
pub struct Args {
    /// What to do; without one: serve.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where the settings come from.
    #[command(flatten)]
    pub settings: RawSettings,
}

/// What the binary does.
#[derive(Subcommand, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Serve the web app (the default).
    Serve,
    /// Test the whole way to the VM step by step, and explain what is wrong.
    Check,
}

/// Every setting as it was written, unchecked.
#[derive(clap::Args, Clone, Default)]
pub struct RawSettings {
    /// Port of the web app.
    #[arg(long, env = "PORT", default_value = "3001", global = true)]
    pub port: String,
    /// Address to listen on; [::] takes IPv4 as well.
    #[arg(long, env = "LISTEN_ADDRESS", default_value = "::", global = true)]
    pub listen_address: String,
    /// Port of /metrics, apart from the web app's so that a network policy can keep it inside; 0 turns it off.
    #[arg(long, env = "METRICS_PORT", default_value = "9090", global = true)]
    pub metrics_port: String,
    /// Accepted for the existing manifests; changes nothing.
    #[arg(long, env = "NODE_ENV", global = true)]
    pub node_env: Option<String>,
    /// The secret that people sign in with (16 characters or more).
    #[arg(long, env = "CATALYST_SECRET", hide_env_values = true, global = true)]
    pub catalyst_secret: Option<String>,
    /// The secret that signs sessions (16 characters or more). Changing it signs everyone out.
    #[arg(long, env = "COOKIE_SECRET", hide_env_values = true, global = true)]
    pub cookie_secret: Option<String>,
    /// The COOKIE_SECRET before the current one: sessions that it signed stay valid while it is set.
    #[arg(long, env = "COOKIE_SECRET_PREVIOUS", hide_env_values = true, global = true)]
    pub cookie_secret_previous: Option<String>,
    /// A number that is part of the key of sessions: raising it signs everyone out.
    #[arg(long, env = "SESSION_GENERATION", default_value = "0", global = true)]
    pub session_generation: String,
    /// The URL that people open, such as https://catalyst.example.com; the cookie is Secure when it is https.
    /// Without it, ALLOWED_ORIGINS tells.
    #[arg(long, env = "PUBLIC_URL", global = true)]
    pub public_url: Option<String>,
    /// Exact origins that may write and open the WebSocket, comma-separated, such as https://catalyst.example.com.
    /// Unset: the origin of PUBLIC_URL; without that, only requests that a browser marks Sec-Fetch-Site: same-origin.
    #[arg(long, env = "ALLOWED_ORIGINS", global = true)]
    pub allowed_origins: Option<String>,
    /// Addresses and CIDRs of reverse proxies whose X-Forwarded-For is believed, comma-separated.
    #[arg(long, env = "TRUSTED_PROXIES", global = true)]
    pub trusted_proxies: Option<String>,
    /// Header in which a proxy of TRUSTED_PROXIES names the person it has signed in, such as X-Forwarded-User (oauth2-proxy)
    /// or Remote-User (Authelia): who comes so needs no secret. From anybody else the header is dropped.
    #[arg(long, env = "IDENTITY_HEADER", global = true)]
    pub identity_header: Option<String>,
    /// Name or address of the dev-VM.
    #[arg(long, env = "SSH_HOST", global = true)]
    pub ssh_host: Option<String>,
    /// Port of the VM's sshd.
    #[arg(long, env = "SSH_PORT", default_value = "22", global = true)]
    pub ssh_port: String,
    /// User on the VM; Claude Code runs as it.
    #[arg(long, env = "SSH_USER", global = true)]
    pub ssh_user: Option<String>,
    /// A host to go through, as ssh -J does: user@host:port. Without user, SSH_USER; without port, 22. It is signed in to
    /// with the same key, and its host key has to be in known_hosts.
    #[arg(long, env = "SSH_JUMP", global = true)]
    pub ssh_jump: Option<String>,
    /// File of the private key (OpenSSH or PEM form, without a passphrase; ed25519, ecdsa, or RSA of 2048 bits or more), read
    /// again for each connection. A certificate beside it, with -cert.pub at the end of its name, is shown too.
    #[arg(long, env = "SSH_KEY_PATH", default_value = "/secrets/ssh/id_ed25519", global = true)]
    pub ssh_key_path: String,
    /// The private key itself, in place of a file.
    #[arg(long, env = "SSH_KEY", hide_env_values = true, global = true)]
    pub ssh_key: Option<String>,
    /// known_hosts file with the VM's host key; read again for each connection.
    #[arg(long, env = "SSH_KNOWN_HOSTS", global = true)]
    pub ssh_known_hosts: Option<String>,
    /// strict: a VM without a known key is refused. accept-new: an unknown key is accepted, a changed one refused.
    #[arg(long, env = "SSH_HOST_KEY_CHECK", default_value = "strict", global = true)]
    pub ssh_host_key_check: String,
    /// SSH connections to the VM at most, for runs and ideas; each carries eight channels. More runs wait in a queue. Where sshd allows
    /// so few sessions on a connection that these are less than three in all, there are up to three connections.
    #[arg(long, env = "MAX_SSH_CONNECTIONS", default_value = "8", global = true)]
    pub max_ssh_connections: String,
    /// Folder of the ideas on the VM; ~ is the VM user's home.
    #[arg(long, env = "IDEAS_BASE_PATH", default_value = "~/catalyst/ideas", global = true)]
    pub ideas_base_path: String,
    /// A run that prints nothing for so many milliseconds is ended.
    #[arg(long, env = "CLAUDE_TIMEOUT_MS", default_value = "600000", global = true)]
    pub claude_timeout_ms: String,
    /// A message that is worked on for so many milliseconds, waiting for answers aside, is ended; 0: never.
    #[arg(long, env = "CLAUDE_TURN_LIMIT_MS", default_value = "0", global = true)]
    pub claude_turn_limit_ms: String,
    /// A request for permission that nobody answers for so many milliseconds is denied.
    #[arg(long, env = "APPROVAL_TIMEOUT_MS", default_value = "86400000", global = true)]
    pub approval_timeout_ms: String,
    /// How Claude Code is called on the VM.
    #[arg(long, env = "CLAUDE_COMMAND", default_value = "claude", global = true)]
    pub claude_command: String,
    /// Terminals on the VM. auto: kept by tmux or screen where the VM has them, so that they outlive the pod; plain: kept by
    /// this server alone; off: none.
    #[arg(long, env = "TERMINAL", default_value = "auto", global = true)]
    pub terminal: String,
    /// Records what every terminal prints, never what is typed, as asciicast v2 on the VM: files in the folder
    /// ~/.local/state/catalyst/ID/recordings, outside of what a chat reads unasked, of so many MiB at most. Those of an idea have ten
    /// times as much together; the oldest go. 0: nothing is recorded.
    #[arg(long, env = "TERMINAL_RECORDING", default_value = "0", global = true)]
    pub terminal_recording: String,
    /// Form of the log: json or text.
    #[arg(long, env = "LOG_FORMAT", default_value = "json", global = true)]
    pub log_format: String,
    /// What is logged: error, warn, info, debug, or a filter such as catalyst_proxy=debug.
    #[arg(long, env = "LOG_LEVEL", default_value = "info", global = true)]
    pub log_level: String,
}

impl fmt::Debug for RawSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawSettings(…)")
    }
}

impl RawSettings {
    /// Checks every setting.
    ///
    /// # Errors
    /// All problems at once, each naming the variable and the remedy.
    pub fn check(&self) -> Result<Settings, SettingsError> {
        let mut problems = Problems::default();
        let listen_ip = problems.parse::<IpAddr>("LISTEN_ADDRESS", &self.listen_address, "::", "an IP address");
        let port = problems.port("PORT", &self.port, "3001");
        let metrics_port = problems.parse::<u16>("METRICS_PORT", &self.metrics_port, "9090", "a port, or 0 for none");
        let web = self.check_web(&mut problems);
        let ssh = self.check_ssh(&mut problems);
        let mut limit = |name, value, default| problems.parse::<u64>(name, value, default, "milliseconds");
        let silence = limit("CLAUDE_TIMEOUT_MS", &self.claude_timeout_ms, "600000");
        let turn = limit("CLAUDE_TURN_LIMIT_MS", &self.claude_turn_limit_ms, "0");
        let approval = limit("APPROVAL_TIMEOUT_MS", &self.approval_timeout_ms, "86400000");
        let limits = silence.zip(turn).zip(approval);
        let terminal = match or_default(&self.terminal, "auto") {
            "auto" => TerminalMode::Auto,
            "plain" => TerminalMode::Plain,
            "off" => TerminalMode::Off,
            other => {
                problems.add(format!("TERMINAL is {other:?}; set it to auto, plain or off."));
                TerminalMode::Off
            }
        };
        let recording = problems.parse::<u64>(
            "TERMINAL_RECORDING",
            &self.terminal_recording,
            "0",
            "the MiB that the recording of a terminal may have, or 0 for none",
        );
        if !matches!(self.log_format.as_str(), "json" | "text" | "") {
            problems.add(format!("LOG_FORMAT is {:?}; set it to json or text.", self.log_format));
        }
        match (listen_ip, port, metrics_port, web, ssh, limits) {
            (Some(ip), Some(port), Some(metrics), Some(web), Some(ssh), Some(((silence, turn), approval)))
                if problems.0.is_empty() =>
            {
                Ok(Settings {
                    listen: SocketAddr::new(ip, port),
                    metrics: (metrics != 0).then(|| SocketAddr::new(ip, metrics)),
                    web,
                    ssh,
                    ideas_base_path: or_default(&self.ideas_base_path, "~/catalyst/ideas").to_owned(),
                    claude_command: or_default(&self.claude_command, "claude").to_owned(),
                    claude_silence: Duration::from_millis(silence.max(1000)),
                    claude_turn: (turn > 0).then(|| Duration::from_millis(turn)),
                    approval: Duration::from_millis(approval.max(1000)),
                    terminal,
                    terminal_recording: recording
                        .filter(|mebibytes| *mebibytes > 0)
                        .map(|mebibytes| mebibytes.saturating_mul(1024 * 1024)),
                })
            }
            _ => Err(SettingsError(problems.0)),
        }
    }

    /// Checks only what leads to the VM, for `catalyst-proxy check`.
    ///
    /// # Errors
    /// As [`RawSettings::check`].
    pub fn check_way_to_vm(&self) -> Result<SshSettings, SettingsError> {
        let mut problems = Problems::default();
        match self.check_ssh(&mut problems) {
            Some(ssh) if problems.0.is_empty() => Ok(ssh),
            _ => Err(SettingsError(problems.0)),
        }
    }

    fn check_web(&self, problems: &mut Problems) -> Option<WebSettings> {
        let catalyst_secret = problems.secret("CATALYST_SECRET", self.catalyst_secret.as_deref(), true);
        let cookie_secret = problems.secret("COOKIE_SECRET", self.cookie_secret.as_deref(), true);
        let previous = problems.secret("COOKIE_SECRET_PREVIOUS", self.cookie_secret_previous.as_deref(), false);
        let generation = problems.parse::<u64>("SESSION_GENERATION", &self.session_generation, "0", "a whole number");
        let mut origins = problems.list("ALLOWED_ORIGINS", self.allowed_origins.as_deref(), |item| {
            Origin::parse(item).ok_or("scheme, host and port only, such as https://catalyst.example.com")
        });
        let trusted = problems.list("TRUSTED_PROXIES", self.trusted_proxies.as_deref(), |item| {
            item.parse::<IpNet>()
                .or_else(|_| item.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| "an address or CIDR, such as 10.244.0.0/16")
        });
        let public = match given(self.public_url.as_deref()) {
            None => None,
            Some(url) => match Origin::of_url(url) {
                Some(origin) => Some(origin),
                None => {
                    problems.add(format!("PUBLIC_URL is {url:?}; give a URL such as https://catalyst.example.com."));
                    None
                }
            },
        };
        if origins.is_empty() {
            origins.extend(public.clone());
        }
        let secure_cookie = match &public {
            Some(url) => url.is_https(),
            None => {
                let mut remote = origins.iter().filter(|o| !o.is_loopback()).peekable();
                remote.peek().is_some() && remote.all(Origin::is_https)
            }
        };
        let identity_header = given(self.identity_header.as_deref()).and_then(|name| {
            let header = name.parse::<HeaderName>().ok();
            if header.is_none() {
                problems
                    .add(format!("IDENTITY_HEADER is {name:?}; give the name of a header, such as X-Forwarded-User."));
            }
            if trusted.is_empty() {
                problems
                    .add("IDENTITY_HEADER needs TRUSTED_PROXIES: the addresses of the proxy that sets it.".to_owned());
            }
            header
        });
        Some(WebSettings {
            catalyst_secret: catalyst_secret?,
            cookie_secret: cookie_secret?,
            cookie_secret_previous: previous,
            session_generation: generation?,
            secure_cookie,
            allowed_origins: origins,
            trusted_proxies: trusted,
            identity_header,
        })
    }

    fn check_ssh(&self, problems: &mut Problems) -> Option<SshSettings> {
        let host = problems.required("SSH_HOST", self.ssh_host.as_deref(), "the name or address of the dev-VM");
        let user = problems.required("SSH_USER", self.ssh_user.as_deref(), "the user on the dev-VM");
        let port = problems.port("SSH_PORT", &self.ssh_port, "22");
        let jump = given(self.ssh_jump.as_deref()).and_then(|text| problems.jump("SSH_JUMP", text, user.as_deref()));
        let max = problems.parse::<usize>("MAX_SSH_CONNECTIONS", &self.max_ssh_connections, "8", "a number from 1");
        let strict = match or_default(&self.ssh_host_key_check, "strict") {
            "strict" => true,
            "accept-new" => false,
            other => {
                problems.add(format!("SSH_HOST_KEY_CHECK is {other:?}; set it to strict or accept-new."));
                true
            }
        };
        let key = match given(self.ssh_key.as_deref()) {
            Some(value) => KeySource::Value(Secret::new(value)),
            None => KeySource::File(or_default(&self.ssh_key_path, "/secrets/ssh/id_ed25519").into()),
        };
        Some(SshSettings {
            host: host?,
            port: port?,
            user: user?,
            jump,
            key,
            known_hosts: given(self.ssh_known_hosts.as_deref()).map(PathBuf::from),
            strict,
            max_connections: max?.max(1),
        })
    }
}

#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, problem: String) {
        self.0.push(problem);
    }

    fn required(&mut self, name: &str, value: Option<&str>, what: &str) -> Option<String> {
        let value = given(value);
        if value.is_none() {
            self.add(format!("{name} is not set; set it to {what}."));
        }
        value.map(str::to_owned)
    }

    /// `None` also for an optional secret that is not set.
    fn secret(&mut self, name: &str, value: Option<&str>, required: bool) -> Option<Secret> {
        const MAKE: &str = "Make one with: openssl rand -hex 32";
        let Some(value) = given(value) else {
            if required {
                self.add(format!(
                    "{name} is not set. {MAKE} (in Kubernetes it comes from the Secret that the deployment names)."
                ));
            }
            return None;
        };
        if value.to_ascii_uppercase().contains("CHANGE_ME") {
            self.add(format!("{name} still has the placeholder CHANGE_ME. {MAKE}"));
            return None;
        }
        let length = value.chars().count();
        if length < SHORTEST_SECRET {
            self.add(format!("{name} has {length} characters and needs at least {SHORTEST_SECRET}. {MAKE}"));
            return None;
        }
        Some(Secret::new(value))
    }

    fn parse<T: std::str::FromStr>(&mut self, name: &str, value: &str, default: &str, what: &str) -> Option<T> {
        let text = or_default(value, default);
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.add(format!("{name} is {text:?}; set it to {what}."));
        }
        parsed
    }

    fn port(&mut self, name: &str, value: &str, default: &str) -> Option<u16> {
        let port = self.parse::<u16>(name, value, default, "a port from 1 to 65535")?;
        if port == 0 {
            self.add(format!("{name} is 0; set it to a port from 1 to 65535."));
            return None;
        }
        Some(port)
    }

    /// `[user@]host[:port]`, an IPv6 literal with a port in brackets.
    fn jump(&mut self, name: &str, text: &str, user: Option<&str>) -> Option<Endpoint> {
        let jump = Endpoint::parse(text, user);
        if jump.is_none() {
            self.add(format!("{name} is {text:?}; set it to one host such as jump@bastion.example.com:22."));
        }
        jump
    }

    fn list<T>(&mut self, name: &str, value: Option<&str>, parse: impl Fn(&str) -> Result<T, &'static str>) -> Vec<T> {
        let mut all = Vec::new();
        for item in value.unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty()) {
            match parse(item) {
                Ok(parsed) => all.push(parsed),
                Err(what) => self.add(format!("{name} has the entry {item:?}; each must be {what}.")),
            }
        }
        all
    }
}

/// Trimmed (a Secret made with `echo` ends with a newline), and `None` when empty.
fn given(value: Option<&str>) -> Option<&str> {
    value.map(str::trim).filter(|value| !value.is_empty())
}

fn or_default<'a>(value: &'a str, default: &'a str) -> &'a str {
    given(Some(value)).unwrap_or(default)
}
