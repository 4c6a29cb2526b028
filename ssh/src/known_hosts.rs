//! known_hosts as OpenSSH writes it: plain, wildcard and hashed names, `[host]:port`, `@revoked`, several keys a host.
//!
//! A file with one unreadable line is refused as a whole: a lost `@revoked` line would be a hole.

mod pattern;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use russh::keys::{Algorithm, HashAlg, PublicKey};

use pattern::HostPatterns;

/// What a known_hosts file says.
#[derive(Clone, Debug, Default)]
pub struct KnownHosts {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    marker: Marker,
    hosts: HostPatterns,
    key: PublicKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    None,
    Revoked,
    /// Signs host certificates; we ask for plain keys only, so such a line says nothing about the key that we see.
    CertAuthority,
}

/// How the host key is checked.
#[derive(Clone, Debug)]
pub enum HostKeyCheck {
    /// Only recorded keys are accepted.
    Strict(Arc<KnownHosts>),
    /// A host without any recorded key is accepted with whatever it shows; a changed key is not.
    AcceptNew(Arc<KnownHosts>),
}

/// What is wrong with a known_hosts file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct KnownHostsError {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong with it and what it should look like.
    pub problem: String,
}

/// What known_hosts says about the key that a host shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The key is recorded for the host.
    Known,
    /// Nothing is recorded for the host.
    Unknown,
    /// Only other keys are recorded for the host.
    Changed {
        /// Their fingerprints, `SHA256:…`, in the file's order.
        recorded: Vec<String>,
    },
    /// The key is marked `@revoked`.
    Revoked,
}

impl KnownHosts {
    /// Knows no host.
    pub fn empty() -> KnownHosts {
        KnownHosts::default()
    }

    /// Reads a known_hosts file.
    ///
    /// # Errors
    /// The first line that cannot be read.
    pub fn parse(text: &str) -> Result<KnownHosts, KnownHostsError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut entries = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            entries.push(parse_entry(line).map_err(|problem| KnownHostsError { line: index + 1, problem })?);
        }
        Ok(KnownHosts { entries })
    }

    /// Whether the file has no entry at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is recorded about this key for this host.
    pub fn verdict(&self, host: &str, port: u16, key: &PublicKey) -> Verdict {
        let revoked = |entry: &&Entry| entry.marker == Marker::Revoked && entry.key.key_data() == key.key_data();
        // A revocation for the host's plain name counts on every port.
        if self.named(host, port).chain(self.named(host, 22)).any(|entry| revoked(&entry)) {
            return Verdict::Revoked;
        }
        let recorded: Vec<&Entry> = self.recorded(host, port).collect();
        if recorded.iter().any(|entry| entry.key.key_data() == key.key_data()) {
            return Verdict::Known;
        }
        if recorded.is_empty() {
            // As OpenSSH does: a key recorded without the port is the host's key on any port.
            let without_port = self.recorded(host, 22).any(|entry| entry.key.key_data() == key.key_data());
            return if without_port { Verdict::Known } else { Verdict::Unknown };
        }
        Verdict::Changed { recorded: recorded.iter().map(|entry| fingerprint(&entry.key)).collect() }
    }

    /// The algorithms of the keys recorded for a host, so that the server can be asked for one of those first.
    pub(crate) fn algorithms(&self, host: &str, port: u16) -> Vec<Algorithm> {
        let mut found: Vec<Algorithm> = self.recorded(host, port).map(|entry| entry.key.algorithm()).collect();
        if found.is_empty() {
            found = self.recorded(host, 22).map(|entry| entry.key.algorithm()).collect();
        }
        found.dedup();
        found
    }

    fn recorded(&self, host: &str, port: u16) -> impl Iterator<Item = &Entry> {
        self.named(host, port).filter(|entry| entry.marker == Marker::None)
    }

    fn named(&self, host: &str, port: u16) -> impl Iterator<Item = &Entry> {
        let name = entry_name(host, port);
        self.entries.iter().filter(move |entry| entry.hosts.matches(&name))
    }
}

fn parse_entry(line: &str) -> Result<Entry, String> {
    let mut fields = line.split_ascii_whitespace();
    let mut first = fields.next().unwrap_or_default();
    let marker = match first {
        "@revoked" => Marker::Revoked,
        "@cert-authority" => Marker::CertAuthority,
        _ if first.starts_with('@') => return Err("the marker is neither @revoked nor @cert-authority".to_owned()),
        _ => Marker::None,
    };
    if marker != Marker::None {
        first = fields.next().unwrap_or_default();
    }
    let shape = "expected `host keytype base64-key`, as ssh-keyscan prints it";
    let (Some(kind), Some(encoded)) = (fields.next(), fields.next()) else {
        if first.starts_with("ssh-") || first.starts_with("ecdsa-") {
            return Err(format!("there is a key but no host name before it; {shape}"));
        }
        return Err(format!("the line is incomplete; {shape}"));
    };
    if kind.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("this is an SSH protocol 1 key; remove the line".to_owned());
    }
    let key = PublicKey::from_openssh(&format!("{kind} {encoded}"))
        .map_err(|_| format!("the key cannot be read (it may be cut off); {shape}"))?;
    Ok(Entry { marker, hosts: HostPatterns::parse(first)?, key })
}

/// The name under which a host is recorded: bare on port 22, else `[host]:port`; always lower case.
fn entry_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// One line of known_hosts (without a line end) that records this key for this host.
pub fn known_hosts_line(host: &str, port: u16, key: &PublicKey) -> String {
    format!("{} {}", entry_name(host, port), bare_openssh(key))
}

/// The key's fingerprint as OpenSSH shows it: `SHA256:…`.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// `keytype base64`, without a comment.
pub(crate) fn bare_openssh(key: &PublicKey) -> String {
    PublicKey::new(key.key_data().clone(), "").to_openssh().unwrap_or_default().trim_end().to_owned()
}
