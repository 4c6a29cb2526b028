//! The control messages of a terminal's WebSocket, as `docs/terminal.md` has them. Pure; bytes never pass here.

use catalyst_ssh::Size;
use serde::{Deserialize, Serialize};

use crate::protocol::is_object;

/// Control messages are short.
const LONGEST: usize = 4096;
const MOST_COLUMNS: u16 = 1000;
const MOST_ROWS: u16 = 500;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Create the terminal, or attach to it.
    Open {
        /// The emulator's size.
        size: Size,
        /// Where the client was before a drop.
        resume: Option<Place>,
    },
    /// The emulator's new size.
    Resize(Size),
    /// So many more bytes of output were consumed.
    Credit(u64),
    /// End the terminal.
    Close,
}

/// A place in a terminal's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which shell's output.
    pub session: String,
    /// The bytes before this offset were shown.
    pub after: u64,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Raw {
    Open { cols: u16, rows: u16, session: Option<String>, after: Option<u64> },
    Resize { cols: u16, rows: u16 },
    Credit { bytes: u64 },
    Close,
}

/// Reads a control message.
///
/// # Errors
/// A sentence for the person: what is wrong, and what it should be.
pub fn decode(text: &str) -> Result<Control, String> {
    if text.len() > LONGEST {
        return Err(format!("A control message is longer than {LONGEST} bytes"));
    }
    let raw = Some(text).filter(|text| is_object(text)).and_then(|text| serde_json::from_str(text).ok()).ok_or_else(
        || {
            "The control message is not understood; known are open, resize, credit and close, with whole numbers"
                .to_owned()
        },
    )?;
    Ok(match raw {
        Raw::Open { cols, rows, session, after } => {
            let resume = session.zip(after).map(|(session, after)| Place { session, after });
            Control::Open { size: size(cols, rows)?, resume }
        }
        Raw::Resize { cols, rows } => Control::Resize(size(cols, rows)?),
        Raw::Credit { bytes } => Control::Credit(bytes),
        Raw::Close => Control::Close,
    })
}

fn size(columns: u16, rows: u16) -> Result<Size, String> {
    if !(1..=MOST_COLUMNS).contains(&columns) {
        return Err(format!("cols is {columns}; it must be from 1 to {MOST_COLUMNS}"));
    }
    if !(1..=MOST_ROWS).contains(&rows) {
        return Err(format!("rows is {rows}; it must be from 1 to {MOST_ROWS}"));
    }
    Ok(Size { columns, rows })
}

/// What keeps a terminal while nobody looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Keeper {
    /// tmux on the VM.
    Tmux,
    /// GNU screen on the VM.
    Screen,
    /// This process.
    Plain,
}

/// The answer to `open`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Opened {
    /// Its number.
    pub terminal: u8,
    /// What keeps it.
    pub keeper: Keeper,
    /// Names this output together with an offset.
    pub session: String,
    /// Whether the shell was there before.
    pub resumed: bool,
    /// Whether output since the client's place could not be kept.
    pub lost: bool,
    /// The offset of the first byte that follows.
    pub offset: u64,
    /// So many of the bytes that follow were printed before.
    pub replay: u64,
    /// Bytes that may be on the way without credit.
    pub window: u64,
    /// Whether what it prints is recorded.
    pub recorded: bool,
}

/// Why a terminal is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ExitReason {
    /// The shell ended.
    Ended,
    /// Somebody closed it.
    Closed,
    /// Nothing was typed or printed for long.
    Idle,
    /// It was opened elsewhere.
    Taken,
    /// By the keeper's own command.
    Detached,
}

/// How a terminal ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exit {
    /// Why.
    pub reason: ExitReason,
    /// The shell's exit status, where known.
    pub code: Option<u32>,
    /// The signal that ended the shell, where known, without SIG.
    pub signal: Option<String>,
}

impl Exit {
    /// Without a status.
    pub fn because(reason: ExitReason) -> Exit {
        Exit { reason, code: None, signal: None }
    }
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Notice {
    /// The answer to `open`.
    Opened(Opened),
    /// So many bytes of input were taken by the VM.
    Credit {
        /// How many.
        bytes: u64,
    },
    /// The terminal is over.
    Exit(Exit),
    /// What went wrong.
    Error {
        /// A sentence for the person.
        error: String,
        /// Of the way to the VM.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'static str>,
        /// Whether to connect again; none if the socket stays.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry: Option<bool>,
    },
    /// The server lives.
    Alive,
    /// The server restarts.
    Draining,
}

impl Notice {
    /// As a text frame.
    pub fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages_are_read_and_bounds_are_named() {
        let size = Size { columns: 80, rows: 24 };
        assert_eq!(
            decode(r#"{"type":"open","cols":80,"rows":24,"session":"s","after":7,"more":1}"#),
            Ok(Control::Open { size, resume: Some(Place { session: "s".into(), after: 7 }) })
        );
        assert_eq!(decode(r#"{"type":"open","cols":80,"rows":24}"#), Ok(Control::Open { size, resume: None }));
        assert_eq!(decode(r#"{"type":"credit","bytes":5}"#), Ok(Control::Credit(5)));
        assert_eq!(decode(r#"{"type":"close"}"#), Ok(Control::Close));
        assert!(decode(r#"{"type":"resize","cols":0,"rows":24}"#).unwrap_err().starts_with("cols is 0"));
        assert!(decode(r#"{"type":"resize","cols":80,"rows":501}"#).unwrap_err().starts_with("rows is 501"));
    }

    #[test]
    fn what_is_no_control_message_is_an_error() {
        let deep = "[".repeat(4000);
        let long = format!(r#"{{"type":"close","x":"{}"}}"#, "x".repeat(5000));
        for bad in [
            "",
            "null",
            "[]",
            r#"{"type":"rm"}"#,
            r#"{"type":"resize","cols":-1,"rows":1}"#,
            r#"{"type":"resize","cols":70000,"rows":1}"#,
            r#"{"type":"credit","bytes":1.5}"#,
            r#"{"type":"credit","bytes":-5}"#,
            &deep,
            &long,
        ] {
            assert!(decode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn notices_are_what_the_documentation_says() {
        let exit = Exit { reason: ExitReason::Ended, code: Some(0), signal: None };
        assert_eq!(Notice::Exit(exit).encode(), r#"{"type":"exit","reason":"ended","code":0,"signal":null}"#);
        assert_eq!(Notice::Alive.encode(), r#"{"type":"alive"}"#);
        let error = Notice::Error { error: "e".into(), reason: None, retry: Some(true) };
        assert_eq!(error.encode(), r#"{"type":"error","error":"e","retry":true}"#);
    }
}
