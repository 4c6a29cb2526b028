//! A VM whose disk takes nothing: full in the middle of an answer, or read-only.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use catalyst_proxy::settings::{Settings, TerminalMode};
use catalyst_proxy::terminal::{Attachment, Event};
use catalyst_ssh::Size;
use serde_json::{Value, json};

use crate::frames::{chat, text};
use crate::serving::{PATIENCE, Server};
use crate::{assert_leaves_nothing, assert_said_by_the_log, error, vm};

/// A mount of the test's, undone when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: &Path, arguments: &[&str]) -> Mounted {
        let mounted = Mounted(at.to_owned());
        mount(&[arguments, &[&at.display().to_string()]].concat());
        mounted
    }

    /// The folder itself, to be read only.
    fn read_only(at: &Path) -> Mounted {
        let mounted = Mounted::new(at, &["--bind", &at.display().to_string()]);
        mount(&["-o", "remount,bind,ro", &at.display().to_string()]);
        mounted
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str]) {
    assert!(Command::new("mount").args(arguments).status().unwrap().success(), "mount {arguments:?}; are you root?");
}

#[tokio::test]
async fn a_home_that_is_read_only_is_told_everywhere_and_works_again_when_it_is_not() {
    let (sshd, settings) = vm().await;
    let server = Server::start(&settings).await;
    let slug = server.idea("Read only").await;
    let mut socket = server.watching(&slug).await;
    let home = Mounted::read_only(&sshd.home());
    chat(&mut socket, &slug, "hello").await;
    let told = socket.until("claude:error").await;
    assert!(error(&told).contains("may not write") && error(&told).contains("read-only"), "{}", error(&told));
    let idea = json!({"title": "Another", "content": "x"});
    let (status, body) = server.json(reqwest::Method::POST, "/api/ideas", Some(idea)).await;
    let told = body["error"].as_str().unwrap();
    assert!(status >= 500 && told.contains("may not write") && told.contains("IDEAS_BASE_PATH"), "{status} {body}");
    // What is there can be read all the same.
    assert_eq!(server.get(&format!("/api/ideas/{slug}")).await.0, 200);
    drop(home);
    chat(&mut socket, &slug, "hello again").await;
    let frames = socket.until("claude:result").await;
    assert_eq!(text(&frames), "you said: hello again");
    assert_said_by_the_log(&sshd, &slug, &frames);
    assert_leaves_nothing(server, &sshd, &slug).await;
}

#[tokio::test]
async fn a_disk_that_fills_up_in_mid_answer_ends_the_answer_with_its_words_and_lets_the_next_begin() {
    let (sshd, settings) = vm().await;
    let server = Server::start(&settings).await;
    let slug = server.idea("Full").await;
    let runs = sshd.home().join(format!("catalyst/ideas/{slug}/runs"));
    std::fs::create_dir(&runs).unwrap();
    let disk = Mounted::new(&runs, &["-t", "tmpfs", "-o", "size=512k", "none"]);
    let mut socket = server.watching(&slug).await;
    chat(&mut socket, &slug, "fill 100000").await;
    let frames = socket.until("run:exit").await;
    let told: Vec<&Value> = frames.iter().filter(|frame| frame["type"] == "claude:error").collect();
    let given = text(&frames);
    let whole: String = (0..100_000).map(|n| format!("{n} ")).collect();
    assert!(!given.is_empty() && whole.starts_with(&given), "{given}");
    assert_eq!(told.len(), 1, "{told:#?}");
    let words = told[0]["error"].as_str().unwrap();
    assert!(words.contains("disk is full") && words.contains("send the message again"), "{words}");
    assert_eq!(frames.last().unwrap()["reason"], "full", "{frames:#?}");
    assert_said_by_the_log(&sshd, &slug, &frames);
    chat(&mut socket, &slug, "no room").await;
    let refused = socket.until("claude:error").await;
    assert!(error(&refused).contains("disk is full"), "{}", error(&refused));
    drop(disk);
    chat(&mut socket, &slug, "room again").await;
    assert_eq!(text(&socket.until("claude:result").await), "you said: room again");
    assert_leaves_nothing(server, &sshd, &slug).await;
}

#[tokio::test]
async fn an_idea_for_which_there_is_no_room_uses_up_no_name_and_leaves_nothing() {
    let (sshd, settings) = vm().await;
    let server = Server::start(&settings).await;
    let ideas = sshd.home().join("catalyst/ideas");
    std::fs::create_dir_all(&ideas).unwrap();
    let _disk = Mounted::new(&ideas, &["-t", "tmpfs", "-o", "size=256k", "none"]);
    let idea = |length: usize| json!({"title": "Much text", "content": "x".repeat(length)});
    let (status, body) = server.json(reqwest::Method::POST, "/api/ideas", Some(idea(400_000))).await;
    assert!(status >= 500 && body["error"].as_str().unwrap().contains("disk full"), "{status} {body}");
    let left = || std::fs::read_dir(&ideas).unwrap().count();
    let cleared = async {
        while left() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, cleared).await.expect("something of it stays");
    let (status, body) = server.json(reqwest::Method::POST, "/api/ideas", Some(idea(1000))).await;
    assert_eq!((status, &body["data"]["slug"]), (201, &json!("much-text")), "{body}");
    assert_eq!(left(), 1);
}

/// What the server logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin() -> Log {
        let log = Log::default();
        let written = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || written.clone()).finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
        log
    }

    /// Waits for a line with all of these.
    async fn until(&self, words: &[&str]) {
        let said = async {
            loop {
                let text = String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned();
                if let Some(line) = text.lines().find(|line| words.iter().all(|word| line.contains(word))) {
                    return println!("{line}");
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("the log has no line with {words:?}"));
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn print(terminal: &mut Attachment, keys: &'static str, word: &str) {
    terminal.input(keys.into()).await;
    let mut printed = Vec::new();
    let printing = async {
        while !String::from_utf8_lossy(&printed).contains(word) {
            match terminal.events.recv().await.expect("it ended") {
                Event::Output(bytes) => {
                    printed.extend_from_slice(&bytes);
                    terminal.credit(bytes.len() as u64).await;
                }
                Event::Opened(_) | Event::Credit(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, printing).await.expect("it is not printed");
}

#[tokio::test]
async fn a_recording_that_fills_the_disk_ends_which_the_log_says_and_its_terminal_goes_on() {
    let log = Log::begin();
    let (sshd, settings) = vm().await;
    let (terminal, terminal_recording) = (TerminalMode::Plain, Some(10 << 20));
    let server = Server::start(&Settings { terminal, terminal_recording, ..settings }).await;
    let slug = server.idea("Recorded").await;
    let idea = server.app.ideas.get(&slug).await.unwrap();
    let place = format!(".local/state/catalyst/{}/recordings", idea.id);
    let recordings = sshd.home().join(&place);
    std::fs::create_dir_all(&recordings).unwrap();
    let _disk = Mounted::new(&recordings, &["-t", "tmpfs", "-o", "size=256k", "none"]);
    let size = Size { columns: 80, rows: 24 };
    let mut terminal = server.app.terminals.open(&idea, "1".parse().unwrap(), size, None).await.unwrap();
    print(&mut terminal, "seq 100000; echo THE-''END\r", "THE-END").await;
    log.until(&["the recording of a terminal ended before the terminal", "No space left on device", &place]).await;
    print(&mut terminal, "echo still-''here\r", "still-here").await;
}
