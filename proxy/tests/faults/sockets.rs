//! Browsers that ask too much: pages loaded again and again, a message of ten megabytes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::frames::{chat, text, ticks};
use crate::serving::{PATIENCE, Server, Socket};
use crate::{assert_leaves_nothing, assert_said_by_the_log, processes_on, vm};

#[tokio::test]
async fn a_storm_of_reloads_disturbs_nobody_and_leaves_nothing() {
    let (sshd, settings) = vm().await;
    let server = Server::start(&settings).await;
    let slug = server.idea("Stormy").await;
    let mut steady = server.watching(&slug).await;
    chat(&mut steady, &slug, "ticks 100 0.05").await;
    let mut frames = steady.until("claude:text").await;
    let before = processes_on(&sshd).len();
    for _ in 0..10 {
        // Each is gone before it has been told everything, without a word of farewell.
        let pages = (0..15).map(async |_| {
            let mut page = server.watching(&slug).await;
            page.next().await
        });
        let seen = futures::future::join_all(pages).await;
        assert!(seen.iter().all(Option::is_some));
    }
    frames.extend(steady.until("claude:result").await);
    assert_eq!(text(&frames), ticks(100));
    let calm = async {
        let few = |server: &Server| server.app.runs.stats().viewers == 1 && server.app.sockets.len() == 1;
        while !few(&server) || processes_on(&sshd).len() > before + 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let calm = tokio::time::timeout(PATIENCE, calm).await;
    let (stats, after) = (server.app.runs.stats(), processes_on(&sshd).len());
    assert!(calm.is_ok(), "of those that are gone stays: {stats:?}, {after} processes on the VM that were {before}");
    assert_said_by_the_log(&sshd, &slug, &frames);
    assert_leaves_nothing(server, &sshd, &slug).await;
}

#[tokio::test]
async fn a_message_of_ten_megabytes_that_is_sent_again_and_again_arrives_whole_and_once() {
    let (sshd, settings) = vm().await;
    let server = Server::start(&settings).await;
    let slug = server.idea("Long message").await;
    let (mut socket, mut other) = (server.watching(&slug).await, server.watching(&slug).await);
    let message = format!("size {}", "x".repeat(10_000_000));
    let sent = json!({"type": "chat", "ideaId": slug, "message": message, "messageId": "m-10"});
    // On two sockets at once, as there is no room for both on one.
    futures::join!(socket.send(sent.clone()), other.send(sent.clone()));
    let (seen, seen_by_other) = futures::join!(taken_and_answered(&mut socket), taken_and_answered(&mut other));
    assert!(text(&seen).parse::<usize>().unwrap() > message.len(), "{}", text(&seen));
    assert_eq!(text(&seen_by_other), text(&seen));
    assert_said_by_the_log(&sshd, &slug, &seen);
    assert_said_by_the_log(&sshd, &slug, &seen_by_other);
    // And again when it is answered.
    socket.send(sent).await;
    let again = socket.until("accepted").await;
    assert_eq!((again.len(), &again[0]["run"]), (1, &json!(1)), "{again:#?}");
    chat(&mut socket, &slug, "and then").await;
    assert_eq!(text(&socket.until("claude:result").await), "you said: and then");
    let log = std::fs::read(sshd.home().join(format!("catalyst/ideas/{slug}/runs/1/log.jsonl"))).unwrap();
    let turn = br#"{"type":"catalyst_turn","id":"m-10""#;
    let turns = log.split(|byte| *byte == b'\n').filter(|line| line.starts_with(turn));
    let turns: Vec<Value> = turns.map(|line| serde_json::from_slice(line).unwrap()).collect();
    assert_eq!(turns.len(), 1);
    assert!(turns[0]["text"] == message, "another text than what was sent");
    assert_leaves_nothing(server, &sshd, &slug).await;
}

/// What comes until the message is taken, into the first run, and answered.
async fn taken_and_answered(socket: &mut Socket) -> Vec<Value> {
    let mut frames = socket.until("accepted").await;
    assert_eq!(frames.last().unwrap()["run"], 1);
    if !frames.iter().any(|frame| frame["type"] == "claude:result") {
        frames.extend(socket.until("claude:result").await);
    }
    assert!(!frames.iter().any(|frame| frame["type"] == "claude:error"), "{frames:#?}");
    frames
}
