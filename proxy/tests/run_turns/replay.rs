//! Replay: from any cut, on any replica, the same sequence follows.

use std::fmt::Write as _;
use std::sync::Arc;

use catalyst_proxy::agent::Event;
use catalyst_proxy::run::{Frame, IdeaRef, Position};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::stage::{Stage, assert_in_order, bodies, is_exit, text, until};

/// One thing that a log may hold.
#[derive(Clone, Debug)]
enum Part {
    Turn,
    Init,
    Start(u8),
    Delta(bool, usize),
    Closing(u8, String),
    Tool(u8),
    ToolResult(u8),
    Request(u8),
    Withdrawn(u8),
    Result(u16),
    Unknown,
    Garbage(&'static str),
    /// A line of so many bytes that nobody is shown.
    Bulk(usize),
    /// Lines over 1 MiB, of which only the beginning counts.
    LongResult(u16),
    LongReplay,
    LongToolResults(u8, u8),
    LongRequest(u8),
}

/// What the deltas of a message have said that is not closed yet: its closing texts say the same.
#[derive(Default)]
struct Said {
    message: Option<u8>,
    text: String,
    thinking: String,
}

impl Said {
    /// What a closing line of a message says; of one that has said nothing, or of another, these words.
    fn close(&mut self, id: u8, text: &str, thinking: &str) -> [String; 2] {
        let said = [std::mem::take(&mut self.text), std::mem::take(&mut self.thinking)];
        let given = |said: &str, otherwise: &str| {
            if self.message == Some(id) && !said.is_empty() { said.to_owned() } else { otherwise.to_owned() }
        };
        [given(&said[0], text), given(&said[1], thinking)]
    }
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        2 => Just(Part::Turn),
        2 => Just(Part::Init),
        4 => (0u8..4).prop_map(Part::Start),
        // Some so long that the beginning of a message is far away.
        8 => (any::<bool>(), prop_oneof![9 => 1usize..40, 1 => 30_000usize..90_000]).prop_map(|(text, size)| Part::Delta(text, size)),
        3 => (0u8..4, "[a-zü\"\\\\]{0,12}").prop_map(|(id, text)| Part::Closing(id, text)),
        2 => (0u8..4).prop_map(Part::Tool),
        2 => (0u8..4).prop_map(Part::ToolResult),
        2 => (0u8..4).prop_map(Part::Request),
        1 => (0u8..4).prop_map(Part::Withdrawn),
        1 => (0u16..500).prop_map(Part::Result),
        1 => Just(Part::Unknown),
        1 => Just(Part::Bulk(300_000)),
        1 => prop_oneof![Just(""), Just("null"), Just("[1]"), Just("{\"type\":"), Just("not JSON"), Just("{\"type\":7}")]
            .prop_map(Part::Garbage),
    ]
}

