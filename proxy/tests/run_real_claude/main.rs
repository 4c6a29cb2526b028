//! Runs with the real Claude Code CLI, which talks to the lab's stand-in of the Messages API.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod asked;
#[path = "../stage/mod.rs"]
mod stage;

use std::sync::Arc;
use std::time::Duration;

use catalyst_lab::claude;
use catalyst_lab::messages_api::StandIn;
use catalyst_proxy::agent::Event;
use catalyst_proxy::run::{Answer, Frame, Mode};
use stage::{Stage, assert_in_order, bodies, text, until, until_results};

async fn real() -> (Stage, StandIn) {
    let binary = claude::install().await.unwrap();
    let api = StandIn::start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("http://{}", api.address());
    let mut environment = vec![("ANTHROPIC_BASE_URL", url.as_str()), ("ANTHROPIC_API_KEY", "for-the-stand-in")];
    environment.extend(claude::QUIET);
    // Otherwise the CLI refuses to run without asking where the tests run as root.
    environment.push(("IS_SANDBOX", "1"));
    let stage = Stage::with_claude("dash", &binary, &environment).await;
    (stage, api)
}

fn result(frames: &[Arc<Frame>]) -> &catalyst_proxy::agent::TurnResult {
    match &frames.last().unwrap().event {
        Event::Result(turn) => turn,
        other => panic!("{other:?}"),
    }
}

fn session(frames: &[Arc<Frame>]) -> String {
    let id = frames.iter().find_map(|frame| match &frame.event {
        Event::System { session_id, .. } => Some(session_id.clone()),
        _ => None,
    });
    id.unwrap()
}

#[tokio::test]
async fn a_chat_streams_and_a_build_goes_on_with_its_session() {
    let (mut stage, _api) = real().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "SLOW 5 100", Some("first")).await.unwrap();
    let frames = until_results(&mut viewer, 1).await;
    assert_in_order(&frames);
    assert!(matches!(&frames[0].event, Event::User { text, .. } if text == "SLOW 5 100"), "{:#?}", bodies(&frames));
    assert!(frames.iter().filter(|frame| matches!(frame.event, Event::Text { .. })).count() > 1, "in pieces");
    assert_eq!(text(&frames), result(&frames).result);
    assert!(result(&frames).cost_usd > 0.0);
    let chat = session(&frames);
    runs.send(&stage.idea, Mode::Chat, "/not-a-command but a path", None).await.unwrap();
    let frames = until_results(&mut viewer, 1).await;
    assert!(!text(&frames).starts_with("Unknown command"), "{}", text(&frames));

    stage.idea.session_id = Some(chat.clone());
    assert_eq!(
        runs.send(&stage.idea, Mode::Build, "WRITE made.txt by-the-test\nSAY written", None).await.unwrap().run,
        2
    );
    let frames = until_results(&mut viewer, 1).await;
    assert!(text(&frames).ends_with("written"), "{:#?}", bodies(&frames));
    assert_eq!(session(&frames), chat, "the session goes on");
    let made = stage.sshd.home().join("ideas/an-idea/project/made.txt");
    assert_eq!(std::fs::read_to_string(made).unwrap().trim(), "by-the-test");
}

#[tokio::test]
async fn a_turn_is_interrupted_and_the_queued_one_is_answered() {
    let (stage, _api) = real().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "SLOW 600 100", None).await.unwrap();
    until(&mut viewer, |frame| matches!(frame.event, Event::Text { .. })).await;
    runs.stop(&stage.idea).await.unwrap();
    assert!(result(&until_results(&mut viewer, 1).await).interrupted);
    assert_eq!(runs.send(&stage.idea, Mode::Chat, "SAY still here", None).await.unwrap().run, 1);
    assert_eq!(text(&until_results(&mut viewer, 1).await), "still here");
}

#[tokio::test]
async fn a_command_waits_for_leave_and_obeys_the_answer() {
    let (stage, _api) = real().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    let touched = stage.sshd.home().join("ideas/an-idea/project/touched");
    for (answer, there) in [(Answer::Deny { message: "not now".into() }, false), (Answer::Allow, true)] {
        runs.send(&stage.idea, Mode::Build, "BASH dash -c \"touch touched\"\nSAY over", None).await.unwrap();
        let frames = until(&mut viewer, |frame| matches!(frame.event, Event::Permission { .. })).await;
        let Event::Permission { request_id, name, .. } = &frames.last().unwrap().event else { unreachable!() };
        assert_eq!(name, "Bash");
        runs.answer(&stage.idea, request_id, answer).await.unwrap();
        until_results(&mut viewer, 1).await;
        assert_eq!(touched.exists(), there);
    }
}

