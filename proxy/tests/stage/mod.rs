//! What the tests of runs stand on: a real sshd, a folder of ideas, a stand-in for claude, and eyes for frames.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part")]

mod said;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use catalyst_proxy::agent::Event;
use catalyst_proxy::remote::Remote;
use catalyst_proxy::run::{Frame, IdeaRef, Mode, Position, RunObserver, RunSettings, Runs, Subscription};
use catalyst_ssh::testing::{TestSshd, TestSshdOptions};
use catalyst_ssh::{Pool, PoolLimits};

/// Longer than the product itself waits (60 s for a command on the VM): a busy machine is no failure, and a test that needs
/// all of it has failed.
pub const WAIT: Duration = Duration::from_secs(90);

pub struct Stage {
    pub sshd: TestSshd,
    pub idea: IdeaRef,
    pub settings: RunSettings,
    pub observed: Arc<Observed>,
    pub bin: tempfile::TempDir,
}

#[derive(Default)]
pub struct Observed(pub Mutex<Vec<String>>);

impl RunObserver for Observed {
    fn session_started(&self, _idea: &IdeaRef, session_id: &str) {
        self.0.lock().unwrap().push(format!("session {session_id}"));
    }

    fn turn_ended(&self, _idea: &IdeaRef, mode: Mode, success: bool) {
        self.0.lock().unwrap().push(format!("{mode:?} {success}"));
    }
}

impl Stage {
    pub async fn new() -> Stage {
        Stage::with_shell("dash", &[]).await
    }

