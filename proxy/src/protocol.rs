//! The browser's messages: decoding what a client sends, encoding what it gets. Pure; one JSON object a frame.
//!
//! `ideaId` goes back exactly as the client wrote it: the existing client drops everything else.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::run::{Answer, Frame, Permissions, Position, RunList, RunSummary, Seq, Start};

/// The answer to a frame that is no message; the words are those that the existing server uses.
pub const INVALID: &str = "Invalid message format";

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// An id or a slug, as the client wrote it.
    pub idea_id: String,
    /// What it asks.
    pub command: Command,
}

/// What can be asked about an idea.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Talk: read-only tools.
    Chat {
        /// The text.
        message: String,
        /// Makes a repetition harmless.
        message_id: Option<String>,
    },
    /// Build: all tools.
    Build {
        /// The text.
        instructions: String,
        /// Makes a repetition harmless.
        message_id: Option<String>,
        /// How much it may do without asking.
        permissions: Permissions,
    },
    /// Stop the turn.
    Cancel,
    /// Send what happened after a position, and what happens from now on.
    Subscribe {
        /// Without it, the recent part first.
        after: Option<Position>,
    },
    /// Send no more.
    Unsubscribe,
    /// Send older frames.
    Page {
        /// The end of what is asked for.
        before: Position,
    },
    /// Answer a request for permission.
    Answer {
        /// Which request.
        request_id: String,
        /// The word on it.
        answer: Answer,
    },
    /// Tell what is always allowed.
    Permissions,
    /// Ask for what a rule covers again.
    Revoke {
        /// As the CLI writes it.
        rule: String,
    },
    /// Tell of the runs.
    Runs {
        /// Of those below this one; from the latest on without it.
        before: Option<u64>,
    },
    /// Remove old runs.
    Trim {
        /// All but so many.
        keep: u64,
    },
}

/// Which message or answer a command is, so that a failure can name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Of a message, if its client named it.
    pub message_id: Option<String>,
    /// Of an answer.
    pub request_id: Option<String>,
}

impl Command {
    /// What a failure of this command is about.
    pub fn about(&self) -> About {
        match self {
            Command::Chat { message_id, .. } | Command::Build { message_id, .. } => {
                About { message_id: message_id.clone(), request_id: None }
            }
            Command::Answer { request_id, .. } => About { message_id: None, request_id: Some(request_id.clone()) },
            Command::Cancel
            | Command::Subscribe { .. }
            | Command::Unsubscribe
            | Command::Page { .. }
            | Command::Permissions
            | Command::Revoke { .. }
            | Command::Runs { .. }
            | Command::Trim { .. } => About::default(),
        }
    }

    /// Whether it changes something on the VM: then it is carried out even if its client goes away meanwhile.
    pub fn acts(&self) -> bool {
        self.audited().is_some()
    }

    /// Whether it has to get through however much waits: it ends what is under way, or is what that waits for.
    pub fn is_urgent(&self) -> bool {
        matches!(self, Command::Cancel | Command::Answer { .. })
    }

