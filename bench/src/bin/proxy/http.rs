//! Plain requests: health, and the list of ideas.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use catalyst_bench::table::{Table, Wanted};
use futures::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::process::cpu_seconds;
use crate::stage::Stage;

/// Connections that are kept open.
const CONNECTIONS: usize = 64;

pub(crate) async fn measure(stage: &Stage, table: &mut Table, small: bool) -> anyhow::Result<()> {
    let time = Duration::from_secs(if small { 1 } else { 5 });
    let count = if small { 5 } else { 100 };
    for number in 0..count {
        stage.idea(&format!("idea {number}")).await?;
    }
    rate(stage, table, "`/api/health`", 50_000.0, "/api/health", time).await?;
    rate(stage, table, &format!("`/api/ideas` with {count} ideas"), 2_000.0, "/api/ideas", time).await
}

async fn rate(
    stage: &Stage,
    table: &mut Table,
    what: &str,
    wanted: f64,
    path: &str,
    time: Duration,
) -> anyhow::Result<()> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {}\r\n\r\n", stage.cookie());
    let (begin, used) = (Instant::now(), cpu_seconds(stage.pid())?);
    let connections = (0..CONNECTIONS).map(|_| tokio::spawn(requests(stage.port(), request.clone(), begin + time)));
    let mut all = 0;
    for done in join_all(connections).await {
        all += done??;
    }
    let (took, used) = (begin.elapsed().as_secs_f64(), cpu_seconds(stage.pid())? - used);
    // The processor's time says the same on a busy machine.
    let each = used / all as f64 * 1e6;
    let remark = format!("{CONNECTIONS} connections; {each:.0} µs of the proxy's processor time each");
    table.add(what, all as f64 / took, "/s", Wanted::AtLeast(wanted), remark);
    Ok(())
}

/// One after another on one connection.
async fn requests(port: u16, request: String, until: Instant) -> anyhow::Result<u64> {
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
    let text = std::str::from_utf8(answer.get(..head).unwrap_or_default())?;
    let (_, after) = text.split_once("\r\ncontent-length: ").context("an answer without a length")?;
    let (digits, _) = after.split_once('\r').unwrap_or((after, ""));
    Ok(Some(head + 4 + digits.parse::<usize>()?))
}
