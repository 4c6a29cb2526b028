//! Reads what a log already says: the last of it from a message boundary, a page of older frames, the state at a place.

use std::sync::Arc;

use catalyst_ssh::{FileReader, Lane};

use super::frame::{Frame, Position, Reader, Resume};
use super::vm::Vm;
use super::{IdeaRef, Page, RunError};
use crate::agent::{Decoder, Event, Line, Lines, Seq, State};
use crate::remote::READ;

/// What is read of a log at once, in bytes.
pub(super) const SPAN: u64 = 256 * 1024;
/// How far back a message boundary is looked for.
const FARTHEST: u64 = 4 * 1024 * 1024;
/// Runs that are looked at for one page; short ones are gathered.
const RUNS_A_PAGE: u64 = 12;

/// A part of one run's log, from a boundary on.
pub(super) struct Window {
    /// Where it begins.
    pub(super) start: u64,
    pub(super) frames: Vec<Arc<Frame>>,
    /// At its end; has read all of it.
    pub(super) reader: Reader,
}

/// Which events a window shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// As they came, deltas and all.
    Everything,
    /// Closed messages whole.
    Closed,
}

/// The part of `run`'s log that ends at byte `end` (or with the log) and begins at a boundary about [`SPAN`] before.
/// None if the log is not there.
pub(super) async fn window(
    vm: &Vm,
    idea: &IdeaRef,
    run: u64,
    end: Option<u64>,
    show: Show,
) -> Result<Option<Window>, RunError> {
    let end = {
        // Not held any longer: what follows needs channels, too.
        let Some(file) = log_file(vm, idea, run).await? else { return Ok(None) };
        let size = file.size().await?;
        let end = end.unwrap_or(size);
        if end > size {
            return Err(RunError::BadPosition);
        }
        if end <= SPAN {
            let bytes = beginning(&file, end).await?;
            return Ok(Some(open(run, 0, State::default(), &bytes, 0, show)));
        }
        end
    };
    let mut span = SPAN;
    loop {
        let from = end.saturating_sub(span);
        // By a command, which also tells what came before.
        let Some(range) = vm.read(idea, run, from, end - from, from > 0).await? else { return Ok(None) };
        let before = decoder_after(&range.before);
        let first = if from == 0 { 0 } else { after_newline(&range.bytes) };
        if from > 0 && first == range.bytes.len() as u64 && span >= FARTHEST {
            return long_line(vm, idea, run, from, end).await;
        }
        let lines = range.bytes.get(usize::try_from(first).unwrap_or(usize::MAX)..).unwrap_or_default();
        match boundary(lines, from + first, before.clone()) {
            Some((start, state)) => return Ok(Some(open(run, start, state, &range.bytes, from, show))),
            None if from > 0 && span < FARTHEST => span *= 2,
            // One message is longer than that: it is shown from some line on, as it came, whatever is to be shown. Who pages back sees
            // how it began, and its closing text would say that once more.
            None => {
                let state = before.state().clone().amid();
                return Ok(Some(open(run, from + first, state, &range.bytes, from, Show::Everything)));
            }
        }
    }
}

/// A run's log, for reading it at once: whoever has it holds a channel and one of few places.
async fn log_file(vm: &Vm, idea: &IdeaRef, run: u64) -> Result<Option<FileReader>, RunError> {
    let path = vm.log(idea, run).await?;
    Ok(vm.remote().logs(Lane::Bulk).open(&path).await?)
}

/// The line that ends at byte `end` (or does not end there), and that is longer than what is read at once: it begins
/// before `searched`. Only its beginning is kept of it.
async fn long_line(vm: &Vm, idea: &IdeaRef, run: u64, searched: u64, end: u64) -> Result<Option<Window>, RunError> {
    let Some(file) = log_file(vm, idea, run).await? else { return Ok(None) };
    let start = line_start(&file, searched).await?;
    drop(file);
    let state = if start == 0 {
        State::default()
    } else {
        // From the newline on, so that the line itself is not before the range.
        let Some(range) = vm.read(idea, run, start - 1, 0, true).await? else { return Ok(None) };
        decoder_after(&range.before).state().clone().amid()
    };
    let Some(file) = log_file(vm, idea, run).await? else { return Ok(None) };
    let mut reader = Reader::new(Resume { run, offset: start, state });
    let mut frames = Vec::new();
    feed_until(end, &file, &mut reader, &mut frames).await?;
    Ok(Some(Window { start, frames, reader }))
}

