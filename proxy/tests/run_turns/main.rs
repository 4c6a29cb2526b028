//! Turns over a real sshd: sent, answered, queued, stopped, asked, ended.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod asked;
mod broken;
mod ended;
mod kept;
mod machine;
mod many;
mod replay;
#[path = "../stage/mod.rs"]
mod stage;

use catalyst_proxy::agent::Event;
use catalyst_proxy::run::Mode;
use stage::{Stage, assert_in_order, bodies, eventually, is_exit, text, until, until_results};

#[tokio::test]
async fn a_turn_goes_there_and_back_under_every_shell() {
    for shell in ["dash", "bash", "busybox"] {
        let stage = Stage::with_shell(shell, &[]).await;
        let runs = stage.replica();
        let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
        assert_eq!((viewer.start.run, viewer.start.live), (None, false), "{shell}");
        let accepted = runs.send(&stage.idea, Mode::Chat, "hello there", Some("m-1")).await.unwrap();
        assert_eq!(accepted.run, 1, "{shell}");
        let frames = until_results(&mut viewer, 1).await;
        assert_in_order(&frames);
        assert_eq!(text(&frames), "you said: hello there", "{shell}");
        assert!(
            matches!(&frames[0].event, Event::User { text, message_id: Some(id), mode: Some(Mode::Chat), .. } if text == "hello there" && id == "m-1"),
            "{shell}: {:#?}",
            bodies(&frames)
        );
        eventually("the observer hears of the end", || stage.observed.0.lock().unwrap().contains(&"Chat true".into()))
            .await;
    }
}

#[tokio::test]
async fn two_turns_are_answered_by_one_process() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    for word in ["one", "two"] {
        assert_eq!(runs.send(&stage.idea, Mode::Chat, word, None).await.unwrap().run, 1);
    }
    let frames = until_results(&mut viewer, 2).await;
    assert_in_order(&frames);
    assert_eq!(text(&frames), "you said: oneyou said: two");
    let costs: Vec<f64> = frames
        .iter()
        .filter_map(|frame| if let Event::Result(turn) = &frame.event { Some(turn.cost_usd) } else { None })
        .collect();
    assert!(costs.iter().all(|cost| (cost - 0.01).abs() < 1e-9), "{costs:?}");
}

#[tokio::test]
async fn the_same_message_id_is_delivered_once() {
    let stage = Stage::new().await;
    let (one, two) = (stage.replica(), stage.replica());
    let mut viewer = one.subscribe(&stage.idea, None).await.unwrap();
    let (first, second) = tokio::join!(
        one.send(&stage.idea, Mode::Chat, "once", Some("m-1")),
        two.send(&stage.idea, Mode::Chat, "once", Some("m-1")),
    );
    assert_eq!((first.unwrap().run, second.unwrap().run), (1, 1));
    one.send(&stage.idea, Mode::Chat, "then", None).await.unwrap();
    let frames = until_results(&mut viewer, 2).await;
    assert_eq!(text(&frames), "you said: onceyou said: then");
}

#[tokio::test]
async fn eight_long_messages_at_once_arrive_whole() {
    for shell in ["dash", "busybox"] {
        let stage = Stage::with_shell(shell, &[]).await;
        let runs = stage.replica();
        let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
        let long = "x".repeat(300_000);
        let message = format!("size {long}");
        let sends = (0..8).map(|_| runs.send(&stage.idea, Mode::Chat, &message, None));
        for sent in futures::future::join_all(sends).await {
            assert_eq!(sent.unwrap().run, 1, "{shell}");
        }
        let frames = until_results(&mut viewer, 8).await;
        let answers: Vec<&str> = frames
            .iter()
            .filter_map(|frame| if let Event::Text { text } = &frame.event { Some(text.as_str()) } else { None })
            .collect();
        assert_eq!(answers.len(), 8, "{shell}: {answers:?}");
        assert!(answers.iter().all(|answer| answer.parse::<usize>().unwrap() > 300_000), "{shell}: {answers:?}");
        let asked =
            frames.iter().filter(|frame| matches!(&frame.event, Event::User { text, .. } if *text == message)).count();
        assert_eq!(asked, 8, "{shell}: every message is in the log, whole");
    }
}

