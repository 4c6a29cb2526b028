//! What viewers are sent: an event of a run's log with its place, encoded once.

use std::sync::Arc;

use bytes::Bytes;

use crate::agent::{Decoder, Event, Line, Lines, Seq, State, members};

/// Deltas are joined up to this many bytes.
const JOINED_LIMIT: usize = 16 * 1024;
/// In place of a last line that is missing.
const LOST: &[u8] = br#"{"type":"catalyst_exit","code":137,"reason":"lost","stderr":""}"#;

/// A place among the frames of an idea.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Number of the run, from 1.
    pub run: u64,
    /// Place in its log.
    pub seq: Seq,
}

impl Position {
    /// After everything that the log says up to `offset`.
    pub(super) fn past(run: u64, offset: u64) -> Position {
        Position { run, seq: Seq { offset, sub: u32::MAX } }
    }
}

/// From where a log can be decoded on.
#[derive(Clone, Debug)]
pub(super) struct Resume {
    pub(super) run: u64,
    /// Begins a line.
    pub(super) offset: u64,
    /// After all lines before it.
    pub(super) state: State,
}

/// One event, placed and encoded.
#[derive(Debug)]
pub struct Frame {
    /// Number of the run.
    pub run: u64,
    /// Place in the run's log.
    pub seq: Seq,
    /// What happened.
    pub event: Event,
    /// JSON members that follow `ideaId`, without braces: `"type":"claude:text","run":3,"seq":"120.0","text":"…"`.
    pub body: Bytes,
    /// Place of the first of the deltas that were joined; `seq` otherwise.
    pub(super) first: Seq,
    /// Where the (last) line of this frame begins; none if the frame is not from the log.
    pub(super) resume: Option<Resume>,
}

impl Frame {
    /// Where the frame stands.
    pub fn position(&self) -> Position {
        Position { run: self.run, seq: self.seq }
    }

    /// Place of the earliest event in it.
    pub(super) fn first_position(&self) -> Position {
        Position { run: self.run, seq: self.first }
    }

    /// An event that the log does not tell, at a place that is told already.
    pub(super) fn beside_log(at: Position, event: Event) -> Frame {
        let body = members(&event, None);
        Frame { run: at.run, seq: at.seq, event, body, first: at.seq, resume: None }
    }

    /// Roughly what it occupies, in bytes.
    pub(super) fn weight(&self) -> usize {
        2 * self.body.len() + 256
    }
}

/// Reads one run's log from some line on and makes frames.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    run: u64,
    lines: Lines,
    decoder: Decoder,
    fed: u64,
    over: bool,
    /// What the first line says, for whoever reads a log from its beginning.
    build: bool,
    joined: Option<Joined>,
    /// Events up to here are not given: the viewer has them.
    skip: Option<Seq>,
}

/// An event whose frame is not made yet, because a delta may still be joined to it.
#[derive(Clone, Debug)]
struct Joined {
    first: Seq,
    seq: Seq,
    event: Event,
    resume: Resume,
}

impl Reader {
    pub(super) fn new(from: Resume) -> Reader {
        Reader::with(from.run, from.offset, Decoder::new(from.state))
    }

    /// For a viewer that comes late: closed messages are given whole.
    pub(super) fn late(from: Resume) -> Reader {
        Reader::with(from.run, from.offset, Decoder::late(from.state))
    }

    pub(super) fn beginning(run: u64) -> Reader {
        Reader::new(Resume { run, offset: 0, state: State::default() })
    }

    fn with(run: u64, offset: u64, decoder: Decoder) -> Reader {
        Reader {
            run,
            lines: Lines::new(offset),
            decoder,
            fed: offset,
            over: false,
            build: false,
            joined: None,
            skip: None,
        }
    }

    pub(super) fn run(&self) -> u64 {
        self.run
    }

    /// The next byte of the log to read.
    pub(super) fn fed(&self) -> u64 {
        self.fed
    }

    /// After the last complete line.
    pub(super) fn position(&self) -> Position {
        Position::past(self.run, self.lines.offset())
    }

    /// Whether the run's last line was read.
    pub(super) fn over(&self) -> bool {
        self.over
    }

    pub(super) fn build(&self) -> bool {
        self.build
    }

    pub(super) fn state(&self) -> &State {
        self.decoder.state()
    }

    /// For going on after the last complete line.
    pub(super) fn resume(&self) -> Resume {
        Resume { run: self.run, offset: self.lines.offset(), state: self.decoder.state().clone() }
    }

