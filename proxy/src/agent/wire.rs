//! The shapes of Claude's lines, as far as they are read; everything else in them is skipped.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Mode;
use super::input::Permissions;

/// A `stream_event`, read without the generic detour: most lines are of this kind.
#[derive(Deserialize)]
pub(super) struct StreamLine<'a> {
    #[serde(borrow)]
    pub(super) event: StreamEvent<'a>,
    #[serde(borrow, default)]
    pub(super) parent_tool_use_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
pub(super) struct StreamEvent<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    pub(super) message: Option<MessageId<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(borrow, rename = "type", default)]
    pub(super) kind: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) thinking: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct MessageId<'a> {
    #[serde(borrow, default)]
    pub(super) id: Cow<'a, str>,
}

/// Any other line.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, rename = "type", default)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) subtype: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) request: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) response: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) request_id: Option<String>,
    #[serde(default)]
    pub(super) parent_tool_use_id: Option<String>,
    #[serde(default)]
    pub(super) session_id: Option<String>,
    #[serde(default)]
    pub(super) model: Option<String>,
    #[serde(default, rename = "isReplay")]
    pub(super) is_replay: bool,
}

#[derive(Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow, default)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Block<'a> {
    #[serde(borrow, rename = "type", default)]
    pub(super) kind: Cow<'a, str>,
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) thinking: Option<String>,
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(borrow, default)]
    pub(super) input: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) tool_use_id: Option<String>,
    #[serde(borrow, default)]
    pub(super) content: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) is_error: Option<bool>,
}

/// The `response` of a `control_response`.
#[derive(Deserialize)]
pub(super) struct AnswerLine<'a> {
    #[serde(borrow, default)]
    pub(super) request_id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) response: Option<AnswerBehavior<'a>>,
}

#[derive(Deserialize)]
pub(super) struct AnswerBehavior<'a> {
    #[serde(borrow, default)]
    pub(super) behavior: Cow<'a, str>,
}

#[derive(Deserialize)]
pub(super) struct ResultLine<'a> {
    #[serde(borrow, default)]
    pub(super) subtype: Cow<'a, str>,
    #[serde(default)]
    pub(super) is_error: bool,
    #[serde(default)]
    pub(super) result: Option<String>,
    #[serde(default)]
    pub(super) errors: Option<Vec<String>>,
    #[serde(default)]
    pub(super) session_id: String,
    #[serde(default)]
    pub(super) num_turns: u64,
    #[serde(default)]
    pub(super) duration_ms: f64,
    #[serde(default)]
    pub(super) total_cost_usd: Option<f64>,
}

/// The line that the feeder writes before it hands a message over.
#[derive(Deserialize)]
pub(super) struct TurnLine {
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "known_mode")]
    pub(super) mode: Option<Mode>,
    #[serde(default, deserialize_with = "known_permissions")]
    pub(super) permissions: Option<Permissions>,
    #[serde(default)]
    pub(super) by: Option<String>,
    #[serde(default)]
    pub(super) text: String,
}

fn known_permissions<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Permissions>, D::Error> {
    let word = Option::<String>::deserialize(deserializer)?;
    Ok(word.and_then(|word| Permissions::named(&word)))
}

/// A mode of a version to come is no reason to lose the message.
fn known_mode<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Mode>, D::Error> {
    let word = Option::<String>::deserialize(deserializer)?;
    Ok(word.and_then(|word| Mode::named(&word)))
}

/// The line that ends a log.
#[derive(Deserialize)]
pub(super) struct ExitLine {
    #[serde(default)]
    pub(super) code: i32,
    #[serde(default)]
    pub(super) reason: String,
    #[serde(default)]
    pub(super) stderr: String,
}
