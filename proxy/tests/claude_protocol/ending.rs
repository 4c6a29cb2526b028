//! Stopping a turn, ending a process, and what is refused at the start.

use std::time::Duration;

use catalyst_proxy::agent::Mode;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::session::{Cli, is_permission_request};

fn has_delta(event: &Value, text: &str) -> bool {
    event["event"]["delta"]["text"].as_str().is_some_and(|delta| delta.contains(text))
}

#[tokio::test]
async fn an_interrupt_ends_the_turn_and_keeps_the_process() {
    let cli = Cli::installed().await;
    let mut chat = cli.start(Mode::Chat);
    chat.turn("SLOW 600 100").await;
    chat.until(|event| has_delta(event, "tick 2")).await;
    chat.interrupt("stop-1").await;
    let events = chat.result().await;
    assert_eq!(
        events.of_type("control_response")[0]["response"],
        json!({ "subtype": "success", "request_id": "stop-1" })
    );
    let result = events.last();
    assert_eq!((&result["subtype"], &result["is_error"]), (&json!("error_during_execution"), &json!(true)));
    assert!(result.get("result").is_none());
    assert!(events.closing().contains("tick 2"), "what was said is closed with an assistant message");
    assert!(events.blocks("user").iter().any(|block| block["text"] == "[Request interrupted by user]"));
    chat.turn("SAY after").await;
    assert_eq!(chat.result().await.last()["result"], "after");
    chat.end().await;
}

#[tokio::test]
async fn an_interrupt_ends_a_turn_whose_api_hangs() {
    let cli = Cli::installed().await;
    let mut chat = cli.start(Mode::Chat);
    chat.turn("HANG").await;
    chat.until(|event| has_delta(event, "moment")).await;
    chat.interrupt("stop-1").await;
    assert_eq!(chat.result().await.last()["subtype"], "error_during_execution");
    // A process whose last turn failed ends with 1.
    chat.close_stdin();
    assert_eq!(chat.rest().await.1.code(), Some(1));
}

#[tokio::test]
async fn an_interrupt_without_a_turn_is_answered_and_does_not_stop_the_next() {
    let cli = Cli::installed().await;
    let mut chat = cli.start(Mode::Chat);
    chat.turn("SAY first").await;
    chat.result().await;
    chat.interrupt("stop-1").await;
    chat.until(|event| event["type"] == "control_response").await;
    chat.turn("SAY second").await;
    assert_eq!(chat.result().await.last()["result"], "second");
    chat.end().await;
}

#[tokio::test]
async fn an_interrupt_ends_a_running_command() {
    let cli = Cli::installed().await;
    let mut build = cli.start(Mode::Build);
    build.turn("BASH sh -c 'echo $$ >pid; exec sleep 600'").await;
    let request = build.permission_request().await;
    build.allow(&request).await;
    let pid = loop {
        match std::fs::read_to_string(cli.project("pid")) {
            Ok(pid) if pid.ends_with('\n') => break pid.trim().parse::<i32>().unwrap(),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    build.interrupt("stop-1").await;
    assert_eq!(build.result().await.last()["subtype"], "error_during_execution");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while kill(Pid::from_raw(pid), None).is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "the command still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_end_of_stdin_ends_an_idle_process_and_lets_a_turn_finish() {
    let cli = Cli::installed().await;
    let mut chat = cli.start(Mode::Chat);
    chat.turn("SLOW 10 50").await;
    chat.until(|event| has_delta(event, "tick 1")).await;
    chat.close_stdin();
    let (events, status) = chat.rest().await;
    assert!(events.last()["result"].as_str().unwrap().contains("tick 9"), "{}", events.last());
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn the_end_of_stdin_with_an_open_question_ends_without_running_the_tool() {
    let cli = Cli::installed().await;
    let mut build = cli.start(Mode::Build);
    build.turn("BASH sh -c 'echo made >made.txt'").await;
    build.until(is_permission_request).await;
    build.close_stdin();
    let (events, status) = build.rest().await;
    assert!(!cli.project("made.txt").exists());
    assert_eq!(status.code(), Some(0), "{events:?}");
}

#[tokio::test]
async fn a_term_signal_ends_it_with_143_and_no_result() {
    let cli = Cli::installed().await;
    let mut chat = cli.start(Mode::Chat);
    chat.turn("SLOW 600 100").await;
    chat.until(|event| has_delta(event, "tick 2")).await;
    kill(Pid::from_raw(chat.pid()), Signal::SIGTERM).unwrap();
    let (events, status) = chat.rest().await;
    assert_eq!(status.code(), Some(143));
    assert!(events.of_type("result").is_empty(), "{events:?}");
}

#[tokio::test]
async fn a_line_that_is_not_json_ends_it_with_1() {
    let cli = Cli::installed().await;
    let mut chat = cli.start(Mode::Chat);
    chat.line("hello").await;
    let (events, status) = chat.rest().await;
    assert_eq!(status.code(), Some(1));
    assert!(events.of_type("result").is_empty());
    assert!(chat.stderr().await.contains("Error parsing streaming input line"));
}

#[tokio::test]
async fn an_unknown_flag_is_refused_on_stderr_alone() {
    let cli = Cli::installed().await;
    let mut chat = cli.start_with(&["--no-such-flag"]);
    let (events, status) = chat.rest().await;
    assert_eq!((events.0.len(), status.code()), (0, Some(1)));
    assert!(chat.stderr().await.contains("unknown option '--no-such-flag'"));
}

#[tokio::test]
async fn stream_json_output_needs_verbose() {
    let cli = Cli::installed().await;
    let mut chat = cli.start_without("--verbose", &[]);
    assert_eq!(chat.rest().await.1.code(), Some(1));
    assert!(chat.stderr().await.contains("requires --verbose"));
}