/// Has a reader read up to byte `end`, or to the end of the log.
async fn feed_until(
    end: u64,
    file: &FileReader,
    reader: &mut Reader,
    frames: &mut Vec<Arc<Frame>>,
) -> Result<(), RunError> {
    while reader.fed() < end {
        let piece = file.read(reader.fed(), upto(end - reader.fed())).await?;
        if piece.is_empty() {
            break;
        }
        reader.feed(&piece, frames);
    }
    Ok(())
}

/// Where the line begins that byte `within` belongs to.
async fn line_start(file: &FileReader, within: u64) -> Result<u64, RunError> {
    let mut end = within;
    while end > 0 {
        let start = end.saturating_sub(u64::from(READ));
        let mut piece = Vec::new();
        while start + (piece.len() as u64) < end {
            let more = file.read(start + piece.len() as u64, upto(end - start - piece.len() as u64)).await?;
            if more.is_empty() {
                return Err(RunError::BadPosition);
            }
            piece.extend_from_slice(&more);
        }
        if let Some(at) = memchr::memrchr(b'\n', &piece) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

fn upto(length: u64) -> u32 {
    u32::try_from(length).unwrap_or(READ).min(READ)
}

/// A decoder that knows what lines before a place mean.
fn decoder_after(meaning: &[u8]) -> Decoder {
    let mut decoder = Decoder::new(State::default());
    let mut events = Vec::new();
    Lines::new(0).feed(meaning, |line: Line<'_>| {
        decoder.line(&line, &mut events);
        events.clear();
    });
    decoder
}

/// The first `end` bytes of a log.
async fn beginning(file: &FileReader, end: u64) -> Result<Vec<u8>, RunError> {
    let mut bytes = Vec::new();
    loop {
        let at = bytes.len() as u64;
        let piece = file.read(at, upto(end - at)).await?;
        bytes.extend_from_slice(&piece);
        if piece.is_empty() || bytes.len() as u64 >= end {
            return Ok(bytes);
        }
    }
}

fn after_newline(bytes: &[u8]) -> u64 {
    memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1) as u64
}

/// The first of some lines from which a decoder may begin, and its state there. `decoder`: knows what came before them.
fn boundary(bytes: &[u8], start: u64, mut decoder: Decoder) -> Option<(u64, State)> {
    if start == 0 {
        return Some((0, State::default()));
    }
    let mut found = None;
    let mut events = Vec::new();
    Lines::new(start).feed(bytes, |line: Line<'_>| {
        if found.is_some() {
        } else if decoder.is_boundary(line.bytes) {
            found = Some((line.start, decoder.state().clone()));
        } else {
            decoder.line(&line, &mut events);
            events.clear();
        }
    });
    found
}

fn open(run: u64, start: u64, state: State, bytes: &[u8], from: u64, show: Show) -> Window {
    let resume = Resume { run, offset: start, state };
    let mut reader = if show == Show::Closed { Reader::late(resume) } else { Reader::new(resume) };
    let mut frames = Vec::new();
    let skip = usize::try_from(start - from).unwrap_or(usize::MAX);
    reader.feed(bytes.get(skip..).unwrap_or_default(), &mut frames);
    reader.finish(&mut frames);
    Window { start, frames, reader }
}

/// From where older frames can be paged, if a window begins at `start` of `run`.
fn cursor(run: u64, start: u64) -> Option<Position> {
    (run > 1 || start > 0).then_some(Position { run, seq: Seq { offset: start, sub: 0 } })
}

