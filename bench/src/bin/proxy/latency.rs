//! How late an event is, against `ssh vm tail -f log` and against `ssh vm claude`, and how soon an idle run's first event comes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use catalyst_bench::event::{Counter, now};
use catalyst_bench::table::{Table, Wanted};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use crate::openssh;
use crate::socket::Socket;
use crate::stage::Stage;
use crate::stream::{median, text_of};

/// Events a second.
const RATE: u64 = 200;

pub(crate) async fn measure(stage: &Stage, table: &mut Table, small: bool) -> anyhow::Result<()> {
    let events = if small { 200 } else { 3_000 };
    let idea = stage.idea("latency").await?;
    let mut socket = Socket::open(stage).await?;
    socket.subscribe(&idea).await?;
    socket.chat(&idea, "warm up").await?;
    socket.turn().await?;
    let log = stage.log_of(&idea, 1).display().to_string();

    // By turns, each alone with its reader.
    let mut proxy = Late::default();
    let mut tail = Late::default();
    let mut direct = Late::default();
    for round in 0..2 {
        let message = format!("rate {events} {RATE} {round}");
        socket.chat(&idea, &message).await?;
        let mut counter = Counter::default();
        // The past is told first.
        let mut ours = false;
        socket
            .until(|told| {
                let at = now();
                ours |= told.kind == "claude:user" && told.text == message;
                if ours && told.kind == "claude:text" {
                    counter.numbers(&told.text, |sent| proxy.add(sent, at));
                }
                Ok(ours && told.kind == "claude:result")
            })
            .await?;
        ensure!(counter.count == events, "{counter:?} of {events}");

        let mut child = openssh::run(stage, &format!("echo; tail -c 0 -f '{log}'"))?;
        let mut lines = lines_of(&mut child)?;
        lines.next_line().await?.context("ssh ended")?;
        // Nobody looks through the proxy meanwhile.
        let mut other = Socket::open(stage).await?;
        drop(socket);
        other.chat(&idea, &format!("rate {events} {RATE}")).await?;
        tail.read(&mut lines, events).await?;
        other.turn().await?;
        drop(child);
        without_a_log(stage, events, &mut direct).await?;
        socket = other;
        socket.subscribe(&idea).await?;
    }
    for (what, peer, command, [p50, p99]) in [
        ("", &mut tail, "ssh vm tail -f log", [0.2, 0.8]),
        (" over an agent that writes no log", &mut direct, "ssh vm claude", [0.4, 1.2]),
    ] {
        for (name, part, wanted) in [("p50", 0.5, p50), ("p99", 0.99, p99)] {
            let (through, by) = (proxy.quantile(part), peer.quantile(part));
            table.add(
                &format!("added latency at {RATE} events/s{what}, {name}"),
                through - by,
                "ms",
                Wanted::AtMost(wanted),
                format!("{through:.3} ms through the proxy, {by:.3} ms by `{command}`"),
            );
        }
    }
    first_event(stage, table, if small { 3 } else { 30 }).await
}

/// The agent at the other end of OpenSSH's pipe, as somebody would use it who needs no log: nothing is kept of it.
async fn without_a_log(stage: &Stage, events: u64, late: &mut Late) -> anyhow::Result<()> {
    let mut child = openssh::talk(stage, "exec claude")?;
    let mut input = child.stdin.take().context("no input")?;
    let message = serde_json::json!({"message": {"content": [{"text": format!("rate {events} {RATE}")}]}});
    input.write_all(format!("{message}\n").as_bytes()).await?;
    late.read(&mut lines_of(&mut child)?, events).await
}

fn lines_of(child: &mut Child) -> anyhow::Result<Lines<BufReader<ChildStdout>>> {
    Ok(BufReader::new(child.stdout.take().context("no output")?).lines())
}

/// From the message to the first event of a run that waits for one, its viewer attached.
async fn first_event(stage: &Stage, table: &mut Table, times: u32) -> anyhow::Result<()> {
    let idea = stage.idea("first event").await?;
    let mut socket = Socket::open(stage).await?;
    socket.subscribe(&idea).await?;
    socket.chat(&idea, "warm up").await?;
    socket.turn().await?;
    let mut first = Vec::new();
    let mut answer = Vec::new();
    for _ in 0..times {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let sent = Instant::now();
        socket.chat(&idea, "hello").await?;
        socket.until(|told| Ok(told.kind == "claude:user")).await?;
        first.push(sent.elapsed().as_secs_f64() * 1e3);
        socket.until(|told| Ok(told.kind == "claude:text")).await?;
        answer.push(sent.elapsed().as_secs_f64() * 1e3);
        socket.turn().await?;
    }
    let (first, answer) = (median(&mut first), median(&mut answer));
    table.add("first event of an idle run after the message, p50", first, "ms", Wanted::AtMost(15.0), "attached");
    table.add("its answer's first word, p50", answer, "ms", Wanted::Nothing, "the agent answers at once");
    Ok(())
}

/// How late events were.
#[derive(Default)]
struct Late(Vec<f64>);

impl Late {
    fn add(&mut self, sent: u64, at: u64) {
        self.0.push(at.saturating_sub(sent) as f64 / 1e6);
    }

    /// So many events from an agent's output.
    async fn read(&mut self, lines: &mut Lines<BufReader<ChildStdout>>, events: u64) -> anyhow::Result<()> {
        let mut seen = 0;
        while seen < events {
            let line = lines.next_line().await?.context("ssh ended")?;
            let at = now();
            if let Some(sent) = text_of(line.as_bytes()).and_then(|text| text.trim_end().parse().ok()) {
                self.add(sent, at);
                seen += 1;
            }
        }
        Ok(())
    }

    /// In milliseconds.
    fn quantile(&mut self, part: f64) -> f64 {
        self.0.sort_unstable_by(f64::total_cmp);
        let at = (self.0.len().saturating_sub(1)) as f64 * part;
        self.0.get(at as usize).copied().unwrap_or(f64::NAN)
    }
}
