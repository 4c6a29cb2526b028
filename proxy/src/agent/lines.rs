//! Cuts a log into lines, whatever the pieces that it arrives in.
//!
//! Memory is bounded: of a line beyond [`LINE_LIMIT`] only the beginning is kept, with its length.

/// Longest line that is kept whole, in bytes without its newline.
pub const LINE_LIMIT: usize = 1024 * 1024;
/// What is kept of a longer one.
pub const HEAD: usize = 4096;

/// One line of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Offset of its first byte.
    pub start: u64,
    /// Offset after its newline.
    pub end: u64,
    /// Its bytes without the newline; only the first [`HEAD`] if it is not whole.
    pub bytes: &'a [u8],
    /// Whether all of it is there.
    pub whole: bool,
}

/// The state between two pieces.
#[derive(Clone, Debug)]
pub struct Lines {
    start: u64,
    partial: Vec<u8>,
    /// Bytes of the current line that were not kept.
    dropped: u64,
}

impl Lines {
    /// For a log that is read from byte `start` on, which begins a line.
    pub fn new(start: u64) -> Lines {
        Lines { start, partial: Vec::new(), dropped: 0 }
    }

    /// Offset of the first byte that does not belong to a complete line yet.
    pub fn offset(&self) -> u64 {
        self.start
    }

    /// Calls `each` for every line that `piece` completes.
    pub fn feed(&mut self, piece: &[u8], mut each: impl FnMut(Line<'_>)) {
        let mut rest = piece;
        while let Some(at) = memchr::memchr(b'\n', rest) {
            let (line, after) = (rest.get(..at).unwrap_or_default(), rest.get(at + 1..).unwrap_or_default());
            rest = after;
            let length = self.partial.len() as u64 + self.dropped + line.len() as u64;
            let end = self.start + length + 1;
            let whole = length <= LINE_LIMIT as u64;
            let bytes = if self.partial.is_empty() {
                line
            } else {
                if whole || self.partial.len() < HEAD {
                    self.partial.extend_from_slice(line);
                }
                &self.partial
            };
            let bytes = if whole { bytes } else { bytes.get(..HEAD).unwrap_or(bytes) };
            each(Line { start: self.start, end, bytes, whole });
            self.start = end;
            self.dropped = 0;
            self.partial.clear();
            if self.partial.capacity() > 64 * 1024 {
                self.partial = Vec::new();
            }
        }
        if self.partial.len() + rest.len() <= LINE_LIMIT && self.dropped == 0 {
            self.partial.extend_from_slice(rest);
        } else {
            let kept = rest.get(..HEAD.saturating_sub(self.partial.len()).min(rest.len())).unwrap_or_default();
            self.partial.extend_from_slice(kept);
            self.dropped += (rest.len() - kept.len()) as u64;
            self.dropped += self.partial.len().saturating_sub(HEAD) as u64;
            self.partial.truncate(HEAD);
            self.partial.shrink_to(HEAD);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(log: &[u8], cuts: &[usize]) -> Vec<(u64, u64, Vec<u8>, bool)> {
        let mut lines = Lines::new(0);
        let mut seen = Vec::new();
        let mut at = 0;
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (log.len() + 1)).collect();
        cuts.push(log.len());
        cuts.sort_unstable();
        for cut in cuts {
            lines.feed(&log[at..cut], |line| seen.push((line.start, line.end, line.bytes.to_vec(), line.whole)));
            at = cut;
        }
        seen
    }

    proptest! {
        #[test]
        fn the_pieces_do_not_matter(log in "[a-c\n]{0,60}", cuts in prop::collection::vec(0usize..100, 0..8)) {
            prop_assert_eq!(cut(log.as_bytes(), &cuts), cut(log.as_bytes(), &[]));
        }
    }

    #[test]
    fn a_huge_line_keeps_its_head_and_its_length_however_it_arrives() {
        let mut log = vec![b'x'; 3 * LINE_LIMIT];
        log[0] = b'{';
        log.extend_from_slice(b"\nnext\n");
        let end = 3 * LINE_LIMIT as u64 + 1;
        for cuts in [&[][..], &[1], &[HEAD + 1, LINE_LIMIT, LINE_LIMIT + 5, 2 * LINE_LIMIT], &[3 * LINE_LIMIT]] {
            let seen = cut(&log, cuts);
            assert_eq!(seen.len(), 2, "{cuts:?}");
            assert_eq!((seen[0].0, seen[0].1, seen[0].3), (0, end, false), "{cuts:?}");
            assert_eq!(seen[0].2, &log[..HEAD], "{cuts:?}");
            assert_eq!(seen[1], (end, end + 5, b"next".to_vec(), true), "{cuts:?}");
        }
    }
}