/// The frames before a position: about [`SPAN`] bytes of log, gathered over short runs.
pub(super) async fn page(vm: &Vm, idea: &IdeaRef, before: Position) -> Result<Page, RunError> {
    let mut page = Page { frames: Vec::new(), before: Some(before) };
    let mut read = 0;
    for _ in 0..RUNS_A_PAGE {
        let Some(at) = page.before else { break };
        let (run, end) = if at.seq.offset > 0 { (at.run, Some(at.seq.offset)) } else { (at.run - 1, None) };
        if run == 0 {
            page.before = None;
            break;
        }
        page.before = match window(vm, idea, run, end, Show::Closed).await? {
            Some(window) => {
                read += window.reader.position().seq.offset - window.start;
                page.frames.splice(0..0, window.frames);
                cursor(run, window.start)
            }
            // A run whose log was removed is no end of the history.
            None => cursor(run, 0),
        };
        if read >= SPAN / 2 {
            break;
        }
    }
    Ok(page)
}

/// What a viewer is shown first, and the reader that goes on from there.
#[derive(Clone)]
pub(super) struct Recent {
    pub(super) frames: Vec<Arc<Frame>>,
    pub(super) before: Option<Position>,
    pub(super) reader: Reader,
}

/// The last of an idea's history up to now, and the requests for permission that still wait, however far back they are.
pub(super) async fn recent(vm: &Vm, idea: &IdeaRef, latest: u64, live: bool) -> Result<Recent, RunError> {
    if latest == 0 {
        return Ok(Recent { frames: Vec::new(), before: None, reader: Reader::beginning(0) });
    }
    let Some(mut last) = window(vm, idea, latest, None, Show::Closed).await? else {
        let older = page(vm, idea, Position { run: latest, seq: Seq::default() }).await?;
        return Ok(Recent { frames: older.frames, before: older.before, reader: Reader::beginning(latest) });
    };
    if live {
        let asked = asked_before(vm, idea, latest, &last).await?;
        last.frames.splice(0..0, asked);
    }
    let mut recent = Recent { frames: last.frames, before: cursor(latest, last.start), reader: last.reader };
    if let (Some(before), 0) = (recent.before, last.start)
        && recent.reader.position().seq.offset < SPAN / 2
    {
        let older = page(vm, idea, before).await?;
        recent.before = older.before;
        recent.frames.splice(0..0, older.frames);
    }
    Ok(recent)
}

/// The requests for permission that are open at a window's end and were asked before it, as they stand in the log.
async fn asked_before(vm: &Vm, idea: &IdeaRef, run: u64, window: &Window) -> Result<Vec<Arc<Frame>>, RunError> {
    let shown = |id: &str| {
        let is = |frame: &Arc<Frame>| matches!(&frame.event, Event::Permission { request_id, .. } if request_id == id);
        window.frames.iter().any(is)
    };
    let mut frames = Vec::new();
    for request in window.reader.state().open_requests() {
        let id = &request.request_id;
        // One whose id is none of ours cannot be answered either.
        if shown(id) || super::vm::identifier(id, "").is_err() {
            continue;
        }
        let Some((start, end)) = vm.place(idea, run, id).await? else { continue };
        let Some(file) = log_file(vm, idea, run).await? else { continue };
        let mut reader = Reader::new(Resume { run, offset: start, state: State::default() });
        feed_until(end, &file, &mut reader, &mut frames).await?;
    }
    frames.sort_by_key(|frame| frame.seq);
    Ok(frames)
}

/// A reader for what follows `after`, which a viewer had before.
pub(super) async fn since(vm: &Vm, idea: &IdeaRef, after: Position) -> Result<Reader, RunError> {
    if after.seq.offset == 0 {
        return Ok(Reader::beginning(after.run));
    }
    match window(vm, idea, after.run, Some(after.seq.offset), Show::Everything).await? {
        // All but the last line of what was read is behind the viewer; of that one, some events may not be.
        Some(window) => match window.frames.last().and_then(|frame| frame.resume.clone()) {
            Some(resume) => Ok(Reader::new(resume).skipping(after.seq)),
            None => Ok(Reader::new(window.reader.resume()).skipping(after.seq)),
        },
        None => Err(RunError::BadPosition),
    }
}
