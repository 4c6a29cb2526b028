//! Requests for permission: many at once, many viewers, answered once, in time or not.

use std::collections::BTreeSet;
use std::time::Duration;

use catalyst_proxy::agent::{Decision, Event};
use catalyst_proxy::run::{Answer, Frame, Mode, RunError};

use crate::stage::{Stage, bodies, eventually, text, until, until_results};

fn is_request(frame: &Frame) -> bool {
    matches!(frame.event, Event::Permission { .. })
}

fn request_id(frame: &Frame) -> String {
    let Event::Permission { request_id, .. } = &frame.event else { panic!("{:?}", frame.event) };
    request_id.clone()
}

#[tokio::test]
async fn a_request_for_permission_waits_and_the_first_answer_counts() {
    let stage = Stage::new().await;
    let (one, two) = (stage.replica(), stage.replica());
    let mut viewer = one.subscribe(&stage.idea, None).await.unwrap();
    let mut other = two.subscribe(&stage.idea, None).await.unwrap();
    one.send(&stage.idea, Mode::Build, "ask", None).await.unwrap();
    let frames = until(&mut viewer, |frame| matches!(frame.event, Event::Permission { .. })).await;
    let Event::Permission { request_id, input, .. } = &frames.last().unwrap().event else { unreachable!() };
    assert_eq!(input.get(), r#"{"file_path":"a.txt"}"#);
    until(&mut other, |frame| matches!(frame.event, Event::Permission { .. })).await;

    // One that comes now sees it open; one that comes after an answer, though Claude has not gone on, sees it closed.
    let mut fresh = stage.replica().subscribe(&stage.idea, None).await.unwrap();
    until(&mut fresh, |frame| matches!(frame.event, Event::Permission { .. })).await;
    let answer = stage.control(1).join("answers").join(request_id);
    std::fs::write(&answer, "an answer on its way").unwrap();
    let mut fresh = stage.replica().subscribe(&stage.idea, None).await.unwrap();
    until(&mut fresh, |frame| matches!(frame.event, Event::PermissionClosed { .. })).await;
    std::fs::remove_file(&answer).unwrap();

    two.answer(&stage.idea, request_id, Answer::Allow).await.unwrap();
    // Said again because the word that it was taken was lost.
    two.answer(&stage.idea, request_id, Answer::Allow).await.unwrap();
    let late = one.answer(&stage.idea, request_id, Answer::Deny { message: "no".into() }).await;
    assert!(matches!(late, Err(RunError::AlreadyAnswered)), "{late:?}");
    for viewer in [&mut viewer, &mut other] {
        let frames = until_results(viewer, 1).await;
        assert_eq!(text(&frames), "allowed", "{:#?}", bodies(&frames));
        assert!(
            frames.iter().any(|frame| matches!(frame.event, Event::PermissionClosed { .. })),
            "{:#?}",
            bodies(&frames)
        );
    }
    let gone = one.answer(&stage.idea, "never-asked", Answer::Allow).await;
    assert!(matches!(gone, Err(RunError::RequestGone)), "{gone:?}");
}

#[tokio::test]
async fn several_requests_are_open_at_once_and_each_is_answered_by_itself() {
    let stage = Stage::new().await;
    let (one, two) = (stage.replica(), stage.replica());
    let mut here = one.subscribe(&stage.idea, None).await.unwrap();
    one.send(&stage.idea, Mode::Build, "asks 3", None).await.unwrap();
    for _ in 0..3 {
        until(&mut here, is_request).await;
    }
    // The last first, from another replica; two people answer the first at the same moment, and not alike.
    two.answer(&stage.idea, "ask-1-3", Answer::Allow).await.unwrap();
    let (yes, no) = tokio::join!(
        one.answer(&stage.idea, "ask-1-1", Answer::Allow),
        two.answer(&stage.idea, "ask-1-1", Answer::Deny { message: "no".into() }),
    );
    assert!(yes.is_ok() != no.is_ok(), "one of them was first: {yes:?} {no:?}");
    let late = if yes.is_ok() { no } else { yes.clone() };
    assert!(matches!(late, Err(RunError::AlreadyAnswered)), "{late:?}");
    // A replica that comes now shows the one that is left as open, and the others as closed.
    let mut fresh = stage.replica().subscribe(&stage.idea, None).await.unwrap();
    let mut open = BTreeSet::new();
    let frames = until(&mut fresh, |frame| {
        match &frame.event {
            Event::Permission { request_id, .. } => drop(open.insert(request_id.clone())),
            Event::PermissionClosed { request_id, .. } => drop(open.remove(request_id)),
            _ => {}
        }
        frame.run == 1 && open.len() == 1 && open.contains("ask-1-2")
    })
    .await;
    assert!(!frames.is_empty());
    stage.replica().answer(&stage.idea, "ask-1-2", Answer::Deny { message: "not this".into() }).await.unwrap();
    let frames = until_results(&mut here, 1).await;
    let first = if yes.is_ok() { "allow" } else { "deny" };
    assert_eq!(text(&frames), format!("ask-1-3:allow ask-1-1:{first} ask-1-2:deny "), "{:#?}", bodies(&frames));
    let closed: BTreeSet<String> = frames
        .iter()
        .filter_map(|frame| match &frame.event {
            Event::PermissionClosed { request_id, decision: Some(_) } => Some(request_id.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(closed, ["ask-1-1", "ask-1-2", "ask-1-3"].map(str::to_owned).into(), "{:#?}", bodies(&frames));
}

#[tokio::test]
async fn a_request_that_nobody_answers_in_time_is_denied_and_everybody_is_told() {
    for shell in ["dash", "bash", "busybox"] {
        let mut stage = Stage::with_shell(shell, &[]).await;
        // Silence is counted while Claude starts, too, which takes long on a busy machine.
        stage.settings.approval = Duration::from_secs(4);
        stage.settings.silence = Duration::from_secs(2);
        let runs = stage.replica();
        let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
        runs.send(&stage.idea, Mode::Build, "ask", None).await.unwrap();
        let frames = until_results(&mut viewer, 1).await;
        assert_eq!(text(&frames), "denied", "{shell}: {:#?}", bodies(&frames));
        let denied =
            |frame: &Frame| matches!(frame.event, Event::PermissionClosed { decision: Some(Decision::Deny), .. });
        assert!(frames.iter().any(|frame| denied(frame)), "{shell}: {:#?}", bodies(&frames));
        let told = std::fs::read_to_string(stage.control(1).join("answers/ask-1")).unwrap();
        assert!(told.contains("Nobody answered"), "{shell}: {told}");
        // Too late, as for any other answer.
        let late = runs.answer(&stage.idea, "ask-1", Answer::Allow).await;
        assert!(matches!(late, Err(RunError::AlreadyAnswered)), "{shell}: {late:?}");
    }
}

#[tokio::test]
async fn a_message_for_another_mode_waits_for_the_answer_to_an_open_request() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "ask", None).await.unwrap();
    let frames = until(&mut viewer, is_request).await;
    assert_eq!(runs.send(&stage.idea, Mode::Build, "build it", None).await.unwrap().run, 2);
    // Closed for messages by then; the answer still reaches it.
    let closed = stage.control(1).join("closed");
    eventually("the chat takes no more messages", || closed.exists()).await;
    runs.answer(&stage.idea, &request_id(frames.last().unwrap()), Answer::Allow).await.unwrap();
    assert_eq!(text(&until_results(&mut viewer, 1).await), "allowed");
    let frames = until_results(&mut viewer, 1).await;
    assert_eq!((text(&frames).as_str(), frames.last().unwrap().run), ("you said: build it", 2));
}

#[tokio::test]
async fn a_turn_that_is_stopped_withdraws_what_it_asked() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Build, "asks 2", None).await.unwrap();
    for _ in 0..2 {
        until(&mut viewer, is_request).await;
    }
    runs.stop(&stage.idea).await.unwrap();
    let mut closed = 0;
    until(&mut viewer, |frame| {
        closed += usize::from(matches!(frame.event, Event::PermissionClosed { .. }));
        matches!(frame.event, Event::Result(_))
    })
    .await;
    assert_eq!(closed, 2);
    let gone = runs.answer(&stage.idea, "ask-1-1", Answer::Allow).await;
    assert!(matches!(gone, Err(RunError::RequestGone)), "{gone:?}");
}

