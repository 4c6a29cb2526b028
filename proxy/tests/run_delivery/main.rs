//! A message that was accepted is delivered once, whoever dies meanwhile, or it is said that it was not.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod courier;
#[path = "../stage/mod.rs"]
mod stage;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use catalyst_proxy::agent::Event;
use catalyst_proxy::run::{Mode, RunError, Runs};
use stage::{Stage, bodies, eventually, is_exit, text, until, until_results};

const SHELLS: [&str; 3] = ["dash", "bash", "busybox"];

/// A chat's turn that runs until it is stopped, and a message for a build that waits for its end.
async fn waiting_build(stage: &Stage) -> Arc<Runs> {
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "quiet", None).await.unwrap();
    until(&mut viewer, |frame| matches!(frame.event, Event::System { .. })).await;
    assert_eq!(runs.send(&stage.idea, Mode::Build, "build it", Some("m-b")).await.unwrap().run, 2);
    runs
}

/// The latest carrier of a message.
fn carrier(stage: &Stage) -> i32 {
    let folder = stage.message("m-b");
    let named = |path: &Path| std::fs::read_to_string(path).ok();
    let last = (1..50).rev().find_map(|turn| named(&folder.join(format!("carrier.{turn}"))));
    let words = last.or_else(|| named(&folder.join("carrier"))).unwrap();
    words.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn lives(pid: i32) -> bool {
    // A zombie has no command line.
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

async fn kill_carrier(stage: &Stage) {
    let pid = carrier(stage);
    assert!(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    eventually("the carrier is gone", || !lives(pid)).await;
}

/// Ends the chat's turn; the build is answered then, and was delivered once.
async fn build_is_delivered_once(stage: &Stage, runs: &Arc<Runs>, shell: &str) {
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.stop(&stage.idea).await.unwrap();
    let frames = until(&mut viewer, |frame| frame.run == 2 && matches!(frame.event, Event::Result(_))).await;
    assert!(text(&frames).ends_with("you said: build it"), "{shell}: {:#?}", bodies(&frames));
    // Behind it in the queue, so that what else was queued has come by then.
    runs.send(&stage.idea, Mode::Build, "and then", None).await.unwrap();
    assert_eq!(text(&until_results(&mut viewer, 1).await), "you said: and then", "{shell}");
    assert_eq!(stage.delivered("m-b"), 1, "{shell}");
    let inbox = stage.message("m-b").join("../../inbox");
    let left: Vec<_> = std::fs::read_dir(inbox).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.is_empty(), "{shell}: {left:?}");
}

#[tokio::test]
async fn a_message_sent_again_while_it_waits_is_delivered_once() {
    for shell in SHELLS {
        let stage = Stage::with_shell(shell, &[]).await;
        let runs = waiting_build(&stage).await;
        let again = stage.replica().send(&stage.idea, Mode::Build, "build it", Some("m-b")).await.unwrap();
        assert_eq!(again.run, 2, "{shell}");
        build_is_delivered_once(&stage, &runs, shell).await;
        let later = runs.send(&stage.idea, Mode::Build, "build it", Some("m-b")).await.unwrap();
        assert_eq!((later.run, stage.delivered("m-b")), (2, 1), "{shell}");
    }
}

#[tokio::test]
async fn a_message_whose_carrier_died_is_carried_on_by_whoever_sends_it_again() {
    for shell in SHELLS {
        let stage = Stage::with_shell(shell, &[]).await;
        let runs = waiting_build(&stage).await;
        kill_carrier(&stage).await;
        let again = stage.replica().send(&stage.idea, Mode::Build, "build it", Some("m-b")).await.unwrap();
        assert_eq!(again.run, 2, "{shell}");
        build_is_delivered_once(&stage, &runs, shell).await;
    }
}

#[tokio::test]
async fn a_message_whose_carrier_ended_with_the_vm_is_carried_on_when_somebody_looks() {
    for shell in SHELLS {
        let stage = Stage::with_shell(shell, &[]).await;
        let runs = waiting_build(&stage).await;
        kill_carrier(&stage).await;
        let viewers = (stage.replica(), stage.replica());
        let viewers = tokio::join!(viewers.0.subscribe(&stage.idea, None), viewers.1.subscribe(&stage.idea, None));
        assert!(viewers.0.is_ok() && viewers.1.is_ok());
        assert!(lives(carrier(&stage)), "{shell}");
        build_is_delivered_once(&stage, &runs, shell).await;
    }
}

#[tokio::test]
async fn a_message_handed_over_by_one_who_died_before_saying_so_is_not_handed_over_again() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Build, "build it", Some("m-b")).await.unwrap();
    until_results(&mut viewer, 1).await;
    std::fs::remove_file(stage.message("m-b").join("run")).unwrap();
    assert_eq!(runs.send(&stage.idea, Mode::Build, "build it", Some("m-b")).await.unwrap().run, 1);
    runs.send(&stage.idea, Mode::Build, "and then", None).await.unwrap();
    assert_eq!(text(&until_results(&mut viewer, 1).await), "you said: and then");
    assert_eq!(stage.delivered("m-b"), 1);
}

