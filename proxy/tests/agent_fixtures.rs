//! What the real CLI printed (tests/fixtures, recorded), decoded.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use catalyst_proxy::agent::input::{self, Prompt};
use catalyst_proxy::agent::{Decoder, Event, LINE_LIMIT, Lines, Mode, Seq, State, members};
use proptest::prelude::*;

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let recorded = std::fs::read(path).unwrap();
    // Keys that begin with an underscore are the recorder's.
    let mut log = Vec::new();
    for line in recorded.split_inclusive(|byte| *byte == b'\n') {
        if !line.starts_with(b"{\"_") {
            log.extend_from_slice(line);
        }
    }
    log
}

fn decode_pieces(mut decoder: Decoder, start: u64, pieces: &[&[u8]]) -> (Vec<(Seq, Event)>, Decoder) {
    let mut lines = Lines::new(start);
    let mut events = Vec::new();
    for piece in pieces {
        lines.feed(piece, |line| decoder.line(&line, &mut events));
    }
    decoder.finish(&mut events);
    (events, decoder)
}

fn decode(log: &[u8]) -> Vec<Event> {
    decode_pieces(Decoder::new(State::default()), 0, &[log]).0.into_iter().map(|(_, event)| event).collect()
}

fn encoded(events: &[(Seq, Event)]) -> Vec<String> {
    events.iter().map(|(seq, event)| String::from_utf8(members(event, Some((1, *seq))).to_vec()).unwrap()).collect()
}

fn text_of(events: &[Event]) -> String {
    events
        .iter()
        .filter_map(|event| if let Event::Text { text } = event { Some(text.as_str()) } else { None })
        .collect()
}

#[test]
fn text_is_given_once_though_it_comes_as_deltas_and_closed() {
    let events = decode(&fixture("bidi-two-turns"));
    assert_eq!(text_of(&events), "Hello from the fake API.Hello from the fake API.");
    assert_eq!(events.iter().filter(|event| matches!(event, Event::System { .. })).count(), 2);
}

#[test]
fn without_deltas_the_closing_text_is_given() {
    assert_eq!(text_of(&decode(&fixture("hello"))), "Hello from the fake API.");
}

#[test]
fn each_turn_costs_what_it_added() {
    let costs: Vec<f64> = decode(&fixture("bidi-two-turns"))
        .iter()
        .filter_map(|event| if let Event::Result(turn) = event { Some(turn.cost_usd) } else { None })
        .collect();
    assert_eq!(costs.len(), 2);
    assert!((costs[0] - 0.000_275).abs() < 1e-9 && (costs[1] - 0.000_275).abs() < 1e-9, "{costs:?}");
}

#[test]
fn an_interrupted_turn_is_stopped_and_not_failed() {
    let events = decode(&fixture("bidi-interrupt"));
    let turn = events.iter().find_map(|event| if let Event::Result(turn) = event { Some(turn) } else { None }).unwrap();
    assert!(turn.interrupted);
    assert_eq!((turn.result.as_str(), turn.error.as_deref()), ("Stopped.", Some("Stopped.")));
    assert!(!events.iter().any(|event| matches!(event, Event::Error { .. })));
}

#[test]
fn a_permission_request_opens_and_its_result_closes_it() {
    for (name, failed) in [("bidi-permission-allow", false), ("bidi-permission-deny", true)] {
        let events = decode(&fixture(name));
        let at = |wanted: &dyn Fn(&Event) -> bool| events.iter().position(wanted).unwrap();
        let asked = at(&|event| matches!(event, Event::Permission { name, .. } if name == "Write"));
        let closed = at(&|event| matches!(event, Event::PermissionClosed { .. }));
        let given = at(&|event| matches!(event, Event::ToolResult { is_error, .. } if *is_error == failed));
        assert!(asked < closed && closed < given, "{name}: {asked} {closed} {given}");
    }
}

#[test]
fn a_failed_call_of_the_api_is_an_error_and_a_filled_result() {
    let events = decode(&fixture("api-error-401"));
    let error = events.iter().find_map(|event| if let Event::Error { error } = event { Some(error) } else { None });
    assert_eq!(error.unwrap(), "Failed to authenticate. API Error: 401 fake 401");
    assert!(matches!(events.last(), Some(Event::Result(turn)) if turn.error.is_some() && !turn.result.is_empty()));
    let retries = events.iter().filter(|event| matches!(event, Event::Other { .. })).count();
    assert_eq!(retries, 2, "api_retry lines are passed through");
}

