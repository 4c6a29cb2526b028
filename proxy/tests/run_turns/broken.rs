//! What a claude may do wrong, and that the user is told and nothing is left behind.

use catalyst_proxy::agent::Event;
use catalyst_proxy::run::{Mode, Permissions, Position, Prompt};

use crate::stage::{Stage, assert_in_order, bodies, eventually, is_exit, text, until, until_results};

fn kill(pid: i32) {
    assert!(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn a_killed_claude_is_told_with_its_status_and_leaves_nothing() {
    for shell in ["dash", "bash", "busybox"] {
        let stage = Stage::with_shell(shell, &[]).await;
        let runs = stage.replica();
        let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
        runs.send(&stage.idea, Mode::Build, "child", None).await.unwrap();
        until_results(&mut viewer, 1).await;
        runs.send(&stage.idea, Mode::Build, "ticks 10000 0.05", None).await.unwrap();
        let mut frames = until(&mut viewer, |frame| matches!(frame.event, Event::Text { .. })).await;
        let children = stage.processes(1);
        assert!(children.len() > 1, "{shell}: {children:?}");
        // The one that the supervisor started; the others are its tools.
        let of = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = format!(" {} ", stage.supervisor(1));
        let claude =
            children.iter().find(|pid| of(pid).split(") ").nth(1).is_some_and(|rest| rest[1..].starts_with(&parent)));
        kill(*claude.unwrap());
        frames.extend(until(&mut viewer, is_exit).await);
        assert_in_order(&frames);
        let told = |error: &str| error.contains("exit status 137");
        assert!(
            frames.iter().any(|frame| matches!(&frame.event, Event::Error { error } if told(error))),
            "{shell}: {:#?}",
            bodies(&frames)
        );
        assert!(matches!(frames.last().unwrap().event, Event::Exit { code: 137, .. }), "{shell}");
        assert_eq!(stage.processes(1), Vec::<i32>::new(), "{shell}: its tools are ended with it");
        let supervisor = format!("/proc/{}", stage.supervisor(1));
        eventually("the supervisor is gone", || !std::path::Path::new(&supervisor).exists()).await;
        assert_eq!(runs.send(&stage.idea, Mode::Build, "next", None).await.unwrap().run, 2, "{shell}");
        assert_eq!(text(&until_results(&mut viewer, 1).await), "you said: next", "{shell}");
    }
}

#[tokio::test]
async fn a_claude_that_fails_without_a_word_is_told_by_its_status() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "fail 3", None).await.unwrap();
    let frames = until(&mut viewer, is_exit).await;
    let told = "Claude ended without an answer (exit status 3).";
    assert!(
        frames.iter().any(|frame| matches!(&frame.event, Event::Error { error } if error == told)),
        "{:#?}",
        bodies(&frames)
    );
}

#[tokio::test]
async fn what_the_cli_refuses_to_root_is_told_with_the_way_out() {
    let words = "--dangerously-skip-permissions cannot be used with root/sudo privileges for security reasons";
    let stage = Stage::with_shell("dash", &[("CLAUDE_FAILS", words)]).await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    let hello = Prompt { permissions: Permissions::All, ..Prompt::new(Mode::Build, "hello") };
    runs.send_prompt(&stage.idea, hello, None).await.unwrap();
    let frames = until(&mut viewer, is_exit).await;
    let told = |error: &str| error.contains("Choose another way to build");
    assert!(
        frames.iter().any(|frame| matches!(&frame.event, Event::Error { error } if told(error))),
        "{:#?}",
        bodies(&frames)
    );
}

#[tokio::test]
async fn garbage_between_claudes_lines_costs_nothing_and_is_the_same_for_everybody() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "garbage", None).await.unwrap();
    let frames = until_results(&mut viewer, 1).await;
    assert_in_order(&frames);
    assert_eq!(text(&frames), "before after", "{:#?}", bodies(&frames));
    let broken = frames.iter().find(|frame| matches!(&frame.event, Event::Other { .. })).unwrap();
    assert!(std::str::from_utf8(&broken.body).is_ok(), "a socket carries UTF-8 alone");
    runs.send(&stage.idea, Mode::Chat, "still here", None).await.unwrap();
    let mut all = frames;
    all.extend(until_results(&mut viewer, 1).await);
    let beginning = Position { run: 1, seq: "0.0".parse().unwrap() };
    let mut other = stage.replica().subscribe(&stage.idea, Some(beginning)).await.unwrap();
    assert_eq!(bodies(&until_results(&mut other, 2).await), bodies(&all));
}
