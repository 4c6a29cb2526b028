//! The line that nearly all of a stream consists of, read without parsing it as a whole.
//!
//! Only the exact form in which Claude writes it is taken; everything else, and every doubt, goes the long way with the
//! same outcome.

const BEGINNING: &[u8] = br#"{"type":"stream_event","event":{"type":"content_block_delta","index":"#;
const TEXT: &[u8] = br#","delta":{"type":"text_delta","text":""#;
const THINKING: &[u8] = br#","delta":{"type":"thinking_delta","thinking":""#;
const SESSION: &[u8] = br#""}},"session_id":""#;
const UUID: &[u8] = br#"","parent_tool_use_id":null,"uuid":""#;
const END: &[u8] = br#""}"#;

/// A piece of the main agent's answer or thinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delta<'a> {
    Text(&'a str),
    Thinking(&'a str),
}

/// The delta that a line is, if it has that form and its text no escapes.
pub(super) fn read(line: &[u8]) -> Option<Delta<'_>> {
    let rest = line.strip_prefix(BEGINNING)?;
    let rest = after_index(rest)?;
    if let Some(rest) = rest.strip_prefix(TEXT) {
        plain(rest).map(Delta::Text)
    } else {
        plain(rest.strip_prefix(THINKING)?).map(Delta::Thinking)
    }
}

fn after_index(rest: &[u8]) -> Option<&[u8]> {
    let digits = rest.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    let (index, rest) = rest.split_at_checked(digits)?;
    (digits == 1 || (digits > 1 && index.first() != Some(&b'0'))).then_some(rest)
}

/// The string that `rest` begins with, if it has no escapes and the line ends as it should.
fn plain(rest: &[u8]) -> Option<&str> {
    let end = memchr::memchr2(b'"', b'\\', rest)?;
    let (text, rest) = rest.split_at_checked(end)?;
    let rest = after_identifier(rest.strip_prefix(SESSION)?).strip_prefix(UUID)?;
    if after_identifier(rest) != END || text.iter().any(|byte| *byte < 0x20) {
        return None;
    }
    std::str::from_utf8(text).ok()
}

fn after_identifier(rest: &[u8]) -> &[u8] {
    let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count();
    rest.get(length..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::agent::wire::StreamLine;

    /// The same by parsing.
    fn parsed(line: &[u8]) -> Option<(Option<String>, Option<String>)> {
        std::str::from_utf8(line).ok()?;
        let line: StreamLine<'_> = serde_json::from_slice(line).ok()?;
        let delta = line.event.delta?;
        line.parent_tool_use_id.is_none().then_some((delta.text, delta.thinking))
    }

    fn line(index: &str, kind: &str, name: &str, text: &str, rest: &str) -> String {
        format!(
            r#"{{"type":"stream_event","event":{{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}","{name}":"{text}"}}}},"session_id":"a-1","parent_tool_use_id":null,"uuid":"b-2"{rest}"#
        )
    }

    #[test]
    fn claudes_own_form_is_read_at_once() {
        assert_eq!(read(line("0", "text_delta", "text", "Hello ü", "}").as_bytes()), Some(Delta::Text("Hello ü")));
        let thinking = line("12", "thinking_delta", "thinking", "hm", "}");
        assert_eq!(read(thinking.as_bytes()), Some(Delta::Thinking("hm")));
    }

    #[test]
    fn what_differs_in_anything_goes_the_long_way() {
        for doubtful in [
            line("0", "text_delta", "text", r"a\nb", "}"),
            line("00", "text_delta", "text", "a", "}"),
            line("", "text_delta", "text", "a", "}"),
            line("0", "text_delta", "text", "a\u{1}b", "}"),
            line("0", "text_delta", "text", "a", r#","ttft_ms":5}"#),
            line("0", "text_delta", "text", "a", ""),
            line("0", "text_delta", "text", "a", "}}"),
            line("0", "text_delta", "text", "a", "}").replace("null", "\"tool-1\""),
            line("0", "text_delta", "text", "a", "}").replace("a-1", "a\\"),
        ] {
            assert_eq!(read(doubtful.as_bytes()), None, "{doubtful}");
        }
    }

    proptest! {
        /// Whatever is changed in such a line: what is read at once is what parsing reads.
        #[test]
        fn both_ways_agree(text in "[a-z\"\\\\\u{0}-\u{1f}ü{}]{0,6}", index in "[0-9]{0,3}", at in 0usize..220, with in any::<u8>(), change in any::<bool>()) {
            let mut line = line(&index, "text_delta", "text", &text, "}").into_bytes();
            let length = line.len();
            if change {
                line[at % length] = with;
            }
            if let Some(Delta::Text(quick)) = read(&line) {
                prop_assert_eq!(parsed(&line).and_then(|(text, _)| text), Some(quick.to_owned()));
            }
        }
    }
}
