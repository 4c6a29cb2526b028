//! A command that runs on the VM: its input, its output and its end.
//!
//! Output that arrives while input is written is kept (up to a limit), so writing never deadlocks against a command
//! that answers before it has read everything. Dropping an [`Exec`] closes its channel.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::time::timeout;

use crate::failure::{Failure, Reason};
use crate::link::Link;
use crate::output::{self, Output};

/// Output kept while input is written; beyond it the writer waits for the reader, as a pipe does.
const BACKLOG_BYTES: usize = 16 << 20;
/// Output of a command is gathered in pieces of about this many bytes.
const PIECE: usize = 64 * 1024;
/// How long a dropped channel may take to be closed before its slot is given away all the same.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// What a command that ended has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The exit status; none if a signal ended the command.
    pub status: Option<u32>,
    /// The name of that signal, without SIG.
    pub signal: Option<String>,
    /// Standard output, up to the limit.
    pub stdout: Vec<u8>,
    /// Standard error, up to the limit.
    pub stderr: Vec<u8>,
    /// Whether output beyond the limit was dropped.
    pub truncated: bool,
}

/// A running command.
pub struct Exec {
    link: Arc<Link>,
    channel: Option<Halves>,
    backlog: VecDeque<Output>,
    backlog_bytes: usize,
    verdict: Option<Output>,
    ended: bool,
    /// Let go when the server has taken note of the channel's end.
    held: Option<Held>,
}

/// Whatever has to outlive the channel, such as its slot in a pool.
pub(crate) type Held = Box<dyn Any + Send + Sync>;

struct Halves {
    reader: ChannelReadHalf,
    writer: ChannelWriteHalf<Msg>,
}

impl std::fmt::Debug for Exec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exec").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// What is handed to the connection.
enum Given {
    Data(Bytes),
    End,
}

impl Exec {
    pub(crate) fn new(link: Arc<Link>, channel: Channel<Msg>) -> Exec {
        let (reader, writer) = channel.split();
        Exec {
            link,
            channel: Some(Halves { reader, writer }),
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            verdict: None,
            ended: false,
            held: None,
        }
    }

    pub(crate) fn hold(&mut self, held: Held) {
        self.held = Some(held);
    }

    /// Asks for the command and waits until the server says that it runs.
    pub(crate) async fn start(&mut self, command: &str) -> Result<(), Failure> {
        let Some(Halves { reader, writer }) = self.channel.as_mut() else { return Err(self.link.lost()) };
        writer.exec(true, command).await.map_err(|_| self.link.lost())?;
        loop {
            match reader.wait().await {
                Some(ChannelMsg::Success) => return Ok(()),
                Some(ChannelMsg::Failure | ChannelMsg::Close) => {
                    return Err(Failure::new(
                        Reason::ChannelRefused,
                        format!(
                            "{} refuses to run commands for this user: see that the key's line in authorized_keys and \
                             sshd_config allow it and that the user's shell exists.",
                            self.link.endpoint
                        ),
                    ));
                }
                Some(message) => Self::keep(&mut self.backlog, &mut self.backlog_bytes, &mut self.verdict, message),
                None => return Err(self.link.lost()),
            }
        }
    }

    /// Writes to the command's standard input; returns when all is handed to the connection.
    ///
    /// What is written after the command has ended is dropped, as its exit status tells.
    ///
    /// # Errors
    /// [`Reason::ConnectionLost`].
    pub async fn write(&mut self, data: &[u8]) -> Result<(), Failure> {
        self.hand_over(Given::Data(Bytes::copy_from_slice(data))).await
    }

    /// Ends the command's standard input.
    ///
    /// # Errors
    /// [`Reason::ConnectionLost`].
    pub async fn close_stdin(&mut self) -> Result<(), Failure> {
        if self.channel.is_none() {
            return Ok(());
        }
        self.hand_over(Given::End).await
    }

    /// Hands something to the connection, and keeps what comes meanwhile: the connection may wait for a reader of this very channel
    /// before it takes anything.
    async fn hand_over(&mut self, given: Given) -> Result<(), Failure> {
        let Some(Halves { reader, writer }) = self.channel.as_mut() else { return Err(self.link.lost()) };
        if self.ended {
            return Ok(());
        }
        // An end is short: it never waits for a reader.
        let most = if matches!(given, Given::End) { usize::MAX } else { BACKLOG_BYTES };
        let handing = async {
            match given {
                Given::Data(bytes) => writer.data_bytes(bytes).await,
                Given::End => writer.eof().await,
            }
        };
        tokio::pin!(handing);
        loop {
            tokio::select! {
                biased;
                handed = &mut handing => return handed.map_err(|_| self.link.lost()),
                message = reader.wait(), if self.backlog_bytes < most => match message {
                    Some(ChannelMsg::Close) => {
                        self.ended = true;
                        return Ok(());
                    }
                    Some(message) => {
                        Self::keep(&mut self.backlog, &mut self.backlog_bytes, &mut self.verdict, message);
                    }
                    None => {
                        self.ended = true;
                        return Err(self.link.lost());
                    }
                },
            }
        }
    }

