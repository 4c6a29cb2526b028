//! Records a terminal on the VM: what it prints, when, and its sizes; never what is typed.
//!
//! Invariant: the terminal never waits for its recording once that has begun. What is not written yet is bounded; beyond that there is a
//! gap, which the recording tells, at its end too. When it cannot go on it ends, which the log tells, and the terminal goes on. It has the
//! terminal's own connection: while that pauses nothing is printed, either.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use catalyst_ssh::{Connection, Exec, Output, Size};
use jiff::Timestamp;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::cast::Cast;
use super::shell;

const RECORD: &str = include_str!("record.sh");
/// Lines that are not written yet, in bytes.
const WAITING: usize = 512 * 1024;
/// Left for the remarks at the end of a recording, which may have come to its greatest size.
const LAST_WORDS: u64 = 256;
/// Recordings of one idea, counted in those of the greatest size.
const KEPT: u64 = 10;
/// How long its beginning is waited for, and with it the terminal's.
const BEGUN_WITHIN: Duration = Duration::from_secs(5);
/// What the VM says when it has written the first line.
const BEGUN: &[u8] = b"--catalyst-recording-begins--";
/// What start-up files may print before.
const NOISE_LIMIT: usize = 64 * 1024;
/// How long what waits is written after the terminal's end.
const WRITTEN_WITHIN: Duration = Duration::from_secs(3);
/// What is kept of the words in which the VM complains, in bytes.
const WORDS: usize = 300;

/// What is recorded, and where.
pub(super) struct Subject<'a> {
    /// The idea's id, of letters, digits, `-` and `_`.
    pub(super) idea: &'a str,
    /// The terminal's number.
    pub(super) number: u8,
    /// The terminal's kind, as programs know it.
    pub(super) term: &'a str,
    /// Its size.
    pub(super) size: Size,
    /// Bytes of the recording at most.
    pub(super) most: u64,
}

/// A recording that goes on. It ends when this is dropped; [`Recorder::finish`] waits for what is not written yet.
pub(super) struct Recorder {
    lines: Lines,
    shared: Arc<Shared>,
    writer: JoinHandle<()>,
}

impl Recorder {
    /// Begins one beside the terminal, on its connection, which so has to come before it: whoever reads nothing from a terminal that
    /// prints would wait here for ever. None if that cannot be; the log tells why.
    pub(super) async fn start(connection: &Connection, subject: &Subject<'_>) -> Option<Recorder> {
        let began = Timestamp::now();
        let which: u32 = rand::random();
        let file = format!("{}-{}-{which:08x}.cast", began.strftime("%Y%m%dT%H%M%SZ"), subject.number);
        let others = subject.most.saturating_mul(KEPT - 1).min(i64::MAX as u64).to_string();
        let command = shell::script(RECORD, "catalyst-recording", &[subject.idea, &file, &others]);
        let place = format!("~/.local/state/catalyst/{}/recordings/{file}", subject.idea);
        let exec = match connection.exec(&command).await {
            Ok(exec) => exec,
            Err(failure) => {
                tracing::warn!(recording = place, cause = %failure, "a terminal is not recorded");
                return None;
            }
        };
        let shared = Arc::new(Shared::default());
        let lines = Lines::begin(subject, began.as_second(), &shared);
        let (begins, begun) = oneshot::channel();
        let writer = tokio::spawn(write(exec, shared.clone(), place.clone(), begins));
        // Whoever awaits this no more ends it.
        let recorder = Recorder { lines, shared, writer };
        match timeout(BEGUN_WITHIN, begun).await {
            Ok(Ok(())) => Some(recorder),
            // The writer has told why.
            Ok(Err(_)) => None,
            Err(_) => {
                recorder.writer.abort();
                let cause = format!("the VM did not begin within {} s", BEGUN_WITHIN.as_secs());
                tracing::warn!(recording = place, cause, "a terminal is not recorded");
                None
            }
        }
    }

    /// The terminal printed something.
    pub(super) fn output(&mut self, bytes: &[u8]) {
        self.lines.output(&self.shared, bytes);
    }

    /// The terminal has this size.
    pub(super) fn resize(&mut self, size: Size) {
        self.lines.resize(&self.shared, size);
    }