    /// The same, without what was read of a line that is not complete: its beginning is read once more.
    pub(super) fn reopened(self) -> Reader {
        let offset = self.lines.offset();
        Reader { lines: Lines::new(offset), fed: offset, ..self }
    }

    /// Gives only what comes after `seq`.
    pub(super) fn skipping(self, seq: Seq) -> Reader {
        Reader { skip: Some(seq), ..self }
    }

    /// As [`Reader::skipping`], if the place is in this run.
    pub(super) fn skipping_to(self, at: Position) -> Reader {
        if at.run == self.run { self.skipping(at.seq) } else { self }
    }

    /// Up to where nothing is given.
    pub(super) fn skipped(&self) -> Position {
        Position { run: self.run, seq: self.skip.unwrap_or_default() }
    }

    pub(super) fn set_build(&mut self, build: bool) {
        self.build = build;
    }

    /// Nothing is left of this log.
    pub(super) fn give_up(&mut self) {
        self.over = true;
    }

    /// There is no last line, nor will there be: says what it would have said, so that nobody waits for it.
    pub(super) fn end_lost(&mut self, frames: &mut Vec<Arc<Frame>>) {
        self.over = true;
        let Position { run, seq } = self.position();
        let line = Line { start: seq.offset, end: seq.offset, bytes: LOST, whole: true };
        let mut events = Vec::new();
        self.decoder.line(&line, &mut events);
        // Behind all that the log says, and not to be found in it.
        let first = u32::MAX - u32::try_from(events.len()).unwrap_or_default();
        for (sub, (_, event)) in (first..u32::MAX).zip(events) {
            let seq = Seq { offset: seq.offset, sub };
            let body = members(&event, Some((run, seq)));
            frames.push(Arc::new(Frame { run, seq, event, body, first: seq, resume: None }));
        }
    }

    /// The frames of the lines that `bytes` completes. Deltas that stand together become one frame. How many events they were.
    pub(super) fn feed(&mut self, bytes: &[u8], frames: &mut Vec<Arc<Frame>>) -> u64 {
        self.fed += bytes.len() as u64;
        let Reader { run, lines, decoder, over, build, joined, skip, .. } = self;
        let mut events = Vec::new();
        let mut decoded = 0;
        lines.feed(bytes, |line: Line<'_>| {
            let resume = Resume { run: *run, offset: line.start, state: decoder.state().clone() };
            if line.start == 0 {
                *build = memchr::memmem::find(line.bytes, br#""mode":"build""#).is_some();
            }
            decoder.line(&line, &mut events);
            decoded += events.len() as u64;
            for (seq, event) in events.drain(..) {
                *over |= matches!(event, Event::Exit { .. });
                if skip.is_some_and(|skip| seq <= skip) {
                    continue;
                }
                join(joined, seq, event, &resume, frames);
            }
        });
        flush(joined, frames);
        decoded
    }

    /// What a late reader held back for a closing text that did not come.
    pub(super) fn finish(&mut self, frames: &mut Vec<Arc<Frame>>) {
        let mut events = Vec::new();
        self.decoder.finish(&mut events);
        let resume = self.resume();
        for (seq, event) in events {
            join(&mut self.joined, seq, event, &resume, frames);
        }
        flush(&mut self.joined, frames);
    }
}

fn join(joined: &mut Option<Joined>, seq: Seq, event: Event, resume: &Resume, frames: &mut Vec<Arc<Frame>>) {
    let added = match (joined.as_mut().map(|joined| &mut joined.event), &event) {
        (Some(Event::Text { text }), Event::Text { text: more })
        | (Some(Event::Thinking { text }), Event::Thinking { text: more })
            if text.len() + more.len() <= JOINED_LIMIT =>
        {
            text.push_str(more);
            true
        }
        _ => false,
    };
    if !added {
        flush(joined, frames);
        *joined = Some(Joined { first: seq, seq, event, resume: resume.clone() });
    } else if let Some(joined) = joined {
        joined.seq = seq;
        joined.resume = resume.clone();
    }
}

fn flush(joined: &mut Option<Joined>, frames: &mut Vec<Arc<Frame>>) {
    let Some(Joined { first, seq, event, resume }) = joined.take() else { return };
    let body = members(&event, Some((resume.run, seq)));
    frames.push(Arc::new(Frame { run: resume.run, seq, event, body, first, resume: Some(resume) }));
}
