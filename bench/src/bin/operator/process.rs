//! The operator's process: started, looked at by its own metrics and by /proc, ended.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};

use crate::{stage::Stage, until};

/// Longer than anything here takes, also with ten thousand instances.
const DEADLINE: Duration = Duration::from_secs(1200);
/// Its counters.
const PASSES: &str = "catalyst_operator_reconciles_total";
const WRITES: &str = "catalyst_operator_api_writes_total";
/// For so long nothing may happen until it counts as at rest.
const CALM: Duration = Duration::from_secs(5);
/// Each instance is looked at about once an hour though nothing happens: of so many, one in two times [`CALM`].
const LOOKED_AT: usize = 400;

/// The settings that the operator's image has, which are part of what is measured.
fn image_environment() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = include_str!("../../../../Dockerfile.operator").lines().filter_map(|line| line.strip_prefix("ENV "));
    lines.flat_map(str::split_whitespace).filter_map(|setting| setting.split_once('='))
}

/// Refuses a binary with debug information: its figures would say nothing.
pub(crate) fn refuse_debug(binary: &Path) -> anyhow::Result<()> {
    let bytes = std::fs::read(binary).with_context(|| {
        format!("read {}; build it with: cargo build --release -p catalyst-operator", binary.display())
    })?;
    let names = section_names(&bytes).with_context(|| format!("{} is no 64-bit ELF program", binary.display()))?;
    let mark = b".debug_line";
    if names.windows(mark.len()).any(|window| window == mark) {
        bail!(
            "{} is a debug build, whose figures say nothing; build the other with: cargo build --release -p catalyst-operator",
            binary.display()
        );
    }
    Ok(())
}

/// The table of section names of an ELF file. (The words alone are in every Rust program: its backtraces look for them.)
fn section_names(elf: &[u8]) -> Option<&[u8]> {
    let number = |at: usize, long: usize| {
        let bytes = elf.get(at..at + long)?;
        Some(bytes.iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte)))
    };
    if elf.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let (headers, size, index) = (number(0x28, 8)?, number(0x3a, 2)?, number(0x3e, 2)?);
    let header = headers + size * index;
    let (offset, length) = (number(header + 0x18, 8)?, number(header + 0x20, 8)?);
    elf.get(offset..offset + length)
}

/// One process; killed if this program ends early.
pub(crate) struct Operator {
    child: Child,
    admin: SocketAddr,
    log: PathBuf,
}

impl Operator {
    /// Starts it and awaits that it is ready.
    pub(crate) async fn start(binary: &Path, stage: &Stage, identity: &str) -> anyhow::Result<Operator> {
        Operator::start_with(&[], binary, stage, identity).await
    }

