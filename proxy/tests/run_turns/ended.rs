//! How processes end by themselves, and what is known of them afterwards.

use std::time::Duration;

use catalyst_proxy::agent::Event;
use catalyst_proxy::run::{Answer, Mode, Permissions, Position, Prompt};

use crate::stage::{Stage, assert_in_order, bodies, is_exit, text, until, until_results};

#[tokio::test]
async fn an_idle_process_is_ended_and_the_next_message_starts_another() {
    let mut stage = Stage::new().await;
    stage.settings.idle = Duration::from_secs(1);
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "one", None).await.unwrap();
    let frames = until(&mut viewer, is_exit).await;
    assert!(
        matches!(&frames.last().unwrap().event, Event::Exit { code: 0, reason } if reason == "idle"),
        "{:#?}",
        bodies(&frames)
    );
    assert_eq!(runs.send(&stage.idea, Mode::Chat, "two", None).await.unwrap().run, 2);
    assert_eq!(text(&until_results(&mut viewer, 1).await), "you said: two");
}

#[tokio::test]
async fn a_process_whose_last_answer_was_long_is_idle_too_and_not_silent() {
    let mut stage = Stage::new().await;
    stage.settings.idle = Duration::from_secs(1);
    stage.settings.silence = Duration::from_secs(3);
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "long 300000", None).await.unwrap();
    let frames = until(&mut viewer, is_exit).await;
    assert!(
        matches!(&frames.last().unwrap().event, Event::Exit { code: 0, reason } if reason == "idle"),
        "{:#?}",
        bodies(&frames)
    );
}

#[tokio::test]
async fn a_silent_process_is_ended_but_not_while_it_waits_for_an_answer() {
    let mut stage = Stage::new().await;
    stage.settings.silence = Duration::from_secs(2);
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "ask", None).await.unwrap();
    let frames = until(&mut viewer, |frame| matches!(frame.event, Event::Permission { .. })).await;
    let Event::Permission { request_id, .. } = &frames.last().unwrap().event else { unreachable!() };
    // Longer than the limit: only time can show that nothing happens.
    tokio::time::sleep(Duration::from_secs(5)).await;
    runs.answer(&stage.idea, request_id, Answer::Deny { message: String::new() }).await.unwrap();
    assert_eq!(text(&until_results(&mut viewer, 1).await), "denied");
    runs.send(&stage.idea, Mode::Chat, "quiet", None).await.unwrap();
    let frames = until(&mut viewer, is_exit).await;
    assert!(
        matches!(&frames.last().unwrap().event, Event::Exit { reason, .. } if reason == "silent"),
        "{:#?}",
        bodies(&frames)
    );
    assert!(
        frames.iter().any(|frame| matches!(&frame.event, Event::Error { error } if error.contains("printed nothing")))
    );
    drop(viewer);
    stage.assert_leaves_nothing(runs).await;
}

#[tokio::test]
async fn a_turn_that_works_for_too_long_is_ended_and_says_so() {
    for shell in ["dash", "busybox"] {
        let mut stage = Stage::with_shell(shell, &[]).await;
        stage.settings.turn = Some(Duration::from_secs(2));
        let runs = stage.replica();
        let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
        runs.send(&stage.idea, Mode::Chat, "ticks 10000 0.05", None).await.unwrap();
        let frames = until(&mut viewer, is_exit).await;
        assert!(
            matches!(&frames.last().unwrap().event, Event::Exit { reason, .. } if reason == "overtime"),
            "{shell}: {:#?}",
            bodies(&frames)
        );
        let told = |error: &str| error.contains("longer than the limit");
        assert!(
            frames.iter().any(|frame| matches!(&frame.event, Event::Error { error } if told(error))),
            "{shell}: {:#?}",
            bodies(&frames)
        );
        assert_eq!(stage.processes(1), Vec::<i32>::new(), "{shell}");
    }
}

