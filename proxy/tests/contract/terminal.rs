//! Terminals over their WebSocket, on a real sshd, a real pseudo-terminal, real bash, tmux and screen.

mod client;
mod crowded;
mod recordings;
mod unused;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use catalyst_proxy::settings::{Settings, TerminalMode};
use catalyst_proxy::terminal::protocol::ExitReason;
use catalyst_proxy::terminal::{Event, TerminalSettings, Terminals};
use catalyst_ssh::Size;
use futures::SinkExt;
use reqwest::Method;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::serving::{ORIGIN, PATIENCE, Server, settings};
use client::{Heard, Terminal, WINDOW, eventually, vm, vm_with_tmux};

#[tokio::test]
async fn a_terminal_is_in_the_project_has_the_size_and_follows_it() {
    let vm = vm(TerminalMode::Plain).await;
    let mut terminal = vm.quiet().await;
    assert_eq!(terminal.opened["keeper"], "plain");
    assert_eq!(terminal.opened["resumed"], false);
    terminal.type_in("pwd; stty size; echo $TERM; echo größe-☃; printf '\\377\\000\\n'\r").await;
    terminal.until(&format!("{}\r\n", vm.project().display())).await;
    terminal.until("24 80\r\nxterm-256color\r\ngröße-☃\r\n").await;
    let end = terminal.until("\0\r\n").await;
    assert_eq!(terminal.output[end - 4], 0xff);
    terminal.control(json!({"type": "resize", "cols": 132, "rows": 50})).await;
    // The size travels beside the keys; it is there when the shell is told by its signal.
    terminal.type_in("until [ \"$(stty size)\" = '50 132' ]; do sleep 0.05; done; echo res''ized\r").await;
    terminal.until("resized").await;
    terminal.type_in("exit 7\r").await;
    let exit = terminal.until_control("exit").await;
    assert_eq!(exit, json!({"type": "exit", "reason": "ended", "code": 7, "signal": null}));
    assert_eq!(terminal.until_closed().await, Some(1000));
}

