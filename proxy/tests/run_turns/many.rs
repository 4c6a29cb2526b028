//! Many who look at once: what they ask the VM is bounded, and none of them is turned away.

use std::os::unix::fs::PermissionsExt;

use catalyst_proxy::agent::Event;
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
async fn whoever_pages_back_has_the_log_searched_once_and_sees_all_of_it() {
    let stage = Stage::new().await;
    let mut log = String::from("{\"type\":\"catalyst_start\",\"mode\":\"chat\"}\n");
    for turn in 0..60 {
        let text = format!("turn {turn} {}", "x".repeat(100_000));
        log +=
            &format!("{{\"type\":\"catalyst_turn\",\"id\":\"m-{turn}\",\"mode\":\"chat\",\"text\":\"do {turn}\"}}\n");
        log += "{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"s\",\"model\":\"m\"}\n";
        log += "{\"type\":\"user\",\"message\":{\"role\":\"user\",\"content\":[]},\"isReplay\":true}\n";
        log += &format!(
            "{{\"type\":\"assistant\",\"message\":{{\"id\":\"msg-{turn}\",\"content\":[{{\"type\":\"text\",\"text\":\"{text}\"}}]}}}}\n"
        );
        log += &format!(
            "{{\"type\":\"result\",\"subtype\":\"success\",\"result\":\"done\",\"session_id\":\"s\",\"total_cost_usd\":{}}}\n",
            turn + 1
        );
    }
    log += "{\"type\":\"catalyst_exit\",\"code\":0,\"reason\":\"idle\",\"stderr\":\"\"}\n";
    std::fs::create_dir_all(stage.log(1).parent().unwrap()).unwrap();
    std::fs::write(stage.log(1), log).unwrap();
    let calls = count_calls(&stage, "grep", "*-abF*");
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    let mut shown = until(&mut viewer, is_exit).await;
    let (mut before, mut pages) = (viewer.start.before, 0);
    while let Some(at) = before {
        let page = runs.page(&stage.idea, at).await.unwrap();
        shown.splice(0..0, page.frames);
        (before, pages) = (page.before, pages + 1);
    }
    assert!(pages >= 15, "{pages} pages");
    // One that the follower and the viewer have made at the same time, and one for what came after.
    assert!((1..=3).contains(&calls()), "{} times for {pages} pages", calls());
    let asked: Vec<String> = shown
        .iter()
        .filter_map(|frame| if let Event::User { text, .. } = &frame.event { Some(text.clone()) } else { None })
        .collect();
    assert_eq!(asked, (0..60).map(|turn| format!("do {turn}")).collect::<Vec<_>>());
    let costs: Vec<f64> = shown
        .iter()
        .filter_map(|frame| if let Event::Result(turn) = &frame.event { Some(turn.cost_usd) } else { None })
        .collect();
    assert_eq!(costs, [1.0; 60], "each turn has its own cost, wherever it was read from");
}
