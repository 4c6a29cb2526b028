//! What a run's log on the VM says, read from its file by a decoder of its own: what every viewer has to have been told.

use catalyst_proxy::agent::{Decoder, Lines, Seq, State, members};
use serde_json::Value;

/// Frames as text: pieces of texts and thoughts joined, since how they come joined is nobody's concern; everything else as its JSON.
#[derive(Default)]
struct Told {
    text: String,
    joined: Option<String>,
}

impl Told {
    fn add(&mut self, mut frame: Value) {
        let kind = frame["type"].as_str().unwrap_or_default().to_owned();
        if !["claude:text", "claude:thinking"].contains(&kind.as_str()) {
            // As the client wrote it.
            frame.as_object_mut().unwrap().remove("ideaId");
            self.joined = None;
            self.text += &format!("\n{frame}\n");
            return;
        }
        if self.joined.as_ref() != Some(&kind) {
            self.text += &format!("\n{kind} ");
        }
        self.text += frame["text"].as_str().unwrap();
        self.joined = Some(kind);
    }
}

/// These are, each once and in order, what the log says from its beginning to the last of them.
pub(crate) fn assert_said_by_the_log(log: &[u8], run: u64, frames: impl IntoIterator<Item = Value>) {
    let (mut told, mut last) = (Told::default(), None);
    for frame in frames.into_iter().filter(|frame| frame["seq"].is_string()) {
        last = frame["seq"].as_str().map(|seq| seq.parse::<Seq>().unwrap());
        assert_eq!(frame["run"], run, "{frame}");
        told.add(frame);
    }
    let Some(last) = last else { panic!("nothing was told") };
    let mut expected = Told::default();
    let mut decoder = Decoder::new(State::default());
    let mut events = Vec::new();
    Lines::new(0).feed(log, |line| {
        decoder.line(&line, &mut events);
        for (seq, event) in events.drain(..).filter(|(seq, _)| *seq <= last) {
            let body = members(&event, Some((run, seq)));
            expected.add(serde_json::from_str(&format!("{{{}}}", String::from_utf8_lossy(&body))).unwrap());
        }
    });
    let (told, expected) = (told.text, expected.text);
    let same = told.bytes().zip(expected.bytes()).take_while(|(a, b)| a == b).count();
    let around = |text: &str| {
        String::from_utf8_lossy(&text.as_bytes()[same.saturating_sub(100)..text.len().min(same + 200)]).into_owned()
    };
    assert!(told == expected, "after {same} bytes came\n{}\nand not\n{}", around(&told), around(&expected));
}
