//! Faults that no other test makes, with a real sshd and a server before it: what the user is told, and that nothing is lost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[allow(dead_code, unreachable_pub, reason = "a part of contract/main.rs")]
#[path = "../contract/frames.rs"]
mod frames;
mod held;
mod keys;
mod limits;
mod output;
#[path = "../stage/said.rs"]
mod said;
#[allow(dead_code, unreachable_pub, clippy::expect_used, reason = "as in contract/main.rs, of which this is a part")]
#[path = "../contract/serving.rs"]
mod serving;
mod sockets;
mod storage;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use catalyst_proxy::settings::Settings;
use catalyst_ssh::testing::{TestSshd, TestSshdOptions};
use serde_json::Value;
use serving::Server;

/// A VM with this folder's stand-in for claude, and settings that lead to it.
async fn vm_with(options: TestSshdOptions) -> (TestSshd, Settings) {
    let sshd = TestSshd::start(options).await;
    let bin = sshd.home().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let claude = bin.join("claude");
    symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/claude"), &claude).unwrap();
    let mut settings = serving::settings(&sshd);
    settings.claude_command = claude.display().to_string();
    (sshd, settings)
}

async fn vm() -> (TestSshd, Settings) {
    vm_with(TestSshdOptions::default()).await
}

fn error(frames: &[Value]) -> &str {
    frames.last().unwrap()["error"].as_str().unwrap()
}

/// Whoever looked from the beginning was told what the log of the first run on the VM says, each of it once and in order.
fn assert_said_by_the_log(sshd: &TestSshd, slug: &str, frames: &[Value]) {
    let log = std::fs::read(sshd.home().join(format!("catalyst/ideas/{slug}/runs/1/log.jsonl"))).unwrap();
    said::assert_said_by_the_log(&log, 1, frames.iter().cloned());
}

/// Ends the idea's run, and the server with its connections: nothing is left of them on the VM.
async fn assert_leaves_nothing(server: Server, sshd: &TestSshd, slug: &str) {
    assert_all_leave_nothing(server, sshd, &[slug.to_owned()]).await;
}

/// The same of several ideas.
async fn assert_all_leave_nothing(server: Server, sshd: &TestSshd, slugs: &[String]) {
    for slug in slugs {
        let (status, body) = server.json(reqwest::Method::DELETE, &format!("/api/ideas/{slug}"), None).await;
        assert_eq!(status, 200, "{body}");
    }
    drop(server);
    let ended = async {
        while !processes_on(sshd).is_empty() {
            // What the server had under way when it was told to end may have opened another.
            sshd.kill_sessions();
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let commands = || processes_on(sshd).into_iter().map(|process| std::fs::read_to_string(process.join("cmdline")));
    let ended = tokio::time::timeout(serving::PATIENCE, ended).await;
    assert!(ended.is_ok(), "left on the VM: {:?}", commands().collect::<Vec<_>>());
}

/// What the server has on the VM, as folders in /proc.
fn processes_on(sshd: &TestSshd) -> Vec<PathBuf> {
    let home = format!("HOME={}", sshd.home().display()).into_bytes();
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let at_home = |process: &PathBuf| {
        let environment = std::fs::read(process.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == home)
    };
    processes.filter(at_home).collect()
}
