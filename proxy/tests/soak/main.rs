//! Very many events under faults at random, on real parts: sshd, the proxy's binary twice, a browser's socket.
//!
//! For `SOAK_SECONDS`; `SOAK_SEED` repeats the order of the faults of a run that failed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod faults;
mod replica;
mod viewer;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalyst_proxy::agent::{Decoder, Event, Lines, State, members};
use catalyst_proxy::protocol::{Prefix, frame};
use catalyst_ssh::testing::{TestSshd, TestSshdOptions};
use faults::{Fault, Faults, KINDS};
use replica::{Memory, Replicas};
use tokio::sync::Mutex;
use viewer::Viewer;

/// Events of one answer, which come a thousand at once.
const ANSWER: u64 = 10_000;
/// The pauses between these thousands in one answer and the next, in seconds.
const PAUSES: [&str; 2] = ["0.3", "0"];
/// What a proxy may hold more than at its beginning, in MiB, once nobody looks: what it grows by in the first minute, and 12 MiB that the
/// allocator may keep after a peak.
const MEMORY: f64 = 24.0;
const WAIT: Duration = Duration::from_secs(60);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_comes_once_and_in_order_whatever_breaks_meanwhile() {
    soak(KINDS, None, Duration::from_secs(number("SOAK_SECONDS", 15))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_is_killed_in_mid_answer_costs_no_event_and_leaves_nothing() {
    soak(&[Fault::ProxyKilled], Some(3), Duration::ZERO).await;
}

/// Answers come for as long as this, and until each of these kinds of faults has happened, so often if that is said; then all that was told
/// is what the log on the VM says, nothing of it runs there any more, and the memory that it took is free again.
async fn soak(kinds: &'static [Fault], enough: Option<u32>, lasts: Duration) {
    let seed = number("SOAK_SEED", rand::random::<u32>().into());
    // Shown when it fails.
    println!("SOAK_SEED={seed}");
    let bin = tempfile::tempdir().unwrap();
    symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/soak/claude"), bin.path().join("claude")).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.path().display());
    let options = TestSshdOptions {
        environment: vec![("PATH".to_owned(), path)],
        // What sshd has when nothing is set.
        max_startups: "10:30:100".to_owned(),
        ..TestSshdOptions::default()
    };
    let sshd = TestSshd::start(options).await;
    let home = sshd.home();
    let replicas = Arc::new(Replicas::start(&sshd).await);
    let slug = replicas.idea("Soaked").await;
    let sshd = Arc::new(Mutex::new(sshd));
    let idle = replicas.memory().now;
    let mut faults = Faults::new(seed, kinds, enough, &sshd, &replicas);
    let mut viewer = Viewer::new(&replicas, &slug);
    let began = Instant::now();
    let mut turns = 0;
    let mut grown = Vec::new();
    while began.elapsed() < lasts || !faults.each_happened(enough.unwrap_or(1)) {
        assert!(began.elapsed() < lasts + 3 * WAIT, "too little breaks: {faults}");
        let pause = PAUSES[turns as usize % PAUSES.len()];
        viewer
            .turn(&format!("turn-{turns}"), &format!("stream {} {ANSWER} {pause}", turns * ANSWER), &mut faults)
            .await;
        turns += 1;
        grown.push(replicas.memory().now.round());
    }
    let (took, events) = (began.elapsed(), turns * ANSWER);
    faults.over().await;
    println!("{took:.1?}: {events} events, {} a second; {viewer}; {faults}", events / took.as_secs().max(1));

    let log = std::fs::read(home.join(format!("ideas/{slug}/runs/1/log.jsonl"))).unwrap();
    let (said, text) = said_by(&log, &slug);
    let all = (0..events).fold(String::new(), |text, at| text + &format!("{at} "));
    let taken =
        log.split(|byte| *byte == b'\n').filter(|line| line.starts_with(br#"{"type":"catalyst_turn","id":"turn-"#));
    let taken = taken.count();
    assert!(
        text == all,
        "of {turns} messages {taken} were taken, and the log {}; {}",
        account(&text, events),
        difference(&text, &all)
    );
    assert!(viewer.said == said, "{}", difference(&viewer.said, &said));
    assert_eq!(taken as u64, turns, "a message was taken twice");

    drop(viewer);
    println!("{} MB of log; memory {idle:.1} MiB at first, after each answer {grown:?}", log.len() / 1_000_000);
    let mut memory = replicas.memory();
    eventually("memory is back", || {
        memory = replicas.memory();
        memory.now < idle + MEMORY
    })
    .await;
    let Memory { now, most } = memory;
    println!("{most:.1} at most, {now:.1} at last");
    replicas.delete(&slug).await;
    replicas.end().await;
    eventually("nothing of it runs on the VM", || left_on(&home).is_empty()).await;
}

/// What a browser has to be told of a log: texts as they come, everything else as its frame; and the texts alone.
fn said_by(log: &[u8], slug: &str) -> (String, String) {
    let (mut said, mut text) = (String::new(), String::new());
    let mut decoder = Decoder::new(State::default());
    let mut events = Vec::new();
    Lines::new(0).feed(log, |line| {
        decoder.line(&line, &mut events);
        for (seq, event) in events.drain(..) {
            if let Event::Text { text: piece } = event {
                said.push_str(&piece);
                text.push_str(&piece);
            } else {
                let frame = frame(&Prefix::new(slug), &members(&event, Some((1, seq))));
                writeln!(said, "\n{}", String::from_utf8(frame).unwrap()).unwrap();
            }
        }
    });
    (said, text)
}

/// Which of so many events a log lacks, and which it has more than once.
fn account(text: &str, events: u64) -> String {
    let mut times = BTreeMap::<u64, u32>::new();
    for event in text.split_ascii_whitespace() {
        *times.entry(event.parse().unwrap_or(u64::MAX)).or_default() += 1;
    }
    let lacking: Vec<u64> = (0..events).filter(|event| !times.contains_key(event)).collect();
    let again: Vec<u64> = times.iter().filter(|(_, times)| **times > 1).map(|(event, _)| *event).collect();
    let foreign = times.keys().filter(|event| **event >= events).count();
    let told = |events: &[u64]| match events {
        [] => "none".to_owned(),
        [first, .., last] => format!("{} ({first} to {last})", events.len()),
        [one] => format!("one ({one})"),
    };
    format!("lacks {} of the events, has {} more than once and {foreign} of others", told(&lacking), told(&again))
}

#[test]
fn what_a_log_lacks_and_what_it_has_twice_are_told_apart() {
    assert_eq!(account("0 1 2 ", 3), "lacks none of the events, has none more than once and 0 of others");
    assert_eq!(account("0 3 4 ", 5), "lacks 2 (1 to 2) of the events, has none more than once and 0 of others");
    assert_eq!(account("0 1 0 1 9 ", 3), "lacks one (2) of the events, has 2 (0 to 1) more than once and 1 of others");
}

fn difference(given: &str, expected: &str) -> String {
    let same = given.bytes().zip(expected.bytes()).take_while(|(a, b)| a == b).count();
    let around = |text: &str| text.chars().skip(same.saturating_sub(60)).take(200).collect::<String>();
    format!("after {same} bytes came\n{}\nand not\n{}", around(given), around(expected))
}

/// Processes of the VM's sessions, and what they started.
fn left_on(home: &Path) -> Vec<String> {
    let tag = format!("CATALYST_TEST_SSHD={}", home.parent().unwrap().display()).into_bytes();
    let entries = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let tagged = entries.filter(|process| {
        let environment = std::fs::read(process.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == tag)
    });
    tagged.map(|process| std::fs::read_to_string(process.join("cmdline")).unwrap_or_default()).collect()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
