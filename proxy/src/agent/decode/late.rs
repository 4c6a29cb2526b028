//! What a viewer that comes late is spared: deltas of messages that are closed in what it reads.
//!
//! Invariant: a delta is left out only for the closing text of its own message and kind, which then is given.

use super::out::Out;
use super::state::State;
use crate::agent::event::{Event, Seq};

/// Deltas of a message that may still be closed.
#[derive(Clone, Debug, Default)]
pub(super) struct Late {
    on: bool,
    held: Vec<(Seq, Event)>,
    /// The line that is decoded gave a closing text.
    closed: bool,
    /// Kinds of which deltas were let go that are not closed yet: so are all others of them, and the closing text says nothing new.
    gone: Vec<Kind>,
}

/// What an answer consists of: each kind has deltas and closing texts of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Thinking,
}

impl Kind {
    fn of(event: &Event) -> Option<Kind> {
        match event {
            Event::Text { .. } => Some(Kind::Text),
            Event::Thinking { .. } => Some(Kind::Thinking),
            _ => None,
        }
    }

    /// Whether deltas of the message were given that are not closed yet.
    fn given(self, state: &State) -> bool {
        let given = match self {
            Kind::Text => state.text_given,
            Kind::Thinking => state.thinking_given,
        };
        given && state.streaming != 0
    }

    fn event(self, text: String) -> Event {
        match self {
            Kind::Text => Event::Text { text },
            Kind::Thinking => Event::Thinking { text },
        }
    }
}

impl Late {
    /// For a viewer that comes late.
    pub(super) fn on() -> Late {
        Late { on: true, ..Late::default() }
    }

    /// Keeps deltas back, and lets them go when something other than their closing message comes. `state`: after the line. `first`:
    /// the first event of it.
    pub(super) fn hold(&mut self, state: &State, first: usize, events: &mut Vec<(Seq, Event)>) {
        let closed = std::mem::take(&mut self.closed);
        if !self.on {
            return;
        }
        let fresh = events.split_off(first);
        // As when another message begins.
        self.gone.retain(|kind| kind.given(state));
        if !self.held.iter().all(|(_, event)| self.may_be_closed(state, event)) {
            self.let_go(state, events);
        }
        for (seq, event) in fresh {
            if !closed && self.may_be_closed(state, &event) {
                self.held.push((seq, event));
            } else {
                self.let_go(state, events);
                events.push((seq, event));
            }
        }
    }

    /// Whether the closing text of an event may stand in for it.
    fn may_be_closed(&self, state: &State, event: &Event) -> bool {
        Kind::of(event).is_some_and(|kind| kind.given(state) && !self.gone.contains(&kind))
    }

    fn let_go(&mut self, state: &State, events: &mut Vec<(Seq, Event)>) {
        let kinds = self.held.iter().filter_map(|(_, event)| Kind::of(event)).filter(|kind| kind.given(state));
        self.gone.extend(kinds);
        self.gone.dedup();
        events.append(&mut self.held);
    }

    /// The text of a closing message. `given`: whether its deltas were seen.
    pub(super) fn closing(&mut self, given: bool, text: String, kind: Kind, out: &mut Out<'_>) {
        if text.is_empty() {
            return;
        }
        if given {
            let held = self.held.len();
            self.held.retain(|(_, event)| Kind::of(event) != Some(kind));
            if self.held.len() == held {
                // For whoever had its deltas, or whose decoder was not late when they came, it says nothing new. Whoever comes late is
                // given it: what follows in the line has the same name for both.
                out.skip();
                return;
            }
        }
        self.closed = true;
        out.push(kind.event(text));
    }