#[test]
fn a_session_that_is_gone_says_so() {
    let events = decode(&fixture("resume-unknown"));
    assert!(matches!(&events[0], Event::Error { error } if error.starts_with("No conversation found")), "{events:?}");
}

#[test]
fn tool_calls_and_results_are_paired() {
    let events = decode(&fixture("tool-bash-partial"));
    let call = events.iter().find_map(|event| match event {
        Event::ToolUse { tool_use_id, name, input, .. } => Some((tool_use_id, name, input)),
        _ => None,
    });
    let (call, name, input) = call.unwrap();
    assert_eq!(name, "Bash");
    assert!(input.get().contains("echo hello-from-tool"));
    assert!(events.iter().any(|event| matches!(event,
        Event::ToolResult { tool_use_id, content, .. } if tool_use_id == call && content == "hello-from-tool")));
}

#[test]
fn a_process_that_dies_in_mid_turn_gives_error_result_and_exit_in_this_order() {
    let mut log = fixture("bidi-eof-midstream");
    let cut = log.len() / 2;
    log.truncate(cut);
    log.extend_from_slice(b"\n{\"type\":\"catalyst_exit\",\"code\":1,\"reason\":\"ended\",\"stderr\":\"boom\\n\"}\n");
    let events = decode(&log);
    let [.., Event::Error { error }, Event::Result(turn), Event::Exit { code: 1, .. }] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(error, "Claude ended without an answer (exit status 1): boom");
    assert_eq!(turn.result, *error);
}

#[test]
fn a_process_that_ends_between_turns_only_exits() {
    let mut log = fixture("bidi-two-turns");
    log.extend_from_slice(b"{\"type\":\"catalyst_exit\",\"code\":0,\"reason\":\"idle\",\"stderr\":\"\"}\n");
    let events = decode(&log);
    assert!(matches!(events.as_slice(), [.., Event::Result(_), Event::Exit { code: 0, .. }]));
    assert!(!events.iter().any(|event| matches!(event, Event::Error { .. })));
}

#[test]
fn a_late_viewer_gets_closing_texts_and_the_deltas_of_what_is_still_open() {
    let log = fixture("bidi-two-turns");
    let (events, _) = decode_pieces(Decoder::late(State::default()), 0, &[&log]);
    let texts: Vec<&Event> =
        events.iter().map(|(_, event)| event).filter(|event| matches!(event, Event::Text { .. })).collect();
    assert_eq!(texts.len(), 2, "one closing text a turn: {texts:?}");

    let cut = memchr::memmem::find(&log, b"fake ").unwrap();
    let cut = cut + memchr::memchr(b'\n', &log[cut..]).unwrap() + 1;
    let (mut events, decoder) = decode_pieces(Decoder::late(State::default()), 0, &[&log[..cut]]);
    let (rest, _) = decode_pieces(decoder, cut as u64, &[&log[cut..]]);
    events.extend(rest);
    let events: Vec<Event> = events.into_iter().map(|(_, event)| event).collect();
    assert_eq!(text_of(&events), "Hello from the fake API.Hello from the fake API.");
}

#[test]
fn a_request_too_long_to_show_can_still_be_answered() {
    let line = format!(
        "{{\"type\":\"control_request\",\"request_id\":\"r-1\",\"request\":{{\"subtype\":\"can_use_tool\",\"tool_name\":\"Write\",\
         \"input\":{{\"content\":\"{}\"}},\"tool_use_id\":\"t-1\"}}}}\n",
        "x".repeat(2 << 20)
    );
    let events = decode(line.as_bytes());
    let [Event::Permission { request_id, name, .. }, Event::Large { kind, start: 0, length, head }] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    assert_eq!((request_id.as_str(), name.as_str(), kind.as_str()), ("r-1", "Write", "control_request"));
    assert_eq!(*length, line.len() as u64);
    assert_eq!(*head, line[..1024]);
}

