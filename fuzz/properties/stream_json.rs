//! A run's log, whatever Claude wrote into it: every cut gives the same events, in order, each a frame that a browser can read.
//!
//! The first four bytes choose the cuts. A byte 0x02 stands for 300,000 letters, so that lines beyond the limit come too.

use std::collections::BTreeSet;

use catalyst_proxy::agent::{CanUseTool, Decoder, Event, Lines, Seq, State, members};
use catalyst_proxy::protocol::{Prefix, frame};
use serde_json::value::RawValue;

const LETTERS: usize = 300_000;
/// Long lines in one log.
const LONG: usize = 5;

/// Panics where it does not hold.
pub fn check(bytes: &[u8]) {
    let Some((choice, written)) = bytes.split_at_checked(4) else { return };
    let log = expanded(written);
    let mut cuts: Vec<usize> =
        choice.iter().map(|byte| usize::from(*byte) * log.len() / 255).chain([0, log.len()]).collect();
    cuts.sort_unstable();

    let (whole, state, _) = decoded(&[&log]);
    assert!(whole.is_sorted_by(|a, b| a.0 < b.0), "a place is given twice");
    for (_, event) in &whole {
        let body = members(event, Some((1, Seq::default())));
        let sent = frame(&Prefix::new("idea"), &body);
        // Not by a tree: what Claude wrote may be nested deeper than one can be.
        serde_json::from_slice::<&RawValue>(&sent).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&sent)));
    }

    let pieces: Vec<&[u8]> = cuts.windows(2).map(|ends| &log[ends[0]..ends[1]]).collect();
    let (by_pieces, state_by_pieces, _) = decoded(&pieces);
    assert_eq!(encoded(&by_pieces), encoded(&whole), "the pieces matter");
    assert_eq!(state_by_pieces, state, "the pieces matter to the state");

    // Any replica goes on from any line of another's.
    for cut in cuts {
        let (before, _, taken) = decoded(&[&log[..cut]]);
        assert_eq!(encoded(&before), encoded(&whole[..before.len()]), "a prefix says something else");
        let (decoder_state, offset) = taken;
        let mut after = Vec::new();
        let mut decoder = Decoder::new(decoder_state);
        let mut lines = Lines::new(offset);
        lines.feed(&log[offset as usize..], |line| decoder.line(&line, &mut after));
        assert_eq!(encoded(&after), encoded(&whole[before.len()..]), "who goes on says something else");
    }

    // Who comes late is spared deltas and gets everything else.
    let mut late = Vec::new();
    let mut decoder = Decoder::late(State::default());
    Lines::new(0).feed(&log, |line| decoder.line(&line, &mut late));
    decoder.finish(&mut late);
    assert!(late.is_sorted_by(|a, b| a.0 < b.0), "a place is given twice to a late viewer");
    assert_eq!(
        encoded(&told(&late)),
        encoded(&told(&whole)),
        "a late viewer misses something, or has another name for it"
    );
    assert_closed_whole(&log, &whole, &late);

    for line in log.split(|byte| *byte == b'\n') {
        let Ok(request) = serde_json::from_slice::<CanUseTool<'_>>(line) else { continue };
        for answer in [catalyst_proxy::agent::Answer::Allow, catalyst_proxy::agent::Answer::Always] {
            let line = request.answer("r-1", &answer);
            assert_eq!(line.matches('\n').count(), 1, "an answer is one line");
            serde_json::from_str::<&RawValue>(line.trim_end()).unwrap();
        }
    }
}

/// What a late viewer is not given of an answer has been closed by its own message, and that it is given.
fn assert_closed_whole(log: &[u8], whole: &Events, late: &Events) {
    let thinks = |event: &Event| matches!(event, Event::Thinking { .. });
    let says = |event: &Event| thinks(event) || matches!(event, Event::Text { .. });
    let places = |events: &Events| events.iter().map(|(seq, _)| *seq).collect::<BTreeSet<Seq>>();
    let (given_to_all, given_late) = (places(whole), places(late));
    let closing: Vec<&(Seq, Event)> = late.iter().filter(|(seq, _)| !given_to_all.contains(seq)).collect();
    assert!(closing.iter().all(|(_, event)| says(event)), "a late viewer is given what is not in the log");
    let spared: Vec<&(Seq, Event)> = whole.iter().filter(|(seq, _)| !given_late.contains(seq)).collect();
    let mut beginnings: Option<Vec<u64>> = None;
    for (seq, event) in &spared {
        let its_own = closing.iter().find(|(at, other)| at > seq && thinks(other) == thinks(event));
        let (at, _) = its_own.unwrap_or_else(|| panic!("{event:?} at {seq:?} is never closed for a late viewer"));
        let beginnings = beginnings.get_or_insert_with(|| beginnings_of_messages(log));
        let another = beginnings.iter().find(|begins| (seq.offset + 1..at.offset).contains(begins));
        assert_eq!(another, None, "{event:?} at {seq:?} is another message's than what is closed at {at:?}");
    }
}

/// Where the lines end with which messages begin, as a decoder understands them.
fn beginnings_of_messages(log: &[u8]) -> Vec<u64> {
    let nothing_begun = format!("{:?}", State::default());
    let streaming = nothing_begun.split(", ").next().unwrap();
    let mut beginnings = Vec::new();
    let mut lines = Lines::new(0);
    lines.feed(log, |line| {
        let mut decoder = Decoder::new(State::default());
        decoder.line(&line, &mut Vec::new());
        if !format!("{:?}", decoder.state()).starts_with(streaming) {
            beginnings.push(line.end);
        }
    });
    beginnings
}

fn expanded(written: &[u8]) -> Vec<u8> {
    let mut log = Vec::with_capacity(written.len());
    let mut long = 0;
    for byte in written {
        if *byte == 2 && long < LONG {
            long += 1;
            log.resize(log.len() + LETTERS, b'x');
        } else {
            log.push(*byte);
        }
    }
    log
}

type Events = Vec<(Seq, Event)>;

/// The events, the state after them, and from where and with which state somebody else would go on.
fn decoded(pieces: &[&[u8]]) -> (Events, String, (State, u64)) {
    let mut decoder = Decoder::new(State::default());
    let mut lines = Lines::new(0);
    let mut events = Vec::new();
    for piece in pieces {
        lines.feed(piece, |line| decoder.line(&line, &mut events));
    }
    (events, format!("{:?}", decoder.state()), (decoder.state().clone(), lines.offset()))
}

fn encoded(events: &[(Seq, Event)]) -> Vec<Vec<u8>> {
    events.iter().map(|(seq, event)| members(event, Some((1, *seq))).to_vec()).collect()
}

/// What is no piece of an answer.
fn told(events: &[(Seq, Event)]) -> Events {
    let pieces = |event: &Event| matches!(event, Event::Text { .. } | Event::Thinking { .. });
    events.iter().filter(|(_, event)| !pieces(event)).cloned().collect()
}