#[tokio::test]
async fn an_accepted_message_that_cannot_be_delivered_says_so_and_can_be_sent_again() {
    for shell in SHELLS {
        let mut stage = Stage::with_shell(shell, &[]).await;
        let (here, away) = (stage.bin.path().join("my-claude"), stage.bin.path().join("away"));
        std::fs::rename(stage.bin.path().join("claude"), &here).unwrap();
        stage.settings.claude_command = "my-claude".into();
        let runs = waiting_build(&stage).await;
        std::fs::rename(&here, &away).unwrap();
        let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
        runs.stop(&stage.idea).await.unwrap();
        let frames = until(&mut viewer, |frame| frame.run == 2 && is_exit(frame)).await;
        let said = bodies(&frames);
        assert!(matches!(frames.last().unwrap().event, Event::Exit { code: 127, .. }), "{shell}: {said:#?}");
        assert!(
            frames.iter().any(|frame| matches!(
                &frame.event,
                Event::Error { error } if error == "The message could not be handed to Claude (Claude Code was not found \
                                                    on the VM). Send it again."
            )),
            "{shell}: {said:#?}"
        );
        assert!(
            frames.iter().any(|frame| matches!(&frame.event, Event::User { text, .. } if text == "build it")),
            "{shell}: {said:#?}"
        );
        std::fs::rename(&away, &here).unwrap();
        eventually("the claim is undone", || !stage.message("m-b").exists()).await;
        assert_eq!(runs.send(&stage.idea, Mode::Build, "build it", Some("m-b")).await.unwrap().run, 3, "{shell}");
        assert_eq!(text(&until_results(&mut viewer, 1).await), "you said: build it", "{shell}");
    }
}

#[tokio::test]
async fn a_run_that_did_not_start_in_time_does_not_start_later() {
    // Busybox has a mkfifo of its own, which cannot be made slow.
    for shell in ["dash", "bash"] {
        let stage = Stage::with_shell(shell, &[("CATALYST_START_TRIES", "5")]).await;
        // What the supervisor needs first comes late.
        let mkfifo = stage.bin.path().join("mkfifo");
        std::fs::write(&mkfifo, "#!/bin/sh\nsleep 3\nexec /usr/bin/mkfifo \"$@\"\n").unwrap();
        std::fs::set_permissions(&mkfifo, std::fs::Permissions::from_mode(0o755)).unwrap();
        let runs = stage.replica();
        let error = runs.send(&stage.idea, Mode::Build, "build it", Some("m-b")).await.unwrap_err();
        assert!(matches!(error, RunError::NotStarted(_)), "{shell}: {error:?}");
        assert!(stage.control(1).join("exit").exists(), "{shell}");
        let pid = stage.supervisor(1);
        eventually("the supervisor is gone", || !lives(pid)).await;
        assert!(!stage.message("m-b").exists(), "{shell}: it can be sent again");
        std::fs::remove_file(&mkfifo).unwrap();
        let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
        assert_eq!(runs.send(&stage.idea, Mode::Build, "build it", Some("m-b")).await.unwrap().run, 2, "{shell}");
        until(&mut viewer, |frame| frame.run == 2 && matches!(frame.event, Event::Result(_))).await;
        assert_eq!(stage.delivered("m-b"), 1, "{shell}");
    }
}

