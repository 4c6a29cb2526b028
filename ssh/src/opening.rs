//! What the other side says first: enough to tell SSH from what is not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// What is kept of the other side's first words, to tell what it speaks.
const OPENING_LIMIT: usize = 2048;

/// What the other side sent before (or in place of) its SSH identification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Nothing yet.
    Silent,
    /// It says that it takes no more connections for now (sshd's MaxStartups or penalties).
    TurnedAway,
    /// Something that is not SSH.
    Foreign,
    /// An SSH identification.
    Ssh,
}

#[derive(Debug, Default)]
pub(crate) struct FirstWords {
    identified: AtomicBool,
    bytes: Mutex<Vec<u8>>,
}

impl FirstWords {
    pub(crate) fn hear(&self, heard: &[u8]) {
        if self.identified.load(Ordering::Relaxed) {
            return;
        }
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let room = OPENING_LIMIT.saturating_sub(bytes.len());
        bytes.extend(heard.iter().take(room));
        if is_ssh(&bytes) {
            self.identified.store(true, Ordering::Relaxed);
            *bytes = Vec::new();
        }
    }

    pub(crate) fn opening(&self) -> Opening {
        if self.identified.load(Ordering::Relaxed) {
            return Opening::Ssh;
        }
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.is_empty() {
            Opening::Silent
        } else if bytes.starts_with(b"Exceeded MaxStartups") || bytes.starts_with(b"Not allowed at this time") {
            Opening::TurnedAway
        } else {
            Opening::Foreign
        }
    }
}

/// The identification may come after other lines (RFC 4253, 4.2).
fn is_ssh(bytes: &[u8]) -> bool {
    bytes.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"SSH-2.0-") || line.starts_with(b"SSH-1.99-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(parts: &[&[u8]]) -> Opening {
        let words = FirstWords::default();
        parts.iter().for_each(|part| words.hear(part));
        words.opening()
    }

    #[test]
    fn tells_ssh_from_silence_and_from_other_protocols() {
        assert_eq!(heard(&[]), Opening::Silent);
        assert_eq!(heard(&[b"SSH-2.0-OpenSSH_9.2p1\r\n"]), Opening::Ssh);
        assert_eq!(heard(&[b"SS", b"H-2.0", b"-x\r\n"]), Opening::Ssh);
        assert_eq!(heard(&[b"welcome\r\n", b"SSH-2.0-x\r\n"]), Opening::Ssh);
        assert_eq!(heard(&[b"HTTP/1.1 400 Bad Request\r\n"]), Opening::Foreign);
        assert_eq!(heard(&[b"Exceeded MaxStartups\r\n"]), Opening::TurnedAway);
        assert_eq!(heard(&[b"Not allowed at this time\r\n"]), Opening::TurnedAway);
    }
}
