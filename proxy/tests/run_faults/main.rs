//! What breaks under a run, and that nothing is lost or doubled by it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod claude;
mod following;
#[path = "../stage/mod.rs"]
mod stage;
mod viewers;

use std::sync::Arc;
use std::time::Duration;

use catalyst_proxy::agent::Event;
use catalyst_proxy::run::{Frame, Mode, RunError, Runs, Subscription};
use stage::{Stage, WAIT, bodies, eventually, is_exit, text, ticks, until, until_results};

fn has_text(frame: &Frame) -> bool {
    matches!(frame.event, Event::Text { .. })
}

fn kill(pid: i32, signal: &str) {
    assert!(std::process::Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn killed_ssh_sessions_cost_neither_a_word_nor_a_repetition() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "ticks 60 0.05", None).await.unwrap();
    let mut frames = Vec::new();
    for _ in 0..3 {
        frames.extend(until(&mut viewer, has_text).await);
        // What was read before the last kill may still come, while no session is there yet.
        eventually("a session is there to be killed", || stage.sshd.kill_sessions() > 0).await;
    }
    frames.extend(until_results(&mut viewer, 1).await);
    assert_eq!(text(&frames), ticks(60));
    stage.assert_said_by_the_log(1, &frames);
    drop(viewer);
    stage.assert_leaves_nothing(runs).await;
}

#[tokio::test]
async fn a_run_goes_on_while_sshd_is_down_and_its_replica_gone() {
    let mut stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "ticks 40 0.05", None).await.unwrap();
    let mut frames = until(&mut viewer, has_text).await;
    let after = frames.last().unwrap().position();
    stage.sshd.stop();
    drop(viewer);
    runs.shut_down();
    drop(runs);
    let log = stage.log(1);
    eventually("the answer is in the log", || std::fs::read_to_string(&log).unwrap().contains("\"type\":\"result\""))
        .await;
    stage.sshd.start_again().await.unwrap();
    let other = stage.replica();
    let mut viewer = other.subscribe(&stage.idea, Some(after)).await.unwrap();
    frames.extend(until_results(&mut viewer, 1).await);
    assert_eq!(text(&frames), ticks(40));
    stage.assert_said_by_the_log(1, &frames);
    drop(viewer);
    stage.assert_leaves_nothing(other).await;
}

#[tokio::test]
async fn a_killed_supervisor_is_noticed_and_what_it_kept_is_ended() {
    for shell in ["dash", "bash", "busybox"] {
        let stage = Stage::with_shell(shell, &[]).await;
        let runs = stage.replica();
        let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
        runs.send(&stage.idea, Mode::Chat, "ticks 10000 0.05", None).await.unwrap();
        until(&mut viewer, has_text).await;
        kill(stage.supervisor(1), "-KILL");
        let frames = until(&mut viewer, is_exit).await;
        assert!(
            matches!(&frames.last().unwrap().event, Event::Exit { reason, .. } if reason == "lost"),
            "{shell}: {:#?}",
            bodies(&frames)
        );
        assert!(
            frames.iter().any(|frame| matches!(&frame.event, Event::Error { error } if error.contains("supervisor")))
        );
        eventually("its claude is gone", || stage.processes(1).is_empty()).await;
        assert_eq!(runs.send(&stage.idea, Mode::Chat, "next", None).await.unwrap().run, 2, "{shell}");
        assert_eq!(text(&until_results(&mut viewer, 1).await), "you said: next", "{shell}");
        drop(viewer);
        stage.assert_leaves_nothing(runs).await;
    }
}

