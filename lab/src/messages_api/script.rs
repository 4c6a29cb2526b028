//! Decides what the stand-in answers: a pure function of the conversation.
//!
//! A message whose lines begin with a keyword is a test's script: each line is carried out in order, and each tool line ends
//! one of our messages, as a model's would. Anything else gets a natural answer ([`natural`]).
//!
//! | line | effect |
//! |---|---|
//! | `SAY text` | the text, at a reader's pace |
//! | `THINK text` | the same as a thinking block |
//! | `SLOW n [ms]` | n ticks, each after ms (500) |
//! | `LONG n` | n pieces without a pause |
//! | `BASH command`, `READ file`, `WRITE file [content]` | that tool, offered or not |
//! | `TOOL name {json}` | any tool with any input |
//! | `MANY n [line]` | n tools at once; `%` in the line of a tool is the number of each |
//! | `ERROR status [times]` | refuses, for ever or the first times |
//! | `HANG` | begins an answer and never goes on |
//! | `BREAK` | closes the connection in the middle of the answer |

mod natural;

use std::time::Duration;

use serde_json::{Value, json};

use super::PACE;
use super::conversation::{Conversation, ToolResult};

/// The most pieces that one line can ask for.
const MOST_PIECES: u64 = 1_000_000;

#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    Message(Message),
    /// An HTTP status in place of an answer.
    Refuse(u16),
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Message {
    pub(super) blocks: Vec<Block>,
    pub(super) ending: Ending,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Block {
    Text(Vec<Piece>),
    Thinking(Vec<Piece>),
    Tool { name: String, input: Value },
}

/// A part of a block that arrives by itself, after a pause.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) pause: Duration,
    pub(super) text: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ending {
    #[default]
    Complete,
    Hang,
    Break,
}

impl Message {
    fn of(blocks: Vec<Block>) -> Message {
        Message { blocks, ending: Ending::Complete }
    }

    pub(super) fn uses_tools(&self) -> bool {
        self.blocks.iter().any(|block| matches!(block, Block::Tool { .. }))
    }
}

impl Block {
    /// Text that arrives word by word at a reader's pace.
    fn paced(text: &str) -> Block {
        Block::Text(words(text))
    }

    fn tool(name: &str, input: Value) -> Block {
        Block::Tool { name: name.to_owned(), input }
    }
}

pub(super) fn reply(conversation: &Conversation) -> Reply {
    // Side requests (a title for the session …) quote the user's text, but nobody asked them to act on it.
    if conversation.tools.is_empty() {
        return Reply::Message(Message::of(vec![Block::paced(super::DISCLOSURE)]));
    }
    match scripted(conversation) {
        Some(reply) => reply,
        None => Reply::Message(natural::message(conversation)),
    }
}

/// The message of the script that is due now; `None` where the prompt is no script.
fn scripted(conversation: &Conversation) -> Option<Reply> {
    let mut messages = vec![Message::default()];
    let mut is_script = false;
    for line in conversation.prompt.lines() {
        let (keyword, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        let rest = rest.trim();
        let mut numbers = rest.split_whitespace().map_while(|word| word.parse::<u64>().ok());
        let blocks = match keyword {
            "SAY" => vec![Block::paced(rest)],
            "THINK" => vec![Block::Thinking(words(rest))],
            "SLOW" => {
                let count = numbers.next().unwrap_or(10);
                vec![counted("tick", count, Duration::from_millis(numbers.next().unwrap_or(500)))]
            }
            "LONG" => vec![counted("word", numbers.next().unwrap_or(1000), Duration::ZERO)],
            "MANY" => many(conversation, rest),
            "ERROR" => {
                is_script = true;
                let status = numbers.next().and_then(|status| u16::try_from(status).ok()).unwrap_or(500);
                let times = numbers.next().unwrap_or(u64::MAX);
                // The error stands before the message that this line would have begun.
                if messages.len() == conversation.results.len() + 1 && u64::from(conversation.attempt) < times {
                    return Some(Reply::Refuse(status));
                }
                continue;
            }
            "HANG" | "BREAK" => {
                is_script = true;
                if let Some(message) = messages.last_mut() {
                    message.blocks.push(Block::paced("One moment "));
                    message.ending = if keyword == "HANG" { Ending::Hang } else { Ending::Break };
                }
                break;
            }
            _ => match tool(conversation, keyword, rest) {
                Some(tool) => vec![tool],
                None => continue,
            },
        };
        is_script = true;
        let ends_message = blocks.iter().any(|block| matches!(block, Block::Tool { .. }));
        if let Some(message) = messages.last_mut() {
            message.blocks.extend(blocks);
        }
        if ends_message {
            messages.push(Message::default());
        }
    }
    if !is_script {
        return None;
    }
    let due = messages.into_iter().nth(conversation.results.len()).unwrap_or_default();
    Some(Reply::Message(if due.blocks.is_empty() { closing(conversation) } else { due }))
}

/// The end of a script that ends with a tool: what the tools gave, as a model would say it.
fn closing(conversation: &Conversation) -> Message {
    let last = conversation.results.last().map(Vec::as_slice).unwrap_or_default();
    let told: Vec<String> = last.iter().map(told).collect();
    Message::of(vec![Block::paced(&if told.is_empty() { super::DISCLOSURE.to_owned() } else { told.join(" ") })])
}

/// A tool's result in a sentence.
fn told(result: &ToolResult) -> String {
    let first = quote(result.text.lines().find(|line| !line.trim().is_empty()).unwrap_or("nothing"));
    if result.failed { format!("The tool did not run: {first}") } else { format!("The tool answered: {first}") }
}

fn bash(command: &str) -> Block {
    Block::tool("Bash", json!({ "command": command, "description": "Run what was asked" }))
}

fn write(conversation: &Conversation, file: &str, content: &str) -> Block {
    Block::tool("Write", json!({ "file_path": in_directory(conversation, file), "content": content }))
}

/// The tool that a line asks for; `None` where its keyword names none.
fn tool(conversation: &Conversation, keyword: &str, rest: &str) -> Option<Block> {
    let first = || rest.split_once(char::is_whitespace);
    Some(match keyword {
        "BASH" => bash(rest),
        "READ" => Block::tool("Read", json!({ "file_path": in_directory(conversation, rest) })),
        "WRITE" => {
            let (file, content) = first().unwrap_or((rest, "written by the lab's stand-in"));
            write(conversation, file, &format!("{}\n", content.trim()))
        }
        "TOOL" => {
            let (name, input) = first().unwrap_or((rest, "{}"));
            Block::tool(name, serde_json::from_str(input).unwrap_or_else(|_| json!({})))
        }
        _ => return None,
    })
}

/// Several tools in one message: `n` alone, or `n` and a tool's line in which `%` stands for the number of each.
fn many(conversation: &Conversation, rest: &str) -> Vec<Block> {
    const MOST_TOOLS: u64 = 32;
    let (count, line) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let plain = if conversation.offers("Bash") { "BASH sh -c 'echo %'" } else { "READ %" };
    let line = if line.trim().is_empty() { plain } else { line.trim() };
    let (keyword, input) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let count = count.parse::<u64>().unwrap_or(3).min(MOST_TOOLS);
    (1..=count).filter_map(|n| tool(conversation, keyword, &input.replace('%', &n.to_string()))).collect()
}

/// The tools want absolute paths, as the model gives them.
fn in_directory(conversation: &Conversation, file: &str) -> String {
    match &conversation.directory {
        Some(directory) if !file.starts_with('/') => format!("{}/{file}", directory.trim_end_matches('/')),
        _ => file.to_owned(),
    }
}

fn counted(what: &str, count: u64, pause: Duration) -> Block {
    Block::Text((0..count.min(MOST_PIECES)).map(|n| Piece { pause, text: format!("{what} {n} ") }).collect())
}

fn words(text: &str) -> Vec<Piece> {
    text.split_inclusive(char::is_whitespace).map(|word| Piece { pause: PACE, text: word.to_owned() }).collect()
}

/// The beginning of a text, short enough to stand in a sentence.
fn quote(text: &str) -> String {
    const LONGEST: usize = 120;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests;
