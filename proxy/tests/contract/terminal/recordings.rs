//! Recordings of terminals on the VM: what is in them and where, what bounds them, and that nothing is written unasked.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use catalyst_proxy::settings::{Settings, TerminalMode};
use catalyst_proxy::terminal::{Attachment, Event, TerminalSettings, Terminals};
use catalyst_ssh::Size;
use catalyst_ssh::testing::TestSshdOptions;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Terminal, Vm, eventually, vm};
use crate::serving::{PATIENCE, Server, settings, vm_with};

const MIB: u64 = 1024 * 1024;

/// One event of a recording: when in seconds, of which kind, what.
type Recorded = (f64, String, String);

fn folder(vm: &Vm) -> PathBuf {
    let meta = std::fs::read(vm.project().with_file_name("meta.json")).unwrap();
    let meta: Value = serde_json::from_slice(&meta).unwrap();
    vm.sshd.home().join(".local/state/catalyst").join(meta["id"].as_str().unwrap()).join("recordings")
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A recording as a player reads it: its head, and its events.
fn read(file: &Path) -> (Value, Vec<Recorded>) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.ends_with('\n'), "a line is cut");
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let head = lines.next().unwrap();
    let events: Vec<Recorded> = lines.map(|line| serde_json::from_value(line).unwrap()).collect();
    assert!(events.is_sorted_by_key(|(at, ..)| *at) && events.iter().all(|(at, ..)| *at >= 0.0));
    assert!(events.iter().all(|(_, code, _)| ["o", "r", "m"].contains(&code.as_str())), "{events:?}");
    (head, events)
}

fn joined(events: &[Recorded]) -> String {
    events.iter().filter(|(_, code, _)| code == "o").map(|(.., data)| data.as_str()).collect()
}

async fn recording(vm: &Vm) -> Server {
    let terminal_recording = Some(MIB);
    Server::start(&Settings { terminal: TerminalMode::Plain, terminal_recording, ..settings(&vm.sshd) }).await
}