    /// Of an answer, the word for it in the audit log.
    pub fn said(&self) -> Option<&'static str> {
        match self {
            Command::Answer { answer, .. } => Some(answer.said()),
            _ => None,
        }
    }

    /// The word for it in the audit log, if it changes something on the VM.
    pub fn audited(&self) -> Option<&'static str> {
        match self {
            Command::Chat { .. } => Some("chat"),
            Command::Build { .. } => Some("build"),
            Command::Cancel => Some("stop"),
            Command::Answer { .. } => Some("answer"),
            Command::Revoke { .. } => Some("revoke"),
            Command::Trim { .. } => Some("trim"),
            Command::Subscribe { .. }
            | Command::Unsubscribe
            | Command::Page { .. }
            | Command::Permissions
            | Command::Runs { .. } => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase")]
enum Wire {
    Chat {
        idea_id: String,
        message: String,
        message_id: Option<String>,
    },
    Build {
        idea_id: String,
        instructions: String,
        message_id: Option<String>,
        mode: Option<WirePermissions>,
    },
    Cancel {
        idea_id: String,
    },
    Subscribe {
        idea_id: String,
        run: Option<u64>,
        after: Option<String>,
    },
    Unsubscribe {
        idea_id: String,
    },
    Page {
        idea_id: String,
        before: WirePosition,
    },
    Answer {
        idea_id: String,
        request_id: String,
        decision: WireDecision,
        message: Option<String>,
        answers: Option<BTreeMap<String, WireAnswer>>,
    },
    Permissions {
        idea_id: String,
    },
    Revoke {
        idea_id: String,
        rule: String,
    },
    Runs {
        idea_id: String,
        before: Option<u64>,
    },
    Trim {
        idea_id: String,
        keep: u64,
    },
}

#[derive(Deserialize)]
struct WirePosition {
    run: u64,
    seq: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum WireDecision {
    Allow,
    Always,
    Deny,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum WirePermissions {
    Ask,
    AcceptEdits,
    All,
    Plan,
}

impl From<WirePermissions> for Permissions {
    fn from(wire: WirePermissions) -> Permissions {
        match wire {
            WirePermissions::Ask => Permissions::Ask,
            WirePermissions::AcceptEdits => Permissions::AcceptEdits,
            WirePermissions::All => Permissions::All,
            WirePermissions::Plan => Permissions::Plan,
        }
    }
}

/// One answer, or several where several may be chosen.
#[derive(Deserialize)]
#[serde(untagged)]
enum WireAnswer {
    One(String),
    Several(Vec<String>),
}

impl WireAnswer {
    /// As the CLI reads it.
    fn joined(self) -> String {
        match self {
            WireAnswer::One(answer) => answer,
            WireAnswer::Several(answers) => answers.join(", "),
        }
    }
}

/// What Claude is told where the person gives no reason.
const DENIED: &str = "The person denied this.";

/// A frame that is no message of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{INVALID}")]
pub struct Invalid;

/// Decodes one frame.
///
/// # Errors
/// [`Invalid`] for everything that is not an object of a known type with the members that it needs.
pub fn decode(text: &str) -> Result<Request, Invalid> {
    if !is_object(text) {
        return Err(Invalid);
    }
    let wire: Wire = serde_json::from_str(text).map_err(|_| Invalid)?;
    let (idea_id, command) = match wire {
        Wire::Chat { idea_id, message, message_id } => (idea_id, Command::Chat { message, message_id }),
        Wire::Build { idea_id, instructions, message_id, mode } => {
            let permissions = mode.map_or_else(Permissions::default, Permissions::from);
            (idea_id, Command::Build { instructions, message_id, permissions })
        }
        Wire::Cancel { idea_id } => (idea_id, Command::Cancel),
        Wire::Subscribe { idea_id, run, after } => {
            let after = match (run, after) {
                (Some(run), Some(seq)) => Some(position(run, &seq)?),
                (Some(run), None) => Some(Position { run, seq: Seq::default() }),
                (None, Some(_)) => return Err(Invalid),
                (None, None) => None,
            };
            (idea_id, Command::Subscribe { after })
        }
        Wire::Unsubscribe { idea_id } => (idea_id, Command::Unsubscribe),
        Wire::Page { idea_id, before } => (idea_id, Command::Page { before: position(before.run, &before.seq)? }),
        Wire::Answer { idea_id, request_id, decision, message, answers } => {
            let answer = match (decision, answers) {
                (WireDecision::Allow, Some(answers)) => {
                    Answer::Answers(answers.into_iter().map(|(question, answer)| (question, answer.joined())).collect())
                }
                (WireDecision::Allow, None) => Answer::Allow,
                (WireDecision::Always, _) => Answer::Always,
                (WireDecision::Deny, _) => Answer::Deny { message: message.unwrap_or_else(|| DENIED.to_owned()) },
            };
            (idea_id, Command::Answer { request_id, answer })
        }
        Wire::Permissions { idea_id } => (idea_id, Command::Permissions),
        Wire::Revoke { idea_id, rule } => (idea_id, Command::Revoke { rule }),
        Wire::Runs { idea_id, before } => (idea_id, Command::Runs { before }),
        Wire::Trim { idea_id, keep } => (idea_id, Command::Trim { keep }),
    };
    Ok(Request { idea_id, command })
}

/// Whether JSON begins an object: an array of a message's members in their order would be taken for the message, too.
pub(crate) fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

fn position(run: u64, seq: &str) -> Result<Position, Invalid> {
    Ok(Position { run, seq: seq.parse().map_err(|_| Invalid)? })
}

/// What the server says of itself; frames of a run's log are encoded by the run.
#[derive(Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Notice<'a> {
    /// Something failed; a sentence for the person.
    #[serde(rename = "claude:error")]
    Error {
        /// The sentence.
        error: &'a str,
        /// The message that failed, as the client named it.
        #[serde(skip_serializing_if = "Option::is_none")]
        message_id: Option<&'a str>,
        /// The answer that failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    },
    /// A message was taken: it is on the VM's disk.
    #[serde(rename = "accepted")]
    Accepted {
        /// As the client gave it.
        message_id: &'a str,
        /// The run that answers it.
        run: u64,
    },
    /// The answer to `subscribe`, before its frames.
    #[serde(rename = "subscribed")]
    Subscribed {
        /// The latest run.
        run: Option<u64>,
        /// As asked; `null` also when there is no such place, and the recent part follows instead.
        after: Option<String>,
        /// Where older frames can be asked from.
        before: Option<serde_json::Value>,
        /// Whether a turn is running.
        live: bool,
    },
    /// What is always allowed in the idea.
    #[serde(rename = "permissions")]
    Permissions {
        /// Rules of the CLI.
        rules: &'a [String],
    },
    /// The idea's runs, newest first.
    #[serde(rename = "runs")]
    Runs {
        /// The runs.
        runs: &'a [RunSummary],
        /// Where older ones can be asked from.
        before: Option<u64>,
    },
}

impl<'a> Notice<'a> {
    /// A failure of what `about` names.
    pub fn error(error: &'a str, about: &'a About) -> Notice<'a> {
        Notice::Error { error, message_id: about.message_id.as_deref(), request_id: about.request_id.as_deref() }
    }

    /// The answer to `runs` and `trim`.
    pub fn runs(list: &'a RunList) -> Notice<'a> {
        Notice::Runs { runs: &list.runs, before: list.before }
    }

    /// The answer to `subscribe`.
    pub fn subscribed(start: &Start, after: Option<Position>) -> Notice<'a> {
        Notice::Subscribed {
            run: start.run,
            after: after.map(|position| position.seq.to_string()),
            before: start.before.map(position_value),
            live: start.live,
        }
    }

    /// Encodes it for one idea.
    pub fn encode(&self, idea_id: &str) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Addressed<'a, 'b> {
            idea_id: &'a str,
            #[serde(flatten)]
            notice: &'a Notice<'b>,
        }
        encoded(&Addressed { idea_id, notice: self })
    }
}

/// Puts the client's `ideaId` before the members of a frame.
pub fn frame(prefix: &Prefix, body: &Bytes) -> Vec<u8> {
    let mut text = Vec::with_capacity(prefix.0.len() + body.len() + 1);
    text.extend_from_slice(&prefix.0);
    text.extend_from_slice(body);
    text.push(b'}');
    text
}

/// Several frames of one idea, encoded one after another into one piece of memory.
#[derive(Debug)]
pub struct Frames<'a> {
    prefix: &'a Prefix,
    bytes: BytesMut,
    ends: Vec<usize>,
}