#[tokio::test]
async fn runs_are_listed_with_what_they_cost_and_old_ones_are_removed_on_request() {
    for shell in ["dash", "bash", "busybox"] {
        let mut stage = Stage::with_shell(shell, &[]).await;
        stage.settings.idle = Duration::from_secs(1);
        let runs = stage.replica();
        let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
        runs.send(&stage.idea, Mode::Chat, "one", None).await.unwrap();
        runs.send(&stage.idea, Mode::Chat, r#"two \"quoted\""#, None).await.unwrap();
        until(&mut viewer, is_exit).await;
        let three = Prompt { permissions: Permissions::Ask, ..Prompt::new(Mode::Build, "three") };
        runs.send_prompt(&stage.idea, three, None).await.unwrap();
        until(&mut viewer, is_exit).await;
        stage.settings.idle = Duration::from_secs(900);
        let runs = stage.replica();
        runs.send(&stage.idea, Mode::Build, "four", None).await.unwrap();
        until_results(&mut viewer, 1).await;

        let list = runs.list(&stage.idea, None).await.unwrap();
        assert_eq!(list.before, None);
        let told: Vec<_> = list.runs.iter().map(|run| (run.run, run.live, run.mode.as_deref(), run.turns)).collect();
        assert_eq!(
            told,
            [(3, true, Some("acceptEdits"), 1), (2, false, Some("ask"), 1), (1, false, Some("chat"), 2)],
            "{shell}"
        );
        let first = &list.runs[2];
        assert!((first.cost_usd - 0.02).abs() < 1e-9, "{shell}: {first:?}");
        assert_eq!((first.duration_ms, first.input_tokens, first.output_tokens), (10, 14, 6), "{shell}: {first:?}");
        assert_eq!((first.code, first.reason.as_deref()), (Some(0), Some("idle")), "{shell}");
        assert!(first.started_at.unwrap() <= first.ended_at.unwrap(), "{shell}: {first:?}");
        let older = runs.list(&stage.idea, Some(2)).await.unwrap();
        assert_eq!(older.runs, std::slice::from_ref(first), "{shell}");

        // Messages of the first two runs, one of them of today.
        let taken_by = |run: &str| {
            let messages = std::fs::read_dir(stage.message("x").parent().unwrap()).unwrap().flatten();
            let taken = messages.map(|message| message.path().join("run"));
            taken.filter(|taken| std::fs::read_to_string(taken).unwrap().trim() == run).collect::<Vec<_>>()
        };
        let told = ["1", "2", "3"].map(|run| taken_by(run).len());
        assert_eq!(told, [2, 1, 1], "{shell}");
        let old = std::time::SystemTime::now() - Duration::from_secs(48 * 3600);
        for taken in ["1", "3"].into_iter().flat_map(taken_by) {
            std::fs::File::options().write(true).open(taken).unwrap().set_modified(old).unwrap();
        }

        runs.trim(&stage.idea, 0).await.unwrap();
        let told = ["1", "2", "3"].map(|run| taken_by(run).len());
        assert_eq!(told, [0, 1, 1], "{shell}: messages of removed runs are forgotten, but not today's");
        let list = runs.list(&stage.idea, None).await.unwrap();
        assert_eq!(list.runs.iter().map(|run| run.run).collect::<Vec<_>>(), [3], "{shell}: the live one stays");
        assert!(!stage.log(2).exists() && !stage.control(1).exists(), "{shell}");
        // History begins where logs are, and paging over what is gone comes to an end.
        let fresh = runs.subscribe(&stage.idea, None).await.unwrap();
        let mut before = fresh.start.before;
        while let Some(at) = before {
            let page = runs.page(&stage.idea, at).await.unwrap();
            assert!(page.frames.is_empty() || at.run == 3, "{shell}");
            assert!(page.before.is_none_or(|next: Position| next < at), "{shell}");
            before = page.before;
        }
        runs.send(&stage.idea, Mode::Build, "five", None).await.unwrap();
        let frames = until_results(&mut viewer, 1).await;
        assert_in_order(&frames);
        assert_eq!((text(&frames).as_str(), frames[0].run), ("you said: five", 3), "{shell}");
    }
}
