//! What the VM may be like: shells that talk, a logind that ends a user's processes, a full disk.

use std::os::unix::fs::PermissionsExt;

use catalyst_proxy::agent::Event;
use catalyst_proxy::run::{Mode, RunError};

use crate::stage::{Stage, bodies, text, until_results};

/// A program of the VM's, before all others of that name.
fn program(stage: &Stage, name: &str, script: &str) {
    let path = stage.bin.path().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_start_up_file_that_prints_is_not_mistaken_for_an_answer() {
    let stage = Stage::new().await;
    let noise = "echo 'run 7 live chat 1'; echo accepted 9; printf '\\377\\n'; echo oops >&2; touch ~/ran\n";
    std::fs::write(stage.sshd.home().join(".bashrc"), noise).unwrap();
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    assert_eq!(viewer.start.run, None);
    assert_eq!(runs.send(&stage.idea, Mode::Chat, "hello", None).await.unwrap().run, 1);
    assert_eq!(text(&until_results(&mut viewer, 1).await), "you said: hello");
    assert!(stage.sshd.home().join("ran").exists(), "the start-up file was not read: this shows nothing");
}

#[tokio::test]
async fn where_logind_ends_a_users_processes_a_run_has_a_lingering_scope() {
    let stage = Stage::new().await;
    program(&stage, "busctl", "echo 'b true'; echo 'as 1 \"somebody\"'");
    program(&stage, "loginctl", "echo \"$*\" >>~/loginctl");
    program(
        &stage,
        "systemd-run",
        "echo \"$*\" >>~/systemd-run; while case $1 in -*) ;; *) false ;; esac; do shift; done; exec \"$@\"",
    );
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "hello", None).await.unwrap();
    let frames = until_results(&mut viewer, 1).await;
    assert_eq!(text(&frames), "you said: hello");
    assert!(!frames.iter().any(|frame| matches!(frame.event, Event::Other { .. })), "{:#?}", bodies(&frames));
    let said = |file: &str| std::fs::read_to_string(stage.sshd.home().join(file)).unwrap();
    assert_eq!(said("loginctl"), "enable-linger\n");
    assert!(said("systemd-run").lines().any(|line| line.starts_with("--user --scope") && line.contains("setsid sh")));
    runs.end(&stage.idea).await.unwrap();
    assert_eq!(stage.processes(1), Vec::<i32>::new());
}

#[tokio::test]
async fn where_no_scope_can_be_had_the_run_says_so_and_starts() {
    let stage = Stage::new().await;
    program(&stage, "busctl", "echo 'b true'; echo 'as 0'");
    program(&stage, "loginctl", "exit 1");
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "hello", None).await.unwrap();
    let frames = until_results(&mut viewer, 1).await;
    let said = bodies(&frames).join("\n");
    assert!(said.contains("catalyst_note") && said.contains("loginctl enable-linger"), "{said}");
    assert_eq!(text(&frames), "you said: hello");
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_message_can_be_sent_again() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    // What the program says whose output does not fit.
    program(&stage, "dd", "exec /usr/bin/dd if=/dev/zero of=/dev/full bs=4096 count=4");
    let full = runs.send(&stage.idea, Mode::Chat, "hello", Some("m-1")).await;
    assert!(matches!(full, Err(RunError::DiskFull)), "{full:?}");
    assert!(!stage.control(1).exists() && !stage.log(1).exists(), "nothing is left half started");
    std::fs::remove_file(stage.bin.path().join("dd")).unwrap();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    assert_eq!(runs.send(&stage.idea, Mode::Chat, "hello", Some("m-1")).await.unwrap().run, 1);
    assert_eq!(text(&until_results(&mut viewer, 1).await), "you said: hello");
    assert_eq!(stage.delivered("m-1"), 1);
}
