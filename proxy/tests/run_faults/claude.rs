//! A claude that fails, and what it leaves behind.

use std::time::Duration;

use catalyst_proxy::agent::Event;
use catalyst_proxy::run::{Mode, RunError};

use crate::stage::{Stage, WAIT, bodies, eventually, is_exit, text, until, until_results};

#[tokio::test]
async fn a_claude_that_only_complains_on_stderr_is_quoted() {
    let stage = Stage::with_shell("dash", &[("CLAUDE_FAILS", "Error: \"quoted\" \\ and\nmore")]).await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "hello", None).await.unwrap();
    let frames = until(&mut viewer, is_exit).await;
    let [.., error, result, exit] = frames.as_slice() else { panic!("{:#?}", bodies(&frames)) };
    let Event::Error { error } = &error.event else { panic!("{:#?}", bodies(&frames)) };
    assert_eq!(error, "Claude ended without an answer (exit status 1): Error: \"quoted\" \\ and\nmore");
    assert!(matches!(&result.event, Event::Result(turn) if turn.result == *error));
    assert!(matches!(exit.event, Event::Exit { code: 1, .. }));
    drop(viewer);
    stage.assert_leaves_nothing(runs).await;
}

#[tokio::test]
async fn a_claude_that_dies_in_mid_answer_keeps_its_words_and_its_status() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "die", None).await.unwrap();
    let frames = until(&mut viewer, is_exit).await;
    assert_eq!(text(&frames), "partly");
    assert!(matches!(frames.last().unwrap().event, Event::Exit { code: 7, .. }), "{:#?}", bodies(&frames));
    assert!(
        frames
            .iter()
            .any(|frame| matches!(&frame.event, Event::Error { error } if error.ends_with("something \"went\" wrong")))
    );
    stage.assert_said_by_the_log(1, &frames);
    drop(viewer);
    stage.assert_leaves_nothing(runs).await;
}

#[tokio::test]
async fn what_claude_started_ends_with_the_run() {
    let mut stage = Stage::new().await;
    stage.settings.idle = Duration::from_secs(1);
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Build, "child", None).await.unwrap();
    until_results(&mut viewer, 1).await;
    assert!(stage.processes(1).len() > 1);
    until(&mut viewer, is_exit).await;
    assert_eq!(stage.processes(1), Vec::<i32>::new());
    let supervisor = format!("/proc/{}", stage.supervisor(1));
    eventually("the supervisor is gone", || !std::path::Path::new(&supervisor).exists()).await;
}

#[tokio::test]
async fn each_thing_that_is_missing_is_named_with_its_remedy() {
    let mut stage = Stage::new().await;
    stage.settings.claude_command = "no-such-claude".into();
    let missing = stage.replica().send(&stage.idea, Mode::Chat, "hello", Some("m-1")).await.unwrap_err();
    assert!(matches!(missing, RunError::ClaudeMissing), "{missing:?}");
    assert!(!stage.control(1).exists(), "nothing is left half started");
    stage.settings.claude_command = "claude".into();
    stage.replica().send(&stage.idea, Mode::Chat, "hello", Some("m-1")).await.unwrap();

    let mut gone = stage.idea.clone();
    gone.slug = "never-made".into();
    let error = stage.replica().send(&gone, Mode::Chat, "hello", None).await.unwrap_err();
    assert!(matches!(error, RunError::IdeaGone), "{error:?}");
    gone.slug = "../escape".into();
    let error = stage.replica().send(&gone, Mode::Chat, "hello", None).await.unwrap_err();
    assert!(matches!(error, RunError::BadIdentifier(_)), "{error:?}");
    let error = stage.replica().send(&stage.idea, Mode::Chat, " \n", None).await.unwrap_err();
    assert!(matches!(error, RunError::BadMessage(_)), "{error:?}");
    let mut down = stage;
    down.sshd.stop();
    let error = tokio::time::timeout(WAIT, down.replica().send(&down.idea, Mode::Chat, "hello", None)).await.unwrap();
    assert!(matches!(error, Err(RunError::Ssh(_))), "{error:?}");
}
