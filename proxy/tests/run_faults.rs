//! What breaks under a run, and that nothing is lost or doubled by it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use catalyst_proxy::agent::Event;
use catalyst_proxy::remote::Remote;
use catalyst_proxy::run::{Frame, IdeaRef, Mode, Position, RunError, RunObserver, Runs, Subscription};
use catalyst_ssh::{Lane, Output, Pool, PoolLimits};
use stage::{Stage, WAIT, assert_in_order, bodies, eventually, is_exit, text, ticks, until, until_results};

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
}

#[tokio::test]
async fn a_claude_that_only_complains_on_stderr_is_quoted() {
    let stage = Stage::with_shell("dash", &[("CLAUDE_FAILS", "Error: \"quoted\" \\ and\nmore")]).await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "hello", None).await.unwrap();
    let frames = until(&mut viewer, is_exit).await;
    let [.., error, result, exit] = frames.as_slice() else { panic!("{:#?}", bodies(&frames)) };
    let Event::Error { error } = &error.event else { panic!("{:#?}", bodies(&frames)) };
    assert_eq!(error, "Claude ended without an answer (exit status 1): Error: \"quoted\" \\ and\nmore");
    assert!(matches!(&result.event, Event::Result(turn) if turn.result == *error));
    assert!(matches!(exit.event, Event::Exit { code: 1, .. }));
}

#[tokio::test]
async fn a_claude_that_dies_in_mid_answer_keeps_its_words_and_its_status() {
    let stage = Stage::new().await;
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "die", None).await.unwrap();
    let frames = until(&mut viewer, is_exit).await;
    assert_eq!(text(&frames), "partly");
    assert!(matches!(frames.last().unwrap().event, Event::Exit { code: 7, .. }), "{:#?}", bodies(&frames));
    assert!(
        frames
            .iter()
            .any(|frame| matches!(&frame.event, Event::Error { error } if error.ends_with("something \"went\" wrong")))
    );
}

#[tokio::test]
async fn what_claude_started_ends_with_the_run() {
    let mut stage = Stage::new().await;
    stage.settings.idle = Duration::from_secs(1);
    let runs = stage.replica();
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Build, "child", None).await.unwrap();
    until_results(&mut viewer, 1).await;
    assert!(stage.processes(1).len() > 1);
    until(&mut viewer, is_exit).await;
    assert_eq!(stage.processes(1), Vec::<i32>::new());
    let supervisor = format!("/proc/{}", stage.supervisor(1));
    eventually("the supervisor is gone", || !std::path::Path::new(&supervisor).exists()).await;
}

