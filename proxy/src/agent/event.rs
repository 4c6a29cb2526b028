//! What a run's log says, as typed events.

use std::fmt;
use std::str::FromStr;

use serde_json::value::RawValue;

use super::Decision;
use super::input::Permissions;

/// Where an event stands in a run's log: the byte offset after its line, and its place among the line's events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq {
    /// Bytes from the start of the log to the end of the line, its newline included.
    pub offset: u64,
    /// Place among the events of that line, from 0.
    pub sub: u32,
}

impl fmt::Display for Seq {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.offset, self.sub)
    }
}

/// A text that is not a [`Seq`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is written as \"<offset>.<sub>\"")]
pub struct SeqParseError;

impl FromStr for Seq {
    type Err = SeqParseError;

    fn from_str(text: &str) -> Result<Seq, SeqParseError> {
        let (offset, sub) = text.split_once('.').ok_or(SeqParseError)?;
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(offset) || !digits(sub) {
            return Err(SeqParseError);
        }
        Ok(Seq { offset: offset.parse().map_err(|_| SeqParseError)?, sub: sub.parse().map_err(|_| SeqParseError)? })
    }
}

/// One thing that a run's log says.
#[derive(Clone, Debug)]
pub enum Event {
    /// A turn begins; also tells the Claude session.
    System {
        /// Claude's session.
        session_id: String,
        /// The model's name.
        model: String,
    },
    /// A piece of the answer.
    Text {
        /// The piece.
        text: String,
    },
    /// A piece of the model's thinking.
    Thinking {
        /// The piece.
        text: String,
    },
    /// A tool is called.
    ToolUse {
        /// Pairs the call with its result.
        tool_use_id: String,
        /// The tool.
        name: String,
        /// Its input, as Claude wrote it.
        input: Box<RawValue>,
        /// The call of the sub-agent that makes this call, if one does.
        parent: Option<String>,
    },
    /// What a tool gave.
    ToolResult {
        /// The call that is answered.
        tool_use_id: String,
        /// The result as text.
        content: String,
        /// Whether the tool failed.
        is_error: bool,
    },
    /// A turn is over.
    Result(TurnResult),
    /// Something failed; a sentence for the user.
    Error {
        /// The sentence.
        error: String,
    },
    /// A message of the user, as it was delivered to Claude.
    User {
        /// The message.
        text: String,
        /// The identifier that the sender gave it.
        message_id: Option<String>,
        /// What it lets the agent do; logs of older versions do not say.
        mode: Option<Mode>,
        /// How much it may do without asking, if it is a build.
        permissions: Option<Permissions>,
        /// Who said it, where people are known by name.
        by: Option<String>,
    },
    /// Claude asks to use a tool.
    Permission {
        /// Names the request in the answer.
        request_id: String,
        /// The call that waits.
        tool_use_id: String,
        /// The tool.
        name: String,
        /// Its input.
        input: Box<RawValue>,
        /// The rules that would cover it for good, as the CLI writes them; none where there are none.
        always: Vec<String>,
    },
    /// A request for permission needs no answer any more.
    PermissionClosed {
        /// The request.
        request_id: String,
        /// How it was answered, where that is known.
        decision: Option<Decision>,
    },
    /// The process ended.
    Exit {
        /// Its exit status (128 and the signal if it was killed).
        code: i32,
        /// Why: `ended`, `idle`, `switched`, `revoked`, `stopped`, `silent`, `overtime`, `full`, `lost`, `rebooted`, `missing`.
        reason: String,
    },
    /// A line of a type that is not known here, as Claude wrote it.
    Other {
        /// The line, a JSON object.
        line: Box<RawValue>,
    },
    /// A line too long to be sent whole.
    Large {
        /// Its type, if its beginning tells.
        kind: String,
        /// Where it starts in the log.
        start: u64,
        /// Its length in bytes, newline included.
        length: u64,
        /// How it begins: 1 KiB at most.
        head: String,
    },
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnResult {
    /// The closing text; never empty.
    pub result: String,
    /// What went wrong, if something did.
    pub error: Option<String>,
    /// Claude's session.
    pub session_id: String,
    /// What this turn cost, in US dollars.
    pub cost_usd: f64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Requests to the model.
    pub turns: u64,
    /// Whether the user ended it.
    pub interrupted: bool,
}

/// What the agent may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Reads only.
    Chat,
    /// All tools.
    Build,
}

impl Mode {
    /// The one that is called so.
    pub fn named(word: &str) -> Option<Mode> {
        [Mode::Chat, Mode::Build].into_iter().find(|mode| mode.as_str() == word)
    }

    /// As logs, scripts and browsers call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Chat => "chat",
            Mode::Build => "build",
        }
    }
}