#[tokio::test]
async fn ten_megabytes_of_any_bytes_arrive_unchanged() {
    let vm = vm(TerminalMode::Plain).await;
    let mut terminal = vm.quiet().await;
    let sent: Vec<u8> = (0..10u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(vm.project().join("blob"), &sent).unwrap();
    terminal.type_in("stty -opost; printf BEG''IN; cat blob; printf '\\nTHE-''END\\n'\r").await;
    let begin = terminal.until("BEGIN").await;
    // Behind it comes a prompt.
    while !terminal.tail().contains("\nTHE-END\n") {
        assert!(matches!(terminal.hear().await, Heard::Output));
    }
    let end = terminal.output.windows(9).rposition(|window| window == b"\nTHE-END\n").unwrap();
    assert_eq!(end - begin, sent.len());
    assert!(terminal.output[begin..end] == sent, "the bytes differ");
}

#[tokio::test]
async fn a_viewer_that_does_not_read_stops_the_program_and_keys_still_reach_it() {
    let vm = vm(TerminalMode::Plain).await;
    let mut terminal = vm.quiet().await;
    let (count, interrupted) = (vm.project().join("count"), vm.project().join("interrupted"));
    let script = "trap 'touch interrupted; exit' INT\nn=0\nwhile :; do n=$((n+1)); printf '%01000d\\n' $n; \
                  [ $((n % 50)) = 0 ] && echo $n >count; done\n";
    std::fs::write(vm.project().join("talk.sh"), script).unwrap();
    terminal.credits = false;
    terminal.type_in("sh talk.sh\r").await;
    let read = || std::fs::read_to_string(&count).unwrap_or_default();
    // It stands still for half a second, at last.
    let still = async {
        loop {
            let before = read();
            tokio::time::sleep(Duration::from_millis(500)).await;
            if !before.is_empty() && read() == before {
                return before.trim().parse::<u64>().unwrap();
            }
        }
    };
    let stopped = tokio::time::timeout(PATIENCE, still).await.expect("the program never stops");
    // Windows and buffers on the way, not more; it printed a kilobyte a count.
    assert!(stopped < 16 * 1024, "{stopped} KB were printed for a viewer that does not read");
    while terminal.uncredited < WINDOW {
        assert!(matches!(terminal.hear().await, Heard::Output));
    }
    assert_eq!(terminal.uncredited, WINDOW, "more came than was credited");
    // With credit it goes on.
    terminal.credit().await;
    eventually("the program goes on", || read().trim().parse::<u64>().is_ok_and(|now| now > stopped)).await;
    // And once it has stopped again, Ctrl-C reaches it though nobody reads.
    terminal.type_in("\x03").await;
    eventually("the program hears Ctrl-C", || interrupted.exists()).await;
}

#[tokio::test]
async fn a_plain_terminal_survives_a_drop_and_goes_on_where_the_viewer_was() {
    let vm = vm(TerminalMode::Plain).await;
    let mut terminal = vm.quiet().await;
    terminal.type_in("mine=kept; echo be''fore\r").await;
    terminal.until("before").await;
    // It prints on while nobody looks.
    terminal.type_in("(sleep 0.3; echo mean''while; touch printed) &\r").await;
    let session = terminal.opened["session"].clone();
    let seen = terminal.output.len();
    let mut terminal = terminal.again(&vm.server, &vm.slug).await;
    assert_eq!(terminal.opened["session"], session);
    assert_eq!((&terminal.opened["resumed"], &terminal.opened["lost"]), (&json!(true), &json!(false)));
    assert_eq!(terminal.opened["offset"], seen);
    terminal.until("meanwhile").await;
    terminal.type_in("echo $mine\r").await;
    terminal.until("kept").await;
    assert!(!String::from_utf8_lossy(&terminal.output).contains("before"), "nothing comes twice");
    // A page that was loaded anew knows nothing and is shown what there is.
    drop(terminal);
    let mut fresh = Terminal::open(&vm.server, &vm.slug, json!({})).await;
    assert_eq!((&fresh.opened["offset"], &fresh.opened["lost"]), (&json!(0), &json!(false)));
    fresh.until("before").await;
    fresh.until("meanwhile").await;
    // Another one takes it over.
    let mut other = Terminal::open(&vm.server, &vm.slug, json!({})).await;
    let exit = fresh.until_control("exit").await;
    assert_eq!(exit["reason"], "taken");
    other.type_in("echo still $mine\r").await;
    other.until("still kept").await;
}

#[tokio::test]
async fn an_emulator_s_answers_to_old_questions_are_dropped_and_keys_are_not() {
    let vm = vm(TerminalMode::Plain).await;
    let mut terminal = vm.quiet().await;
    terminal.type_in("printf '\\033[c\\033[6n'; stty raw; cat -v\r").await;
    terminal.until("\x1b[c\x1b[6n").await;
    drop(terminal);
    let mut again = Terminal::open(&vm.server, &vm.slug, json!({})).await;
    assert!(again.opened["replay"].as_u64().unwrap() > 0);
    again.credits = false;
    again.until("\x1b[c\x1b[6n").await;
    again.type_in("\x1b[?1;2cone\x1b[3;1Rtwo").await;
    again.until("onetwo").await;
    // Now the replay is consumed: a question of now may be answered.
    again.credit().await;
    again.type_in("three\x1b[?1;2c").await;
    again.until("three^[[?1;2c").await;
}

#[tokio::test]
async fn output_that_could_not_be_kept_is_said_to_be_lost() {
    let vm = vm(TerminalMode::Plain).await;
    let mut terminal = vm.quiet().await;
    terminal.type_in("(sleep 0.3; seq 100000 200000; touch printed) &\r").await;
    terminal.type_in("echo st''arted\r").await;
    terminal.until("started").await;
    let place = json!({"session": terminal.opened["session"], "after": terminal.output.len()});
    drop(terminal);
    let printed = vm.project().join("printed");
    eventually("all is printed", || printed.exists()).await;
    let mut terminal = Terminal::open(&vm.server, &vm.slug, place).await;
    assert_eq!((&terminal.opened["resumed"], &terminal.opened["lost"]), (&json!(true), &json!(true)));
    terminal.until("200000\r\n").await;
    assert!(terminal.output.len() <= WINDOW && terminal.output.len() > WINDOW / 2, "{}", terminal.output.len());
    assert!(terminal.output[..6].iter().all(u8::is_ascii_digit), "it begins with a whole line");
}

#[tokio::test]
async fn with_tmux_a_terminal_survives_the_server_and_its_screen_comes_back() {
    let vm = vm(TerminalMode::Auto).await;
    let mut terminal = Terminal::open(&vm.server, &vm.slug, json!({})).await;
    assert_eq!((&terminal.opened["keeper"], &terminal.opened["resumed"]), (&json!("tmux"), &json!(false)));
    terminal.type_in("mine=kept; for n in $(seq 60); do echo line-$n-☃; done; stty size; pwd\r").await;
    // The whole size: no status line.
    terminal.until("24 80").await;
    terminal.until(vm.project().to_str().unwrap()).await;
    drop(terminal);
    let rolled_out = Server::start(&Settings { terminal: TerminalMode::Auto, ..settings(&vm.sshd) }).await;
    let mut terminal = Terminal::open(&rolled_out, &vm.slug, json!({})).await;
    assert_eq!((&terminal.opened["keeper"], &terminal.opened["resumed"]), (&json!("tmux"), &json!(true)));
    // The lines above the screen, then the screen.
    terminal.until("line-3-☃").await;
    terminal.until("line-60-☃").await;
    terminal.until("24 80").await;
    terminal.type_in("echo $mine\r").await;
    terminal.until("kept").await;
    let (status, listed) = vm.server.get(&format!("/api/ideas/{}/terminals", vm.slug)).await;
    assert_eq!(
        (status, &listed["data"][0]["keeper"], &listed["data"][0]["attached"]),
        (200, &json!("tmux"), &json!(1))
    );
    // Several look at once, and each is told of the end.
    let mut other = Terminal::open(&vm.server, &vm.slug, json!({})).await;
    other.type_in("echo from-the-ot''her\r").await;
    terminal.until("from-the-other").await;
    other.type_in("exit\r").await;
    assert_eq!(terminal.until_control("exit").await["reason"], "ended");
    assert_eq!(other.until_control("exit").await["reason"], "ended");
    let (_, listed) = vm.server.get(&format!("/api/ideas/{}/terminals", vm.slug)).await;
    assert_eq!(listed["data"], json!([]));
}

#[tokio::test]
async fn where_tmux_does_not_work_screen_keeps_a_terminal() {
    let vm = vm_with_tmux(TerminalMode::Auto, false).await;
    let mut terminal = Terminal::open(&vm.server, &vm.slug, json!({})).await;
    assert_eq!((&terminal.opened["keeper"], &terminal.opened["resumed"]), (&json!("screen"), &json!(false)));
    terminal.type_in("mine=kept; stty size; echo sn''ow-☃\r").await;
    terminal.until("24 80").await;
    terminal.until("snow-☃").await;
    drop(terminal);
    let rolled_out = Server::start(&Settings { terminal: TerminalMode::Auto, ..settings(&vm.sshd) }).await;
    let mut terminal = Terminal::open(&rolled_out, &vm.slug, json!({})).await;
    assert_eq!((&terminal.opened["keeper"], &terminal.opened["resumed"]), (&json!("screen"), &json!(true)));
    terminal.until("snow-☃").await;
    terminal.type_in("echo $mine\r").await;
    terminal.until("kept").await;
    let path = format!("/api/ideas/{}/terminals", vm.slug);
    let (_, listed) = vm.server.get(&path).await;
    assert_eq!((&listed["data"][0]["keeper"], &listed["data"][0]["terminal"]), (&json!("screen"), &json!(1)));
    let (status, answer) = vm.server.json(Method::DELETE, &format!("{path}/1"), None).await;
    assert_eq!(status, 200, "{answer}");
    assert!(matches!(terminal.until_control("exit").await["reason"].as_str(), Some("closed" | "ended")));
    let (_, listed) = vm.server.get(&path).await;
    assert_eq!(listed["data"], json!([]));
}

#[tokio::test]
async fn a_terminal_is_closed_with_what_runs_in_it() {
    for mode in [TerminalMode::Auto, TerminalMode::Plain] {
        let vm = vm(mode).await;
        let mut terminal = Terminal::open(&vm.server, &vm.slug, json!({})).await;
        terminal.type_in("echo $$ >pid; exec sleep 1000\r").await;
        let mut process = PathBuf::new();
        eventually("the program runs", || {
            let pid = std::fs::read_to_string(vm.project().join("pid")).unwrap_or_default();
            process = PathBuf::from(format!("/proc/{}/comm", pid.trim()));
            std::fs::read_to_string(&process).is_ok_and(|name| name.trim() == "sleep")
        })
        .await;
        let path = format!("/api/ideas/{}/terminals/1", vm.slug);
        if mode == TerminalMode::Auto {
            let (status, answer) = vm.server.json(Method::DELETE, &path, None).await;
            assert_eq!((status, &answer["ok"]), (200, &json!(true)), "{answer}");
        } else {
            terminal.control(json!({"type": "close"})).await;
        }
        assert_eq!(terminal.until_control("exit").await["reason"], "closed", "{mode:?}");
        eventually("the program is gone", || !process.exists()).await;
        let (status, _) = vm.server.json(Method::DELETE, &path, None).await;
        assert_eq!(status, 404);
        // An idea that cannot be deleted keeps its terminals.
        let mut terminal = Terminal::open(&vm.server, &vm.slug, json!({})).await;
        let trash = vm.sshd.home().join("catalyst/ideas/.trash");
        std::fs::write(&trash, "in the way").unwrap();
        let (status, _) = vm.server.json(Method::DELETE, &format!("/api/ideas/{}", vm.slug), None).await;
        assert_ne!(status, 200);
        terminal.type_in("echo still-''here\r").await;
        terminal.until("still-here").await;
        // One that is takes them with it.
        std::fs::remove_file(&trash).unwrap();
        let (status, answer) = vm.server.json(Method::DELETE, &format!("/api/ideas/{}", vm.slug), None).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(terminal.until_control("exit").await["reason"], "closed", "{mode:?}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_told_and_may_be_tried_again() {
    let mut vm = vm(TerminalMode::Plain).await;
    let mut terminal = vm.quiet().await;
    let place = json!({"session": terminal.opened["session"], "after": terminal.output.len()});
    vm.sshd.stop();
    let error = terminal.until_control("error").await;
    assert_eq!((&error["retry"], &error["reason"]), (&json!(true), &json!("ConnectionLost")), "{error}");
    vm.sshd.start_again().await.unwrap();
    let terminal = Terminal::open(&vm.server, &vm.slug, place.clone()).await;
    assert_eq!(terminal.opened["resumed"], false, "a plain shell dies with its connection, and that is said");
    assert_ne!(terminal.opened["session"], place["session"]);
}

#[tokio::test]
async fn a_vm_that_freezes_under_an_open_terminal_is_told_within_fifteen_seconds() {
    let vm = vm(TerminalMode::Plain).await;
    let mut terminal = vm.quiet().await;
    vm.sshd.freeze();
    let began = Instant::now();
    let error = terminal.until_control("error").await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!((&error["retry"], &error["reason"]), (&json!(true), &json!("ConnectionLost")), "{error}");
    vm.sshd.thaw();
}

#[tokio::test]
async fn strangers_and_nonsense_are_refused() {
    let vm = vm(TerminalMode::Plain).await;
    let server = &vm.server;
    let good = format!("idea={}&terminal=1", vm.slug);
    let refused =
        async |query: &str, cookie: &str, origin: &str| match Terminal::connect(server, query, cookie, origin).await {
            Ok(_) => 101,
            Err(status) => status,
        };
    assert_eq!(refused(&good, "", ORIGIN).await, 401);
    assert_eq!(refused(&good, &server.cookie, "https://evil.example.com").await, 403);
    for query in [
        "",
        "idea=x",
        "terminal=1",
        "idea=x&terminal=0",
        "idea=x&terminal=10",
        "idea=x&terminal=1;rm",
        "idea=x&terminal=-1",
    ] {
        assert_eq!(refused(query, &server.cookie, ORIGIN).await, 400, "{query}");
    }
    for idea in ["no-such-idea", "..%2F..", "a%20b", "%27"] {
        let query = format!("idea={idea}&terminal=1");
        let mut terminal = Terminal::connect(server, &query, &server.cookie, ORIGIN).await.unwrap();
        terminal.control(json!({"type": "open", "cols": 80, "rows": 24})).await;
        let error = terminal.until_control("error").await;
        assert_eq!(error["retry"], false, "{error}");
        assert!(error["error"].as_str().unwrap().starts_with("Idea not found"), "{error}");
    }
    for first in ["null", "{\"type\":\"close\"}", "{\"type\":\"open\",\"cols\":0,\"rows\":24}", "{\"type\":\"open\"}"] {
        let mut terminal = Terminal::unopened(server, &vm.slug).await;
        terminal.socket.send(Message::text(first)).await.unwrap();
        assert_eq!(terminal.until_control("error").await["retry"], false, "{first}");
        assert_eq!(terminal.until_closed().await, Some(1008));
    }
    // Once it is open, nonsense is answered and the terminal stays.
    let mut terminal = vm.quiet().await;
    for (bad, words) in [
        (json!({"type": "resize", "cols": 5000, "rows": 1}), "cols is 5000"),
        (json!({"type": "open", "cols": 80, "rows": 24}), "open already"),
        (json!(7), "not understood"),
    ] {
        terminal.control(bad).await;
        let error = terminal.until_control("error").await;
        assert!(error["error"].as_str().unwrap().contains(words) && error.get("retry").is_none(), "{error}");
    }
    terminal.control(json!({"type": "credit", "bytes": u64::MAX})).await;
    terminal.type_in("echo here-''still\r").await;
    terminal.until("here-still").await;
    // More input than may be on the way: nothing takes it here.
    terminal.type_in("stty raw -echo; sleep 1000\r").await;
    for _ in 0..20 {
        if terminal.socket.send(Message::Binary(Bytes::from(vec![b'x'; 200_000]))).await.is_err() {
            break;
        }
    }
    let error = terminal.until_control("error").await;
    assert!(error["error"].as_str().unwrap().starts_with("More was typed"), "{error}");
}

#[tokio::test]
async fn a_plain_terminal_that_nobody_looks_at_ends_after_its_grace_and_an_idle_one_says_so() {
    let vm = vm(TerminalMode::Plain).await;
    let app = &vm.server.app;
    let idea = app.ideas.get(&vm.slug).await.unwrap();
    let size = Size { columns: 80, rows: 24 };
    let (short, long) = (Duration::from_millis(100), Duration::from_secs(3600));
    let [lonely, idle] = [(short, long), (long, short)].map(|(grace, idle)| {
        Terminals::new(app.remote.clone(), TerminalSettings { mode: TerminalMode::Plain, grace, idle, recording: None })
    });
    drop(lonely.open(&idea, "1".parse().unwrap(), size, None).await.unwrap());
    assert_eq!(lonely.list(&idea).await.unwrap().len(), 1);
    let mut watched = idle.open(&idea, "1".parse().unwrap(), size, None).await.unwrap();
    let ended = async {
        loop {
            match watched.events.recv().await {
                Some(Event::Exit(exit)) => return exit.reason,
                Some(_) => {}
                None => panic!("it ended without a word"),
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, ended).await.unwrap(), ExitReason::Idle);
    let gone = async {
        while !lonely.list(&idea).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the shell that nobody looks at stays");
}

#[tokio::test]
async fn terminals_can_be_turned_off() {
    let vm = vm(TerminalMode::Off).await;
    let mut terminal = Terminal::unopened(&vm.server, &vm.slug).await;
    terminal.control(json!({"type": "open", "cols": 80, "rows": 24})).await;
    let error = terminal.until_control("error").await;
    assert!(error["error"].as_str().unwrap().contains("TERMINAL=off"), "{error}");
    assert_eq!(error["retry"], false);
}