#[tokio::test]
async fn a_request_is_shown_to_whoever_comes_however_much_was_printed_since() {
    for shell in ["dash", "bash", "busybox"] {
        let stage = Stage::with_shell(shell, &[]).await;
        let runs = stage.replica();
        let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
        runs.send(&stage.idea, Mode::Build, "asklong 40", None).await.unwrap();
        let mut seen = 0;
        let frames = until(&mut viewer, |frame| {
            seen += usize::from(matches!(frame.event, Event::ToolResult { .. }));
            seen == 40
        })
        .await;
        let asked = frames.iter().find(|frame| is_request(frame)).unwrap();
        let mut fresh = stage.replica().subscribe(&stage.idea, None).await.unwrap();
        let before = fresh.start.before.unwrap();
        assert!(before > asked.position(), "{shell}: it is not outside of what is shown: this shows nothing");
        let shown = until(&mut fresh, is_request).await.pop().unwrap();
        assert_eq!((shown.position(), &shown.body), (asked.position(), &asked.body), "{shell}");
        runs.answer(&stage.idea, &request_id(&shown), Answer::Allow).await.unwrap();
        // The word that it is closed has the same place for both.
        let closed = |frames: &[std::sync::Arc<Frame>]| {
            let is = |frame: &&std::sync::Arc<Frame>| matches!(frame.event, Event::ToolResult { .. });
            frames.iter().rfind(is).map(|frame| frame.position())
        };
        let (here, there) = (until_results(&mut viewer, 1).await, until_results(&mut fresh, 1).await);
        assert_eq!(closed(&here), closed(&there), "{shell}");
    }
}
