//! What each dial to the VM reads anew: the key and known_hosts, so that a changed Secret or ConfigMap counts from the
//! next connection on. A problem with them is a [`Failure`], never the end of the server.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use catalyst_ssh::{
    Certificate, Connector, ConnectorSource, Deadlines, Endpoint, Failure, HostKeyCheck, KnownHosts, PoolLimits,
    PrivateKey, PublicKey, Reason, known_hosts_line, parse_certificate, parse_private_key, probe_as,
};

use crate::remote::Channels;
use crate::settings::{KeySource, SshSettings};

/// A VM that took the connection and says nothing is frozen: whoever waits for it is to hear so before giving up.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// The way to the VM as the settings describe it.
pub struct Dial {
    settings: SshSettings,
    /// With accept-new: the key that was accepted first; from then on it is the known one.
    accepted: Mutex<Option<PublicKey>>,
}

impl Dial {
    /// Nothing is read yet.
    pub fn new(settings: SshSettings) -> Arc<Dial> {
        Arc::new(Dial { settings, accepted: Mutex::new(None) })
    }

    /// Where the VM is.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { host: self.settings.host.clone(), port: self.settings.port, user: self.settings.user.clone() }
    }

    /// The host that is dialled: the jump host where there is one.
    pub fn first_hop(&self) -> Endpoint {
        self.settings.jump.clone().unwrap_or_else(|| self.endpoint())
    }

    /// Bounds of the pool.
    pub fn limits(&self) -> PoolLimits {
        PoolLimits {
            interactive_connections: self.settings.max_connections,
            interactive_channels: Channels::NEEDED,
            ..PoolLimits::default()
        }
    }

    /// For the pool.
    pub fn source(self: &Arc<Self>) -> ConnectorSource {
        let dial = self.clone();
        Arc::new(move || dial.connector())
    }

    /// Reads key and known_hosts.
    ///
    /// # Errors
    /// A [`Failure`] that names the variable and the remedy.
    pub fn connector(&self) -> Result<Connector, Failure> {
        let known = Arc::new(self.known_hosts()?);
        let host_keys = if self.settings.strict { HostKeyCheck::Strict(known) } else { HostKeyCheck::AcceptNew(known) };
        let key = self.key()?;
        Ok(Connector {
            endpoint: self.endpoint(),
            jump: self.settings.jump.clone(),
            host_keys,
            certificate: self.certificate(&key)?,
            key: Arc::new(key),
            deadlines: Deadlines { handshake: HANDSHAKE_WITHIN, ..Deadlines::default() },
        })
    }

    fn strict_connector(&self) -> Result<Connector, Failure> {
        let host_keys = HostKeyCheck::Strict(Arc::new(self.known_hosts()?));
        Ok(Connector { host_keys, ..self.connector()? })
    }

    /// One fresh attempt, up to being signed in, within the deadline.
    ///
    /// # Errors
    /// Why the VM cannot be used.
    pub async fn attempt(&self, deadline: Duration) -> Result<(), Failure> {
        let seen = probe_as(&self.strict_connector()?, deadline).await;
        match (seen.outcome, seen.host_key) {
            (Err(failure), Some(shown)) if failure.reason == Reason::HostKeyUnknown && !self.settings.strict => {
                *self.accepted.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
                probe_as(&self.strict_connector()?, deadline).await.outcome
            }
            (outcome, _) => outcome,
        }
    }

    /// Reads the private key.
    ///
    /// # Errors
    /// [`Reason::KeyInvalid`] with the remedy.
    pub fn key(&self) -> Result<PrivateKey, Failure> {
        let invalid = |message: String| Failure::new(Reason::KeyInvalid, message);
        match &self.settings.key {
            KeySource::Value(value) => Ok(parse_private_key(value.reveal().as_bytes())
                .map_err(|problem| invalid(format!("The key in SSH_KEY cannot be used: {problem}")))?),
            KeySource::File(path) => {
                let bytes = std::fs::read(path)
                    .map_err(|error| invalid(unreadable("The SSH key", path, "SSH_KEY_PATH", &error)))?;
                parse_private_key(&bytes)
                    .map_err(|problem| invalid(format!("The SSH key {} cannot be used: {problem}", path.display())))
            }
        }
    }

    /// Reads the certificate beside the key's file, where ssh expects it, if there is one.
    fn certificate(&self, key: &PrivateKey) -> Result<Option<Certificate>, Failure> {
        let KeySource::File(path) = &self.settings.key else { return Ok(None) };
        let mut path = path.clone().into_os_string();
        path.push("-cert.pub");
        let path = Path::new(&path);
        let invalid = |message: String| Failure::new(Reason::KeyInvalid, message);
        match std::fs::read(path) {
            Ok(bytes) => parse_certificate(&bytes, key)
                .map(Some)
                .map_err(|problem| invalid(format!("The certificate {} cannot be used: {problem}", path.display()))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(invalid(unreadable("The certificate", path, "SSH_KEY_PATH with -cert.pub", &error))),
        }
    }

    /// Reads known_hosts, with the accepted key where there is one.
    ///
    /// # Errors
    /// [`Reason::HostKeyUnknown`] with the remedy.
    pub fn known_hosts(&self) -> Result<KnownHosts, Failure> {
        let mut text = match &self.settings.known_hosts {
            None => String::new(),
            Some(path) => match std::fs::read_to_string(path) {
                Ok(text) => text,
                Err(error) if error.kind() == ErrorKind::NotFound && !self.settings.strict => String::new(),
                Err(error) => {
                    let message = unreadable("The file of known host keys", path, "SSH_KNOWN_HOSTS", &error);
                    return Err(Failure::new(Reason::HostKeyUnknown, message));
                }
            },
        };
        if let Some(key) = &*self.accepted.lock().unwrap_or_else(PoisonError::into_inner) {
            text.push('\n');
            text.push_str(&known_hosts_line(&self.settings.host, self.settings.port, key));
        }
        Ok(KnownHosts::parse(&text)?)
    }
}

fn unreadable(what: &str, path: &Path, variable: &str, error: &std::io::Error) -> String {
    let path = path.display();
    match error.kind() {
        ErrorKind::NotFound => format!("{what} is not at {path} ({variable}). Mount it there, or correct {variable}."),
        ErrorKind::PermissionDenied => {
            format!("{what} {path} ({variable}) may not be read by this process. Check its mode, owner and fsGroup.")
        }
        _ => format!("{what} {path} ({variable}) cannot be read: {error}."),
    }
}
