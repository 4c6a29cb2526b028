//! Many who look at once: what they ask the VM is bounded, and none of them is turned away.

use std::os::unix::fs::PermissionsExt;

use catalyst_proxy::remote::Remote;
use catalyst_proxy::run::{Mode, Runs};
use catalyst_ssh::{Lane, Pool, PoolLimits};
use futures::future::join_all;

use crate::kept::{EXIT, all_of, assert_has_turns, turns_of, write_log};
use crate::stage::{Stage, WAIT, is_exit, until, until_results};

/// An idea with one run, which is over and whose log is `bytes` longer than its turn makes it.
async fn with_log_of(bytes: usize) -> Stage {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "say hello", None).await.unwrap();
    until_results(&mut viewer, 1).await;
    runs.end(&stage.idea).await.unwrap();
    until(&mut viewer, is_exit).await;
    let log = std::fs::read_to_string(stage.log(1)).unwrap();
    let line = format!("{{\"type\":\"something_new\",\"text\":\"{}\"}}\n", "x".repeat(1000));
    std::fs::write(stage.log(1), line.repeat(bytes / line.len()) + &log).unwrap();
    stage
}

/// Writes a line for each call of a program of the VM's that has such arguments.
fn count_calls(stage: &Stage, name: &str, arguments: &str) -> impl Fn() -> usize {
    let (path, calls) = (stage.bin.path().join(name), stage.bin.path().join("calls"));
    let count = format!("case \"$*\" in {arguments}) echo >>{} ;; esac", calls.display());
    std::fs::write(&path, format!("#!/bin/sh\n{count}\nexec /usr/bin/{name} \"$@\"\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    move || std::fs::read(&calls).unwrap_or_default().len()
}

#[tokio::test]
async fn viewers_who_come_at_once_share_what_is_read_of_a_long_log() {
    let stage = with_log_of(2 << 20).await;
    let calls = count_calls(&stage, "sed", "*");
    let runs = stage.replica();
    let viewers = join_all((0..500).map(|_| runs.subscribe(&stage.idea, None))).await;
    let begun = calls();
    let mut seen = Vec::new();
    for viewer in viewers {
        let mut viewer = viewer.unwrap();
        let frames = until(&mut viewer, is_exit).await;
        seen.push(frames.iter().map(|frame| frame.position()).collect::<Vec<_>>());
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "all see the same");
    // A few a reading: the follower's, the first viewer's, and one for all the others.
    assert!((2..=12).contains(&begun), "sed ran {begun} times");
}

#[tokio::test]
async fn those_who_read_slowly_keep_nobody_from_reading() {
    let stage = with_log_of(200_000).await;
    let runs = stage.replica();
    let size = std::fs::metadata(stage.log(1)).unwrap().len();
    let mut slow = Vec::new();
    for _ in 0..300 {
        let mut log = runs.log(&stage.idea, 1, 0, u64::MAX).await.unwrap();
        let first = log.next().await.unwrap().unwrap();
        slow.push((log, first.len() as u64));
    }
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    until(&mut viewer, is_exit).await;
    for (mut log, mut read) in slow {
        while let Some(piece) = log.next().await.unwrap() {
            read += piece.len() as u64;
        }
        assert_eq!(read, size);
    }
}

#[tokio::test]
async fn who_reads_a_long_log_holds_no_file_while_it_asks_the_vm() {
    let stage = Stage::new().await;
    // The last one has a line that is longer than what is searched for a beginning.
    let long = format!("{{\"type\":\"something_long\",\"text\":\"{}\"}}\n", "x".repeat(5 << 20));
    write_log(&stage, &(turns_of(3, 200_000) + &long + EXIT));
    // One channel for whatever reads much: whoever held it and wanted another would wait for ever.
    let limits = PoolLimits { bulk_connections: 1, channels_per_connection: 1, ..PoolLimits::default() };
    let remote = Remote::new(Pool::new(stage.sshd.source(), limits), "~/ideas");
    let runs = Runs::new(remote, stage.settings.clone(), stage.observed.clone());
    let (shown, pages) = all_of(&runs, &stage.idea).await;
    assert!(pages >= 2, "{pages} pages");
    assert_has_turns(&shown, 3);
}

#[tokio::test]
async fn whoever_pages_back_has_the_log_searched_once_and_sees_all_of_it() {
    let stage = Stage::new().await;
    write_log(&stage, &(turns_of(60, 100_000) + EXIT));
    let calls = count_calls(&stage, "grep", "*-abF*");
    let (shown, pages) = all_of(&stage.replica(), &stage.idea).await;
    assert!(pages >= 15, "{pages} pages");
    // One that the follower and the viewer have made at the same time, and one for what came after.
    assert!((1..=3).contains(&calls()), "{} times for {pages} pages", calls());
    assert_has_turns(&shown, 60);
}

#[tokio::test]
async fn whoever_follows_a_log_that_is_not_there_yet_is_told_so_each_time() {
    for (shell, rounds) in [("dash", 10), ("bash", 2), ("busybox", 2)] {
        let stage = Stage::with_shell(shell, &[]).await;
        let runs = stage.replica();
        let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
        runs.send(&stage.idea, Mode::Chat, "hello", None).await.unwrap();
        until_results(&mut viewer, 1).await;
        // A run that begins: its supervisor lives.
        std::fs::create_dir(stage.control(2)).unwrap();
        std::fs::copy(stage.control(1).join("identity"), stage.control(2).join("identity")).unwrap();
        let pool = Pool::new(stage.sshd.source(), PoolLimits::default());
        let folder = stage.sshd.home().join("ideas/an-idea");
        let follow = format!("sh ~/.local/state/catalyst/bin/*.sh follow {} {} 2 0", stage.idea.id, folder.display());
        // What was started last may still be beginning when there is nothing more to do: by chance, hence many.
        for _ in 0..rounds {
            let followed = join_all([(); 24].map(|()| async {
                pool.exec(Lane::Interactive, &follow).await.unwrap().finish(1 << 20).await.unwrap().status
            }));
            let followed = tokio::time::timeout(WAIT, followed).await.expect("one of them is told nothing");
            assert_eq!(followed, [Some(75); 24], "{shell}");
        }
    }
}
