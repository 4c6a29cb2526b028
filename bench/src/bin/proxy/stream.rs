//! One run's stream, as fast as it goes, against `ssh vm cat log`.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use catalyst_bench::event::{Counter, LINE};
use catalyst_bench::table::{Table, Wanted};
use tokio::io::AsyncReadExt as _;

use crate::socket::Socket;
use crate::stage::Stage;
use crate::{openssh, process};

pub(crate) async fn measure(stage: &Stage, table: &mut Table, small: bool) -> anyhow::Result<()> {
    let events: u64 = if small { 3_000 } else { 300_000 };
    let idle = process::rss(stage.pid())?;
    let mut rates = Vec::new();
    let mut peers = Vec::new();
    let mut used = Vec::new();
    // Side by side and several times, since the machine is not always equally busy.
    for round in 0..3 {
        let idea = stage.idea(&format!("stream {round}")).await?;
        let mut socket = Socket::open(stage).await?;
        socket.subscribe(&idea).await?;
        let before = process::cpu_seconds(stage.pid())?;
        socket.chat(&idea, &format!("stream {events}")).await?;
        let mut counter = Counter::default();
        let mut begin = None;
        socket
            .until(|told| {
                if told.kind == "claude:text" {
                    begin.get_or_insert_with(Instant::now);
                    counter.text(&told.text);
                }
                Ok(told.kind == "claude:result")
            })
            .await?;
        let took = begin.context("no text came")?.elapsed().as_secs_f64();
        used.push((process::cpu_seconds(stage.pid())? - before) / (events as f64 / 100_000.0));
        ensure!(counter.count == events && counter.wrong == 0, "{counter:?} of {events}");
        rates.push(events as f64 / took);
        peers.push(by_openssh(stage, &stage.log_of(&idea, 1).display().to_string(), events).await?);
    }
    let (rate, peer, cpu) = (median(&mut rates), median(&mut peers), median(&mut used));
    table.add("`ssh vm cat log`", peer, "events/s", Wanted::Nothing, format!("{events} events of {LINE} bytes"));
    table.add("one run's stream", rate, "events/s", Wanted::AtLeast(0.8 * peer), "the same, to a WebSocket");
    table.add("processor time of the stream", cpu, "s per 100,000 events", Wanted::AtMost(0.15), "the proxy alone");
    let after = process::rss(stage.pid())?;
    table.add("memory after the stream", after, "MiB", Wanted::AtMost(20.0), format!("{idle:.1} before"));
    Ok(())
}

/// Events a second from the first byte to the last.
async fn by_openssh(stage: &Stage, log: &str, events: u64) -> anyhow::Result<f64> {
    let mut child = openssh::run(stage, &format!("cat '{log}'"))?;
    let mut output = child.stdout.take().context("no output")?;
    let mut counter = Counter::default();
    let mut rest = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    let mut begin = None;
    loop {
        let read = output.read(&mut piece).await?;
        if read == 0 {
            break;
        }
        begin.get_or_insert_with(Instant::now);
        rest.extend_from_slice(piece.get(..read).unwrap_or_default());
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in rest.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n') {
            if let Some(text) = text_of(line) {
                counter.text(text);
            }
        }
        rest.drain(..whole);
    }
    let took = begin.context("no output")?.elapsed().as_secs_f64();
    ensure!(counter.count == events && counter.wrong == 0, "ssh: {counter:?} of {events}");
    Ok(events as f64 / took)
}

/// The text of a delta's line.
pub(crate) fn text_of(line: &[u8]) -> Option<&str> {
    const BEFORE: &str = r#""text_delta","text":""#;
    let line = std::str::from_utf8(line).ok()?;
    let (_, after) = line.split_once(BEFORE)?;
    after.split('"').next()
}

pub(crate) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
