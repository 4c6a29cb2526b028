//! RSA client keys, signed by aws-lc-rs as `rsa-sha2-512`.
//!
//! Not by the crate `rsa`, whose operations take a time that tells of the key (RUSTSEC-2023-0071). So they need no
//! feature, and SHA-1 (`ssh-rsa`) is never used. RSA host keys are not accepted: every sshd has others.

use std::io;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{RSA_PKCS1_SHA512, RsaKeyPair};
use russh::keys::PrivateKey;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_key::Mpint;
use russh::keys::ssh_key::private::{KeypairData, RsaKeypair, RsaPrivateKey};
use russh::keys::ssh_key::public::RsaPublicKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

const ALGORITHM: &str = "rsa-sha2-512";
/// The agent's protocol.
const AGENT_FAILURE: u8 = 5;
const AGENT_SIGN_REQUEST: u8 = 13;
const AGENT_SIGN_RESPONSE: u8 = 14;
/// A key or certificate and the data of one sign-in.
const LONGEST_REQUEST: usize = 64 * 1024;
/// DER.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;

/// Signs sign-in requests with an RSA key.
pub(crate) struct RsaSigner {
    pair: RsaKeyPair,
}

impl RsaSigner {
    /// None if the key is not RSA, or is one that must not be used: damaged, or of less than 2048 bits.
    pub(crate) fn new(key: &PrivateKey) -> Option<RsaSigner> {
        let KeypairData::Rsa(rsa) = key.key_data() else { return None };
        let (public, private) = (rsa.public(), rsa.private());
        let bytes = |number: &Mpint| number.as_positive_bytes().map(<[u8]>::to_vec);
        let (d, p, q) = (bytes(private.d())?, bytes(private.p())?, bytes(private.q())?);
        let components = KeyPairComponents {
            public_key: PublicKeyComponents { n: bytes(public.n())?, e: bytes(public.e())? },
            dP: remainder(&d, &less_one(&p)),
            dQ: remainder(&d, &less_one(&q)),
            qInv: bytes(private.iqmp())?,
            d,
            p,
            q,
        };
        RsaKeyPair::from_components(&components).ok().map(|pair| RsaSigner { pair })
    }
}

impl RsaSigner {
    /// russh takes signatures of others from an SSH agent only: one that knows this key and answers in this process.
    pub(crate) fn agent(self) -> AgentClient<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(LONGEST_REQUEST);
        tokio::spawn(async move {
            // Its end is the client's end.
            let _ = self.answer(theirs).await;
        });
        AgentClient::connect(ours)
    }

    async fn answer(self, mut stream: DuplexStream) -> io::Result<()> {
        loop {
            let length = stream.read_u32().await? as usize;
            if length > LONGEST_REQUEST {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut request = vec![0; length];
            stream.read_exact(&mut request).await?;
            let answer = self.sign(&request).unwrap_or_else(|| vec![AGENT_FAILURE]);
            let mut framed = Vec::new();
            string(&mut framed, &answer);
            stream.write_all(&framed).await?;
        }
    }

    /// The answer to a request to sign: the key, the data, flags.
    fn sign(&self, request: &[u8]) -> Option<Vec<u8>> {
        let (&AGENT_SIGN_REQUEST, rest) = request.split_first()? else { return None };
        let (_key, rest) = taken(rest)?;
        let (data, _flags) = taken(rest)?;
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA512, &SystemRandom::new(), data, &mut signature).ok()?;
        let mut blob = Vec::new();
        string(&mut blob, ALGORITHM.as_bytes());
        string(&mut blob, &signature);
        let mut answer = vec![AGENT_SIGN_RESPONSE];
        string(&mut answer, &blob);
        Some(answer)
    }
}

/// The string at the beginning, and what follows it.
fn taken(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

/// SSH's string: its length, then itself.
fn string(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend(u32::try_from(bytes.len()).unwrap_or_default().to_be_bytes());
    to.extend_from_slice(bytes);
}

/// Reads the DER of PKCS#1 (`BEGIN RSA PRIVATE KEY`), or of PKCS#8 around it (`BEGIN PRIVATE KEY`).
pub(crate) fn from_der(der: &[u8]) -> Option<PrivateKey> {
    let (mut body, _) = element(der, SEQUENCE)?;
    let (_version, rest) = element(body, INTEGER)?;
    if let Some((_algorithm, rest)) = element(rest, SEQUENCE) {
        let (inner, _) = element(rest, OCTET_STRING)?;
        (body, _) = element(inner, SEQUENCE)?;
    }
    let mut rest = body;
    let mut number = || {
        let (bytes, after) = element(rest, INTEGER)?;
        rest = after;
        Some(Mpint::from_positive_bytes(bytes))
    };
    let (_version, n, e, d, p, q) = (number()?, number()?, number()?, number()?, number()?, number()?);
    let (_dp, _dq, inverse) = (number()?, number()?, number()?);
    let private = RsaPrivateKey::new(d, inverse, p, q).ok()?;
    let pair = RsaKeypair::new(RsaPublicKey::new(e, n).ok()?, private).ok()?;
    PrivateKey::new(KeypairData::Rsa(pair), "").ok()
}

/// The content of the element with this tag at the beginning, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    if *first != tag {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// Of big-endian numbers; `number` is odd, as primes are.
fn less_one(number: &[u8]) -> Vec<u8> {
    let mut less = number.to_vec();
    if let Some(last) = less.last_mut() {
        *last &= 0xfe;
    }
    less
}

/// The remainder of big-endian numbers, bit by bit: it happens once a key is read.
fn remainder(number: &[u8], modulus: &[u8]) -> Vec<u8> {
    let width = modulus.len() + 1;
    let wide: Vec<u8> = std::iter::once(0).chain(modulus.iter().copied()).collect();
    let mut rest = vec![0u8; width];
    for bit in number.iter().flat_map(|byte| (0..8).rev().map(move |shift| byte >> shift & 1)) {
        let mut carry = bit;
        for digit in rest.iter_mut().rev() {
            (*digit, carry) = (*digit << 1 | carry, *digit >> 7);
        }
        if rest >= wide {
            let mut borrow = false;
            for (digit, less) in rest.iter_mut().zip(&wide).rev() {
                let (once, first) = digit.overflowing_sub(*less);
                let (twice, second) = once.overflowing_sub(u8::from(borrow));
                (*digit, borrow) = (twice, first || second);
            }
        }
    }
    rest.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remainders_of_long_numbers() {
        let (number, modulus) = (0x0123_4567_89ab_cdef_u64, 0xfedc_ba99_u64);
        let expected = (number % modulus) as u32;
        assert_eq!(remainder(&number.to_be_bytes(), &(modulus as u32).to_be_bytes()), expected.to_be_bytes());
        assert_eq!(remainder(&[5], &[7]), [5]);
        assert_eq!(remainder(&[14], &[7]), [0]);
        assert_eq!(less_one(&[1, 1]), [1, 0]);
    }

    #[test]
    fn broken_der_is_no_key() {
        for der in [&b""[..], &[0x30], &[0x30, 0x84, 1, 1, 1, 1], &[0x30, 3, 2, 1, 0], &[0x30, 0x80, 0], &[2, 1, 0]] {
            assert!(from_der(der).is_none());
        }
    }
}