#[tokio::test]
async fn messages_that_look_like_flags_or_commands_are_text() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    for message in ["-p --help", "/etc/passwd", "$(id) `id` ; id"] {
        runs.send(&stage.idea, Mode::Chat, message, None).await.unwrap();
        let frames = until_results(&mut viewer, 1).await;
        assert!(matches!(&frames[0].event, Event::User { text, .. } if text == message), "{:#?}", bodies(&frames));
        assert!(text(&frames).ends_with(message), "{}", text(&frames));
    }
}

#[tokio::test]
async fn a_running_turn_is_stopped_and_the_process_goes_on() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "ticks 1000 0.05", None).await.unwrap();
    until(&mut viewer, |frame| matches!(frame.event, Event::Text { .. })).await;
    runs.stop(&stage.idea).await.unwrap();
    let frames = until_results(&mut viewer, 1).await;
    assert!(matches!(&frames.last().unwrap().event, Event::Result(turn) if turn.interrupted), "{:#?}", bodies(&frames));
    assert_eq!(runs.send(&stage.idea, Mode::Chat, "again", None).await.unwrap().run, 1, "the same process");
    assert_eq!(text(&until_results(&mut viewer, 1).await), "you said: again");
    runs.stop(&stage.idea).await.unwrap();
}

#[tokio::test]
async fn what_does_not_listen_is_ended_with_all_that_it_started() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Build, "deaf 600", None).await.unwrap();
    until(&mut viewer, |frame| matches!(frame.event, Event::Text { .. })).await;
    assert!(!stage.processes(1).is_empty());
    runs.stop(&stage.idea).await.unwrap();
    assert_eq!(stage.processes(1), Vec::<i32>::new(), "stop returns when all is gone");
    let frames = until(&mut viewer, is_exit).await;
    assert!(
        matches!(&frames.last().unwrap().event, Event::Exit { reason, .. } if reason == "stopped"),
        "{:#?}",
        bodies(&frames)
    );
    assert!(!frames.iter().any(|frame| matches!(frame.event, Event::Error { .. })), "stopping is no failure");
    assert_eq!(runs.send(&stage.idea, Mode::Build, "next", None).await.unwrap().run, 2);
    assert_eq!(text(&until_results(&mut viewer, 1).await), "you said: next");
}

#[tokio::test]
async fn building_after_chatting_resumes_the_session_in_a_new_process() {
    let mut stage = Stage::new().await;
    stage.idea.session_id = Some("0abc".into());
    let transcripts = stage.sshd.home().join(".claude/projects/-somewhere");
    std::fs::create_dir_all(&transcripts).unwrap();
    let elsewhere = stage.sshd.home().join("elsewhere");
    std::fs::create_dir_all(&elsewhere).unwrap();
    std::fs::write(transcripts.join("0abc.jsonl"), format!("{{\"cwd\":\"{}\"}}\n", elsewhere.display())).unwrap();
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "ticks 10 0.05", None).await.unwrap();
    let accepted = runs.send(&stage.idea, Mode::Build, "build it", None).await.unwrap();
    assert_eq!(accepted.run, 2);
    let frames = until_results(&mut viewer, 2).await;
    assert_in_order(&frames);
    assert_eq!(text(&frames), format!("{}you said: build it", stage::ticks(10)), "the chat's turn was finished first");
    let modes: Vec<bool> = bodies(&frames)
        .iter()
        .filter(|body| body.contains("claude:user"))
        .map(|body| body.contains(r#""mode":"build""#))
        .collect();
    assert_eq!(modes, [false, true], "each message says what it was meant for");
    assert!(
        frames.iter().any(|frame| matches!(&frame.event, Event::Exit { code: 0, reason } if reason == "switched")),
        "{:#?}",
        bodies(&frames)
    );
    let sessions: Vec<&str> = frames
        .iter()
        .filter_map(
            |frame| if let Event::System { session_id, .. } = &frame.event { Some(session_id.as_str()) } else { None },
        )
        .collect();
    assert_eq!(sessions, ["0abc", "0abc"]);
    let log = std::fs::read_to_string(stage.log(2)).unwrap();
    assert!(log.contains(&format!("\"cwd\":\"{}\"", elsewhere.display())), "resumed where its transcript says");
}
