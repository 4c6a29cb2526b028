//! Private keys: reading what users put into a Secret, saying what is wrong with it, and generating new ones.
//!
//! No function here puts a byte of a private key into a message or a `Debug` output.

#[cfg(test)]
mod tests;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use russh::keys::{Algorithm, Certificate, PrivateKey};

use crate::known_hosts::bare_openssh;
use crate::rsa;

/// What aws-lc-rs signs with, and OpenSSH accepts by default.
const SHORTEST_RSA: u32 = 2048;

/// Why bytes cannot serve as private key; each says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// No bytes, or only white space.
    #[error("it is empty; put the whole private key file there (for example ~/.ssh/id_ed25519).")]
    Empty,
    /// It is the public half.
    #[error(
        "it is the public half of a key; put the private key there (the file without .pub, which begins with -----BEGIN)."
    )]
    PublicKey,
    /// It is protected by a passphrase.
    #[error(
        "it is protected by a passphrase; make a copy without one (ssh-keygen -p -N '' -f COPY), or let a new key be generated."
    )]
    Encrypted,
    /// The end is missing.
    #[error("it is cut off before its END line; copy the whole file, with its first and last line.")]
    Truncated,
    /// PuTTY's own format.
    #[error("it is in PuTTY's format; convert it with `puttygen KEY.ppk -O private-openssh -o id_ed25519`.")]
    Putty,
    /// It was base64-encoded once too often.
    #[error(
        "it is base64-encoded twice; under `data` of a Secret encode the file once, under `stringData` put it as it is."
    )]
    EncodedTwice,
    /// A kind of key that is not supported, named.
    #[error("{0} keys are not supported; generate one with `ssh-keygen -t ed25519` and authorise it on the VM.")]
    Unsupported(String),
    /// Looks like a private key, but does not decode.
    #[error("it is damaged and cannot be decoded; copy the file again, unchanged (a check: ssh-keygen -y -f FILE).")]
    Damaged,
    /// Not like any key.
    #[error("it is not a private key; a key file begins with -----BEGIN OPENSSH PRIVATE KEY-----.")]
    NotAKey,
    /// A certificate that is none.
    #[error("it is not an OpenSSH user certificate; make one with `ssh-keygen -s CA -I NAME -n USER id_ed25519.pub`.")]
    NotACertificate,
    /// A certificate of another key.
    #[error("it certifies another key than the one beside it; put the key and its own certificate there.")]
    OtherCertificate,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes for a new key; try again.")]
    NoRandomness,
}

/// A new key pair as text.
#[derive(Clone)]
pub struct GeneratedKey {
    /// The private half: an OpenSSH private key file, with its final line end.
    pub private_openssh: String,
    /// The public half: `ssh-ed25519 AAAA… comment`, without a line end.
    pub public_openssh: String,
}

impl fmt::Debug for GeneratedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GeneratedKey").field("public_openssh", &self.public_openssh).finish_non_exhaustive()
    }
}

/// Reads a private key as ssh-keygen writes it: OpenSSH's own format, PKCS#8, PKCS#1 or SEC1; ed25519, ECDSA and
/// RSA of 2048 bits or more.
///
/// Windows line ends, a byte order mark, indentation and space around it do no harm.
///
/// # Errors
/// What is wrong with it, with the remedy.
pub fn parse_private_key(bytes: &[u8]) -> Result<PrivateKey, KeyProblem> {
    let text = std::str::from_utf8(bytes).map_err(|_| KeyProblem::NotAKey)?;
    let text = tidy(text);
    if text.is_empty() {
        return Err(KeyProblem::Empty);
    }
    if text.starts_with("PuTTY-User-Key-File-") {
        return Err(KeyProblem::Putty);
    }
    if is_public(&text) {
        return Err(KeyProblem::PublicKey);
    }
    let Some(label) = text.lines().find_map(|line| line.strip_prefix("-----BEGIN ")) else {
        return Err(if is_encoded_key(&text) { KeyProblem::EncodedTwice } else { KeyProblem::NotAKey });
    };
    let Some(label) = label.strip_suffix("-----") else {
        return Err(KeyProblem::Damaged);
    };
    if label == "ENCRYPTED PRIVATE KEY" || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(KeyProblem::Encrypted);
    }
    match label {
        "OPENSSH PRIVATE KEY" | "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" => {}
        "DSA PRIVATE KEY" => return Err(KeyProblem::Unsupported("DSA".to_owned())),
        _ => return Err(KeyProblem::NotAKey),
    }
    if !text.contains(&format!("-----END {label}-----")) {
        return Err(KeyProblem::Truncated);
    }
    // russh reads RSA in OpenSSH's own format only.
    let key = match rsa::from_der(&body(&text)) {
        Some(key) => key,
        None => russh::keys::decode_secret_key(&text, None).map_err(|error| decoding_problem(&error))?,
    };
    if key.is_encrypted() {
        return Err(KeyProblem::Encrypted);
    }
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } => Ok(key),
        Algorithm::Rsa { .. } if key.public_key().key_data().rsa().is_some_and(|rsa| rsa.key_size() < SHORTEST_RSA) => {
            Err(KeyProblem::Unsupported(format!("RSA (of less than {SHORTEST_RSA} bits)")))
        }
        Algorithm::Rsa { .. } if rsa::RsaSigner::new(&key).is_none() => Err(KeyProblem::Damaged),
        Algorithm::Rsa { .. } => Ok(key),
        Algorithm::Dsa => Err(KeyProblem::Unsupported("DSA".to_owned())),
        Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => {
            Err(KeyProblem::Unsupported("Security-token (FIDO)".to_owned()))
        }
        _ => Err(KeyProblem::Unsupported("Such".to_owned())),
    }
}