#[tokio::test]
async fn each_thing_that_is_missing_is_named_with_its_remedy() {
    let mut stage = Stage::new().await;
    stage.settings.claude_command = "no-such-claude".into();
    let missing = stage.replica().send(&stage.idea, Mode::Chat, "hello", Some("m-1")).await.unwrap_err();
    assert!(matches!(missing, RunError::ClaudeMissing), "{missing:?}");
    assert!(!stage.control(1).exists(), "nothing is left half started");
    stage.settings.claude_command = "claude".into();
    stage.replica().send(&stage.idea, Mode::Chat, "hello", Some("m-1")).await.unwrap();

    let mut gone = stage.idea.clone();
    gone.slug = "never-made".into();
    let error = stage.replica().send(&gone, Mode::Chat, "hello", None).await.unwrap_err();
    assert!(matches!(error, RunError::IdeaGone), "{error:?}");
    gone.slug = "../escape".into();
    let error = stage.replica().send(&gone, Mode::Chat, "hello", None).await.unwrap_err();
    assert!(matches!(error, RunError::BadIdentifier(_)), "{error:?}");
    let error = stage.replica().send(&stage.idea, Mode::Chat, " \n", None).await.unwrap_err();
    assert!(matches!(error, RunError::BadMessage(_)), "{error:?}");
    let mut down = stage;
    down.sshd.stop();
    let error = tokio::time::timeout(WAIT, down.replica().send(&down.idea, Mode::Chat, "hello", None)).await.unwrap();
    assert!(matches!(error, Err(RunError::Ssh(_))), "{error:?}");
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
async fn a_replica_that_hears_nothing_of_the_index_still_finds_the_runs() {
    let stage = Stage::new().await;
    let state = stage.sshd.home().join(".local/state/catalyst");
    std::fs::create_dir_all(&state).unwrap();
    // Whatever is announced is lost.
    std::os::unix::fs::symlink("/dev/null", state.join("index")).unwrap();
    let (one, two) = (stage.replica(), stage.replica());
    let mut there = two.subscribe(&stage.idea, None).await.unwrap();
    one.send(&stage.idea, Mode::Chat, "first", None).await.unwrap();
    // Somebody else who comes tells the replica.
    let _other = two.subscribe(&stage.idea, None).await.unwrap();
    assert_eq!(text(&until_results(&mut there, 1).await), "you said: first");
    // Nobody comes: it asks by itself after a while.
    assert_eq!(one.send(&stage.idea, Mode::Build, "second", None).await.unwrap().run, 2);
    until(&mut there, is_exit).await;
    let frame = tokio::time::timeout(2 * WAIT, there.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(frame.run, 2);
    assert_eq!(text(&until_results(&mut there, 1).await), "you said: second");
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
    assert_eq!(text(&until_results(&mut viewer, 1).await), "you said: next");
}

#[tokio::test]
async fn following_a_silent_log_writes_so_that_a_dead_connection_shows() {
    for shell in ["dash", "bash", "busybox"] {
        let stage = Stage::with_shell(shell, &[("CATALYST_HEARTBEAT", "1")]).await;
        let runs = stage.replica();
        let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
        runs.send(&stage.idea, Mode::Chat, "hello", None).await.unwrap();
        until_results(&mut viewer, 1).await;
        let pool = Pool::new(stage.sshd.source(), PoolLimits::default());
        let end = std::fs::metadata(stage.log(1)).unwrap().len();
        let folder = stage.sshd.home().join("ideas/an-idea");
        let command =
            format!("sh ~/.local/state/catalyst/bin/*.sh follow {} {} 1 {end}", stage.idea.id, folder.display());
        let mut following = pool.exec(Lane::Interactive, &command).await.unwrap();
        for _ in 0..2 {
            let beat = tokio::time::timeout(WAIT, following.next()).await.unwrap();
            assert!(matches!(beat, Some(Output::Stderr(_))), "{shell}: {beat:?}");
        }
        let ours = format!("{}\0{}\0{}", stage.idea.id, folder.display(), 1);
        let followers = || {
            std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
                let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(&ours)
            })
        };
        assert!(followers().count() > 0, "{shell}");
        drop(following);
        drop(viewer);
        runs.shut_down();
        eventually("nothing follows any more", || followers().count() == 0).await;
    }
}

/// Breaks at the end of the first turn.
#[derive(Default)]
struct Breaks(AtomicBool);

impl RunObserver for Breaks {
    fn session_started(&self, _: &IdeaRef, _: &str) {}

    fn turn_ended(&self, _: &IdeaRef, _: Mode, _: bool) {
        assert!(self.0.swap(true, Ordering::Relaxed), "broken on purpose");
    }
}

#[tokio::test]
async fn a_follower_that_breaks_ends_its_viewers_and_the_next_get_another() {
    let stage = Stage::new().await;
    let pool = Pool::new(stage.sshd.source(), PoolLimits::default());
    let runs = Runs::new(Remote::new(pool, "~/ideas"), stage.settings.clone(), Arc::new(Breaks::default()));
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "hello", None).await.unwrap();
    let all = async {
        let mut frames = Vec::new();
        while let Some(frame) = viewer.next().await {
            frames.push(frame.unwrap());
        }
        frames
    };
    let mut frames = tokio::time::timeout(WAIT, all).await.expect("its viewers wait for ever");
    let beginning = Position { run: 1, seq: "0.0".parse().unwrap() };
    let after = frames.last().map_or(beginning, |frame| frame.position());
    let mut viewer = runs.subscribe(&stage.idea, Some(after)).await.unwrap();
    frames.extend(until_results(&mut viewer, 1).await);
    assert_in_order(&frames);
    assert_eq!(text(&frames), "you said: hello");
}