    /// The next piece of output, and at the end how the command ended.
    ///
    /// None without an [`Output::Exit`] or [`Output::Signal`] before it means that the connection was lost;
    /// [`Exec::lost`] says why. Cancel safe. Read on without long pauses: when a dozen messages wait here, all other
    /// commands on the connection wait too.
    pub async fn next(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.backlog.pop_front() {
                if let Output::Stdout(bytes) | Output::Stderr(bytes) = &output {
                    self.backlog_bytes = self.backlog_bytes.saturating_sub(bytes.len());
                }
                return Some(output);
            }
            if self.ended {
                return self.verdict.take();
            }
            match self.channel.as_mut()?.reader.wait().await {
                Some(ChannelMsg::Close) => self.ended = true,
                Some(message) => Self::keep(&mut self.backlog, &mut self.backlog_bytes, &mut self.verdict, message),
                // The connection is gone; an exit status that arrived before still counts.
                None => self.ended = true,
            }
        }
    }

    /// Why the connection was lost, for when [`Exec::next`] gave none without an end of the command.
    pub fn lost(&self) -> Failure {
        self.link.lost()
    }

    /// Reads to the command's end, at most `limit_bytes` of each stream; what comes beyond is read and dropped.
    ///
    /// # Errors
    /// [`Reason::ConnectionLost`] if the connection ended before the command.
    pub async fn finish(mut self, limit_bytes: usize) -> Result<Finished, Failure> {
        let mut finished =
            Finished { status: None, signal: None, stdout: Vec::new(), stderr: Vec::new(), truncated: false };
        let (mut stdout, mut stderr) = (Gathered::default(), Gathered::default());
        while let Some(output) = self.next().await {
            let (stream, bytes) = match output {
                Output::Stdout(bytes) => (&mut stdout, bytes),
                Output::Stderr(bytes) => (&mut stderr, bytes),
                Output::Exit(status) => {
                    finished.status = Some(status);
                    continue;
                }
                Output::Signal(signal) => {
                    finished.signal = Some(signal);
                    continue;
                }
            };
            let room = limit_bytes.saturating_sub(stream.length);
            finished.truncated |= bytes.len() > room;
            stream.take(bytes.get(..room).unwrap_or(&bytes));
        }
        if finished.status.is_none() && finished.signal.is_none() {
            return Err(self.lost());
        }
        Ok(Finished { stdout: stdout.whole(), stderr: stderr.whole(), ..finished })
    }

    fn keep(backlog: &mut VecDeque<Output>, bytes: &mut usize, verdict: &mut Option<Output>, message: ChannelMsg) {
        match output::told(message) {
            Some(end @ (Output::Exit(_) | Output::Signal(_))) => *verdict = Some(end),
            Some(Output::Stdout(data)) => {
                *bytes += data.len();
                backlog.push_back(Output::Stdout(data));
            }
            Some(Output::Stderr(data)) => {
                *bytes += data.len();
                backlog.push_back(Output::Stderr(data));
            }
            None => {}
        }
    }
}

/// Output that may become megabytes, of which a buffer that grows would hold up to four times as many while it does.
#[derive(Default)]
struct Gathered {
    full: Vec<Vec<u8>>,
    last: Vec<u8>,
    length: usize,
}

impl Gathered {
    fn take(&mut self, bytes: &[u8]) {
        if self.last.len() + bytes.len() > PIECE && !self.last.is_empty() {
            self.full.push(std::mem::take(&mut self.last));
        }
        self.last.extend_from_slice(bytes);
        self.length += bytes.len();
    }

    fn whole(self) -> Vec<u8> {
        if self.full.is_empty() {
            return self.last;
        }
        let mut whole = Vec::with_capacity(self.length);
        // Each is let go when it is there.
        for piece in self.full.into_iter().chain([self.last]) {
            whole.extend_from_slice(&piece);
        }
        whole
    }
}

/// Closes the channel; its slot in a pool is free only when the server has taken note, or it would refuse the next one.
impl Drop for Exec {
    fn drop(&mut self) {
        let (Some(halves), false) = (self.channel.take(), self.ended) else { return };
        let (link, held) = (self.link.clone(), self.held.take());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            // Without a reader, what still comes is dropped and cannot hold up the connection.
            drop(halves.reader);
            let closed = async {
                if halves.writer.close().await.is_ok() {
                    let _ = link.ping().await;
                }
            };
            let _ = timeout(CLOSE_DEADLINE, closed).await;
            drop(held);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gathered_is_whole_whatever_the_pieces_and_takes_no_more_room_than_it_is_long() {
        for sizes in [&[][..], &[5], &[1000; 200], &[PIECE, 1, PIECE - 1, 1], &[3 * PIECE, 7, 40_000, 40_000]] {
            let mut gathered = Gathered::default();
            let mut expected = Vec::new();
            for (at, size) in sizes.iter().enumerate() {
                let piece = vec![at as u8; *size];
                gathered.take(&piece);
                expected.extend_from_slice(&piece);
            }
            assert!(gathered.full.iter().all(|piece| piece.len() <= 3 * PIECE), "{sizes:?}");
            assert_eq!(gathered.length, expected.len());
            let whole = gathered.whole();
            assert!(whole == expected, "{sizes:?}");
            assert!(whole.capacity() <= whole.len().max(PIECE), "{sizes:?}: {} for {}", whole.capacity(), whole.len());
        }
    }
}