/// Reads a user certificate (`id_ed25519-cert.pub`) of this key. Whether it has expired is for the server to say.
///
/// # Errors
/// [`KeyProblem::NotACertificate`], [`KeyProblem::OtherCertificate`].
pub fn parse_certificate(bytes: &[u8], key: &PrivateKey) -> Result<Certificate, KeyProblem> {
    let text = std::str::from_utf8(bytes).map_err(|_| KeyProblem::NotACertificate)?;
    let certificate = Certificate::from_openssh(text.trim()).map_err(|_| KeyProblem::NotACertificate)?;
    if !certificate.cert_type().is_user() {
        return Err(KeyProblem::NotACertificate);
    }
    if certificate.public_key() != key.public_key().key_data() {
        return Err(KeyProblem::OtherCertificate);
    }
    Ok(certificate)
}

fn tidy(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut tidied = String::with_capacity(text.len());
    for line in text.trim().split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()) {
        tidied.push_str(line);
        tidied.push('\n');
    }
    tidied
}

/// The bytes between the first and the last line.
fn body(text: &str) -> Vec<u8> {
    let base64: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(base64).unwrap_or_default()
}

fn is_public(text: &str) -> bool {
    let kinds = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
    kinds.iter().any(|kind| text.starts_with(kind))
        || text.starts_with("---- BEGIN SSH2 PUBLIC KEY")
        || (text.starts_with("-----BEGIN ") && text.lines().next().is_some_and(|line| line.contains("PUBLIC KEY")))
}

fn is_encoded_key(text: &str) -> bool {
    let joined: String = text.lines().collect();
    STANDARD.decode(joined).is_ok_and(|decoded| decoded.starts_with(b"-----BEGIN "))
}

fn decoding_problem(error: &russh::keys::Error) -> KeyProblem {
    use russh::keys::Error;
    use russh::keys::ssh_key;
    match error {
        Error::KeyIsEncrypted | Error::SshKey(ssh_key::Error::Encrypted) => KeyProblem::Encrypted,
        Error::UnsupportedKeyType { key_type_string, .. } => KeyProblem::Unsupported(key_type_string.clone()),
        Error::UnknownAlgorithm(_) => KeyProblem::Unsupported("Such".to_owned()),
        Error::SshKey(ssh_key::Error::AlgorithmUnsupported { algorithm }) => {
            KeyProblem::Unsupported(algorithm.to_string())
        }
        _ => KeyProblem::Damaged,
    }
}

/// Generates an ed25519 key pair from the operating system's random source.
///
/// # Errors
/// [`KeyProblem::NoRandomness`] if that source fails.
pub fn generate_ed25519(comment: &str) -> Result<GeneratedKey, KeyProblem> {
    let mut seed = [0u8; 32];
    OsRng.try_fill_bytes(&mut seed).map_err(|_| KeyProblem::NoRandomness)?;
    let pair = Ed25519Keypair::from_seed(&seed);
    seed.fill(0);
    let key = PrivateKey::new(KeypairData::Ed25519(pair), one_line(comment)).map_err(|_| KeyProblem::Damaged)?;
    let private = key.to_openssh(LineEnding::LF).map_err(|_| KeyProblem::Damaged)?;
    Ok(GeneratedKey { private_openssh: private.to_string(), public_openssh: public_line(&key, comment) })
}

/// The line for authorized_keys (without options and line end): `keytype base64 comment`.
pub fn public_line(key: &PrivateKey, comment: &str) -> String {
    let bare = bare_openssh(key.public_key());
    let comment = one_line(comment);
    if comment.is_empty() { bare } else { format!("{bare} {comment}") }
}

/// A comment can never add a second line to authorized_keys.
fn one_line(comment: &str) -> String {
    comment.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}
