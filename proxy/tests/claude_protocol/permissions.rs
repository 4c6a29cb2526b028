//! Permission: asked by `control_request`, answered by `control_response`, withdrawn by `control_cancel_request`.

use catalyst_proxy::agent::Mode;
use catalyst_proxy::agent::input::Permissions;
use serde_json::json;

use crate::session::{Cli, is_permission_request};

#[tokio::test]
async fn a_build_writes_without_asking_and_asks_for_a_command() {
    let cli = Cli::installed().await;
    let mut build = cli.start(Mode::Build);
    build.turn("WRITE a.txt words\nBASH sh -c 'echo made >made.txt'").await;
    let before = build.until(is_permission_request).await;
    assert_eq!(std::fs::read_to_string(cli.project("a.txt")).unwrap(), "words\n");
    assert!(!cli.project("made.txt").exists());
    let request = before.last().clone();
    assert_eq!(request["request"]["tool_name"], "Bash");
    assert_eq!(request["request"]["input"]["command"], "sh -c 'echo made >made.txt'");
    let tool_use = before.blocks("assistant").into_iter().rfind(|block| block["type"] == "tool_use").unwrap();
    assert_eq!(request["request"]["tool_use_id"], tool_use["id"], "the tool call was told before");
    build.allow(&request).await;
    let after = build.result().await;
    assert_eq!(std::fs::read_to_string(cli.project("made.txt")).unwrap(), "made\n");
    assert_eq!(after.last()["permission_denials"], json!([]));
    // With --replay-user-messages the answer is in the output too: whoever follows the log sees that the question is closed.
    let answers = after.of_type("control_response");
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0]["response"]["request_id"], request["request_id"]);
    assert_eq!(answers[0]["response"]["response"]["behavior"], "allow");
    build.end().await;
}

#[tokio::test]
async fn a_build_begins_in_the_mode_that_was_chosen() {
    let cli = Cli::installed().await;
    for (chosen, mode) in
        [(Permissions::Ask, "default"), (Permissions::AcceptEdits, "acceptEdits"), (Permissions::Plan, "plan")]
    {
        let mut build = cli.build(chosen);
        build.turn("SAY hello").await;
        assert_eq!(build.result().await.init()["permissionMode"], mode);
        build.end().await;
    }
}

#[tokio::test]
async fn a_denied_tool_does_not_run_and_the_reason_reaches_the_model() {
    let cli = Cli::installed().await;
    let mut build = cli.start(Mode::Build);
    build.turn("BASH sh -c 'echo made >made.txt'").await;
    let request = build.permission_request().await;
    build.answer(&request, json!({ "behavior": "deny", "message": "Not on a Sunday", "interrupt": false })).await;
    let events = build.result().await;
    assert!(!cli.project("made.txt").exists());
    let result = events.tool_results()[0];
    assert_eq!((&result["content"], &result["is_error"]), (&json!("Not on a Sunday"), &json!(true)));
    assert_eq!(events.last()["permission_denials"][0]["tool_name"], "Bash");
    assert_eq!(events.last()["result"], "The tool did not run: Not on a Sunday");
    build.end().await;
}

#[tokio::test]
async fn commands_of_one_message_are_asked_for_one_after_the_other() {
    let cli = Cli::installed().await;
    let mut build = cli.start(Mode::Build);
    build.turn("MANY 3").await;
    for n in 1..=3 {
        let request = build.permission_request().await;
        assert_eq!(request["request"]["input"]["command"], format!("sh -c 'echo {n}'"));
        build.allow(&request).await;
    }
    let events = build.result().await;
    assert_eq!(events.tool_results().last().unwrap()["content"], "3");
    build.end().await;
}

#[tokio::test]
async fn tools_that_may_run_side_by_side_are_asked_for_at_once_and_answered_in_any_order() {
    let cli = Cli::installed().await;
    for n in 1..=3 {
        cli.plant(&format!("elsewhere/{n}.txt"), &format!("file {n}"));
    }
    let mut build = cli.start(Mode::Build);
    build.turn(&format!("MANY 3 READ {}/%.txt", cli.home("elsewhere").display())).await;
    let mut requests = Vec::new();
    for _ in 0..3 {
        requests.push(build.permission_request().await);
    }
    for request in requests.iter().rev() {
        build.allow(request).await;
    }
    let events = build.result().await;
    for n in 1..=3 {
        let has = |result: &&&serde_json::Value| result.to_string().contains(&format!("file {n}"));
        assert!(events.tool_results().iter().find(has).is_some(), "{events:?}");
    }
    build.end().await;
}

#[tokio::test]
async fn an_interrupt_withdraws_an_open_question_and_a_late_answer_does_nothing() {
    let cli = Cli::installed().await;
    let mut build = cli.start(Mode::Build);
    build.turn("BASH sh -c 'echo made >made.txt'").await;
    let request = build.permission_request().await;
    build.interrupt("stop-1").await;
    let events = build.result().await;
    assert_eq!(events.of_type("control_cancel_request")[0]["request_id"], request["request_id"]);
    assert_eq!(events.of_type("control_response")[0]["response"]["request_id"], "stop-1");
    assert_eq!(events.last()["subtype"], "error_during_execution");
    build.allow(&request).await;
    build.turn("SAY still here").await;
    assert_eq!(build.result().await.last()["result"], "still here");
    assert!(!cli.project("made.txt").exists());
    build.end().await;
}

#[tokio::test]
async fn the_natural_build_of_the_demo_asks_once_and_ends_well() {
    let cli = Cli::installed().await;
    for prompt in ["A page about kites", "Once more, in blue"] {
        let mut build = cli.start(Mode::Build);
        build.turn(prompt).await;
        let request = build.permission_request().await;
        build.allow(&request).await;
        let events = build.result().await;
        assert!(events.last()["result"].as_str().unwrap().starts_with("Done"), "{}", events.last());
        assert!(std::fs::read_to_string(cli.project("index.html")).unwrap().contains(prompt));
        build.end().await;
    }
}
