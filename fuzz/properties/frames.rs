//! What a browser may send on `/ws`: only objects are messages, and whatever is answered is one that the browser can read.

use catalyst_proxy::agent::{Event, Mode, Seq, input, members};
use catalyst_proxy::protocol::{Command, Notice, Prefix, decode, frame};
use serde_json::Value;

/// Panics where it does not hold.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(request) = decode(text) else { return };
    assert_eq!(decode(text).as_ref(), Ok(&request), "decoding has a memory");

    let sent: Value = serde_json::from_str(text).expect("what is no JSON was taken for a message");
    assert!(sent.is_object(), "what is no object was taken for a message");
    assert_eq!(sent["ideaId"], request.idea_id.as_str());

    // The client gets its idea's name back exactly, or it drops the answer.
    let about = request.command.about();
    let notice: Value = serde_json::from_str(&Notice::error("wrong", &about).encode(&request.idea_id)).unwrap();
    assert_eq!(notice["ideaId"], request.idea_id.as_str());
    assert_eq!(notice["messageId"].as_str(), about.message_id.as_deref());
    assert_eq!(notice["requestId"].as_str(), about.request_id.as_deref());
    assert_eq!(request.command.acts(), request.command.audited().is_some());

    let (Command::Chat { message, .. } | Command::Build { instructions: message, .. }) = &request.command else {
        return;
    };
    let shown = members(&Event::Text { text: message.clone() }, Some((1, Seq { offset: 7, sub: 0 })));
    let shown: Value = serde_json::from_slice(&frame(&Prefix::new(&request.idea_id), &shown)).unwrap();
    assert_eq!(shown["text"], message.as_str());

    // Two lines go to the VM whatever the message is: Claude's and the log's.
    let turn = input::turn("m-1", &input::Prompt::new(Mode::Chat, message));
    let lines: Vec<&str> = turn.split_terminator('\n').collect();
    let [claude, log] = lines.as_slice() else { panic!("a turn of {} lines", lines.len()) };
    let claude: Value = serde_json::from_str(claude).unwrap();
    let given = claude["message"]["content"][0]["text"].as_str().unwrap();
    assert!(given == message || given.strip_prefix(' ') == Some(message));
    let log: Value = serde_json::from_str(log).unwrap();
    assert_eq!((log["type"].as_str(), log["text"].as_str()), (Some("catalyst_turn"), Some(message.as_str())));
}