    /// What is still held, when there is nothing more to read for now. Nothing is held from then on.
    pub(super) fn finish(&mut self, events: &mut Vec<(Seq, Event)>) {
        events.append(&mut self.held);
        self.on = false;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Decoder;
    use super::*;
    use crate::agent::lines::Lines;

    const START: &str = r#"{"type":"stream_event","event":{"type":"message_start","message":{"id":"ID"}}}"#;

    fn start(id: &str) -> String {
        START.replace("ID", id)
    }

    fn delta(kind: Kind, text: &str) -> String {
        let name = if kind == Kind::Text { "text" } else { "thinking" };
        format!(
            r#"{{"type":"stream_event","event":{{"type":"content_block_delta","delta":{{"type":"{name}_delta","{name}":"{text}"}}}}}}"#
        )
    }

    fn closing(id: &str, blocks: &[(Kind, &str)]) -> String {
        let block = |(kind, text): &(Kind, &str)| {
            let name = if *kind == Kind::Text { "text" } else { "thinking" };
            format!(r#"{{"type":"{name}","{name}":"{text}"}}"#)
        };
        let blocks: Vec<String> = blocks.iter().map(block).collect();
        format!(r#"{{"type":"assistant","message":{{"id":"{id}","content":[{}]}}}}"#, blocks.join(","))
    }

    /// What a late viewer is given of an answer: thinking in parentheses.
    fn given(lines: &[String]) -> String {
        let mut decoder = Decoder::late(State::default());
        let mut events = Vec::new();
        let log = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        Lines::new(0).feed(log.as_bytes(), |line| decoder.line(&line, &mut events));
        decoder.finish(&mut events);
        assert!(events.is_sorted_by(|a, b| a.0 < b.0), "{events:?}");
        let words = events.iter().map(|(_, event)| match event {
            Event::Text { text } => text.clone(),
            Event::Thinking { text } => format!("({text})"),
            other => format!("{other:?}"),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_line_that_closes_text_and_thinking_loses_neither() {
        use Kind::{Text, Thinking};
        let deltas = [start("m"), delta(Thinking, "a"), delta(Thinking, "b"), delta(Text, "c"), delta(Text, "d")];
        let after = |line: String| given(&[&deltas[..], &[line]].concat());
        assert_eq!(after(closing("m", &[(Thinking, "ab"), (Text, "cd")])), "(ab) cd");
        assert_eq!(after(closing("m", &[(Text, "cd"), (Thinking, "ab")])), "cd (ab)");
        // One alone: the other one's deltas are given, since they stand before it.
        assert_eq!(after(closing("m", &[(Thinking, "ab")])), "c d (ab)");
        assert_eq!(after(closing("m", &[(Text, "cd")])), "(a) (b) cd");
        // An empty one closes nothing.
        assert_eq!(after(closing("m", &[(Thinking, ""), (Text, "cd")])), "(a) (b) cd");
        let both = [closing("m", &[(Text, "cd")]), closing("m", &[(Thinking, "ab")])];
        assert_eq!(given(&[&deltas[..], &both].concat()), "(a) (b) cd");
    }

    #[test]
    fn what_comes_between_the_deltas_of_a_message_doubles_nothing() {
        use Kind::{Text, Thinking};
        let other = || r#"{"type":"catalyst_turn","id":"t","text":"x"}"#.to_owned();
        let said = |lines: Vec<String>| given(&lines).replace(|c: char| !"abcd() ".contains(c), "");
        let words = |lines: Vec<String>| said(lines).split_whitespace().collect::<Vec<_>>().join(" ");
        let amid = || vec![start("m"), delta(Text, "a"), other(), delta(Text, "b")];
        assert!(words([amid(), vec![closing("m", &[(Text, "ab")])]].concat()).ends_with(" b"));
        // A second text of the same message has a closing one of its own, and so has another message.
        let second = vec![closing("m", &[(Text, "ab")]), delta(Text, "c"), delta(Text, "d")];
        assert!(words([amid(), second, vec![closing("m", &[(Text, "cd")])]].concat()).ends_with(" b cd"));
        let next = vec![start("n"), delta(Text, "c"), delta(Text, "d"), closing("n", &[(Text, "cd")])];
        assert!(words([amid(), next].concat()).ends_with(" b cd"));
        // Of the other kind nothing was let go.
        let both = vec![delta(Thinking, "c"), delta(Thinking, "d"), closing("m", &[(Thinking, "cd"), (Text, "ab")])];
        assert!(words([amid(), both].concat()).ends_with(" b (cd)"));
    }

    #[test]
    fn a_message_that_is_never_closed_is_not_lost_behind_one_that_is() {
        use Kind::Text;
        let [first, second] = ["one", "two"].map(|id| [start(id), delta(Text, id)]).map(|lines| lines.to_vec());
        assert_eq!(
            given(&[first.clone(), second.clone(), vec![closing("two", &[(Text, "two!")])]].concat()),
            "one two!"
        );
        // Another message is closed than the one whose deltas came.
        assert_eq!(given(&[first, vec![closing("two", &[(Text, "two!")])]].concat()), "one two!");
    }
}
