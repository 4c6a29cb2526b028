//! A pseudo-terminal on the VM, on a connection of its own: what it prints, what is typed, its size.
//!
//! Its reader may pause: then the VM's sshd stops reading from the terminal, and what runs there stops at its next
//! write, while what is typed still gets through. Whoever pauses must be alone on the connection.

use std::sync::Arc;

use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Pty};

use crate::failure::{Failure, Reason};
use crate::link::Link;
use crate::output::{self, Output};

/// The speed that programs are told; some pace their output by it.
const BAUD: u32 = 38_400;

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// What a terminal prints. Dropping it ends the terminal's channel once the writer is gone, too.
pub struct TerminalReader {
    link: Arc<Link>,
    channel: ChannelReadHalf,
    end: Option<Output>,
    over: bool,
}

/// What is typed into a terminal.
pub struct TerminalWriter {
    link: Arc<Link>,
    channel: ChannelWriteHalf<Msg>,
}

/// A channel on which no terminal has begun.
pub struct TerminalChannel {
    link: Arc<Link>,
    channel: Channel<Msg>,
}

impl TerminalChannel {
    pub(crate) fn new(link: Arc<Link>, channel: Channel<Msg>) -> TerminalChannel {
        TerminalChannel { link, channel }
    }

    /// Starts a command line on a new pseudo-terminal; see [`crate::Connection::terminal`].
    ///
    /// # Errors
    /// As [`crate::Connection::exec`].
    pub async fn start(
        self,
        term: &str,
        size: Size,
        command: &str,
    ) -> Result<(TerminalReader, TerminalWriter), Failure> {
        self.link.within_deadline(start(&self.link, self.channel, term, size, command)).await?
    }
}

impl std::fmt::Debug for TerminalChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TerminalChannel").finish_non_exhaustive()
    }
}

/// Starts a command on a new pseudo-terminal.
async fn start(
    link: &Arc<Link>,
    channel: Channel<Msg>,
    term: &str,
    size: Size,
    command: &str,
) -> Result<(TerminalReader, TerminalWriter), Failure> {
    let (mut reader, writer) = channel.split();
    let modes = [(Pty::IUTF8, 1), (Pty::TTY_OP_ISPEED, BAUD), (Pty::TTY_OP_OSPEED, BAUD)];
    let (columns, rows) = (size.columns.into(), size.rows.into());
    writer.request_pty(true, term, columns, rows, 0, 0, &modes).await.map_err(|_| link.lost())?;
    answer(link, &mut reader, "terminals: allow `PermitTTY yes` in its sshd_config and `pty` for the key").await?;
    writer.exec(true, command).await.map_err(|_| link.lost())?;
    answer(link, &mut reader, "to run commands for this user: see that the key's line in authorized_keys allows it")
        .await?;
    Ok((
        TerminalReader { link: link.clone(), channel: reader, end: None, over: false },
        TerminalWriter { link: link.clone(), channel: writer },
    ))
}

async fn answer(link: &Link, reader: &mut ChannelReadHalf, what: &str) -> Result<(), Failure> {
    loop {
        match reader.wait().await {
            Some(ChannelMsg::Success) => return Ok(()),
            Some(ChannelMsg::Failure | ChannelMsg::Close) => {
                return Err(Failure::new(Reason::ChannelRefused, format!("{} refuses {what}.", link.endpoint)));
            }
            Some(_) => {}
            None => return Err(link.lost()),
        }
    }
}

impl std::fmt::Debug for TerminalReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TerminalReader").field("over", &self.over).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for TerminalWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TerminalWriter").finish_non_exhaustive()
    }
}

impl TerminalReader {
    /// The next piece of what it prints, and at the end how its command ended; none without that means that the
    /// connection was lost. Cancel safe.
    pub async fn next(&mut self) -> Option<Output> {
        loop {
            if self.over {
                return self.end.take();
            }
            match self.channel.wait().await {
                Some(ChannelMsg::Close) | None => self.over = true,
                Some(message) => match output::told(message) {
                    Some(end @ (Output::Exit(_) | Output::Signal(_))) => self.end = Some(end),
                    Some(output) => return Some(output),
                    None => {}
                },
            }
        }
    }

    /// Stops reading from the network; what has already been read still comes.
    pub fn pause(&self) {
        self.link.facts.gate.shut();
    }

    /// Reads on.
    pub fn resume(&self) {
        self.link.facts.gate.open();
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.link.facts.gate.is_shut()
    }

    /// Why the connection was lost, for when [`TerminalReader::next`] gave none without an end.
    pub fn lost(&self) -> Failure {
        self.link.lost()
    }
}

/// Whoever lets go of a paused terminal wants its end to be read.
impl Drop for TerminalReader {
    fn drop(&mut self) {
        self.resume();
    }
}

impl TerminalWriter {
    /// Types; returns when all of it is handed to the connection. Not cancel safe: a part may have been typed.
    ///
    /// # Errors
    /// [`Reason::ConnectionLost`], also after the command's end.
    pub async fn write(&mut self, data: Bytes) -> Result<(), Failure> {
        self.channel.data_bytes(data).await.map_err(|_| self.link.lost())
    }

    /// Tells the terminal its new size.
    ///
    /// # Errors
    /// [`Reason::ConnectionLost`], also after the command's end.
    pub async fn resize(&mut self, size: Size) -> Result<(), Failure> {
        let (columns, rows) = (size.columns.into(), size.rows.into());
        self.channel.window_change(columns, rows, 0, 0).await.map_err(|_| self.link.lost())
    }
}
