use super::*;

fn asked(prompt: &str, tools: &[&str], results: &[(&str, bool)]) -> Conversation {
    Conversation {
        prompt: prompt.into(),
        tools: tools.iter().map(|tool| (*tool).into()).collect(),
        results: results
            .iter()
            .map(|(text, failed)| vec![ToolResult { text: (*text).into(), failed: *failed }])
            .collect(),
        directory: Some("/home/dev/project".into()),
        ..Conversation::default()
    }
}

fn message(conversation: &Conversation) -> Message {
    match reply(conversation) {
        Reply::Message(message) => message,
        Reply::Refuse(status) => panic!("refused with {status}"),
    }
}

fn text(message: &Message) -> String {
    let pieces = message.blocks.iter().flat_map(|block| match block {
        Block::Text(pieces) | Block::Thinking(pieces) => pieces.as_slice(),
        Block::Tool { .. } => &[],
    });
    pieces.map(|piece| piece.text.as_str()).collect()
}

fn tool(message: &Message) -> (&str, &Value) {
    match message.blocks.last() {
        Some(Block::Tool { name, input }) => (name, input),
        other => panic!("no tool at the end: {other:?}"),
    }
}

const CHAT: &[&str] = &["Read", "Grep", "Glob"];
const BUILD: &[&str] = &["Read", "Glob", "Write", "Bash"];

#[test]
fn an_answer_says_that_it_is_a_stand_in_and_refers_to_what_was_asked() {
    let message = message(&asked("A kite that maps the wind", CHAT, &[]));
    assert!(text(&message).starts_with(super::super::DISCLOSURE));
    assert!(text(&message).contains("A kite that maps the wind"));
    assert!(!message.uses_tools());
}

#[test]
fn asked_for_files_it_lists_them_then_reads_one_then_sums_up() {
    let prompt = "Please list the files";
    assert_eq!(tool(&message(&asked(prompt, CHAT, &[]))).0, "Glob");
    let second = message(&asked(prompt, CHAT, &[("/home/dev/project/a.md\n/home/dev/project/b.md", false)]));
    assert_eq!(tool(&second), ("Read", &json!({ "file_path": "/home/dev/project/a.md" })));
    let third = message(&asked(prompt, CHAT, &[("a.md\nb.md", false), ("1\tHello", false)]));
    assert!(text(&third).contains("`a.md`, `b.md`") && text(&third).contains("Hello"), "{}", text(&third));
    assert!(text(&message(&asked(prompt, CHAT, &[("No files found", false)]))).contains("no files"));
}

#[test]
fn a_build_writes_runs_and_sums_up() {
    let first = message(&asked("a page", BUILD, &[]));
    assert_eq!(tool(&first).0, "Write");
    assert_eq!(tool(&first).1["file_path"], "/home/dev/project/index.html");
    assert_eq!(tool(&message(&asked("a page", BUILD, &[("ok", false)]))).0, "Bash");
    let last = message(&asked("a page", BUILD, &[("ok", false), ("-rw-r--r-- index.html", false)]));
    assert!(text(&last).starts_with("Done") && !last.uses_tools());
}

#[test]
fn a_build_over_an_existing_page_reads_it_first() {
    let refused = ("File has not been read yet. Read it first before writing to it.", true);
    let steps = [
        (vec![refused], "Read"),
        (vec![refused, ("<html>", false)], "Write"),
        (vec![refused, ("<html>", false), ("ok", false)], "Bash"),
    ];
    for (results, expected) in steps {
        assert_eq!(tool(&message(&asked("a page", BUILD, &results))).0, expected);
    }
}

#[test]
fn a_denied_tool_ends_the_build_with_the_reason() {
    let message = message(&asked("a page", BUILD, &[("No, use another colour", true)]));
    assert!(text(&message).contains("No, use another colour") && !message.uses_tools());
}

#[test]
fn a_script_is_carried_out_line_by_line_one_message_for_each_tool() {
    let prompt = "SAY hello\nBASH echo one\nWRITE a.txt some words\nSLOW 2 10";
    let first = message(&asked(prompt, CHAT, &[]));
    assert_eq!(text(&first), "hello");
    assert_eq!(tool(&first), ("Bash", &json!({ "command": "echo one", "description": "Run what was asked" })));
    let second = message(&asked(prompt, CHAT, &[("one", false)]));
    assert_eq!(tool(&second), ("Write", &json!({ "file_path": "/home/dev/project/a.txt", "content": "some words\n" })));
    let third = message(&asked(prompt, CHAT, &[("one", false), ("ok", false)]));
    let tick = |n: u8| Piece { pause: Duration::from_millis(10), text: format!("tick {n} ") };
    assert_eq!(third.blocks, [Block::Text(vec![tick(0), tick(1)])]);
}

#[test]
fn a_script_that_ends_with_a_tool_tells_what_the_tool_gave() {
    assert_eq!(text(&message(&asked("BASH true", BUILD, &[("fine\nmore", false)]))), "The tool answered: fine");
    assert_eq!(text(&message(&asked("BASH true", BUILD, &[("denied", true)]))), "The tool did not run: denied");
}

#[test]
fn an_error_is_for_ever_or_for_the_first_attempts() {
    assert_eq!(reply(&asked("ERROR 529", CHAT, &[])), Reply::Refuse(529));
    let mut twice = asked("ERROR 529 2\nSAY recovered", CHAT, &[]);
    twice.attempt = 1;
    assert_eq!(reply(&twice), Reply::Refuse(529));
    twice.attempt = 2;
    assert_eq!(text(&message(&twice)), "recovered");
}

#[test]
fn many_tools_come_in_one_message_and_hang_never_completes() {
    assert_eq!(message(&asked("MANY 4", BUILD, &[])).blocks.len(), 4);
    assert_eq!(message(&asked("HANG", CHAT, &[])).ending, Ending::Hang);
}

#[test]
fn keywords_count_only_at_the_start_of_a_line_and_never_in_side_requests() {
    assert!(text(&message(&asked("How do I BASH on?", CHAT, &[]))).contains("You wrote"));
    assert_eq!(text(&message(&asked("ERROR 500", &[], &[]))), super::super::DISCLOSURE);
}
