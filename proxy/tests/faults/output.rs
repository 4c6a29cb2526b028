//! A claude that prints what none should.

use std::time::Duration;

use reqwest::Method;

use crate::frames::{chat, text};
use crate::serving::Server;
use crate::{assert_leaves_nothing, assert_said_by_the_log, vm};

#[tokio::test]
async fn a_line_of_fifty_megabytes_is_named_by_its_place_and_the_answer_goes_on() {
    let (sshd, settings) = vm().await;
    let server = Server::start(&settings).await;
    let slug = server.idea("Long line").await;
    let mut socket = server.watching(&slug).await;
    chat(&mut socket, &slug, "line 50000000").await;
    let frames = socket.until("claude:result").await;
    let large = frames.iter().find(|frame| frame["type"] == "claude:large").unwrap();
    assert_eq!(large["kind"], "user");
    assert!(large["length"].as_u64().unwrap() > 50_000_000, "{large}");
    let path = format!("/api/ideas/{slug}/runs/1/log?start={}&length={}", large["start"], large["length"]);
    let mut piece = server.call(Method::GET, &path).send().await.unwrap();
    let mut length = 0;
    while let Some(bytes) = piece.chunk().await.unwrap() {
        length += bytes.len() as u64;
    }
    assert_eq!(Some(length), large["length"].as_u64());
    assert_said_by_the_log(&sshd, &slug, &frames);
    chat(&mut socket, &slug, "and then").await;
    assert_eq!(text(&socket.until("claude:result").await), "you said: and then");
    assert_leaves_nothing(server, &sshd, &slug).await;
}

#[tokio::test]
async fn a_claude_that_writes_only_to_stderr_counts_as_silent_and_is_ended() {
    let (sshd, mut settings) = vm().await;
    settings.claude_silence = Duration::from_secs(4);
    let server = Server::start(&settings).await;
    let slug = server.idea("Muttering").await;
    let mut socket = server.watching(&slug).await;
    chat(&mut socket, &slug, "mutter").await;
    let frames = socket.until("run:exit").await;
    assert_eq!(frames.last().unwrap()["reason"], "silent", "{frames:#?}");
    let told = |frame: &serde_json::Value| {
        frame["type"] == "claude:error" && frame["error"].as_str().unwrap().contains("printed nothing")
    };
    assert!(frames.iter().any(told), "{frames:#?}");
    assert_said_by_the_log(&sshd, &slug, &frames);
    chat(&mut socket, &slug, "and then").await;
    assert_eq!(text(&socket.until("claude:result").await), "you said: and then");
    assert_leaves_nothing(server, &sshd, &slug).await;
}
