//! The event that streams are made of: a line of 200 bytes whose text is a number, so that a reader sees what is missing.

use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of one line, newline included.
pub const LINE: usize = 200;
/// Bytes of the text in it.
pub const TEXT: usize = 20;

/// The line whose text is `number`.
pub fn line(number: u64) -> String {
    format!(
        "{{\"type\":\"stream_event\",\"event\":{{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\
         \"text\":\"{number:019} \"}}}},\"session_id\":\"01234567\",\"parent_tool_use_id\":null,\"uuid\":\"0123456\"}}\n"
    )
}

/// Nanoseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or_default()
}

/// Counts events in the text of a stream and sees that each is the next one.
#[derive(Debug, Default)]
pub struct Counter {
    /// Events so far.
    pub count: u64,
    /// Events that were not the next one.
    pub wrong: u64,
    rest: String,
}

impl Counter {
    /// Takes more of the text.
    pub fn text(&mut self, text: &str) {
        self.each(text, |counter, number| {
            counter.wrong += u64::from(number != counter.count);
            counter.count += 1;
        });
    }

    /// Takes more of the text and gives the numbers in it, whatever they are.
    pub fn numbers(&mut self, text: &str, mut number: impl FnMut(u64)) {
        self.each(text, |counter, found| {
            counter.count += 1;
            number(found);
        });
    }

    fn each(&mut self, text: &str, mut take: impl FnMut(&mut Counter, u64)) {
        let mut rest = std::mem::take(&mut self.rest);
        rest.push_str(text);
        let mut pieces = rest.as_bytes().chunks_exact(TEXT);
        for piece in &mut pieces {
            let digits = std::str::from_utf8(piece).unwrap_or_default().trim_end();
            take(self, digits.parse().unwrap_or(u64::MAX));
        }
        self.rest = String::from_utf8_lossy(pieces.remainder()).into_owned();
    }
}
