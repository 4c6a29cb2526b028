//! As much of CBOR as sshx's messages take: heads of numbers, arrays and maps, and strings.

use anyhow::{Context as _, bail, ensure};

/// The first three bits of a head.
pub(super) const NUMBER: u8 = 0;
pub(super) const BYTES: u8 = 2;
pub(super) const TEXT: u8 = 3;
pub(super) const ARRAY: u8 = 4;
pub(super) const MAP: u8 = 5;
/// The whole of it.
pub(super) const NULL: u8 = 0xf6;

/// Writes a head: a number, or how many bytes, members or pairs follow.
pub(super) fn head(to: &mut Vec<u8>, kind: u8, value: u64) {
    let bytes = value.to_be_bytes();
    // The size is a power of two; the head says which.
    let (mark, size) = match value {
        0..=23 => (value as u8, 0),
        24..=0xff => (24, 1),
        0x100..=0xffff => (25, 2),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 8),
    };
    to.push(kind << 5 | mark);
    to.extend(bytes.iter().skip(bytes.len() - size));
}

pub(super) fn string(to: &mut Vec<u8>, kind: u8, content: &[u8]) {
    head(to, kind, content.len() as u64);
    to.extend_from_slice(content);
}

/// Reads what is expected, or fails.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Reader<'a> {
        Reader(message)
    }

    /// The value of a head of this kind.
    pub(super) fn head(&mut self, kind: u8) -> anyhow::Result<u64> {
        let first = self.take(1)?.first().copied().unwrap_or_default();
        ensure!(first >> 5 == kind, "CBOR of kind {} where {kind} was expected", first >> 5);
        Ok(match first & 0x1f {
            small @ 0..=23 => u64::from(small),
            size @ 24..=27 => self.take(1 << (size - 24))?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)),
            _ => bail!("CBOR of no fixed length"),
        })
    }

    pub(super) fn string(&mut self, kind: u8) -> anyhow::Result<&'a [u8]> {
        let length = self.head(kind)?;
        self.take(usize::try_from(length)?)
    }

    fn take(&mut self, bytes: usize) -> anyhow::Result<&'a [u8]> {
        let (piece, rest) = self.0.split_at_checked(bytes).context("CBOR that ends early")?;
        self.0 = rest;
        Ok(piece)
    }
}
