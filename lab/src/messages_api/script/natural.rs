//! What the stand-in answers to a person: it says what it is, refers to what was asked, and shows the tools at work.

use serde_json::json;

use super::super::DISCLOSURE;
use super::super::conversation::{Conversation, ToolResult};
use super::{Block, Message, bash, in_directory, quote, told, write};

/// Words by which a person asks to have the files looked at.
const READING: [&str; 9] = ["read", "list", "files", "file", "look", "show", "open", "folder", "directory"];
const PAGE: &str = "index.html";

pub(super) fn message(conversation: &Conversation) -> Message {
    if conversation.offers("Write") {
        building(conversation)
    } else if conversation.offers("Read")
        && asks_for(&conversation.prompt, &READING)
        && asks_for(&conversation.prompt, &["idea"])
    {
        reading_the_idea(conversation)
    } else if conversation.offers("Glob") && asks_for(&conversation.prompt, &READING) {
        reading(conversation)
    } else {
        talking(conversation)
    }
}

fn asks_for(prompt: &str, words: &[&str]) -> bool {
    let prompt = prompt.to_lowercase();
    prompt.split(|letter: char| !letter.is_alphanumeric()).any(|word| words.contains(&word))
}

fn reading_the_idea(conversation: &Conversation) -> Message {
    match conversation.results.as_slice() {
        [] => Message::of(vec![
            Block::paced(&format!("{DISCLOSURE} I read the idea as it was captured. ")),
            Block::tool("Read", json!({ "file_path": "../idea.md" })),
        ]),
        [read, ..] => {
            let content = read.first().map(told).unwrap_or_default();
            Message::of(vec![Block::paced(&format!("{content}\n\nWhat to make of it, a model would have to say."))])
        }
    }
}

fn talking(conversation: &Conversation) -> Message {
    Message::of(vec![Block::paced(&format!(
        "{DISCLOSURE} You wrote: “{}”.\n\nA model would think about that now. What I can show is the way that an answer \
         takes: from the dev-VM over SSH to your browser, piece by piece, and kept there when you leave.\n\n\
         Ask me to *read the idea* or to *list the files* and I use a tool for it. Start a *build* and I write a small page, run a \
         command and tell you what came of it.",
        quote(&conversation.prompt)
    ))])
}

fn reading(conversation: &Conversation) -> Message {
    match conversation.results.as_slice() {
        [] => Message::of(vec![
            Block::paced(&format!("{DISCLOSURE} Let me look at the files of this idea. ")),
            Block::tool("Glob", json!({ "pattern": "**/*" })),
        ]),
        [listed] => match files(listed).as_slice() {
            [] => Message::of(vec![Block::paced(
                "There are no files in this idea yet. Start a build and I will write the first one.",
            )]),
            [first, ..] => Message::of(vec![
                Block::paced(&format!("I will read {}. ", name(first))),
                Block::tool("Read", json!({ "file_path": in_directory(conversation, first) })),
            ]),
        },
        [listed, read, ..] => {
            let files = files(listed);
            let names: Vec<String> = files.iter().take(5).map(|file| format!("`{}`", name(file))).collect();
            let more = files.len().saturating_sub(names.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let content = read.first().map(told).unwrap_or_default();
            Message::of(vec![Block::paced(&format!(
                "This idea has {}{more}. {content}\n\nThat is what the tools gave; what it means, a model would have to say.",
                names.join(", "),
            ))])
        }
    }
}

/// The files that Glob listed, one a line.
fn files(listed: &[ToolResult]) -> Vec<&str> {
    let lines = listed.iter().filter(|result| !result.failed).flat_map(|result| result.text.lines());
    lines
        .map(str::trim)
        .filter(|line| !line.is_empty() && *line != "No files found" && !line.starts_with('('))
        .collect()
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn building(conversation: &Conversation) -> Message {
    let page = write(conversation, PAGE, &page(&conversation.prompt));
    let results: Vec<&ToolResult> = conversation.results.iter().flatten().collect();
    // The CLI writes over a file only after it was read in this session.
    let results = match results.as_slice() {
        [unread, rest @ ..] if unread.failed && unread.text.contains("been read") => match rest {
            [] => {
                return Message::of(vec![
                    Block::paced("There is a page already: I read it first. "),
                    Block::tool("Read", json!({ "file_path": in_directory(conversation, PAGE) })),
                ]);
            }
            [_read, rest @ ..] => rest,
        },
        results => results,
    };
    match results {
        [] if conversation.results.is_empty() => Message::of(vec![
            Block::paced(&format!(
                "{DISCLOSURE} You asked to build: “{}”. I write one small page for it. ",
                quote(&conversation.prompt)
            )),
            page,
        ]),
        [] => Message::of(vec![Block::paced("Now I write it anew. "), page]),
        [written] if !written.failed => Message::of(vec![
            Block::paced("The page is written. Let me see how small it packs; for that I need your permission. "),
            // Not among the commands that the CLI runs without asking.
            bash(&format!("gzip -kf {PAGE} && wc -c {PAGE} {PAGE}.gz")),
        ]),
        [written, run] if !written.failed && !run.failed => Message::of(vec![Block::paced(&format!(
            "Done: `{PAGE}` is in the project folder of this idea, and the command shows it: {}.\n\n\
             A model would have built more; this is the lab's stand-in, which shows that writing and running work.",
            quote(run.text.lines().next().unwrap_or_default())
        ))]),
        results => {
            let why = results.last().map(|result| told(result)).unwrap_or_default();
            Message::of(vec![Block::paced(&format!("{why} I stop here; nothing else was changed."))])
        }
    }
}

fn page(prompt: &str) -> String {
    let asked = quote(prompt).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>An idea, built</title>\n<h1>An idea, built</h1>\n\
         <p>Asked for: {asked}</p>\n<p>Written by the lab's stand-in for the Messages API, not by Claude.</p>\n</html>\n"
    )
}
