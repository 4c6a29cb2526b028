//! What the proxy holds: at rest, with idle sockets, with a client that does not read, with one huge line.

use std::time::Duration;

use anyhow::ensure;
use catalyst_bench::event::{Counter, LINE};
use catalyst_bench::table::{Table, Wanted};
use futures::future::join_all;

use crate::process;
use crate::socket::Socket;
use crate::stage::Stage;

/// Until what was freed has been given back.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) async fn measure(stage: &Stage, table: &mut Table, small: bool) -> anyhow::Result<()> {
    let pid = stage.pid();
    tokio::time::sleep(SETTLE).await;
    let idle = process::rss(pid)?;
    table.add("memory at rest", idle, "MiB", Wanted::AtMost(12.0), "signed in, VM connected");

    let count = if small { 50 } else { 1_000 };
    let mut sockets = Vec::new();
    for _ in 0..count {
        sockets.push(Socket::open(stage).await?);
    }
    tokio::time::sleep(SETTLE).await;
    let more = process::rss(pid)? - idle;
    table.add(&format!("{count} idle WebSockets"), more, "MiB more", Wanted::AtMost(10.0), "");
    drop(sockets);

    huge_line(stage, table, if small { 5_000_000 } else { 50_000_000 }).await?;
    not_reading(stage, table, if small { 20_000 } else { 2_000_000 }).await?;
    many_sockets(stage, table, if small { 500 } else { 10_000 }).await
}

/// As many sockets as are held at once; each is asked at the end whether it is there.
async fn many_sockets(stage: &Stage, table: &mut Table, count: usize) -> anyhow::Result<()> {
    let before = process::rss(stage.pid())?;
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        // No limit of the process is raised: where one is too low, the figure says so.
        let Ok(socket) = Socket::open(stage).await else { break };
        sockets.push(socket);
    }
    let answers = join_all(sockets.iter_mut().map(Socket::answers)).await;
    let held = answers.iter().filter(|answer| answer.is_ok()).count();
    let remark = format!("{:.0} MiB more", process::rss(stage.pid())? - before);
    table.add(&format!("{count} WebSockets, held"), held as f64, "", Wanted::AtLeast(count as f64), remark);
    Ok(())
}

async fn huge_line(stage: &Stage, table: &mut Table, bytes: u64) -> anyhow::Result<()> {
    let idea = stage.idea("huge line").await?;
    let mut socket = Socket::open(stage).await?;
    socket.subscribe(&idea).await?;
    socket.chat(&idea, "warm up").await?;
    socket.turn().await?;
    tokio::time::sleep(SETTLE).await;
    process::forget_peak(stage.pid())?;
    let before = process::rss(stage.pid())?;
    socket.chat(&idea, &format!("line {bytes}")).await?;
    let mut large = false;
    socket
        .until(|told| {
            large |= told.kind == "claude:large";
            Ok(told.kind == "claude:result")
        })
        .await?;
    ensure!(large, "the line was not told of");
    let more = process::peak(stage.pid())? - before;
    table.add(&format!("a line of {} MB, at its peak", bytes / 1_000_000), more, "MiB more", Wanted::AtMost(4.0), "");
    Ok(())
}

async fn not_reading(stage: &Stage, table: &mut Table, events: u64) -> anyhow::Result<()> {
    let idea = stage.idea("not reading").await?;
    let mut socket = Socket::open(stage).await?;
    socket.subscribe(&idea).await?;
    socket.chat(&idea, "stream 20000").await?;
    socket.turn().await?;
    tokio::time::sleep(SETTLE).await;
    process::forget_peak(stage.pid())?;
    let before = process::rss(stage.pid())?;
    socket.chat(&idea, &format!("stream {events}")).await?;
    // The log is written whoever reads it; its length says when all of it was produced.
    let log = stage.log_of(&idea, 1);
    let all = events * LINE as u64;
    while std::fs::metadata(&log)?.len() < all {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What the follower has still to read: it is done when the proxy works no more.
    loop {
        let used = process::cpu_seconds(stage.pid())?;
        tokio::time::sleep(SETTLE).await;
        if process::cpu_seconds(stage.pid())? - used < 0.05 {
            break;
        }
    }
    let (more, peak) = (process::rss(stage.pid())? - before, process::peak(stage.pid())? - before);
    let what = format!("a client that does not read {} MB, at the peak", all / 1_000_000);
    table.add(&what, peak, "MiB more", Wanted::AtMost(1.0), format!("{more:.1} MiB after it"));
    let mut counter = Counter::default();
    socket
        .until(|told| {
            if told.kind == "claude:text" {
                counter.text(&told.text);
            }
            Ok(told.kind == "claude:result")
        })
        .await?;
    let lost = events.abs_diff(counter.count) + counter.wrong;
    table.add("what it has lost when it reads at last", lost as f64, "events", Wanted::AtMost(0.0), "");
    Ok(())
}
