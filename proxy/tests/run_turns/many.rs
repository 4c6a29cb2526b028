//! Many who look at once: what they ask the VM is bounded, and none of them is turned away.

use std::os::unix::fs::PermissionsExt;

use catalyst_proxy::run::Mode;
use futures::future::join_all;

use crate::stage::{Stage, is_exit, until, until_results};

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

/// Writes a line for each call of a program of the VM's.
fn count_calls(stage: &Stage, name: &str) -> impl Fn() -> usize {
    let (path, calls) = (stage.bin.path().join(name), stage.bin.path().join("calls"));
    std::fs::write(&path, format!("#!/bin/sh\necho >>{}\nexec /usr/bin/{name} \"$@\"\n", calls.display())).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    move || std::fs::read(&calls).unwrap_or_default().len()
}

#[tokio::test]
async fn viewers_who_come_at_once_share_what_is_read_of_a_long_log() {
    let stage = with_log_of(2 << 20).await;
    let calls = count_calls(&stage, "sed");
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
    // Two a reading: the follower's, the first viewer's, and one for all the others.
    assert!((2..=8).contains(&begun), "sed ran {begun} times");
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
