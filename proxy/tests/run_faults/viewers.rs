//! Several viewers and replicas, slow ones, and those who come late or come back.

use std::sync::Arc;

use catalyst_proxy::agent::Event;
use catalyst_proxy::run::{Frame, Mode, Position, RunError};

use crate::has_text;
use crate::stage::{Stage, assert_in_order, bodies, eventually, text, ticks, until, until_results};

#[tokio::test]
async fn two_replicas_and_all_their_viewers_see_the_same() {
    let stage = Stage::new().await;
    let (one, two) = (stage.replica(), stage.replica());
    let mut here = one.subscribe(&stage.idea, None).await.unwrap();
    let mut there = two.subscribe(&stage.idea, None).await.unwrap();
    one.send(&stage.idea, Mode::Chat, "ticks 30 0.05", Some("m-1")).await.unwrap();
    let first = until(&mut there, has_text).await;
    let mut late = two.subscribe(&stage.idea, None).await.unwrap();
    assert!(late.start.live);
    let late_frames = until_results(&mut late, 1).await;
    let mut there_frames = first;
    there_frames.extend(until_results(&mut there, 1).await);
    let here_frames = until_results(&mut here, 1).await;
    for frames in [&here_frames, &there_frames, &late_frames] {
        assert_in_order(frames);
        assert_eq!(text(frames), ticks(30));
        assert!(
            matches!(&frames[0].event, Event::User { message_id: Some(id), .. } if id == "m-1"),
            "{:#?}",
            bodies(frames)
        );
    }
    assert_eq!(here_frames.last().unwrap().body, there_frames.last().unwrap().body);

    // A turn that the other replica starts, in another run.
    assert_eq!(two.send(&stage.idea, Mode::Build, "from there", None).await.unwrap().run, 2);
    for viewer in [&mut here, &mut there, &mut late] {
        let frames = until_results(viewer, 1).await;
        assert_eq!(text(&frames), "you said: from there");
        assert_eq!(frames.last().unwrap().run, 2);
    }
}

#[tokio::test]
async fn a_viewer_goes_on_from_any_frame_it_had() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    for message in ["ticks 12 0.02", "ask-nothing", "ticks 5 0.02"] {
        runs.send(&stage.idea, Mode::Chat, message, None).await.unwrap();
        until_results(&mut viewer, 1).await;
    }
    // Each by a fresh replica, whose ring has nothing of it, and by the one that has it all in its ring.
    let mut all = runs.subscribe(&stage.idea, Some(Position { run: 1, seq: "0.0".parse().unwrap() })).await.unwrap();
    let all = until_results(&mut all, 3).await;
    let expected = format!("{}you said: ask-nothing{}", ticks(12), ticks(5));
    assert_eq!(text(&all), expected);
    for had in 1..all.len() {
        let after = all[had - 1].position();
        for replica in [&runs, &stage.replica()] {
            let mut viewer = replica.subscribe(&stage.idea, Some(after)).await.unwrap();
            let left = all[had..].iter().filter(|frame| matches!(frame.event, Event::Result(_))).count();
            let rest = if left == 0 { Vec::new() } else { until_results(&mut viewer, left).await };
            let joined: Vec<Arc<Frame>> = all[..had].iter().cloned().chain(rest).collect();
            assert_in_order(&joined);
            assert_eq!(text(&joined), expected, "after {after:?}");
        }
    }
    let beyond = Position { run: 1, seq: "99999999.0".parse().unwrap() };
    for replica in [&runs, &stage.replica()] {
        assert!(matches!(replica.subscribe(&stage.idea, Some(beyond)).await, Err(RunError::BadPosition)));
    }
}

#[tokio::test]
async fn a_viewer_that_does_not_read_loses_nothing_and_holds_nobody_up() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut slow = runs.subscribe(&stage.idea, None).await.unwrap();
    let mut quick = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "flood 20000", None).await.unwrap();
    let expected: String = (0..20_000).map(|n| format!("{n} ")).collect();
    let frames = until_results(&mut quick, 1).await;
    assert_eq!(text(&frames), expected);
    stage.assert_said_by_the_log(1, &frames);
    // More than the ring holds has passed by now.
    let log = std::fs::metadata(stage.log(1)).unwrap().len();
    let behind = runs.stats().behind;
    assert!(behind > 256 * 1024 && behind <= log, "{behind} of {log} bytes behind");
    let frames = until_results(&mut slow, 1).await;
    assert_eq!(text(&frames), expected);
    stage.assert_said_by_the_log(1, &frames);
    assert!(runs.stats().behind < 64 * 1024, "it has caught up: {:?}", runs.stats());
    drop((slow, quick));
    assert_eq!(runs.stats().behind, 0, "nobody is behind");
    stage.assert_leaves_nothing(runs).await;
}

#[tokio::test]
async fn history_is_paged_backwards_over_runs_without_a_gap() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "first", None).await.unwrap();
    runs.send(&stage.idea, Mode::Build, "flood 3000", None).await.unwrap();
    until_results(&mut viewer, 2).await;
    runs.send(&stage.idea, Mode::Build, "last", None).await.unwrap();
    until_results(&mut viewer, 1).await;

    let mut fresh = stage.replica().subscribe(&stage.idea, None).await.unwrap();
    let mut frames = until_results(&mut fresh, 1).await;
    let mut before = fresh.start.before;
    let mut pages = 0;
    while let Some(at) = before {
        let page = runs.page(&stage.idea, at).await.unwrap();
        frames.splice(0..0, page.frames);
        before = page.before;
        pages += 1;
        assert!(pages < 20);
    }
    assert!(pages > 1, "the log is longer than a page");
    assert_in_order(&frames);
    let asked: Vec<&str> = frames
        .iter()
        .filter_map(|frame| if let Event::User { text, .. } = &frame.event { Some(text.as_str()) } else { None })
        .collect();
    assert_eq!(asked, ["first", "flood 3000", "last"]);
}

#[tokio::test]
async fn a_viewer_alone_that_does_not_read_is_counted_as_lagging_until_it_reads_on() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut slow = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "ticks 1000 0.005", None).await.unwrap();
    eventually("it lags", || runs.stats().lagging == 1).await;
    let frames = until_results(&mut slow, 1).await;
    assert_eq!(text(&frames), ticks(1000));
    stage.assert_said_by_the_log(1, &frames);
    runs.send(&stage.idea, Mode::Chat, "and then", None).await.unwrap();
    until_results(&mut slow, 1).await;
    assert_eq!(runs.stats().lagging, 0);
    drop(slow);
    stage.assert_leaves_nothing(runs).await;
}
