//! Faults that no other test makes, with a real sshd and a server before it: what the user is told, and that nothing is lost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod keys;
mod limits;
mod output;
#[allow(dead_code, unreachable_pub, clippy::expect_used, reason = "as in contract/main.rs, of which this is a part")]
#[path = "../contract/serving.rs"]
mod serving;
mod sockets;
mod storage;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use catalyst_proxy::settings::Settings;
use catalyst_ssh::testing::{TestSshd, TestSshdOptions};
use serde_json::{Value, json};
use serving::{Server, Socket};

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

impl Server {
    /// A socket that is told of an idea's runs from the first on.
    async fn watching(&self, slug: &str) -> Socket {
        let mut socket = self.socket().await;
        socket.send(json!({"type": "subscribe", "ideaId": slug, "run": 1})).await;
        let start = socket.next().await.unwrap();
        assert_eq!(start["type"], "subscribed", "{start}");
        socket
    }
}

async fn chat(socket: &mut Socket, slug: &str, text: &str) {
    socket.send(json!({"type": "chat", "ideaId": slug, "message": text})).await;
}

fn text(frames: &[Value]) -> String {
    frames.iter().filter(|frame| frame["type"] == "claude:text").map(|frame| frame["text"].as_str().unwrap()).collect()
}

fn ticks(count: usize) -> String {
    (0..count).map(|tick| format!("tick{tick} ")).collect()
}

fn error(frames: &[Value]) -> &str {
    frames.last().unwrap()["error"].as_str().unwrap()
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