fn written(parts: &[Part]) -> String {
    let mut log = String::from("{\"type\":\"catalyst_start\",\"mode\":\"build\"}\n");
    let mut said = Said::default();
    let long = "x".repeat((1 << 20) + 100);
    for (at, part) in parts.iter().enumerate() {
        match part {
            Part::Init | Part::Result(_) | Part::LongResult(_) => said.message = None,
            Part::Start(id) => said = Said { message: Some(*id), ..Said::default() },
            _ => {}
        }
        let line = match part {
            Part::Turn => format!(r#"{{"type":"catalyst_turn","id":"m-{at}","mode":"build","text":"turn {at}"}}"#),
            Part::Init => r#"{"type":"system","subtype":"init","session_id":"s","model":"m"}"#.to_owned(),
            Part::Start(id) => {
                format!(r#"{{"type":"stream_event","event":{{"type":"message_start","message":{{"id":"msg-{id}"}}}}}}"#)
            }
            Part::Delta(is_text, size) => {
                let (kind, member) = if *is_text { ("text_delta", "text") } else { ("thinking_delta", "thinking") };
                let words = format!("{at} {}", "x".repeat(*size));
                if said.message.is_some() {
                    let so_far = if *is_text { &mut said.text } else { &mut said.thinking };
                    so_far.push_str(&words);
                }
                format!(
                    r#"{{"type":"stream_event","event":{{"type":"content_block_delta","delta":{{"type":"{kind}","{member}":"{words}"}}}}}}"#
                )
            }
            Part::Closing(id, text) => {
                let [text, thinking] = said.close(*id, text, "t").map(|words| serde_json::json!(words));
                format!(
                    r#"{{"type":"assistant","message":{{"id":"msg-{id}","content":[{{"type":"text","text":{text}}},{{"type":"thinking","thinking":{thinking}}}]}}}}"#
                )
            }
            Part::Tool(id) => format!(
                r#"{{"type":"assistant","message":{{"id":"msg-{id}","content":[{{"type":"tool_use","id":"tool-{id}","name":"Bash","input":{{}}}}]}}}}"#
            ),
            Part::ToolResult(id) => format!(
                r#"{{"type":"user","message":{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"tool-{id}","content":"ok"}}]}}}}"#
            ),
            Part::Request(id) => format!(
                r#"{{"type":"control_request","request_id":"ask-{at}","request":{{"subtype":"can_use_tool","tool_name":"Bash","input":{{}},"tool_use_id":"tool-{id}"}}}}"#
            ),
            Part::Withdrawn(id) => format!(r#"{{"type":"control_cancel_request","request_id":"ask-{id}"}}"#),
            Part::Result(cents) => format!(
                r#"{{"type":"result","subtype":"success","is_error":false,"result":"done","session_id":"s","num_turns":1,"duration_ms":3,"total_cost_usd":0.{cents:03}}}"#
            ),
            Part::Unknown => format!(r#"{{"type":"something_new","at":{at}}}"#),
            Part::Garbage(line) => (*line).to_owned(),
            Part::LongResult(cents) => format!(
                r#"{{"type":"result","subtype":"success","is_error":false,"result":"{long}","session_id":"s","num_turns":1,"duration_ms":3,"total_cost_usd":0.{cents:03}}}"#
            ),
            Part::LongReplay => {
                format!(r#"{{"type":"user","message":{{"role":"user","content":"{long}"}},"isReplay":true}}"#)
            }
            Part::LongToolResults(one, two) => format!(
                r#"{{"type":"user","message":{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"tool-{one}","content":"{long}"}},{{"type":"tool_result","tool_use_id":"tool-{two}","content":"ok"}}]}}}}"#
            ),
            Part::LongRequest(id) => format!(
                r#"{{"type":"control_request","request_id":"ask-{at}","request":{{"subtype":"can_use_tool","tool_name":"Bash","input":{{"command":"{long}"}},"tool_use_id":"tool-{id}"}}}}"#
            ),
            Part::Bulk(size) => format!(r#"{{"type":"something_long","text":"{}"}}"#, "x".repeat(*size)),
        };
        writeln!(log, "{line}").unwrap();
    }
    log.push_str("{\"type\":\"catalyst_exit\",\"code\":0,\"reason\":\"ended\",\"stderr\":\"\"}\n");
    log
}

fn said(frames: &[Arc<Frame>]) -> Vec<String> {
    frames.iter().map(|frame| String::from_utf8(frame.body.to_vec()).unwrap()).collect()
}

/// What lies further apart than what is read at once, and means something to each other.
fn far_apart() -> Vec<Vec<Part>> {
    let bulk = || Part::Bulk(300_000);
    let text = || Part::Delta(true, 3);
    vec![
        vec![Part::Turn, Part::Init, Part::Request(1), bulk(), Part::Start(2), text(), Part::ToolResult(1), bulk()],
        vec![
            Part::Turn,
            Part::Init,
            Part::Turn,
            bulk(),
            Part::Start(1),
            text(),
            Part::Result(7),
            bulk(),
            Part::Start(2),
        ],
        vec![Part::Init, Part::Start(1), text(), bulk(), Part::Turn, text(), bulk(), Part::Closing(1, "ab".into())],
        // A message that waited when the last result came, and that the end finds unanswered.
        vec![Part::Turn, Part::Turn, Part::Init, Part::Result(7), Part::Bulk(5 << 20), Part::Unknown, bulk()],
        vec![Part::Result(5), Part::Request(0), Part::Request(1), bulk(), Part::Init, bulk(), Part::Result(9)],
        // Longer than what is searched for a beginning.
        vec![Part::Request(1), Part::Bulk(5 << 20), Part::Start(2), text(), Part::ToolResult(1), Part::Bulk(5 << 20)],
        vec![
            Part::Start(1),
            Part::Delta(false, 3),
            text(),
            Part::Bulk(3 << 20),
            Part::Bulk(3 << 20),
            text(),
            Part::Closing(1, "ab".into()),
        ],
        vec![Part::Start(1), Part::Delta(false, 3), text(), Part::Bulk(5 << 20), Part::Closing(1, "ab".into())],
        // Lines of which only the beginning is kept mean no more to whoever begins behind them.
        vec![
            Part::Turn,
            Part::Result(5),
            Part::Turn,
            Part::LongResult(9),
            bulk(),
            Part::Turn,
            Part::Result(12),
            bulk(),
        ],
        vec![
            Part::Turn,
            Part::Turn,
            Part::LongReplay,
            Part::LongReplay,
            Part::Result(7),
            bulk(),
            Part::Unknown,
            bulk(),
        ],
        vec![Part::Request(1), Part::Request(2), Part::LongToolResults(1, 2), bulk(), Part::Unknown, Part::Result(9)],
        vec![Part::LongRequest(1), bulk(), Part::Unknown, bulk(), Part::ToolResult(1), Part::Result(9)],
    ]
}

fn thinking(frames: &[Arc<Frame>]) -> String {
    let thought =
        |frame: &Arc<Frame>| if let Event::Thinking { text } = &frame.event { Some(text.clone()) } else { None };
    frames.iter().filter_map(thought).collect()
}

fn costs(frames: &[Arc<Frame>]) -> Vec<f64> {
    let cost = |frame: &Arc<Frame>| if let Event::Result(turn) = &frame.event { Some(turn.cost_usd) } else { None };
    frames.iter().filter_map(cost).collect()
}

/// As `assert_eq`, for texts too long to be shown whole.
fn assert_same_words(shown: &str, all: &str, parts: &[Part]) {
    let same = shown.bytes().zip(all.bytes()).take_while(|(a, b)| a == b).count();
    let lengths = (shown.len(), all.len());
    assert!(shown == all, "{lengths:?} bytes, of which the first {same} are the same, of {parts:?}");
}

#[tokio::test]
async fn after_any_cut_any_replica_goes_on_with_the_same_sequence() {
    let stage = Stage::new().await;
    let replicas = [stage.replica(), stage.replica()];
    // A new seed each time; a failure prints its log.
    let mut runner = TestRunner::default();
    let logs = prop::collection::vec(part(), 1..80);
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 6);
    let any: Vec<Vec<Part>> = (0..10).map(|_| logs.new_tree(&mut runner).unwrap().current()).collect();
    for (case, parts) in far_apart().into_iter().chain(any).enumerate() {
        let log = written(&parts);
        let idea = IdeaRef { id: uuid::Uuid::new_v4().to_string(), slug: format!("case-{case}"), session_id: None };
        let folder = stage.sshd.home().join(format!("ideas/case-{case}/runs/1"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("log.jsonl"), &log).unwrap();

        let beginning = Position { run: 1, seq: "0.0".parse().unwrap() };
        let mut whole = replicas[0].subscribe(&idea, Some(beginning)).await.unwrap();
        let all = until(&mut whole, is_exit).await;
        assert_in_order(&all);
        // The logs of our own are short: each cut of theirs counts.
        let places: Vec<usize> = if all.len() < 20 {
            (0..all.len()).collect()
        } else {
            cuts.new_tree(&mut runner).unwrap().current().iter().map(|cut| cut.index(all.len())).collect()
        };
        for had in places {
            for (number, replica) in replicas.iter().enumerate() {
                let after = all[had].position();
                let mut rest = replica.subscribe(&idea, Some(after)).await.unwrap();
                let left = if had + 1 == all.len() { Vec::new() } else { until(&mut rest, is_exit).await };
                assert_eq!(said(&left), said(&all[had + 1..]), "replica {number} after {after:?} of {parts:?}");
            }
        }
        // Who has nothing yet gets closed messages whole, and pages back to the beginning: the same words, each once.
        let mut late = replicas[1].subscribe(&idea, None).await.unwrap();
        let mut shown = until(&mut late, is_exit).await;
        let mut before = late.start.before;
        while let Some(at) = before {
            let page = replicas[0].page(&idea, at).await.unwrap();
            shown.splice(0..0, page.frames);
            assert!(page.before.is_none_or(|next| next < at), "paging stays at {at:?} of {parts:?}");
            before = page.before;
        }
        assert_in_order(&shown);
        let turns = |frames: &[Arc<Frame>]| {
            bodies(frames).into_iter().filter(|body| body.contains("claude:user")).collect::<Vec<_>>()
        };
        assert_eq!(turns(&shown), turns(&all), "{parts:?}");
        assert_eq!(costs(&shown), costs(&all), "{parts:?}");
        assert_same_words(&text(&shown), &text(&all), &parts);
        assert_same_words(&thinking(&shown), &thinking(&all), &parts);
    }
}