    /// Ends it, when all of it is written or that takes too long.
    pub(super) async fn finish(mut self) {
        self.lines.finish(&self.shared);
        self.shared.close();
        let _slow = timeout(WRITTEN_WITHIN, &mut self.writer).await;
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// Makes the lines, and keeps the bounds.
struct Lines {
    cast: Cast,
    began: Instant,
    /// Bytes that the recording may still get.
    left: u64,
    /// Bytes of output that had no place.
    missed: u64,
    /// A size that had none.
    missed_size: Option<Size>,
    over: bool,
}

impl Lines {
    fn begin(subject: &Subject<'_>, timestamp: i64, shared: &Shared) -> Lines {
        let (cast, head) = Cast::begin(subject.size, timestamp, subject.term);
        let mut lines =
            Lines { cast, began: Instant::now(), left: subject.most, missed: 0, missed_size: None, over: false };
        lines.add(shared, &head, 0);
        lines
    }

    fn output(&mut self, shared: &Shared, bytes: &[u8]) {
        if !self.over
            && let Some(line) = self.cast.output(self.began.elapsed(), bytes)
        {
            self.add(shared, &line, bytes.len());
        }
    }

    fn resize(&mut self, shared: &Shared, size: Size) {
        if let Some(line) = self.cast.resize(self.began.elapsed(), size) {
            self.missed_size = None;
            if !self.add(shared, &line, 0) {
                self.missed_size = Some(size);
            }
        }
    }

    /// Nothing more is printed: what is left to be told has its place whatever waits.
    fn finish(&mut self, shared: &Shared) {
        if let Some(line) = self.cast.rest(self.began.elapsed()) {
            self.add(shared, &line, 1);
        }
        if !self.over {
            shared.add_last(&self.owed());
        }
    }

    /// What has to be told before anything else: what is missing, and the size that had no place.
    fn owed(&self) -> String {
        let now = self.began.elapsed();
        let mut owed = match self.missed {
            0 => String::new(),
            missed => Cast::mark(now, &format!("{missed} bytes of output are missing here: they came too fast")),
        };
        if let Some(size) = self.missed_size {
            owed.push_str(&Cast::sized(now, size));
        }
        owed
    }

    /// A line that stands for so many bytes of output; false if it has no place.
    fn add(&mut self, shared: &Shared, line: &str, output: usize) -> bool {
        if self.over {
            return false;
        }
        let owed = self.owed();
        let length = owed.len().saturating_add(line.len());
        if (length as u64).saturating_add(LAST_WORDS) > self.left {
            self.over = true;
            let last = "the recording ends here: it has the greatest size that it may have";
            shared.add_last(&format!("{owed}{}", Cast::mark(self.began.elapsed(), last)));
            shared.close();
            return false;
        }
        let is_added = shared.add(&owed, WAITING.saturating_sub(line.len())) && shared.add(line, WAITING);
        if is_added {
            self.left -= length as u64;
            (self.missed, self.missed_size) = (0, None);
        } else {
            self.missed = self.missed.saturating_add(output as u64);
            self.over = shared.lock().closed;
        }
        is_added
    }
}

/// Lines on their way from the terminal to whoever writes them.
#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds lines if there are no more than `most` bytes then; says whether.
    fn add(&self, lines: &str, most: usize) -> bool {
        let mut waiting = self.lock();
        if waiting.closed || waiting.bytes.len().saturating_add(lines.len()) > most {
            return false;
        }
        waiting.bytes.extend_from_slice(lines.as_bytes());
        drop(waiting);
        self.changed.notify_one();
        true
    }

    /// Adds remarks, which are short, however much waits.
    fn add_last(&self, remarks: &str) {
        self.add(remarks, WAITING.saturating_add(remarks.len()));
    }

    /// Nothing more comes, or nothing more is taken.
    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// All that waits, when there is something; none in the end. Cancel safe.
    async fn next(&self) -> Option<Vec<u8>> {
        loop {
            {
                let mut waiting = self.lock();
                if !waiting.bytes.is_empty() {
                    return Some(std::mem::take(&mut waiting.bytes));
                }
                if waiting.closed {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }
}

/// Writes lines until there are no more, or the VM takes none. Says when it has begun.
async fn write(exec: Exec, shared: Arc<Shared>, place: String, begins: oneshot::Sender<()>) {
    let mut begins = Some(begins);
    let written = try_to_write(exec, &shared, &mut begins).await;
    shared.close();
    match written {
        Ok(()) if begins.is_none() => tracing::info!(recording = place, "a terminal was recorded"),
        Ok(()) => tracing::debug!(recording = place, "the terminal was given up before its recording began"),
        Err(cause) if begins.is_some() => tracing::warn!(recording = place, cause, "a terminal is not recorded"),
        Err(cause) => tracing::warn!(recording = place, cause, "the recording of a terminal ended before the terminal"),
    }
}

async fn try_to_write(mut exec: Exec, shared: &Shared, begins: &mut Option<oneshot::Sender<()>>) -> Result<(), String> {
    let (mut heard, mut said) = (Vec::new(), Vec::new());
    loop {
        tokio::select! {
            output = exec.next() => match output {
                Some(Output::Stdout(words)) => {
                    heard.extend(words.iter().take(NOISE_LIMIT.saturating_sub(heard.len())));
                    if memchr::memmem::find(&heard, BEGUN).is_some() && let Some(begins) = begins.take() {
                        let _given_up = begins.send(());
                    }
                }
                Some(Output::Stderr(words)) => said.extend(words.iter().take(WORDS.saturating_sub(said.len()))),
                Some(Output::Exit(_) | Output::Signal(_)) => return Err(cause(&said)),
                None => return Err(exec.lost().to_string()),
            },
            lines = shared.next() => match lines {
                Some(lines) => exec.write(&lines).await.map_err(|failure| failure.to_string())?,
                None => break,
            },
        }
    }
    exec.close_stdin().await.map_err(|failure| failure.to_string())?;
    let finished = exec.finish(WORDS).await.map_err(|failure| failure.to_string())?;
    said.extend(finished.stderr);
    if finished.status == Some(0) { Ok(()) } else { Err(cause(&said)) }
}

/// What the VM said last, without what terminals obey.
fn cause(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let line = said.lines().next_back().unwrap_or("it ended without a word");
    line.chars().filter(|c| !c.is_control()).take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use serde_json::Value;

    use super::*;

    fn begin(most: u64) -> (Lines, Shared) {
        let shared = Shared::default();
        let size = Size { columns: 80, rows: 24 };
        let subject = Subject { idea: "i", number: 1, term: "xterm", size, most };
        (Lines::begin(&subject, 0, &shared), shared)
    }

    /// What is written when somebody writes, as the codes and data of events.
    fn written(shared: &Shared) -> Vec<(String, String)> {
        let bytes = shared.next().now_or_never().flatten().unwrap_or_default();
        let text = String::from_utf8(bytes).unwrap();
        let values = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let events = values.filter(|value| value.is_array());
        events.map(|event| (event[1].as_str().unwrap().to_owned(), event[2].as_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn what_comes_too_fast_to_be_written_is_a_gap_that_is_told_and_memory_is_bounded() {
        let (mut lines, shared) = begin(u64::MAX);
        let piece = "x".repeat(1000);
        let many = 2 * WAITING / piece.len();
        for _ in 0..many {
            lines.output(&shared, piece.as_bytes());
        }
        assert!(shared.lock().bytes.len() <= WAITING);
        let first = written(&shared);
        assert!(first.len() < many && first.iter().all(|event| *event == ("o".to_owned(), piece.clone())));
        lines.output(&shared, b"after");
        let missed = (many - first.len()) * piece.len();
        let then = written(&shared);
        assert!(then[0].0 == "m" && then[0].1.starts_with(&format!("{missed} bytes")), "{then:?}");
        assert_eq!(then[1..], [("o".to_owned(), "after".to_owned())]);
    }

    /// Prints until not even one character has a place; so many bytes.
    fn fill(lines: &mut Lines, shared: &Shared) -> usize {
        let mut printed = 0;
        for length in [1000, 1] {
            for _ in 0..2 * WAITING / 1000 {
                lines.output(shared, &vec![b'x'; length]);
                printed += length;
            }
        }
        printed
    }

    #[test]
    fn a_gap_at_the_end_is_told_as_well_though_there_is_no_room_for_more() {
        let (mut lines, shared) = begin(u64::MAX);
        let mut printed = fill(&mut lines, &shared);
        // The beginning of a character, of which the rest does not come.
        lines.output(&shared, b"\xe2");
        printed += 1;
        lines.finish(&shared);
        let events = written(&shared);
        assert_eq!(events.last().unwrap().0, "m");
        let told = events.iter().map(|(code, data)| match code.as_str() {
            "m" => data.split(' ').next().unwrap().parse().unwrap(),
            _ => data.len(),
        });
        assert_eq!(told.sum::<usize>(), printed, "what is recorded and what is told to be missing");
    }

    #[test]
    fn a_gap_before_the_end_at_the_greatest_size_is_told_within_it() {
        let most = WAITING + 1000;
        let (mut lines, shared) = begin(most as u64);
        fill(&mut lines, &shared);
        let mut bytes = shared.lock().bytes.len();
        written(&shared);
        lines.output(&shared, &[b'x'; 1000]);
        bytes += shared.lock().bytes.len();
        let last = written(&shared);
        assert!(last.len() == 2 && last.iter().all(|(code, _)| code == "m"), "{last:?}");
        assert!(last[0].1.contains("are missing") && last[1].1.contains("ends here"), "{last:?}");
        assert!(bytes <= most, "{bytes}");
    }

    #[test]
    fn a_size_for_which_there_is_no_room_is_told_when_there_is() {
        let (mut lines, shared) = begin(u64::MAX);
        fill(&mut lines, &shared);
        lines.resize(&shared, Size { columns: 90, rows: 24 });
        lines.resize(&shared, Size { columns: 132, rows: 50 });
        written(&shared);
        lines.output(&shared, b"after");
        let then = written(&shared).split_off(1);
        let expected = [("r", "132x50"), ("o", "after")].map(|(code, data)| (code.to_owned(), data.to_owned()));
        assert_eq!(then, expected);
    }

    #[test]
    fn a_recording_ends_with_a_remark_before_it_is_longer_than_it_may_be() {
        let (mut lines, shared) = begin(2000);
        for _ in 0..100 {
            lines.output(&shared, &[b'x'; 100]);
        }
        let bytes = shared.lock().bytes.len();
        assert!((1500..=2000).contains(&bytes), "{bytes}");
        let events = written(&shared);
        let (code, words) = events.last().unwrap();
        assert!(code == "m" && words.contains("ends here"), "{events:?}");
        assert_eq!(events.iter().filter(|(code, _)| code == "m").count(), 1);
        assert_eq!(shared.next().now_or_never(), Some(None), "nothing more is awaited");
    }
}
