//! How our SSH sessions are set up: buffers, keepalives, algorithms.

use std::borrow::Cow;
use std::time::Duration;

use russh::keys::{Algorithm, EcdsaCurve};
use russh::{Preferred, cipher, client, compression};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Many channels, each read without long pauses.
    Shared,
    /// One terminal, whose viewer may stop reading for as long as it likes.
    Terminal,
}

/// A keepalive after this much silence; with [`KEEPALIVES_UNANSWERED`] a dead peer is noticed after 12 s.
const KEEPALIVE: Duration = Duration::from_secs(4);
const KEEPALIVES_UNANSWERED: usize = 2;
/// What the server may send on one channel before we allow more.
const WINDOW: u32 = 2 << 20;
const PACKET: u32 = 65_535;
/// Enough for full speed, and a bound of what is under way when a terminal's viewer stops reading.
const TERMINAL_WINDOW: u32 = 1 << 20;
/// Messages of one channel that wait for its reader before the whole connection waits: 512 KiB, at 32 KiB each, since this
/// is what a reader that pauses costs.
const CHANNEL_MESSAGES: usize = 16;

/// The settings for a host for which keys of these kinds are recorded.
pub(crate) fn session_config(recorded: &[Algorithm], purpose: Purpose) -> client::Config {
    let (window_size, keepalive_interval) = match purpose {
        Purpose::Shared => (WINDOW, Some(KEEPALIVE)),
        // While its viewer reads nothing, answers to keepalives would not be read either: whoever reads asks instead.
        Purpose::Terminal => (TERMINAL_WINDOW, None),
    };
    client::Config {
        window_size,
        maximum_packet_size: PACKET,
        channel_buffer_size: CHANNEL_MESSAGES,
        keepalive_interval,
        keepalive_max: KEEPALIVES_UNANSWERED,
        nodelay: true,
        preferred: Preferred {
            key: Cow::Owned(host_key_algorithms(recorded)),
            cipher: Cow::Owned(ciphers(has_aes_instructions())),
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        ..client::Config::default()
    }
}

/// Kinds that are recorded for the host come first, or a host with two keys would look as if its key had changed.
fn host_key_algorithms(recorded: &[Algorithm]) -> Vec<Algorithm> {
    let supported = [
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    ];
    let (first, rest): (Vec<_>, Vec<_>) = supported.into_iter().partition(|algorithm| recorded.contains(algorithm));
    first.into_iter().chain(rest).collect()
}

fn ciphers(aes_first: bool) -> Vec<cipher::Name> {
    let (first, second) = if aes_first {
        (cipher::AES_256_GCM, cipher::CHACHA20_POLY1305)
    } else {
        (cipher::CHACHA20_POLY1305, cipher::AES_256_GCM)
    };
    vec![first, second, cipher::AES_256_CTR, cipher::AES_192_CTR, cipher::AES_128_CTR]
}

fn has_aes_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_kinds_of_host_keys_are_asked_for_first_and_rsa_never() {
        let p384 = Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 };
        let asked = host_key_algorithms(&[Algorithm::Rsa { hash: None }, p384.clone()]);
        assert_eq!(asked.first(), Some(&p384));
        assert_eq!(asked.get(1), Some(&Algorithm::Ed25519));
        assert_eq!(asked.len(), 4);
    }
}
