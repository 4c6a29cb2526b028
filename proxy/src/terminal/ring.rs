//! The latest output of a terminal, by absolute offset: what a viewer that was away can be shown.

use std::collections::VecDeque;

/// What is kept when nobody needs more.
const KEPT: usize = 256 * 1024;
/// Where the beginning is missing, a replay begins at a line, if one begins within so many bytes.
const LINE_WITHIN: usize = 4096;

/// Output from an offset on.
#[derive(Default)]
pub(super) struct Ring {
    bytes: VecDeque<u8>,
    end: u64,
}

impl Ring {
    /// The offset after the last byte.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The offset of the first byte that is kept.
    pub(super) fn start(&self) -> u64 {
        self.end.saturating_sub(self.bytes.len() as u64)
    }

    /// Adds output. What is older than the last 256 KiB goes, but for what comes after `needed`.
    pub(super) fn push(&mut self, bytes: &[u8], needed: Option<u64>) {
        self.bytes.extend(bytes);
        self.end = self.end.saturating_add(bytes.len() as u64);
        let surplus = self.bytes.len().saturating_sub(KEPT);
        let free = needed.map_or(surplus, |needed| {
            usize::try_from(needed.saturating_sub(self.start())).unwrap_or(usize::MAX).min(surplus)
        });
        self.bytes.drain(..free);
        // What a viewer held up once is not kept for ever.
        if self.bytes.capacity() > 4 * KEPT && self.bytes.len() <= KEPT {
            self.bytes.shrink_to(KEPT);
        }
    }

    /// At most `limit` bytes from an offset that is kept.
    pub(super) fn read(&self, from: u64, limit: usize) -> Vec<u8> {
        let skip = usize::try_from(from.saturating_sub(self.start())).unwrap_or(usize::MAX).min(self.bytes.len());
        let until = skip.saturating_add(limit).min(self.bytes.len());
        let mut read = Vec::with_capacity(until.saturating_sub(skip));
        let (first, second) = self.bytes.as_slices();
        read.extend_from_slice(first.get(skip..until.min(first.len())).unwrap_or_default());
        let (skip, until) = (skip.saturating_sub(first.len()), until.saturating_sub(first.len()));
        read.extend_from_slice(second.get(skip..until).unwrap_or_default());
        read
    }

    /// Where one who has seen nothing begins: not in the middle of a line, where that can be helped.
    pub(super) fn beginning(&self) -> u64 {
        let start = self.start();
        if start == 0 {
            return 0;
        }
        let line = self.bytes.iter().take(LINE_WITHIN).position(|byte| *byte == b'\n');
        line.map_or(start, |at| start.saturating_add(at as u64).saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_last_part_and_knows_offsets() {
        let mut ring = Ring::default();
        let all: Vec<u8> = (0..KEPT as u32 * 3).map(|n| (n % 251) as u8).collect();
        for part in all.chunks(1000) {
            ring.push(part, None);
        }
        assert_eq!((ring.start(), ring.end()), ((2 * KEPT) as u64, all.len() as u64));
        assert_eq!(ring.read(ring.start() + 5, 3000), all[2 * KEPT + 5..2 * KEPT + 3005]);
        assert_eq!(ring.read(ring.end() - 2, 3000), all[all.len() - 2..]);
        assert_eq!(ring.read(ring.end(), 10), b"");
    }

    #[test]
    fn what_a_viewer_needs_stays() {
        let mut ring = Ring::default();
        ring.push(&vec![b'a'; KEPT * 2], Some(7));
        assert_eq!(ring.start(), 7);
        ring.push(b"b", Some(KEPT as u64 * 2));
        assert_eq!(ring.start(), KEPT as u64 + 1);
    }

    #[test]
    fn a_cut_beginning_is_a_line_s_beginning() {
        let mut ring = Ring::default();
        ring.push(b"one\ntwo\n", None);
        assert_eq!(ring.beginning(), 0);
        let lines = "0123456789\n".repeat(KEPT / 10);
        ring.push(lines.as_bytes(), None);
        assert!(ring.start() > 0);
        assert!(ring.read(ring.beginning(), 11).starts_with(b"0123456789\n"));
    }
}
