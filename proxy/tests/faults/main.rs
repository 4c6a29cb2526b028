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
use serde_json::Value;

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