#[tokio::test]
async fn another_boot_of_the_vm_is_told_apart_from_a_crash() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "ticks 10000 0.05", None).await.unwrap();
    until(&mut viewer, has_text).await;
    // As it is after a reboot: the processes are gone, the file names an earlier boot.
    let identity = stage.control(1).join("identity");
    let words = std::fs::read_to_string(&identity).unwrap();
    let (_, rest) = words.split_once(' ').unwrap();
    std::fs::write(&identity, format!("00000000-0000-0000-0000-000000000000 {rest}")).unwrap();
    kill(stage.supervisor(1), "-KILL");
    let frames = until(&mut viewer, is_exit).await;
    assert!(
        matches!(&frames.last().unwrap().event, Event::Exit { reason, .. } if reason == "rebooted"),
        "{:#?}",
        bodies(&frames)
    );
    assert!(frames.iter().any(|frame| matches!(&frame.event, Event::Error { error } if error.contains("restarted"))));
    drop(viewer);
    stage.assert_leaves_nothing(runs).await;
}

/// Frames or silence, but no word of an outage.
async fn hears_no_trouble(stage: &Stage, runs: &Arc<Runs>) -> bool {
    let Ok(mut viewer) = runs.subscribe(&stage.idea, None).await else { return false };
    loop {
        match tokio::time::timeout(Duration::from_millis(300), viewer.next()).await {
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(_))) => return false,
            Ok(None) => panic!("the subscription ended"),
            Err(_) => return true,
        }
    }
}

async fn until_trouble(viewer: &mut Subscription) -> RunError {
    let wait = async {
        loop {
            if let Err(error) = viewer.next().await.unwrap() {
                return error;
            }
        }
    };
    tokio::time::timeout(WAIT, wait).await.unwrap()
}

#[tokio::test]
async fn an_outage_is_forgotten_when_it_is_over_and_the_next_is_told_too() {
    let mut stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "hello", None).await.unwrap();
    until_results(&mut viewer, 1).await;
    for outage in 0..2 {
        stage.sshd.stop();
        let error = until_trouble(&mut viewer).await;
        assert!(matches!(error, RunError::Ssh(_)), "{outage}: {error:?}");
        stage.sshd.start_again().await.unwrap();
        // The log is silent: nothing but the connection itself shows that it works.
        let deadline = tokio::time::Instant::now() + WAIT;
        while !hears_no_trouble(&stage, &runs).await {
            assert!(tokio::time::Instant::now() < deadline, "{outage}: the old error is told for ever");
        }
    }
}

#[tokio::test]
async fn an_outage_is_told_at_once_to_whoever_comes_during_it() {
    let mut stage = Stage::new().await;
    stage.sshd.stop();
    let runs = stage.replica();
    let since = tokio::time::Instant::now();
    assert!(runs.subscribe(&stage.idea, None).await.is_err());
    assert!(runs.subscribe(&stage.idea, None).await.is_err());
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_log_that_lost_its_end_with_the_vm_ends_the_turn_for_its_viewers() {
    let mut stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "ticks 10000 0.05", None).await.unwrap();
    let frames = until(&mut viewer, has_text).await;
    let short = frames[0].seq.offset;
    stage.sshd.stop();
    kill(stage.supervisor(1), "-KILL");
    for process in stage.processes(1) {
        kill(process, "-KILL");
    }
    eventually("claude is gone", || stage.processes(1).is_empty()).await;
    let log = std::fs::OpenOptions::new().write(true).open(stage.log(1)).unwrap();
    log.set_len(short).unwrap();
    stage.sshd.start_again().await.unwrap();
    let frames = until(&mut viewer, is_exit).await;
    assert!(
        matches!(&frames.last().unwrap().event, Event::Exit { reason, .. } if reason == "lost"),
        "{:#?}",
        bodies(&frames)
    );
    assert!(frames.iter().any(|frame| matches!(frame.event, Event::Result(_))), "{:#?}", bodies(&frames));
    runs.send(&stage.idea, Mode::Chat, "next", None).await.unwrap();
    let frames = until_results(&mut viewer, 1).await;
    assert_eq!(text(&frames), "you said: next");
    stage.assert_said_by_the_log(2, &frames);
    drop(viewer);
    stage.assert_leaves_nothing(runs).await;
}
