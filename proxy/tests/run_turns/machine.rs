//! What the VM may be like: shells that talk, a logind that ends a user's processes, a full disk.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use catalyst_proxy::agent::Event;
use catalyst_proxy::run::{Frame, Mode, RunError};

use crate::stage::{Stage, bodies, is_exit, text, until, until_results};

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

/// A small disk of its own under the ideas; gone with this.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(crate) fn under(ideas: PathBuf) -> SmallDisk {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "small"]).arg(&ideas).status();
        assert!(mounted.unwrap().success());
        std::fs::create_dir(ideas.join("an-idea")).unwrap();
        SmallDisk(ideas)
    }

    /// Fills it to the last byte.
    pub(crate) fn fill(&self) -> PathBuf {
        let filling = self.0.join("filling");
        let full = std::fs::write(&filling, vec![0; 4 << 20]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        filling
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_disk_that_is_full_in_the_midst_of_a_run_costs_no_message_silently() {
    for shell in ["dash", "bash", "busybox"] {
        // One that the log still takes when the room kept for its end is used, and one that it does not take at all.
        for length in [5_000, 40_000] {
            let stage = Stage::with_shell(shell, &[]).await;
            let disk = SmallDisk::under(stage.sshd.home().join("ideas"));
            let runs = stage.replica();
            let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
            runs.send(&stage.idea, Mode::Chat, "one", None).await.unwrap();
            until_results(&mut viewer, 1).await;
            let filling = disk.fill();
            let message = "w".repeat(length);
            assert_eq!(runs.send(&stage.idea, Mode::Chat, &message, Some("m-2")).await.unwrap().run, 1, "{shell}");
            let frames = until(&mut viewer, is_exit).await;
            let said = bodies(&frames).join("\n");
            assert!(said.contains("The VM's disk is full"), "{shell} {length}: {said}");
            assert!(matches!(&frames.last().unwrap().event, Event::Exit { reason, .. } if reason == "full"), "{said}");
            let shown = frames.iter().any(|frame| matches!(&frame.event, Event::User { text, .. } if *text == message));
            assert_eq!(shown, length == 5_000, "{shell}: {said}");
            assert!(!said.contains("you said"), "{shell}: Claude was given what the log does not say: {said}");
            std::fs::remove_file(filling).unwrap();
            assert_eq!(runs.send(&stage.idea, Mode::Chat, &message, Some("m-2")).await.unwrap().run, 2, "{shell}");
            let frames = until_results(&mut viewer, 1).await;
            assert_eq!(text(&frames), format!("you said: {}", &message[..text(&frames).len() - 10]), "{shell}");
            runs.end(&stage.idea).await.unwrap();
        }
    }
}

/// Where the VM keeps what it knows of runs, on a file system of its own that has few files to give; gone with this.
struct FewFiles(PathBuf);

impl FewFiles {
    fn under(state: PathBuf) -> FewFiles {
        std::fs::create_dir_all(&state).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "nr_inodes=200", "few"]).arg(&state).status();
        assert!(mounted.unwrap().success());
        FewFiles(state)
    }

    /// Leaves so many.
    fn leave(&self, free: usize) {
        std::fs::create_dir(self.0.join("filling")).unwrap();
        let name = |at: usize| self.0.join(format!("filling/{at}"));
        let made = (0..200).take_while(|at| std::fs::write(name(*at), "").is_ok()).count();
        assert!(made > free && made < 200, "{made}");
        (0..free).for_each(|at| std::fs::remove_file(name(at)).unwrap());
    }

    fn free(&self) {
        std::fs::remove_dir_all(self.0.join("filling")).unwrap();
    }
}

impl Drop for FewFiles {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn where_no_more_files_can_be_made_no_message_is_lost_silently() {
    // Each number is another step that fails: taking the message is one of them.
    let mut unanswered = 0;
    for (shell, free) in [("dash", 0), ("dash", 1), ("dash", 2), ("dash", 3), ("dash", 4), ("dash", 5), ("busybox", 3)]
    {
        let stage = Stage::with_shell(shell, &[]).await;
        let disk = FewFiles::under(stage.sshd.home().join(".local/state/catalyst"));
        let runs = stage.replica();
        let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
        runs.send(&stage.idea, Mode::Chat, "one", None).await.unwrap();
        until_results(&mut viewer, 1).await;
        disk.leave(free);
        let sent = runs.send(&stage.idea, Mode::Chat, "two", Some("m-2")).await;
        let mut answered = false;
        if sent.is_ok() {
            let answer = |frame: &Frame| matches!(&frame.event, Event::Result(turn) if turn.error.is_none());
            let frames = until(&mut viewer, |frame| is_exit(frame) || answer(frame)).await;
            let said = bodies(&frames).join("\n");
            let shown = |frame: &&Arc<Frame>| matches!(&frame.event, Event::User { text, .. } if text == "two");
            assert_eq!(frames.iter().filter(shown).count(), 1, "{shell} {free}: {said}");
            answered = text(&frames) == "you said: two";
            let told = matches!(&frames.last().unwrap().event, Event::Exit { reason, .. } if reason == "full");
            assert!(answered || told, "{shell} {free}: {said}");
            unanswered += usize::from(!answered);
        }
        disk.free();
        if !answered {
            runs.send(&stage.idea, Mode::Chat, "two", Some("m-2")).await.unwrap();
            assert_eq!(text(&until_results(&mut viewer, 1).await), "you said: two", "{shell} {free}: {sent:?}");
        }
        runs.end(&stage.idea).await.unwrap();
    }
    assert!(unanswered > 0, "no message failed only when it was to be taken, so that this shows nothing");
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
