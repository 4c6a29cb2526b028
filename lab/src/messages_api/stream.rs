//! An answer in the service's shapes: one JSON object, or server-sent events as they would arrive.

use std::time::Duration;

use axum::body::Bytes;
use futures::stream::{self, Stream, StreamExt};
use serde_json::{Value, json};

use super::conversation::Conversation;
use super::script::{Block, Ending, Message, Piece};

/// What is sent next, and how long it waits.
struct Step {
    pause: Duration,
    event: Event,
}

enum Event {
    Send(Value),
    /// Nothing more comes, and the connection stays open.
    Never,
    /// The connection is closed in the middle of the answer.
    Break,
}

impl Step {
    fn now(event: Value) -> Step {
        Step { pause: Duration::ZERO, event: Event::Send(event) }
    }
}

/// The answer as the service's events; made one by one, so a long answer takes no memory beyond its text.
pub(super) fn events(
    conversation: &Conversation,
    message: Message,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + use<> {
    let stop_reason = stop_reason(&message);
    let output_tokens = output_tokens(&message);
    let start = json!({ "type": "message_start", "message": shell(conversation) });
    let fingerprint = conversation.fingerprint;
    let blocks =
        message.blocks.into_iter().enumerate().flat_map(move |(index, block)| steps(fingerprint, index, block));
    let end: Vec<Step> = match message.ending {
        Ending::Hang => vec![Step { pause: Duration::ZERO, event: Event::Never }],
        Ending::Break => vec![Step { pause: Duration::ZERO, event: Event::Break }],
        Ending::Complete => vec![
            Step::now(json!({ "type": "message_delta", "delta": { "stop_reason": stop_reason, "stop_sequence": null },
                              "usage": { "output_tokens": output_tokens } })),
            Step::now(json!({ "type": "message_stop" })),
        ],
    };
    let steps = [Step::now(start), Step::now(json!({ "type": "ping" }))].into_iter().chain(blocks).chain(end);
    stream::iter(steps).then(async |step| {
        if !step.pause.is_zero() {
            tokio::time::sleep(step.pause).await;
        }
        match step.event {
            Event::Send(event) => Ok(frame(&event)),
            Event::Never => std::future::pending().await,
            Event::Break => Err(std::io::Error::other("the script breaks the connection here")),
        }
    })
}

/// The answer to a request that did not ask for a stream.
pub(super) fn whole(conversation: &Conversation, message: &Message) -> Value {
    let text = |pieces: &[Piece]| pieces.iter().map(|piece| piece.text.as_str()).collect::<String>();
    let content = message.blocks.iter().enumerate().map(|(index, block)| match block {
        Block::Text(pieces) => json!({ "type": "text", "text": text(pieces) }),
        Block::Thinking(pieces) => json!({ "type": "thinking", "thinking": text(pieces), "signature": SIGNATURE }),
        Block::Tool { name, input } => {
            json!({ "type": "tool_use", "id": tool_id(conversation.fingerprint, index), "name": name, "input": input })
        }
    });
    let mut whole = shell(conversation);
    if let Some(members) = whole.as_object_mut() {
        members.insert("content".into(), content.collect());
        members.insert("stop_reason".into(), stop_reason(message).into());
        members.insert(
            "usage".into(),
            json!({ "input_tokens": input_tokens(conversation), "output_tokens": output_tokens(message) }),
        );
    }
    whole
}

const SIGNATURE: &str = "bGFiLXN0YW5kLWlu";

fn steps(fingerprint: u64, index: usize, block: Block) -> Box<dyn Iterator<Item = Step> + Send> {
    let start =
        |content: Value| Step::now(json!({ "type": "content_block_start", "index": index, "content_block": content }));
    let delta = move |delta: Value| json!({ "type": "content_block_delta", "index": index, "delta": delta });
    let stop = Step::now(json!({ "type": "content_block_stop", "index": index }));
    match block {
        Block::Text(pieces) => {
            let deltas = pieces.into_iter().map(move |piece| Step {
                pause: piece.pause,
                event: Event::Send(delta(json!({ "type": "text_delta", "text": piece.text }))),
            });
            Box::new([start(json!({ "type": "text", "text": "" }))].into_iter().chain(deltas).chain([stop]))
        }
        Block::Thinking(pieces) => {
            let deltas = pieces.into_iter().map(move |piece| Step {
                pause: piece.pause,
                event: Event::Send(delta(json!({ "type": "thinking_delta", "thinking": piece.text }))),
            });
            let signature = Step::now(delta(json!({ "type": "signature_delta", "signature": SIGNATURE })));
            let start = start(json!({ "type": "thinking", "thinking": "", "signature": "" }));
            Box::new([start].into_iter().chain(deltas).chain([signature, stop]))
        }
        Block::Tool { name, input } => {
            let start =
                start(json!({ "type": "tool_use", "id": tool_id(fingerprint, index), "name": name, "input": {} }));
            let input = Step::now(delta(json!({ "type": "input_json_delta", "partial_json": input.to_string() })));
            Box::new([start, input, stop].into_iter())
        }
    }
}

fn shell(conversation: &Conversation) -> Value {
    json!({ "id": format!("msg_lab_{:016x}", conversation.fingerprint), "type": "message", "role": "assistant",
            "model": conversation.model, "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": { "input_tokens": input_tokens(conversation), "output_tokens": 1 } })
}

fn tool_id(fingerprint: u64, index: usize) -> String {
    format!("toolu_lab_{fingerprint:016x}_{index}")
}

fn stop_reason(message: &Message) -> &'static str {
    if message.uses_tools() { "tool_use" } else { "end_turn" }
}

/// About what was written, not the CLI's long instructions: the shown cost stays the size of the demo.
fn input_tokens(conversation: &Conversation) -> usize {
    10 + conversation.prompt.len().div_ceil(4)
}

fn output_tokens(message: &Message) -> usize {
    let sizes = message.blocks.iter().map(|block| match block {
        Block::Text(pieces) | Block::Thinking(pieces) => pieces.len(),
        Block::Tool { input, .. } => input.to_string().len().div_ceil(4),
    });
    sizes.sum::<usize>().max(1)
}

fn frame(event: &Value) -> Bytes {
    let name = event.get("type").and_then(Value::as_str).unwrap_or("message");
    Bytes::from(format!("event: {name}\ndata: {event}\n\n"))
}
