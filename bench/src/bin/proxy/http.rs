//! Plain requests: health, and the list of ideas.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use catalyst_bench::table::{Table, Wanted};
use futures::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::stage::Stage;

/// Connections that are kept open.
const CONNECTIONS: usize = 64;

pub(crate) async fn measure(stage: &Stage, table: &mut Table, small: bool) -> anyhow::Result<()> {
    let time = Duration::from_secs(if small { 1 } else { 5 });
    let count = if small { 5 } else { 100 };
    for number in 0..count {
        stage.idea(&format!("idea {number}")).await?;
    }
    let health = rate(stage, "/api/health", time).await?;
    table.add("`/api/health`", health, "/s", Wanted::AtLeast(50_000.0), format!("{CONNECTIONS} connections"));
    let ideas = rate(stage, "/api/ideas", time).await?;
    table.add(
        &format!("`/api/ideas` with {count} ideas"),
        ideas,
        "/s",
        Wanted::AtLeast(2_000.0),
        format!("{CONNECTIONS} connections"),
    );
    Ok(())
}

async fn rate(stage: &Stage, path: &str, time: Duration) -> anyhow::Result<f64> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {}\r\n\r\n", stage.cookie());
    let begin = Instant::now();
    let done = join_all((0..CONNECTIONS).map(|_| requests(stage.port(), &request, begin + time))).await;
    let all: u64 = done.into_iter().sum::<anyhow::Result<u64>>()?;
    Ok(all as f64 / begin.elapsed().as_secs_f64())
}

/// One after another on one connection.
async fn requests(port: u16, request: &str, until: Instant) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut answer = Vec::with_capacity(64 * 1024);
    let mut done = 0;
    while Instant::now() < until {
        stream.write_all(request.as_bytes()).await?;
        answer.clear();
        let mut all = usize::MAX;
        while answer.len() < all {
            ensure!(stream.read_buf(&mut answer).await? > 0, "the connection was closed");
            if all == usize::MAX {
                all = length(&answer)?.unwrap_or(usize::MAX);
            }
        }
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        done += 1;
    }
    Ok(done)
}

/// Head and body, once the head is there.
fn length(answer: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(answer.get(..head).unwrap_or_default())?.to_ascii_lowercase();
    let line =
        text.lines().find_map(|line| line.strip_prefix("content-length:")).context("an answer without a length")?;
    Ok(Some(head + 4 + line.trim().parse::<usize>()?))
}