#[tokio::test]
async fn a_recording_is_an_asciicast_of_what_the_viewer_received_and_nothing_that_was_typed() {
    let vm = vm(TerminalMode::Plain).await;
    let server = recording(&vm).await;
    let mut terminal = Terminal::open(&server, &vm.slug, json!({})).await;
    assert_eq!(terminal.opened["recorded"], true);
    let ask = "stty -echo; echo as''k; read -r password; echo größe-☃-${#password}; printf '\\377\\n'\r";
    terminal.type_in(ask).await;
    // Before that, the terminal itself would echo it.
    terminal.until("ask\r\n").await;
    terminal.type_in("s3cret-word\r").await;
    terminal.until("größe-☃-11\r\n").await;
    terminal.control(json!({"type": "resize", "cols": 132, "rows": 50})).await;
    terminal
        .type_in("until [ \"$(stty size)\" = '50 132' ]; do sleep 0.05; done; cat /dev/urandom | head -c 30000\r")
        .await;
    terminal.type_in("exit\r").await;
    assert_eq!(terminal.until_control("exit").await["reason"], "ended");
    let all = names(&folder(&vm));
    assert_eq!(all.len(), 1, "{all:?}");
    let file = folder(&vm).join(&all[0]);
    let received = String::from_utf8_lossy(&terminal.output).into_owned();
    eventually("all of it is written", || joined(&read_so_far(&file)) == received).await;
    let (head, events) = read(&file);
    assert_eq!((&head["version"], &head["width"], &head["height"]), (&json!(2), &json!(80), &json!(24)), "{head}");
    assert!(head["timestamp"].as_i64().unwrap() > 1_700_000_000 && head["env"]["TERM"] == "xterm-256color", "{head}");
    assert!(joined(&events).contains("größe-☃-11\r\n\u{fffd}"), "{events:?}");
    let sizes: Vec<&str> = events.iter().filter(|(_, code, _)| code == "r").map(|(.., data)| data.as_str()).collect();
    assert_eq!(sizes, ["132x50"]);
    assert!(!std::fs::read_to_string(&file).unwrap().contains("s3cret-word"));
    // What lies in the idea's folder is read by its chats unasked.
    assert_eq!(names(vm.project().parent().unwrap()), ["idea.md", "meta.json", "project"]);
    assert_eq!(names(&vm.project()), [""; 0]);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

/// As [`read`], of one that is being written: its last line may be cut.
fn read_so_far(file: &Path) -> Vec<Recorded> {
    let text = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test]
async fn a_recording_goes_on_while_a_plain_terminal_has_no_viewer() {
    let vm = vm(TerminalMode::Plain).await;
    let server = recording(&vm).await;
    let mut terminal = Terminal::open(&server, &vm.slug, json!({})).await;
    terminal.type_in("(sleep 0.3; echo mean''while; touch printed) &\r").await;
    terminal.until("&").await;
    let first = terminal.output.len();
    let printed = vm.project().join("printed");
    let mut terminal = terminal.again(&server, &vm.slug).await;
    eventually("it is printed", || printed.exists()).await;
    terminal.until("meanwhile").await;
    terminal.type_in("exit\r").await;
    terminal.until_control("exit").await;
    let all = names(&folder(&vm));
    assert_eq!(all.len(), 1, "{all:?}");
    let file = folder(&vm).join(&all[0]);
    let length = first + terminal.output.len();
    eventually("all of it is written", || joined(&read_so_far(&file)).len() == length).await;
    assert_eq!(joined(&read(&file).1).matches("meanwhile").count(), 1);
}

#[tokio::test]
async fn nothing_is_recorded_unasked() {
    let vm = vm(TerminalMode::Plain).await;
    let mut terminal = Terminal::open(&vm.server, &vm.slug, json!({})).await;
    assert_eq!(terminal.opened["recorded"], false);
    terminal.type_in("exit\r").await;
    terminal.until_control("exit").await;
    assert!(!folder(&vm).exists());
}

/// A terminal that is recorded in at most so many bytes, and what it prints until `word`.
struct Watched {
    attachment: Attachment,
    /// Whether whoever opened it was told that it is recorded.
    recorded: bool,
    printed: Vec<u8>,
}

impl Watched {
    async fn open(vm: &Vm, number: &str, most: u64) -> Watched {
        let app = &vm.server.app;
        let idea = app.ideas.get(&vm.slug).await.unwrap();
        let settings =
            TerminalSettings { mode: TerminalMode::Plain, recording: Some(most), ..TerminalSettings::default() };
        let terminals = Terminals::new(app.remote.clone(), settings);
        let size = Size { columns: 80, rows: 24 };
        let mut attachment = terminals.open(&idea, number.parse().unwrap(), size, None).await.unwrap();
        let first = tokio::time::timeout(PATIENCE, attachment.events.recv()).await.unwrap();
        let Some(Event::Opened(opened)) = first else { panic!("{first:?}") };
        Watched { attachment, recorded: opened.recorded, printed: Vec::new() }
    }

    async fn type_in(&mut self, keys: &'static str, word: &str) {
        self.attachment.input(keys.into()).await;
        let printing = async {
            while !self.printed.windows(word.len()).any(|window| window == word.as_bytes()) {
                match self.attachment.events.recv().await.expect("it ended") {
                    Event::Output(bytes) => {
                        self.printed.extend_from_slice(&bytes);
                        self.attachment.credit(bytes.len() as u64).await;
                    }
                    Event::Credit(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, printing).await.expect("it is not printed");
    }
}

#[tokio::test]
async fn a_recording_ends_at_its_size_and_the_oldest_of_an_idea_go() {
    let vm = vm(TerminalMode::Plain).await;
    let folder = folder(&vm);
    std::fs::create_dir_all(&folder).unwrap();
    // Nine times the size are left to others: the two newest of these, what is not ours, and what is still written.
    let being_written = folder.join("20240101T000000Z-1-00000000.cast");
    let mut writer =
        Command::new("cat").stdin(Stdio::piped()).stdout(File::create(&being_written).unwrap()).spawn().unwrap();
    std::io::Write::write_all(writer.stdin.as_mut().unwrap(), &vec![b'x'; 300_000]).unwrap();
    for (name, bytes) in [
        ("20250101T000000Z-1-00000001.cast", 10),
        ("20260101T000000Z-2-00000002.cast", 1_000_000),
        ("20260102T000000Z-1-00000003.cast", 1_000_000),
        ("20260103T000000Z-9-00000004.cast", 800_000),
        ("notes.cast", 500_000),
        ("* -rf", 500_000),
    ] {
        std::fs::write(folder.join(name), vec![b'x'; bytes]).unwrap();
    }
    let mut terminal = Watched::open(&vm, "3", 200_000).await;
    assert!(terminal.recorded);
    terminal.type_in("seq 100000; echo THE-''END\r", "THE-END").await;
    let is_new = |name: &String| name.contains("Z-3-");
    let file = folder.join(names(&folder).into_iter().find(is_new).unwrap());
    eventually("it ends", || read_so_far(&file).iter().any(|(_, code, _)| code == "m")).await;
    let (_, events) = read(&file);
    assert!(events.last().unwrap().2.contains("ends here"), "{:?}", events.last());
    let size = std::fs::metadata(&file).unwrap().len();
    // What comes at once is recorded whole or not at all, and may be as long as a packet.
    assert!((100_000..=200_000).contains(&size), "{size}");
    assert!(terminal.printed.starts_with(joined(&events).as_bytes()));
    terminal.type_in("echo still-''here\r", "still-here").await;
    let left: Vec<String> = names(&folder).into_iter().filter(|name| !is_new(name)).collect();
    let kept = ["20260102T000000Z-1-00000003.cast", "20260103T000000Z-9-00000004.cast", "notes.cast"];
    assert_eq!(left, [&["* -rf", "20240101T000000Z-1-00000000.cast"], &kept[..]].concat());
    // It goes when it is written no more.
    drop(writer.stdin.take());
    writer.wait().unwrap();
    let _next = Watched::open(&vm, "4", 200_000).await;
    assert!(!being_written.exists());
}

#[tokio::test]
async fn a_terminal_that_cannot_be_recorded_is_there_all_the_same() {
    let vm = vm(TerminalMode::Plain).await;
    std::fs::create_dir_all(folder(&vm).parent().unwrap()).unwrap();
    std::fs::write(folder(&vm), "in the way").unwrap();
    let mut terminal = Watched::open(&vm, "1", MIB).await;
    assert!(!terminal.recorded, "who opens it is told what is not so");
    terminal.type_in("echo he''re; sleep 0.1; echo and-''here\r", "and-here").await;
    assert_eq!(std::fs::read_to_string(folder(&vm)).unwrap(), "in the way");
    let ended = async {
        terminal.attachment.input("exit\r".into()).await;
        while let Some(event) = terminal.attachment.events.recv().await {
            if let Event::Exit(exit) = event {
                return exit.code;
            }
        }
        None
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap(), Some(0));
}

#[tokio::test]
async fn where_sshd_allows_one_session_only_it_is_the_terminal_s_which_is_not_recorded() {
    let sshd = vm_with(TestSshdOptions { max_sessions: 1, ..TestSshdOptions::default() }).await;
    let (terminal, terminal_recording) = (TerminalMode::Plain, Some(MIB));
    let server = Server::start(&Settings { terminal, terminal_recording, ..settings(&sshd) }).await;
    let slug = server.idea("One session").await;
    let mut terminal = Terminal::open(&server, &slug, json!({})).await;
    assert_eq!(terminal.opened["recorded"], false);
    terminal.type_in("echo he''re\r").await;
    terminal.until("here").await;
}

#[tokio::test]
async fn what_a_terminal_printed_last_is_recorded_before_the_server_ends() {
    let vm = vm(TerminalMode::Plain).await;
    let mut server = recording(&vm).await;
    let mut terminal = Terminal::open(&server, &vm.slug, json!({})).await;
    terminal.type_in("seq 30000; echo THE-''END\r").await;
    terminal.until("THE-END").await;
    server.app.draining.cancel();
    tokio::time::timeout(PATIENCE, &mut server.ended).await.expect("the server does not end").unwrap();
    assert_eq!(server.app.terminals.open_now(), 0);
    let all = names(&folder(&vm));
    assert!(joined(&read(&folder(&vm).join(&all[0])).1).contains("30000\r\nTHE-END"), "{all:?}");
}

#[tokio::test]
async fn recordings_stay_while_their_idea_is_in_the_trash_and_go_when_it_is_removed_for_good() {
    let vm = vm(TerminalMode::Plain).await;
    let server = recording(&vm).await;
    let mut terminal = Terminal::open(&server, &vm.slug, json!({})).await;
    terminal.type_in("exit\r").await;
    terminal.until_control("exit").await;
    let folder = folder(&vm);
    let (status, body) = server.json(Method::DELETE, &format!("/api/ideas/{}", vm.slug), None).await;
    assert_eq!((status, names(&folder).len()), (200, 1));
    let path = format!("/api/trash/{}", body["data"]["trash"].as_str().unwrap());
    assert_eq!(server.json(Method::DELETE, &path, None).await.0, 200);
    assert!(!folder.parent().unwrap().exists());
}
