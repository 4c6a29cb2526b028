//! Terminals that nobody uses: those that tmux and screen keep on the VM, and beside them plain ones.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use catalyst_proxy::settings::TerminalMode;
use catalyst_proxy::terminal::protocol::ExitReason;
use catalyst_proxy::terminal::{Attachment, Event, TerminalSettings, Terminals};
use catalyst_ssh::Size;
use serde_json::{Value, json};

use super::client::{Terminal, Vm, eventually, vm_with_tmux};
use crate::serving::{ORIGIN, PATIENCE};

/// Three terminals: nobody looks at the first two, and the second prints on.
async fn three(vm: &Vm, keeper: &str) -> Terminal {
    let mut all = Vec::new();
    for number in 1..=3 {
        let query = format!("idea={}&terminal={number}", vm.slug);
        let mut terminal = Terminal::connect(&vm.server, &query, &vm.server.cookie, ORIGIN).await.unwrap();
        terminal.control(json!({"type": "open", "cols": 80, "rows": 24})).await;
        assert_eq!(terminal.until_control("opened").await["keeper"], keeper);
        terminal.type_in(&format!("tty >tty{number}; echo re''ady\r")).await;
        terminal.until("ready").await;
        all.push(terminal);
    }
    all[1].type_in("while :; do echo st''ill; sleep 0.2; done\r").await;
    all[1].until("still").await;
    let watched = all.pop().unwrap();
    drop(all);
    let left = async { while attached(vm).await != [0, 0, 1] {} };
    tokio::time::timeout(PATIENCE, left).await.expect("somebody looks at them still");
    watched
}

async fn listed(vm: &Vm, member: &str) -> Vec<u64> {
    let (status, listed) = vm.server.get(&format!("/api/ideas/{}/terminals", vm.slug)).await;
    assert_eq!(status, 200, "{listed}");
    listed["data"].as_array().unwrap().iter().map(|each: &Value| each[member].as_u64().unwrap()).collect()
}

async fn attached(vm: &Vm) -> Vec<u64> {
    listed(vm, "attached").await
}

/// What sweeps, with an idle limit of its own.
fn sweeper(vm: &Vm, idle: Duration) -> Arc<Terminals> {
    terminals(vm, TerminalMode::Auto, idle)
}

fn terminals(vm: &Vm, mode: TerminalMode, idle: Duration) -> Arc<Terminals> {
    Terminals::new(vm.server.app.remote.clone(), TerminalSettings { mode, idle, ..TerminalSettings::default() })
}

/// What is printed until these words are; fails if the terminal ends before.
async fn printed(attachment: &mut Attachment, words: &str) {
    let printing = async {
        let mut output = Vec::new();
        while !String::from_utf8_lossy(&output).contains(words) {
            match attachment.events.recv().await {
                Some(Event::Output(bytes)) => output.extend_from_slice(&bytes),
                Some(Event::Opened(_) | Event::Credit(_)) => {}
                other => panic!("{other:?} before {words:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, printing).await.unwrap_or_else(|_| panic!("{words:?} is not printed"));
}

/// Why it ended.
async fn ended(attachment: &mut Attachment) -> ExitReason {
    let ending = async {
        loop {
            if let Event::Exit(exit) = attachment.events.recv().await.expect("it ended without a word") {
                return exit.reason;
            }
        }
    };
    tokio::time::timeout(PATIENCE, ending).await.expect("it does not end")
}

#[tokio::test]
async fn one_that_the_vm_keeps_does_not_end_under_the_eyes_of_whoever_looks_however_idle_it_is() {
    for tmux in [true, false] {
        let vm = vm_with_tmux(TerminalMode::Auto, tmux).await;
        let idea = vm.server.app.ideas.get(&vm.slug).await.unwrap();
        let size = Size { columns: 80, rows: 24 };
        let idle = Duration::from_millis(100);
        let (kept, plain) = (terminals(&vm, TerminalMode::Auto, idle), terminals(&vm, TerminalMode::Plain, idle));
        let mut watched = kept.open(&idea, "1".parse().unwrap(), size, None).await.unwrap();
        watched.input("echo it-be''gins\r".into()).await;
        printed(&mut watched, "it-begins").await;
        // Their tasks look at the clock as often: by the second one's end the first has done so several times.
        for number in ["2", "3"] {
            let mut unused = plain.open(&idea, number.parse().unwrap(), size, None).await.unwrap();
            assert_eq!(ended(&mut unused).await, ExitReason::Idle);
        }
        watched.input("echo it-goes-''on\r".into()).await;
        printed(&mut watched, "it-goes-on").await;
    }
}

#[tokio::test]
async fn one_that_tmux_keeps_ends_when_nobody_looks_and_nothing_happens() {
    let vm = vm_with_tmux(TerminalMode::Auto, true).await;
    let _watched = three(&vm, "tmux").await;
    sweeper(&vm, Duration::from_secs(3600)).sweep().await.unwrap();
    assert_eq!(listed(&vm, "terminal").await, [1, 2, 3]);
    let sweeper = sweeper(&vm, Duration::from_secs(2));
    let swept = async {
        while listed(&vm, "terminal").await.contains(&1) {
            sweeper.sweep().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, swept).await.expect("what nobody uses stays");
    // By now nobody has typed into the second for as long, and nobody has into the third.
    assert_eq!(listed(&vm, "terminal").await, [2, 3]);
}

#[tokio::test]
async fn one_that_screen_keeps_ends_when_nobody_looks_and_nothing_happens() {
    let vm = vm_with_tmux(TerminalMode::Auto, false).await;
    let _watched = three(&vm, "screen").await;
    let sweeper = sweeper(&vm, Duration::from_secs(3600));
    sweeper.sweep().await.unwrap();
    assert_eq!(listed(&vm, "terminal").await, [1, 2, 3]);
    let ttys: Vec<String> =
        (1..=3).map(|number| fs::read_to_string(vm.project().join(format!("tty{number}"))).unwrap()).collect();
    let swept = async {
        while listed(&vm, "terminal").await.contains(&1) {
            // As if they had last been used long ago.
            for tty in &ttys {
                // Not made: that of the first may be gone though it is listed still.
                assert!(Command::new("touch").args(["-c", "-d", "@0", tty.trim()]).status().unwrap().success());
            }
            let hour_ago = SystemTime::now() - Duration::from_secs(3600);
            eventually("the second prints", || fs::metadata(ttys[1].trim()).unwrap().modified().unwrap() > hour_ago)
                .await;
            sweeper.sweep().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, swept).await.expect("what nobody uses stays");
    assert_eq!(listed(&vm, "terminal").await, [2, 3]);
}
