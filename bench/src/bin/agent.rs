//! In place of `claude` on the benchmark's VM, so that the figures are the proxy's and not an agent's.
//!
//! It speaks the same stream-json. A message says what to print: `stream N` (N events of 200 bytes as fast as they are
//! taken), `rate N HZ` (N events at HZ, each with the time in nanoseconds), `line BYTES` (one line of that length),
//! `ticks N MS`; anything else is echoed.

use std::io::{BufRead as _, Write as _};
use std::time::{Duration, Instant};

use catalyst_bench::event;

fn main() -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::with_capacity(256 * 1024, std::io::stdout().lock());
    for (turn, line) in std::io::stdin().lock().lines().enumerate() {
        let Ok(line) = serde_json::from_str::<serde_json::Value>(&line?) else { continue };
        let Some(text) = line.pointer("/message/content/0/text").and_then(serde_json::Value::as_str) else { continue };
        let words: Vec<&str> = text.split_whitespace().collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or(1);
        writeln!(out, r#"{{"type":"system","subtype":"init","session_id":"bench","tools":[],"model":"bench"}}"#)?;
        writeln!(
            out,
            r#"{{"type":"stream_event","event":{{"type":"message_start","message":{{"id":"msg_{turn}"}}}},"session_id":"bench"}}"#
        )?;
        match words.first().copied() {
            Some("stream") => {
                for at in 0..number(1) {
                    out.write_all(event::line(at).as_bytes())?;
                }
            }
            Some("rate") => {
                let (count, every) = (number(1), Duration::from_secs(1) / u32::try_from(number(2))?);
                let begin = Instant::now();
                for at in 0..count {
                    let due = every * u32::try_from(at)?;
                    std::thread::sleep(due.saturating_sub(begin.elapsed()));
                    out.write_all(event::line(event::now()).as_bytes())?;
                    out.flush()?;
                }
            }
            Some("ticks") => {
                for at in 0..number(1) {
                    out.write_all(event::line(at).as_bytes())?;
                    out.flush()?;
                    std::thread::sleep(Duration::from_millis(number(2)));
                }
            }
            Some("line") => {
                write!(
                    out,
                    r#"{{"type":"user","message":{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"t","content":""#
                )?;
                let piece = [b'x'; 64 * 1024];
                let mut left = usize::try_from(number(1))?;
                while left > 0 {
                    let part = piece.get(..left.min(piece.len())).unwrap_or_default();
                    out.write_all(part)?;
                    left -= part.len();
                }
                writeln!(out, r#""}}]}}}}"#)?;
            }
            _ => out.write_all(event::line(0).as_bytes())?,
        }
        writeln!(
            out,
            r#"{{"type":"result","subtype":"success","is_error":false,"duration_ms":1,"num_turns":1,"result":"done","session_id":"bench","total_cost_usd":0.01}}"#
        )?;
        out.flush()?;
    }
    Ok(())
}