    /// The same, with further settings from the environment.
    pub(crate) async fn start_with(
        settings: &[(&str, &str)],
        binary: &Path,
        stage: &Stage,
        identity: &str,
    ) -> anyhow::Result<Operator> {
        let admin = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let path = stage.folder().join(format!("{identity}.log"));
        let log = std::fs::File::create(&path)?;
        let child = Command::new(binary)
            .env_clear()
            .envs(image_environment())
            .envs(std::env::var("LOG").map(|filter| ("LOG", filter)))
            .env("KUBECONFIG", stage.kubeconfig())
            .env("POD_NAME", identity)
            .env("POD_NAMESPACE", "default")
            .env("ADMIN_ADDRESS", admin.to_string())
            .env("CONCURRENCY", crate::plain::CONCURRENCY.to_string())
            .envs(settings.iter().copied())
            .stdout(log.try_clone()?)
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("start {}", binary.display()))?;
        let mut operator = Operator { child, admin, log: path };
        // Nothing listens there at first.
        let ready = || async { Ok(ask(admin, "readyz").await.ok().map(|_| ())) };
        operator.while_it_runs(until("the operator is ready", DEADLINE, ready)).await?;
        Ok(operator)
    }

    /// What is awaited, unless the process ends before, which it should not: then the error has its last words.
    pub(crate) async fn while_it_runs<T>(
        &mut self,
        awaited: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            done = awaited => done,
            ended = ended(&mut self.child) => {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                let mut last: Vec<&str> = log.lines().rev().take(5).collect();
                last.reverse();
                bail!("the operator ended ({}):\n{}", ended?, last.join("\n"))
            }
        }
    }

    /// CPU time so far, in seconds.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        Ok(catalyst_lab::processor_time_of(self.child.id())?.as_secs_f64())
    }

    /// Resident memory, in MiB.
    pub(crate) fn rss(&self) -> anyhow::Result<f64> {
        self.memory("VmRSS:")
    }

    /// The most that its resident memory has been, in MiB.
    pub(crate) fn peak(&self) -> anyhow::Result<f64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, which: &str) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(which)).context("status lacks a size")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }

    /// Passes that have ended.
    async fn passes(&self) -> anyhow::Result<u64> {
        Ok(sum(&ask(self.admin, "metrics").await?, PASSES))
    }

    /// Awaits that as many passes have ended since its start and that none waits.
    pub(crate) async fn reconciled(&self, passes: usize) -> anyhow::Result<()> {
        let enough = || async {
            let text = ask(self.admin, "metrics").await?;
            let idle = ["queue_depth 0", "reconciles_running 0"];
            let idle = idle.iter().all(|gauge| text.lines().any(|line| line == format!("catalyst_operator_{gauge}")));
            Ok((idle && sum(&text, PASSES) >= passes as u64).then_some(()))
        };
        until("every instance was looked at", DEADLINE, enough).await
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Awaits two seconds without a pass and without a write.
    pub(crate) async fn settled(&self, stage: &Stage) -> anyhow::Result<()> {
        let mut last = (0, 0);
        let begun = tokio::time::Instant::now();
        let mut calm = begun;
        loop {
            if begun.elapsed() > DEADLINE {
                bail!("the operator does not come to rest: {} passes, {} writes", last.0, last.1);
            }
            let now = (self.passes().await?, stage.operators_writes()?.len());
            if now != last {
                (last, calm) = (now, tokio::time::Instant::now());
            } else if calm.elapsed() > Duration::from_secs(2) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Awaits that it rests though it has so many instances that some are due at any time: nothing is written, and hardly more
    /// passes are made than are due.
    pub(crate) async fn calm(&self, instances: usize) -> anyhow::Result<()> {
        let due = (instances / LOOKED_AT) as u64;
        let begun = tokio::time::Instant::now();
        let mut last = None;
        loop {
            let text = ask(self.admin, "metrics").await?;
            let (passes, writes) = (sum(&text, PASSES), sum(&text, WRITES));
            if last.is_some_and(|(before, written)| writes == written && passes - before <= due) {
                return Ok(());
            }
            if begun.elapsed() > DEADLINE {
                bail!("the operator does not come to rest: {passes} passes, {writes} writes");
            }
            last = Some((passes, writes));
            tokio::time::sleep(CALM).await;
        }
    }

    /// Tells it to end.
    pub(crate) fn terminate(&self) -> anyhow::Result<()> {
        let told = Command::new("kill").arg(self.child.id().to_string()).status().context("run kill")?;
        if told.success() { Ok(()) } else { bail!("the operator could not be told to end") }
    }

    /// Ends it in order.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        if self.child.try_wait()?.is_none() {
            self.terminate()?;
        }
        let begun = tokio::time::Instant::now();
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > DEADLINE {
                bail!("the operator does not end");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

async fn ask(admin: SocketAddr, path: &str) -> anyhow::Result<String> {
    let answer = reqwest::get(format!("http://{admin}/{path}")).await?.error_for_status()?;
    Ok(answer.text().await?)
}

async fn ended(child: &mut Child) -> anyhow::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// A counter of the operator's over all its labels.
fn sum(metrics: &str, counter: &str) -> u64 {
    let counts = metrics.lines().filter_map(|line| line.strip_prefix(counter)?.strip_prefix('{'));
    counts.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum()
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