#[tokio::test]
async fn a_chat_cannot_write_and_nothing_that_the_project_planted_runs() {
    let (stage, api) = real().await;
    let project = stage.sshd.home().join("ideas/an-idea/project");
    std::fs::create_dir_all(project.join(".claude")).unwrap();
    let planted = format!("touch {}", project.join("planted").display());
    let hook = serde_json::json!([{"hooks": [{"type": "command", "command": planted}]}]);
    let settings = serde_json::json!({
        "hooks": {"SessionStart": hook, "UserPromptSubmit": hook},
        "permissions": {"allow": ["Write", "Bash"]},
        "enableAllProjectMcpServers": true,
    });
    std::fs::write(project.join(".claude/settings.json"), settings.to_string()).unwrap();
    let server = serde_json::json!({"mcpServers": {"planted": {"command": "sh", "args": ["-c", planted]}}});
    std::fs::write(project.join(".mcp.json"), server.to_string()).unwrap();
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "WRITE made.txt x\nBASH touch made.txt\nSAY over", None).await.unwrap();
    let frames = until_results(&mut viewer, 1).await;
    let refused = frames.iter().filter(|frame| matches!(frame.event, Event::ToolResult { is_error: true, .. })).count();
    assert_eq!(refused, 2, "{:#?}", bodies(&frames));
    assert!(!project.join("made.txt").exists());
    assert!(!project.join("planted").exists(), "neither hook nor server of the project ran");
    // Nor does a build run them, and it asks for what the project's settings would allow.
    runs.send(&stage.idea, Mode::Build, "BASH dash -c \"touch made.txt\"\nSAY over", None).await.unwrap();
    let frames = until(&mut viewer, |frame| matches!(frame.event, Event::Permission { .. })).await;
    let Event::Permission { request_id, .. } = &frames.last().unwrap().event else { unreachable!() };
    runs.answer(&stage.idea, request_id, Answer::Deny { message: "no".into() }).await.unwrap();
    until_results(&mut viewer, 1).await;
    assert!(!project.join("planted").exists());
    // Started without the product's flags, the CLI runs them: this was no accident.
    let api = format!("http://{}", api.address());
    let said = tokio::process::Command::new(claude::install().await.unwrap())
        .args(["-p", "SAY over"])
        .env("HOME", stage.sshd.home())
        .env("ANTHROPIC_BASE_URL", api)
        .env("ANTHROPIC_API_KEY", "for-the-stand-in")
        .envs(claude::QUIET)
        .current_dir(&project)
        .output()
        .await
        .unwrap();
    assert!(project.join("planted").exists(), "{said:?}");
}

#[tokio::test]
async fn a_refused_call_of_the_api_reaches_the_user() {
    let (stage, _api) = real().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "ERROR 400", None).await.unwrap();
    let frames = until_results(&mut viewer, 1).await;
    assert!(result(&frames).error.is_some(), "{:#?}", bodies(&frames));
    assert!(frames.iter().any(|frame| matches!(&frame.event, Event::Error { error } if error.contains("400"))));
}

/// The log's turn lines are written between Claude's own, which is safe as long as each of those is one write.
#[tokio::test]
async fn claude_writes_each_line_at_once() {
    use std::io::{Read as _, Write as _};
    use std::os::fd::OwnedFd;
    let (stage, api) = real().await;
    let binary = claude::install().await.unwrap();
    // A datagram socket keeps writes apart, as an appending file keeps them together.
    let (ours, theirs) = std::os::unix::net::UnixDatagram::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut child = std::process::Command::new(binary)
        .args([
            "-p",
            "--verbose",
            "--output-format=stream-json",
            "--input-format=stream-json",
            "--replay-user-messages",
        ])
        .env("HOME", stage.sshd.home())
        .env("ANTHROPIC_BASE_URL", format!("http://{}", api.address()))
        .env("ANTHROPIC_API_KEY", "for-the-stand-in")
        .envs(claude::QUIET)
        .current_dir(stage.sshd.home())
        .stdin(std::process::Stdio::piped())
        .stdout(OwnedFd::from(theirs))
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let long = "y".repeat(100_000);
    let turn = serde_json::json!({"type": "user", "message": {"role": "user", "content": [{"type": "text", "text": format!("SAY {long}")}]}});
    writeln!(child.stdin.take().unwrap(), "{turn}").unwrap();
    let reading = tokio::task::spawn_blocking(move || {
        let (mut writes, mut buffer) = (Vec::new(), vec![0; 4 << 20]);
        loop {
            match ours.recv(&mut buffer) {
                Ok(length) if length > 0 => writes.push((length, buffer[length - 1])),
                _ if child.try_wait().unwrap().is_some() => break,
                _ => {}
            }
        }
        let mut complaints = String::new();
        child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
        (writes, complaints)
    });
    let (writes, complaints) = tokio::time::timeout(stage::WAIT, reading).await.unwrap().unwrap();
    assert!(writes.iter().any(|(length, _)| *length > 100_000), "{writes:?} {complaints}");
    assert!(writes.iter().all(|(_, last)| *last == b'\n'), "{writes:?} {complaints}");
}