#[tokio::test]
async fn runs_beyond_the_channels_for_following_lose_nothing_either() {
    let stage = Stage::new().await;
    // One connection: two of its channels follow, the third run is read through a shared one.
    let limits = PoolLimits { interactive_connections: 1, ..PoolLimits::default() };
    let remote = Remote::new(Pool::new(stage.sshd.source(), limits), "~/ideas");
    let runs = Runs::new(remote, stage.settings.clone(), stage.observed.clone());
    for name in ["first", "second"] {
        let idea = IdeaRef { id: uuid::Uuid::new_v4().to_string(), slug: name.to_owned(), session_id: None };
        std::fs::create_dir_all(stage.sshd.home().join("ideas").join(name)).unwrap();
        let mut viewer = runs.subscribe(&idea, None).await.unwrap();
        runs.send(&idea, Mode::Chat, "ticks 1000 0.1", None).await.unwrap();
        until(&mut viewer, has_text).await;
    }
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "flood 20000", None).await.unwrap();
    let flood = until_results(&mut viewer, 1).await;
    assert_eq!(text(&flood), (0..20_000).map(|n| format!("{n} ")).collect::<String>());
    stage.assert_said_by_the_log(1, &flood);
    // That a silent run's supervisor is gone, nobody tells: it has to be asked.
    kill(stage.supervisor(1), "-KILL");
    let frames = until(&mut viewer, is_exit).await;
    assert!(matches!(&frames.last().unwrap().event, Event::Exit { reason, .. } if reason == "lost"));
    runs.send(&stage.idea, Mode::Chat, "ticks 60 0.05", None).await.unwrap();
    let mut frames = until(&mut viewer, has_text).await;
    eventually("a session is there to be killed", || stage.sshd.kill_sessions() > 0).await;
    frames.extend(until_results(&mut viewer, 1).await);
    assert_eq!(text(&frames), ticks(60));
    stage.assert_said_by_the_log(2, &frames);
}

#[tokio::test]
async fn a_log_that_says_something_gets_the_channel_of_one_that_says_nothing() {
    let stage = Stage::new().await;
    // As above: two channels follow, and both have a run that waits for a message.
    let limits = PoolLimits { interactive_connections: 1, ..PoolLimits::default() };
    let remote = Remote::new(Pool::new(stage.sshd.source(), limits), "~/ideas");
    let runs = Runs::new(remote, stage.settings.clone(), stage.observed.clone());
    let mut idle = Vec::new();
    for name in ["first", "second"] {
        let idea = IdeaRef { id: uuid::Uuid::new_v4().to_string(), slug: name.to_owned(), session_id: None };
        std::fs::create_dir_all(stage.sshd.home().join("ideas").join(name)).unwrap();
        let mut viewer = runs.subscribe(&idea, None).await.unwrap();
        runs.send(&idea, Mode::Chat, "hello", None).await.unwrap();
        until_results(&mut viewer, 1).await;
        idle.push((idea, viewer));
    }
    let mut viewer = runs.subscribe(&stage.idea, None).await.unwrap();
    runs.send(&stage.idea, Mode::Chat, "ticks 2000 0.1", None).await.unwrap();
    let mut frames = until(&mut viewer, has_text).await;
    let log = stage.log(1).display().to_string();
    let follows =
        |command: &String| command.starts_with("tail\0") && command.contains(&log) && command.contains("\0-f\0");
    eventually("its log is followed", || stage.left().iter().any(follows)).await;
    runs.stop(&stage.idea).await.unwrap();
    frames.extend(until_results(&mut viewer, 1).await);
    stage.assert_said_by_the_log(1, &frames);
    // One of those is read in turns now.
    for (idea, viewer) in &mut idle {
        runs.send(idea, Mode::Chat, "again", None).await.unwrap();
        assert_eq!(text(&until_results(viewer, 1).await), "you said: again");
    }
}