#[test]
fn garbage_between_lines_changes_nothing() {
    let log = fixture("bidi-two-turns");
    let mut dirty = Vec::new();
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        dirty.extend_from_slice(
            b"not json\n{\"type\":\n\n{\"type\":\"assistant\",\"message\":7}\n\xff\xfe{\n[1]\nnull\n",
        );
        dirty.extend_from_slice(line);
    }
    let (clean, dirty) = (decode(&log), decode(&dirty));
    assert_eq!(clean.len(), dirty.len());
    assert_eq!(text_of(&clean), text_of(&dirty));
}

const ALL: [&str; 9] = [
    "bidi-two-turns",
    "bidi-interrupt",
    "bidi-permission-allow",
    "bidi-permission-deny",
    "tool-bash-partial",
    "api-error-401",
    "hello",
    "resume-unknown",
    "bidi-eof-midstream",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Wherever a log is cut, and whoever goes on from there: the same events at the same places.
    #[test]
    fn any_cut_of_a_log_gives_the_same_sequence(which in 0..ALL.len(), cuts in prop::collection::vec(0usize..20_000, 0..6)) {
        let log = fixture(ALL[which]);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (log.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut at = 0;
        for cut in cuts {
            pieces.push(&log[at..cut]);
            at = cut;
        }
        pieces.push(&log[at..]);
        let whole = encoded(&decode_pieces(Decoder::new(State::default()), 0, &[&log]).0);
        prop_assert_eq!(&encoded(&decode_pieces(Decoder::new(State::default()), 0, &pieces).0), &whole);

        // One reader stops after some line, another replica goes on with the state that goes with it.
        let cut = log[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let (mut events, decoder) = decode_pieces(Decoder::new(State::default()), 0, &[&log[..cut]]);
        events.extend(decode_pieces(Decoder::new(decoder.state().clone()), cut as u64, &[&log[cut..]]).0);
        prop_assert_eq!(&encoded(&events), &whole);
    }
}

#[test]
fn a_turn_says_what_it_is_for_and_those_of_older_logs_do_not() {
    let lines = input::turn("m1", &Prompt { by: Some("Zoë"), ..Prompt::new(Mode::Build, "make it") });
    let (_, written) = lines.split_once('\n').unwrap();
    let older = "{\"type\":\"catalyst_turn\",\"id\":\"m0\",\"text\":\"older\"}\n";
    let newer = "{\"type\":\"catalyst_turn\",\"id\":\"m2\",\"mode\":\"plan\",\"text\":\"newer\"}\n";
    let log = format!("{older}{written}{newer}");
    let events = decode_pieces(Decoder::new(State::default()), 0, &[log.as_bytes()]).0;
    let modes: Vec<Option<Mode>> = events
        .iter()
        .map(|(_, event)| if let Event::User { mode, .. } = event { *mode } else { panic!("{event:?}") })
        .collect();
    assert_eq!(modes, [None, Some(Mode::Build), None]);
    let bodies = encoded(&events);
    for nothing in ["mode", "\"by\""] {
        assert!(!bodies[0].contains(nothing) && !bodies[2].contains(nothing), "{bodies:#?}");
    }
    assert!(
        bodies[1].ends_with(r#""text":"make it","messageId":"m1","mode":"build","buildMode":"acceptEdits","by":"Zoë""#),
        "{}",
        bodies[1]
    );
}

#[test]
fn a_message_too_long_to_be_shown_whole_still_says_whose_it_is() {
    let name = r#"Zoë "by" \ O'Neil"#;
    let said = r#""by":"somebody else" "#.repeat(LINE_LIMIT / 10);
    for by in [None, Some(name)] {
        let lines = input::turn("m1", &Prompt { by, ..Prompt::new(Mode::Chat, &said) });
        let (_, written) = lines.split_once('\n').unwrap();
        let events = decode_pieces(Decoder::new(State::default()), 0, &[written.as_bytes()]).0;
        let Event::User { by: told, text, .. } = &events[0].1 else { panic!("{events:?}") };
        assert_eq!(told.as_deref(), by);
        assert!(text.starts_with("\"by\":\"somebody else\""), "{text}");
    }
}
