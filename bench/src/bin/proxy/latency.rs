//! How late an event is, against `ssh vm tail -f log`, and how soon an idle run's first event comes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use catalyst_bench::event::{Counter, now};
use catalyst_bench::table::{Table, Wanted};
use tokio::io::{AsyncBufReadExt as _, BufReader};

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
    let mut ssh = Late::default();
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
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        lines.next_line().await?.context("ssh ended")?;
        // Nobody looks through the proxy meanwhile.
        let mut other = Socket::open(stage).await?;
        drop(socket);
        other.chat(&idea, &format!("rate {events} {RATE}")).await?;
        let mut seen = 0;
        while seen < events {
            let line = lines.next_line().await?.context("ssh ended")?;
            let at = now();
            if let Some(sent) = text_of(line.as_bytes()).and_then(|text| text.trim_end().parse().ok()) {
                ssh.add(sent, at);
                seen += 1;
            }
        }
        other.turn().await?;
        socket = other;
        socket.subscribe(&idea).await?;
    }
    for (name, part, wanted) in [("p50", 0.5, 0.2), ("p99", 0.99, 0.8)] {
        let (through, by) = (proxy.quantile(part), ssh.quantile(part));
        table.add(
            &format!("added latency at {RATE} events/s, {name}"),
            through - by,
            "ms",
            Wanted::AtMost(wanted),
            format!("{through:.3} ms through the proxy, {by:.3} ms by `ssh vm tail -f log`"),
        );
    }
    first_event(stage, table, if small { 3 } else { 30 }).await
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

    /// In milliseconds.
    fn quantile(&mut self, part: f64) -> f64 {
        self.0.sort_unstable_by(f64::total_cmp);
        let at = (self.0.len().saturating_sub(1)) as f64 * part;
        self.0.get(at as usize).copied().unwrap_or(f64::NAN)
    }
}