    /// `shell` is what `sh` means on the VM: dash, bash, or busybox, which then is all the other programs too.
    pub async fn with_shell(shell: &str, environment: &[(&str, &str)]) -> Stage {
        Stage::with_claude(shell, &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stage/claude"), environment).await
    }

    pub async fn with_claude(shell: &str, claude: &Path, environment: &[(&str, &str)]) -> Stage {
        let bin = tempfile::tempdir().unwrap();
        symlink(claude, bin.path().join("claude")).unwrap();
        let at = |program: &str| {
            ["/bin", "/usr/bin"].iter().map(|dir| Path::new(dir).join(program)).find(|path| path.exists()).unwrap()
        };
        let mut path = format!("{}:/usr/bin:/bin", bin.path().display());
        if shell == "busybox" {
            let list = std::process::Command::new("busybox").arg("--list").output().unwrap();
            for applet in String::from_utf8(list.stdout).unwrap().lines() {
                symlink(at("busybox"), bin.path().join(applet)).unwrap();
            }
            path = bin.path().display().to_string();
        } else {
            symlink(at(shell), bin.path().join("sh")).unwrap();
        }
        let mut options = TestSshdOptions { environment: vec![("PATH".into(), path)], ..TestSshdOptions::default() };
        options.environment.extend(environment.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        let sshd = TestSshd::start(options).await;
        let idea = IdeaRef {
            // Runs are told apart by it in /proc, also those of tests that run at the same time.
            id: uuid::Uuid::new_v4().to_string(),
            slug: "an-idea".into(),
            session_id: None,
        };
        std::fs::create_dir_all(sshd.home().join("ideas/an-idea")).unwrap();
        let settings = RunSettings { stop_grace: Duration::from_secs(2), ..RunSettings::default() };
        Stage { sshd, idea, settings, observed: Arc::new(Observed::default()), bin }
    }

    /// A replica of the proxy, as far as runs go.
    pub fn replica(&self) -> Arc<Runs> {
        let pool = Pool::new(self.sshd.source(), PoolLimits::default());
        Runs::new(Remote::new(pool, "~/ideas"), self.settings.clone(), self.observed.clone())
    }

    pub fn log(&self, run: u64) -> PathBuf {
        self.sshd.home().join(format!("ideas/an-idea/runs/{run}/log.jsonl"))
    }

    pub fn control(&self, run: u64) -> PathBuf {
        self.sshd.home().join(format!(".local/state/catalyst/{}/runs/{run}", self.idea.id))
    }

    /// A viewer who was there from the run's beginning was told what its log says, each of it once and in order.
    pub fn assert_said_by_the_log(&self, run: u64, frames: &[Arc<Frame>]) {
        assert_in_order(frames);
        let frames = frames.iter().filter(|frame| frame.run == run);
        let json = |frame: &Arc<Frame>| serde_json::from_str(&format!("{{{}}}", String::from_utf8_lossy(&frame.body)));
        said::assert_said_by_the_log(
            &std::fs::read(self.log(run)).unwrap(),
            run,
            frames.map(|frame| json(frame).unwrap()),
        );
    }

    /// Ends the run, and the connections: nothing is left on the VM of it, nor of those who followed it.
    pub async fn assert_leaves_nothing(&self, runs: Arc<Runs>) {
        runs.end(&self.idea).await.unwrap();
        runs.shut_down();
        drop(runs);
        self.sshd.kill_sessions();
        eventually("nothing of it runs on the VM", || self.left().is_empty()).await;
    }

    /// Processes on the VM, which are known by its home.
    pub fn left(&self) -> Vec<String> {
        let home = format!("HOME={}", self.sshd.home().display()).into_bytes();
        let entries = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let at_home = entries.filter(|process| {
            let environ = std::fs::read(process.join("environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|variable| variable == home)
        });
        at_home.map(|process| std::fs::read_to_string(process.join("cmdline")).unwrap_or_default()).collect()
    }

    /// What the VM knows of a message.
    pub fn message(&self, id: &str) -> PathBuf {
        self.sshd.home().join(format!(".local/state/catalyst/{}/messages/{id}", self.idea.id))
    }

    /// How often the logs say that a message was handed over.
    pub fn delivered(&self, id: &str) -> usize {
        let turn = format!(r#"{{"type":"catalyst_turn","id":"{id}""#);
        let logs = std::fs::read_dir(self.sshd.home().join("ideas/an-idea/runs")).unwrap().flatten();
        logs.map(|run| std::fs::read_to_string(run.path().join("log.jsonl")).unwrap_or_default())
            .map(|log| log.lines().filter(|line| line.starts_with(&turn)).count())
            .sum()
    }

    /// The pid of the process that keeps a run.
    pub fn supervisor(&self, run: u64) -> i32 {
        let identity = std::fs::read_to_string(self.control(run).join("identity")).unwrap();
        identity.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Processes of the run's claude and of what it started.
    pub fn processes(&self, run: u64) -> Vec<i32> {
        let tag = format!("CATALYST_RUN={}/{run}", self.idea.id).into_bytes();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            // Several tests may run at once: the home tells them apart.
            let home = format!("HOME={}", self.sshd.home().display()).into_bytes();
            let has = |wanted: &[u8]| environ.split(|byte| *byte == 0).any(|variable| variable == wanted);
            if has(&tag) && has(&home) {
                found.push(pid);
            }
        }
        found
    }
}

/// Frames until one satisfies `last`, that one included.
pub async fn until(subscription: &mut Subscription, mut last: impl FnMut(&Frame) -> bool) -> Vec<Arc<Frame>> {
    let mut frames: Vec<Arc<Frame>> = Vec::new();
    let seen = tokio::time::timeout(WAIT, async {
        loop {
            match subscription.next().await {
                Some(Ok(frame)) => {
                    frames.push(Arc::clone(&frame));
                    if last(&frame) {
                        return;
                    }
                }
                Some(Err(error)) => panic!("{error}"),
                None => panic!("the subscription ended"),
            }
        }
    })
    .await;
    assert!(seen.is_ok(), "it did not come; what came: {:#?}", bodies(&frames));
    frames
}

pub async fn until_results(subscription: &mut Subscription, count: usize) -> Vec<Arc<Frame>> {
    let mut left = count;
    until(subscription, |frame| {
        left -= usize::from(matches!(frame.event, Event::Result(_)));
        left == 0
    })
    .await
}

pub fn is_exit(frame: &Frame) -> bool {
    matches!(frame.event, Event::Exit { .. })
}

pub fn bodies(frames: &[Arc<Frame>]) -> Vec<String> {
    frames.iter().map(|frame| String::from_utf8_lossy(&frame.body).chars().take(300).collect()).collect()
}

pub fn text(frames: &[Arc<Frame>]) -> String {
    frames
        .iter()
        .filter_map(|frame| if let Event::Text { text } = &frame.event { Some(text.as_str()) } else { None })
        .collect()
}

/// Positions only ever grow: nothing came twice, nothing out of order.
pub fn assert_in_order(frames: &[Arc<Frame>]) {
    let positions: Vec<Position> = frames.iter().map(|frame| frame.position()).collect();
    assert!(positions.is_sorted_by(|a, b| a < b), "{:#?}", bodies(frames));
}

pub fn ticks(count: usize) -> String {
    (0..count).map(|n| format!("tick{n} ")).collect()
}

/// Waits until `holds`.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + WAIT;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