#[tokio::test]
async fn a_message_is_not_accepted_on_the_word_of_a_carrier_that_may_die_with_it() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "hello", None).await.unwrap();
    until_results(&mut viewer, 1).await;
    // A claim whose carrier lives and does nothing.
    let mut carrier = std::process::Command::new("sleep").arg("100").spawn().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", carrier.id())).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let start = stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap();
    std::fs::create_dir_all(stage.message("m-x")).unwrap();
    let identity = format!("{} {} {start}\n", boot.trim(), carrier.id());
    std::fs::write(stage.message("m-x").join("carrier"), identity).unwrap();
    let mut sending = std::pin::pin!(runs.send(&stage.idea, Mode::Chat, "once", Some("m-x")));
    let early = tokio::time::timeout(Duration::from_secs(7), &mut sending).await;
    assert!(early.is_err(), "{early:?}");
    carrier.kill().unwrap();
    carrier.wait().unwrap();
    assert_eq!(sending.await.unwrap().run, 1);
    assert_eq!(text(&until_results(&mut viewer, 1).await), "you said: once");
    assert_eq!(stage.delivered("m-x"), 1);
}

#[tokio::test]
async fn a_message_carried_to_a_run_that_dies_before_it_takes_it_is_brought_to_another() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    for word in ["one", "two", "three"] {
        runs.send(&stage.idea, Mode::Chat, word, None).await.unwrap();
        until_results(&mut viewer, 1).await;
    }
    // The claim as a carrier leaves it that dies together with the run: in the spool.
    let (run, message) = (stage.control(1), stage.message("m-lost"));
    let pid = stage.supervisor(1);
    assert!(std::process::Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap().success());
    std::fs::create_dir_all(&message).unwrap();
    std::fs::hard_link(run.join("identity"), message.join("carrier")).unwrap();
    std::fs::write(run.join("spool/m-lost"), "{}\n").unwrap();
    assert!(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    assert_eq!(runs.send(&stage.idea, Mode::Chat, "once more", Some("m-lost")).await.unwrap().run, 2);
    let frames = until(&mut viewer, |frame| frame.run == 2 && matches!(frame.event, Event::Result(_))).await;
    assert!(text(&frames).ends_with("you said: once more"), "{:#?}", bodies(&frames));
    assert_eq!(stage.delivered("m-lost"), 1);
}

#[tokio::test]
async fn a_message_that_a_run_takes_while_it_is_judged_to_be_dead_is_not_brought_to_another() {
    let stage = Stage::new().await;
    // Whoever judges has to wait before it ends what is left of the run.
    let (judged, go) = (stage.bin.path().join("judged"), stage.bin.path().join("go"));
    let waits = format!("until [ -e {} ]; do /bin/sleep 0.05; done", go.display());
    let code =
        format!("case $1:$2 in *F*:CATALYST_RUN=*) /bin/mkdir {} 2>/dev/null && {waits} ;; esac", judged.display());
    courier::before(&stage, "grep", &format!("{code}\nexec $real \"$@\""));
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "hello", None).await.unwrap();
    until_results(&mut viewer, 1).await;
    // Nobody else looks: the first to find the supervisor dead is who sends.
    drop(viewer);
    runs.shut_down();
    stage.sshd.kill_sessions();
    // Its feeder has been told and has not come to it when its carrier and the supervisor die.
    let (feeder, supervisor) = (courier::feeder(&stage), stage.supervisor(1).to_string());
    let signal = |signal: &str, pid: &str| {
        assert!(std::process::Command::new("kill").args([signal, pid]).status().unwrap().success());
    };
    signal("-STOP", &feeder);
    courier::left_by_a_courier(&stage, "once", false);
    courier::tell_the_feeder(&stage, "m-x");
    signal("-KILL", &supervisor);
    let (idea, other) = (stage.idea.clone(), stage.replica());
    let sending = tokio::spawn(async move { other.send(&idea, Mode::Chat, "once", Some("m-x")).await });
    eventually("the run is judged", || judged.exists()).await;
    signal("-CONT", &feeder);
    let answered = || std::fs::read_to_string(stage.log(1)).unwrap().contains("you said: once");
    eventually("the message is answered", answered).await;
    std::fs::write(&go, "").unwrap();
    assert_eq!(sending.await.unwrap().unwrap().run, 1);
    assert_eq!(stage.delivered("m-x"), 1);
    assert_eq!(stage.replica().send(&stage.idea, Mode::Chat, "and then", None).await.unwrap().run, 2);
}
