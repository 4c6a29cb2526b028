//! Turns: what goes in, what comes out.

use catalyst_proxy::agent::Mode;
use serde_json::json;

use crate::session::Cli;

#[tokio::test]
async fn a_chat_streams_an_answer_in_pieces_and_closes_with_the_same_text() {
    let cli = Cli::installed().await;
    let mut chat = cli.start(Mode::Chat);
    chat.turn("SAY one two three").await;
    let events = chat.result().await;
    let init = events.init();
    assert_eq!(init["claude_code_version"], catalyst_lab::claude::VERSION);
    assert_eq!(init["cwd"], cli.project("").to_str().unwrap().trim_end_matches('/'));
    assert_eq!(init["mcp_servers"], json!([]));
    assert!(events.of_type("stream_event").len() >= 3 + 5, "pieces and the frame around them");
    assert_eq!(events.streamed(), "one two three");
    assert_eq!(events.closing(), "one two three");
    let result = events.last();
    assert_eq!(
        (&result["subtype"], &result["is_error"], &result["result"]),
        (&json!("success"), &json!(false), &json!("one two three"))
    );
    assert_eq!(result["session_id"], init["session_id"]);
    for number in ["duration_ms", "num_turns", "total_cost_usd"] {
        assert!(result[number].is_number(), "{number}: {result}");
    }
    chat.end().await;
}

#[tokio::test]
async fn thinking_streams_as_deltas_of_its_own() {
    let cli = Cli::installed().await;
    let mut chat = cli.start(Mode::Chat);
    chat.turn("THINK about it\nSAY so").await;
    let events = chat.result().await;
    let deltas = events.of_type("stream_event").into_iter().map(|event| &event["event"]["delta"]);
    let thought: String = deltas.filter_map(|delta| delta["thinking"].as_str()).collect();
    assert_eq!(thought, "about it");
    assert!(
        events.blocks("assistant").iter().any(|block| block["type"] == "thinking" && block["thinking"] == "about it")
    );
    assert_eq!(events.last()["result"], "so");
    chat.end().await;
}

#[tokio::test]
async fn a_turn_is_replayed_with_the_uuid_it_was_given_as_the_proof_of_delivery() {
    let cli = Cli::installed().await;
    let mut chat = cli.start(Mode::Chat);
    let uuid = "7f3f7a70-19d2-4d13-9d9b-0d4d4a0a5e11";
    chat.turn_named("SAY hello", uuid).await;
    let events = chat.result().await;
    let replays = events.replays();
    assert_eq!(replays.len(), 1);
    assert_eq!(
        (&replays[0]["uuid"], &replays[0]["message"]["content"][0]["text"]),
        (&json!(uuid), &json!("SAY hello"))
    );
    // A uuid that was there before is replayed and not answered: a turn delivered twice runs once.
    chat.turn_named("SAY twice", uuid).await;
    chat.turn("SAY next").await;
    let events = chat.result().await;
    assert_eq!(events.last()["result"], "next");
    assert_eq!(events.replays().iter().filter(|replay| replay["uuid"] == uuid).count(), 1);
    assert!(!cli.api.requests().iter().any(|request| request["messages"].to_string().contains("SAY twice")));
    chat.end().await;
}

#[tokio::test]
async fn one_process_answers_turn_after_turn_and_its_cost_counts_up() {
    let cli = Cli::installed().await;
    let mut chat = cli.start(Mode::Chat);
    let mut costs = Vec::new();
    let mut sessions = Vec::new();
    for turn in ["SAY first", "SAY second", "SAY third"] {
        chat.turn(turn).await;
        let events = chat.result().await;
        sessions.push(events.init()["session_id"].clone());
        costs.push(events.last()["total_cost_usd"].as_f64().unwrap());
    }
    assert!(costs[0] > 0.0 && costs[0] < costs[1] && costs[1] < costs[2], "{costs:?}");
    sessions.dedup();
    assert_eq!(sessions.len(), 1, "every turn begins with an init event of the same session");
    chat.end().await;
    let mut again = cli.resume(Mode::Chat, sessions[0].as_str().unwrap());
    again.turn("SAY first").await;
    let cost = again.result().await.last()["total_cost_usd"].as_f64().unwrap();
    assert!(cost < costs[2], "a new process counts from zero: {cost} after {costs:?}");
    again.end().await;
}

#[tokio::test]
async fn turns_sent_while_one_runs_are_each_answered() {
    let cli = Cli::installed().await;
    let mut chat = cli.start(Mode::Chat);
    chat.turn("SLOW 5 50").await;
    chat.turn("SAY second").await;
    assert!(chat.result().await.last()["result"].as_str().unwrap().contains("tick 4"));
    assert_eq!(chat.result().await.last()["result"], "second");
    chat.end().await;
}

