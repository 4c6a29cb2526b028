//! The lines of a recording: asciicast v2 (docs.asciinema.org/manual/asciicast/v2). Pure.
//!
//! Invariant: the outputs joined are what the terminal printed, with U+FFFD for what is no UTF-8, whatever the pieces it came in.

use std::time::Duration;

use catalyst_ssh::Size;
use serde_json::json;

/// One recording, as far as its next line depends on it.
#[derive(Debug)]
pub(super) struct Cast {
    size: Size,
    /// The beginning of a character of which the rest has not come yet.
    cut: Vec<u8>,
}

impl Cast {
    /// Begins one at a time in seconds since 1970; gives its first line.
    pub(super) fn begin(size: Size, timestamp: i64, term: &str) -> (Cast, String) {
        let (width, height) = (size.columns, size.rows);
        let env = json!({"TERM": term});
        let head = json!({"version": 2, "width": width, "height": height, "timestamp": timestamp, "env": env});
        (Cast { size, cut: Vec::new() }, format!("{head}\n"))
    }

    /// The terminal printed something; none while it is only a part of a character.
    pub(super) fn output(&mut self, at: Duration, bytes: &[u8]) -> Option<String> {
        let text = self.text(bytes);
        (!text.is_empty()).then(|| line(at, "o", &text))
    }

    /// A part of a character of which the rest does not come any more.
    pub(super) fn rest(&mut self, at: Duration) -> Option<String> {
        let cut = std::mem::take(&mut self.cut);
        (!cut.is_empty()).then(|| line(at, "o", &String::from_utf8_lossy(&cut)))
    }

    /// The terminal has another size; none if it has not.
    pub(super) fn resize(&mut self, at: Duration, size: Size) -> Option<String> {
        if size == self.size {
            return None;
        }
        self.size = size;
        Some(Cast::sized(at, size))
    }

    /// That it has this size, whatever it had before.
    pub(super) fn sized(at: Duration, size: Size) -> String {
        line(at, "r", &format!("{}x{}", size.columns, size.rows))
    }

    /// A remark on the recording itself.
    pub(super) fn mark(at: Duration, words: &str) -> String {
        line(at, "m", words)
    }

    fn text(&mut self, bytes: &[u8]) -> String {
        let mut held = std::mem::take(&mut self.cut);
        held.extend_from_slice(bytes);
        let mut text = String::with_capacity(held.len());
        let mut chunks = held.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            let wrong = chunk.invalid();
            let may_go_on = std::str::from_utf8(wrong).is_err_and(|error| error.error_len().is_none());
            if may_go_on && chunks.peek().is_none() {
                self.cut = wrong.to_vec();
            } else if !wrong.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        text
    }
}

fn line(at: Duration, code: &str, data: &str) -> String {
    format!("[{:.6}, \"{code}\", {}]\n", at.as_secs_f64(), json!(data))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const SIZE: Size = Size { columns: 80, rows: 24 };

    fn recorded(pieces: &[&[u8]]) -> String {
        let (mut cast, _) = Cast::begin(SIZE, 0, "xterm");
        let mut lines: Vec<String> =
            pieces.iter().filter_map(|piece| cast.output(Duration::from_millis(1500), piece)).collect();
        lines.extend(cast.rest(Duration::from_secs(2)));
        let events = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.map(|event| event[2].as_str().unwrap().to_owned()).collect()
    }

    proptest! {
        #[test]
        fn outputs_joined_are_what_was_printed_wherever_it_was_cut(
            printed in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                "[a-zäß☃💥\u{1b}\0\r\n\"\\\\]{0,40}".prop_map(String::into_bytes),
            ],
            cuts in prop::collection::vec(0usize..200, 0..8),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (printed.len() + 1)).collect();
            cuts.extend([0, printed.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|ends| &printed[ends[0]..ends[1]]).collect();
            prop_assert_eq!(recorded(&pieces), String::from_utf8_lossy(&printed));
        }
    }

    #[test]
    fn the_lines_are_those_of_asciicast_v2() {
        let (mut cast, head) = Cast::begin(SIZE, 1_700_000_000, "xterm-256color");
        let expected = json!({"version": 2, "width": 80, "height": 24, "timestamp": 1_700_000_000, "env": {"TERM": "xterm-256color"}});
        assert_eq!(serde_json::from_str::<Value>(&head).unwrap(), expected);
        let at = Duration::from_millis(1234);
        assert_eq!(cast.output(at, b"a\x1b[1m\"\r\n").unwrap(), "[1.234000, \"o\", \"a\\u001b[1m\\\"\\r\\n\"]\n");
        assert_eq!(cast.resize(at, SIZE), None);
        assert_eq!(cast.resize(at, Size { columns: 132, rows: 50 }).unwrap(), "[1.234000, \"r\", \"132x50\"]\n");
        assert_eq!(Cast::mark(at, "x"), "[1.234000, \"m\", \"x\"]\n");
    }
}
