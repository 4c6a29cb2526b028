//! A terminal's beginning on the VM: the connection, the script that finds or starts it, and what it says first.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use catalyst_ssh::{Connection, Output, Size, TerminalReader, TerminalWriter};

use super::error::TerminalError;
use super::protocol::Keeper;
use super::recorder::{Recorder, Subject};
use crate::remote::{Remote, quote};

const START: &str = include_str!("start.sh");
const TMUX_CONF: &str = include_str!("tmux.conf");
const SCREENRC: &str = include_str!("screenrc");
/// What our emulators understand.
const TERM: &str = "xterm-256color";
/// From the dial to the first word of the script.
const START_WITHIN: Duration = Duration::from_secs(25);
const MARKER: &[u8] = b"--catalyst-terminal ";
const MARKER_END: &[u8] = b"--\r\n";
/// What start-up files may print before the marker.
const NOISE_LIMIT: usize = 64 * 1024;

/// What to start.
pub(super) struct Wanted<'a> {
    /// The idea's folder name.
    pub(super) slug: &'a str,
    /// Its id, of letters, digits, `-` and `_`.
    pub(super) id: &'a str,
    /// The terminal's number in the idea.
    pub(super) number: u8,
    /// The terminal's name on the VM, of letters, digits, `-` and `_`.
    pub(super) name: &'a str,
    /// Whether tmux or screen may keep it.
    pub(super) kept: bool,
    /// The emulator's size.
    pub(super) size: Size,
    /// If it is to be recorded, the bytes of that at most.
    pub(super) recording: Option<u64>,
}

/// A terminal that runs.
pub(super) struct Shell {
    pub(super) connection: Connection,
    pub(super) reader: TerminalReader,
    pub(super) writer: TerminalWriter,
    pub(super) keeper: Keeper,
    /// Whether the shell was there before.
    pub(super) resumed: bool,
    /// The first output.
    pub(super) output: Bytes,
    /// What records it.
    pub(super) recorder: Option<Recorder>,
}

/// Starts or finds a terminal, on an SSH connection of its own.
pub(super) async fn start(remote: &Remote, wanted: &Wanted<'_>) -> Result<Shell, TerminalError> {
    let starting = async {
        let folder = format!("{}/{}/project", remote.base().await?, wanted.slug);
        let connection = remote.pool().connect_for_terminal().await?;
        // Before the recording's, which has none where sshd allows one alone.
        let channel = connection.channel_for_terminal().await?;
        let recorder = match wanted.recording {
            Some(most) => {
                let subject = Subject { idea: wanted.id, number: wanted.number, term: TERM, size: wanted.size, most };
                Recorder::start(&connection, &subject).await
            }
            None => None,
        };
        let (mut reader, writer) = channel.start(TERM, wanted.size, &command(&folder, wanted)).await?;
        let (said, output) = first_words(&mut reader).await?;
        let (keeper, resumed) = match said.as_str() {
            "tmux 0" => (Keeper::Tmux, false),
            "tmux 1" => (Keeper::Tmux, true),
            "screen 0" => (Keeper::Screen, false),
            "screen 1" => (Keeper::Screen, true),
            "plain 0" => (Keeper::Plain, false),
            "error folder" => return Err(TerminalError::NoFolder(folder)),
            _ => return Err(TerminalError::NoShell),
        };
        Ok(Shell { connection, reader, writer, keeper, resumed, output, recorder })
    };
    tokio::time::timeout(START_WITHIN, starting).await.map_err(|_| TerminalError::TimedOut(START_WITHIN))?
}

fn command(folder: &str, wanted: &Wanted<'_>) -> String {
    let keeper = if wanted.kept { "auto" } else { "plain" };
    script(START, "catalyst-terminal", &[folder, wanted.name, keeper, TMUX_CONF, SCREENRC])
}

/// The command line that runs a script of ours under a name, with these words as its `$1…`.
pub(super) fn script(script: &str, name: &str, args: &[&str]) -> String {
    let mut line = String::from("exec sh -c");
    for word in [script, name].iter().chain(args) {
        line.push(' ');
        line.push_str(&quote(word));
    }
    line
}

/// What the script says of itself, and the output after it. What start-up files printed before is dropped.
async fn first_words(reader: &mut TerminalReader) -> Result<(String, Bytes), TerminalError> {
    let mut heard = BytesMut::new();
    loop {
        match reader.next().await {
            Some(Output::Stdout(bytes) | Output::Stderr(bytes)) => heard.extend_from_slice(&bytes),
            Some(Output::Exit(_) | Output::Signal(_)) => return Err(TerminalError::NoShell),
            None => return Err(reader.lost().into()),
        }
        if let Some(at) = memchr::memmem::find(&heard, MARKER) {
            let after = heard.get(at + MARKER.len()..).unwrap_or_default();
            if let Some(end) = memchr::memmem::find(after, MARKER_END) {
                let said = String::from_utf8_lossy(after.get(..end).unwrap_or_default()).into_owned();
                let output = Bytes::copy_from_slice(after.get(end + MARKER_END.len()..).unwrap_or_default());
                return Ok((said, output));
            }
        } else if heard.len() > NOISE_LIMIT {
            return Err(TerminalError::NoShell);
        }
    }
}