#[tokio::test]
async fn a_session_is_resumed_by_another_process_also_from_chat_to_build() {
    let cli = Cli::installed().await;
    let mut chat = cli.start(Mode::Chat);
    chat.turn("SAY remember the kite").await;
    let session = chat.result().await.last()["session_id"].as_str().unwrap().to_owned();
    chat.end().await;
    let mut build = cli.resume(Mode::Build, &session);
    build.turn("WRITE page.txt hello").await;
    let events = build.result().await;
    assert_eq!(events.last()["session_id"], session);
    assert_eq!(std::fs::read_to_string(cli.project("page.txt")).unwrap(), "hello\n");
    let asked = cli.api.requests().pop().unwrap();
    assert!(asked["messages"].to_string().contains("remember the kite"), "the history is sent along");
    build.end().await;
}

#[tokio::test]
async fn an_unknown_session_cannot_be_resumed_and_says_so() {
    let cli = Cli::installed().await;
    let mut chat = cli.resume(Mode::Chat, "11111111-1111-4111-8111-111111111111");
    chat.turn("SAY hello").await;
    let (events, status) = chat.rest().await;
    assert_eq!(status.code(), Some(1));
    let result = events.last();
    assert_eq!((&result["type"], &result["subtype"]), (&json!("result"), &json!("error_during_execution")));
    assert!(result["errors"].to_string().contains("No conversation found"), "{result}");
}

#[tokio::test]
async fn a_message_that_begins_with_a_slash_is_a_command_unless_a_space_stands_before_it() {
    let cli = Cli::installed().await;
    let mut chat = cli.start(Mode::Chat);
    chat.turn("/kites are nice").await;
    let events = chat.result().await;
    assert_eq!(events.last()["result"], "Unknown command: /kites");
    assert!(events.replays().is_empty(), "a command is not replayed: {events:?}");
    assert!(cli.api.requests().is_empty());
    chat.turn(" /kites are nice").await;
    let events = chat.result().await;
    assert!(events.last()["result"].as_str().unwrap().contains("/kites are nice"), "{}", events.last());
    assert_eq!(events.replays().len(), 1);
    // Known commands are the same: literal behind a space.
    for literal in [" /compact", "\n/clear", " /cost"] {
        let before = cli.api.requests().len();
        chat.turn(literal).await;
        let events = chat.result().await;
        assert_eq!(events.replays()[0]["message"]["content"][0]["text"], literal);
        assert_eq!(cli.api.requests().len(), before + 1, "{literal:?} was not sent on");
    }
    chat.end().await;
}

#[tokio::test]
async fn files_are_read_without_asking_in_a_chat() {
    let cli = Cli::installed().await;
    cli.plant("project/notes.md", "The wind has a map.\n");
    let mut chat = cli.start(Mode::Chat);
    chat.turn("Please list the files").await;
    let events = chat.result().await;
    let results: Vec<String> = events.tool_results().iter().map(|result| result["content"].to_string()).collect();
    assert!(results[0].contains("notes.md") && results[1].contains("The wind has a map."), "{results:?}");
    chat.end().await;
}

#[tokio::test]
async fn an_api_error_is_a_result_that_says_so() {
    let cli = Cli::installed().await;
    let mut chat = cli.start(Mode::Chat);
    chat.turn("ERROR 400").await;
    let events = chat.result().await;
    let result = events.last();
    assert_eq!((&result["subtype"], &result["is_error"]), (&json!("success"), &json!(true)), "{result}");
    assert_eq!(result["api_error_status"], 400);
    assert!(result["result"].as_str().unwrap().contains("400"), "{result}");
    // And the process answers the next turn.
    chat.turn("SAY fine").await;
    assert_eq!(chat.result().await.last()["result"], "fine");
    chat.end().await;
}

#[tokio::test]
async fn an_overloaded_api_is_retried_and_each_retry_is_told() {
    let cli = Cli::installed().await;
    let mut chat = cli.start(Mode::Chat);
    chat.turn("ERROR 529 2\nSAY recovered").await;
    let events = chat.result().await;
    assert_eq!(events.last()["result"], "recovered");
    let retries: Vec<_> =
        events.of_type("system").into_iter().filter(|event| event["subtype"] == "api_retry").collect();
    assert_eq!(retries.len(), 2, "{events:?}");
    assert_eq!(retries[0]["error_status"], 529, "{}", retries[0]);
    chat.end().await;
}
