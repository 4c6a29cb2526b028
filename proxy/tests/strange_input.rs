//! Input that no client and no Claude should give, and that was taken all the same or broke what was told of it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use catalyst_proxy::agent::{Decoder, Lines, State, members};
use catalyst_proxy::protocol::{Prefix, frame};
use catalyst_proxy::{protocol, terminal};
use serde_json::Value;

#[test]
fn an_array_of_a_messages_members_is_no_message() {
    for text in [
        r#"["cancel","an-idea"]"#,
        r#"["chat","an-idea","hello",null]"#,
        r#" ["trim","an-idea",1]"#,
        r#"["subscribe","an-idea",1,null]"#,
    ] {
        assert!(protocol::decode(text).is_err(), "{text}");
    }
    assert!(protocol::decode(" \n{\"type\":\"cancel\",\"ideaId\":\"x\"}").is_ok());
    for text in [r#"["close"]"#, r#"["resize",80,24]"#, r#" ["credit",5]"#] {
        assert!(terminal::protocol::decode(text).is_err(), "{text}");
    }
    assert!(terminal::protocol::decode(" {\"type\":\"close\"}").is_ok());
}

#[test]
fn a_result_is_told_as_json_whatever_it_says_of_its_cost() {
    let costs = ["1e300", "-1e308", "1.7e308", "0.1", "-0", "5e-324", "null"];
    let log: String = costs
        .iter()
        .map(|cost| {
            format!("{{\"type\":\"result\",\"subtype\":\"success\",\"duration_ms\":1e300,\"total_cost_usd\":{cost}}}\n")
        })
        .collect();
    let mut decoder = Decoder::new(State::default());
    let mut events = Vec::new();
    Lines::new(0).feed(log.as_bytes(), |line| decoder.line(&line, &mut events));
    assert_eq!(events.len(), costs.len());
    for (seq, event) in &events {
        let told = frame(&Prefix::new("an-idea"), &members(event, Some((1, *seq))));
        let told = String::from_utf8(told).unwrap();
        let read: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
        assert!(read["costUsd"].as_f64().unwrap().is_finite(), "{told}");
    }
}