impl<'a> Frames<'a> {
    /// None yet.
    pub fn new(prefix: &'a Prefix) -> Frames<'a> {
        Frames { prefix, bytes: BytesMut::new(), ends: Vec::new() }
    }

    /// Adds a frame.
    pub fn push(&mut self, body: &Bytes) {
        self.bytes.reserve(self.prefix.0.len() + body.len() + 1);
        self.bytes.extend_from_slice(&self.prefix.0);
        self.bytes.extend_from_slice(body);
        self.bytes.extend_from_slice(b"}");
        self.ends.push(self.bytes.len());
    }

    /// Bytes so far.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Each frame, in order.
    pub fn into_texts(self) -> impl Iterator<Item = Bytes> {
        let bytes = self.bytes.freeze();
        let starts = std::iter::once(0).chain(self.ends.clone());
        starts.zip(self.ends).map(move |(start, end)| bytes.slice(start..end))
    }
}

/// `{"ideaId":"…",` encoded once for a subscription.
#[derive(Clone, Debug)]
pub struct Prefix(Vec<u8>);

impl Prefix {
    /// For the id as the client wrote it.
    pub fn new(idea_id: &str) -> Prefix {
        let mut bytes = b"{\"ideaId\":".to_vec();
        bytes.extend(encoded(idea_id).into_bytes());
        bytes.push(b',');
        Prefix(bytes)
    }
}

/// The answer to `page`: whole frames, oldest first.
pub fn history(idea_id: &str, frames: &[std::sync::Arc<Frame>], before: Option<Position>) -> String {
    let prefix = Prefix::new(idea_id);
    let mut text = format!("{{\"ideaId\":{},\"type\":\"history\",\"frames\":[", encoded(idea_id));
    for (at, each) in frames.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(&String::from_utf8_lossy(&frame(&prefix, &each.body)));
    }
    let before = before.map_or(serde_json::Value::Null, position_value);
    text.push_str(&format!("],\"before\":{before}}}"));
    text
}

/// Told to every socket before the server ends.
pub const DRAINING: &str = r#"{"ideaId":"","type":"server:draining"}"#;

/// Sent with every ping, which a page cannot see: whoever hears nothing for longer has lost its server.
pub const ALIVE: &str = r#"{"ideaId":"","type":"server:alive"}"#;

fn position_value(position: Position) -> serde_json::Value {
    json!({"run": position.run, "seq": position.seq.to_string()})
}

/// Our own types always serialise; an empty object would be dropped by every client.
fn encoded<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}

#[cfg(test)]
mod tests;
