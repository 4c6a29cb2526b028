//! An sshd that allows little: few sessions a connection, few connections that are not signed in.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use catalyst_ssh::testing::{TestSshd, TestSshdOptions};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::frames::{chat, text, ticks};
use crate::serving::{PATIENCE, Server};
use crate::{assert_all_leave_nothing, assert_leaves_nothing, assert_said_by_the_log, error, processes_on, vm_with};

#[tokio::test]
async fn runs_beyond_what_sshd_allows_at_once_all_come_to_their_end() {
    let options = TestSshdOptions { max_sessions: 4, max_startups: "2:50:3".to_owned(), ..TestSshdOptions::default() };
    let (sshd, settings) = vm_with(options).await;
    let server = Server::start(&settings).await;
    let runs = (0..10).map(async |number| {
        let slug = server.idea(&format!("Crowded {number}")).await;
        let mut socket = server.watching(&slug).await;
        chat(&mut socket, &slug, "ticks 20 0.05").await;
        let frames = socket.until("claude:result").await;
        assert_eq!(text(&frames), ticks(20), "{number}");
        assert!(!frames.iter().any(|frame| frame["type"] == "claude:error"), "{number}: {frames:#?}");
        assert_said_by_the_log(&sshd, &slug, &frames);
        slug
    });
    let slugs = futures::future::join_all(runs).await;
    assert_all_leave_nothing(server, &sshd, &slugs).await;
}

#[tokio::test]
async fn runs_that_are_followed_leave_channels_to_whoever_comes_however_few_sshd_allows() {
    // Followed by channels of their own are a quarter of those that there can be, 3 connections having 24 by default: 6 runs, then
    // as many as are left beside what is needed.
    for (max_sessions, followed) in [(2, 1), (1, 0)] {
        let (sshd, settings) = vm_with(TestSshdOptions { max_sessions, ..TestSshdOptions::default() }).await;
        let server = Server::start(&settings).await;
        let over = sshd.home().join("over");
        let runs = (0..8).map(async |number| {
            let slug = server.idea(&format!("Long {number}")).await;
            let mut socket = server.watching(&slug).await;
            chat(&mut socket, &slug, &format!("until {}", over.display())).await;
            let frames = socket.until("claude:text").await;
            (slug, socket, frames)
        });
        let runs = futures::future::join_all(runs).await;
        let given_back = async {
            while followed_logs(&sshd) > followed {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let given_back = tokio::time::timeout(PATIENCE, given_back).await;
        assert!(given_back.is_ok(), "MaxSessions {max_sessions}: {} are followed", followed_logs(&sshd));
        let late = server.idea("Late").await;
        let mut socket = server.watching(&late).await;
        chat(&mut socket, &late, "hello").await;
        let frames = socket.until("claude:result").await;
        assert_eq!(text(&frames), "you said: hello");
        assert!(!frames.iter().any(|frame| frame["type"] == "claude:error"), "{max_sessions}: {frames:#?}");
        std::fs::write(&over, "").unwrap();
        let mut slugs = vec![late];
        for (slug, mut socket, mut frames) in runs {
            frames.extend(socket.until("claude:result").await);
            let given = text(&frames);
            assert_eq!(given, ticks(given.matches("tick").count()), "MaxSessions {max_sessions}");
            assert!(!frames.iter().any(|frame| frame["type"] == "claude:error"), "{max_sessions}: {frames:#?}");
            assert_said_by_the_log(&sshd, &slug, &frames);
            slugs.push(slug);
        }
        assert_all_leave_nothing(server, &sshd, &slugs).await;
    }
}

/// Logs that a process on the VM follows.
fn followed_logs(sshd: &TestSshd) -> usize {
    let commands = processes_on(sshd).into_iter().filter_map(|process| std::fs::read(process.join("cmdline")).ok());
    let follows = |command: &Vec<u8>| command.starts_with(b"tail\0") && command.ends_with(b"/log.jsonl\0");
    let grows = |command: &Vec<u8>| command.split(|byte| *byte == 0).any(|word| word == b"-f");
    commands.filter(follows).filter(grows).collect::<BTreeSet<_>>().len()
}

#[tokio::test]
async fn an_sshd_that_takes_nobody_in_is_told_and_the_answer_goes_on_when_it_does() {
    let options = TestSshdOptions { max_startups: "1".to_owned(), ..TestSshdOptions::default() };
    let (sshd, settings) = vm_with(options).await;
    let server = Server::start(&settings).await;
    let slug = server.idea("Refused").await;
    let mut socket = server.watching(&slug).await;
    chat(&mut socket, &slug, "ticks 300 0.05").await;
    let mut frames = socket.until("claude:text").await;
    let stranger = stranger(&sshd).await;
    let health = server.until_health(503).await;
    assert_eq!(health["reason"], "ConnectionLost", "{health}");
    assert!(health["message"].as_str().unwrap().contains("MaxStartups"), "{health}");
    // Whoever is in stays in; only now the answer's way breaks, too.
    assert!(kill_sessions_with_commands(&sshd) > 0);
    frames.extend(socket.until("claude:error").await);
    assert!(error(&frames).contains("MaxStartups"), "{}", error(&frames));
    frames.pop();
    drop(stranger);
    frames.extend(socket.until("claude:result").await);
    assert_eq!(text(&frames), ticks(300));
    server.until_health(200).await;
    assert_said_by_the_log(&sshd, &slug, &frames);
    assert_leaves_nothing(server, &sshd, &slug).await;
}

/// Somebody who never signs in and has the one place; sshd greets whom it takes. At first the health check may have the place.
async fn stranger(sshd: &TestSshd) -> TcpStream {
    let endpoint = sshd.endpoint();
    let taken_in = async {
        loop {
            let mut stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.unwrap();
            let mut greeting = [0; 4];
            if stream.read_exact(&mut greeting).await.is_ok() && greeting == *b"SSH-" {
                return stream;
            }
        }
    };
    tokio::time::timeout(PATIENCE, taken_in).await.expect("sshd takes nobody")
}

/// Kills sshd's processes that serve commands, and so not the one that waits for the stranger to sign in.
fn kill_sessions_with_commands(sshd: &TestSshd) -> usize {
    let mut sessions: Vec<i32> = processes_on(sshd).iter().filter_map(|process| sshd_above(process)).collect();
    sessions.sort_unstable();
    sessions.dedup();
    for pid in &sessions {
        let _gone = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    }
    sessions.len()
}

fn sshd_above(process: &Path) -> Option<i32> {
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    let parent = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?;
    let name = std::fs::read_to_string(Path::new("/proc").join(parent).join("comm")).ok()?;
    name.starts_with("sshd").then(|| parent.parse().ok())?
}
