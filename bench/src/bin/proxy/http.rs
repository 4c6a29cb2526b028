//! Plain requests: health, also while the VM is away, and the list of ideas.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use catalyst_bench::table::{Table, Wanted};
use futures::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::process::cpu_seconds;
use crate::socket::PATIENCE;
use crate::stage::Stage;

/// Connections that are kept open.
const CONNECTIONS: usize = 64;

pub(crate) async fn measure(stage: &Stage, table: &mut Table, small: bool) -> anyhow::Result<()> {
    let time = Duration::from_secs(if small { 1 } else { 5 });
    let count = if small { 5 } else { 100 };
    for number in 0..count {
        stage.idea(&format!("idea {number}")).await?;
    }
    let health = Asked { path: "/api/health", answer: "HTTP/1.1 200" };
    rate(stage, table, "`/api/health`", 50_000.0, &health, time).await?;
    let ideas = Asked { path: "/api/ideas", ..health };
    rate(stage, table, &format!("`/api/ideas` with {count} ideas"), 2_000.0, &ideas, time).await?;
    // The port takes connections and nobody answers: the worst way of being away, since each dial runs into its deadline.
    stage.sshd.freeze();
    let away = Asked { answer: "HTTP/1.1 503", ..health };
    until_answered(stage, &away).await?;
    rate(stage, table, "`/api/health` while the VM is away", 50_000.0, &away, time).await?;
    stage.sshd.thaw();
    Ok(())
}

/// What is asked for, and what each answer has to begin with.
#[derive(Clone, Copy)]
struct Asked {
    path: &'static str,
    answer: &'static str,
}

impl Asked {
    fn request(&self, stage: &Stage) -> String {
        format!("GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {}\r\n\r\n", self.path, stage.cookie())
    }
}

/// Returns when the answer is what it has to be.
async fn until_answered(stage: &Stage, asked: &Asked) -> anyhow::Result<()> {
    let answered = async {
        while requests(stage.port(), asked.request(stage), asked.answer, Instant::now()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.with_context(|| format!("it is never {}", asked.answer))
}

async fn rate(
    stage: &Stage,
    table: &mut Table,
    what: &str,
    wanted: f64,
    asked: &Asked,
    time: Duration,
) -> anyhow::Result<()> {
    let request = asked.request(stage);
    let (begin, used) = (Instant::now(), cpu_seconds(stage.pid())?);
    let until = begin + time;
    let connections =
        (0..CONNECTIONS).map(|_| tokio::spawn(requests(stage.port(), request.clone(), asked.answer, until)));
    let mut all = Vec::new();
    for done in join_all(connections).await {
        all.extend(done??);
    }
    let (took, used) = (begin.elapsed().as_secs_f64(), cpu_seconds(stage.pid())? - used);
    // The processor's time says the same on a busy machine.
    let each = used / all.len() as f64 * 1e6;
    all.sort_unstable();
    let late = all.get(all.len() * 99 / 100).copied().unwrap_or_default().as_secs_f64() * 1e3;
    let remark =
        format!("{CONNECTIONS} connections, p99 {late:.2} ms; {each:.0} µs of the proxy's processor time each");
    table.add(what, all.len() as f64 / took, "/s", Wanted::AtLeast(wanted), remark);
    Ok(())
}

/// One after another on one connection, at least one; how long each took.
async fn requests(port: u16, request: String, expected: &str, until: Instant) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut answer = Vec::with_capacity(64 * 1024);
    let mut took = Vec::new();
    let mut begin = Instant::now();
    loop {
        stream.write_all(request.as_bytes()).await?;
        answer.clear();
        let mut all = usize::MAX;
        while answer.len() < all {
            ensure!(stream.read_buf(&mut answer).await? > 0, "the connection was closed");
            if all == usize::MAX {
                all = length(&answer)?.unwrap_or(usize::MAX);
            }
        }
        ensure!(answer.starts_with(expected.as_bytes()), "{}", String::from_utf8_lossy(&answer));
        let now = Instant::now();
        took.push(now - begin);
        if now >= until {
            return Ok(took);
        }
        begin = now;
    }
}

/// Head and body, once the head is there.
fn length(answer: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(answer.get(..head).unwrap_or_default())?;
    let (_, after) = text.split_once("\r\ncontent-length: ").context("an answer without a length")?;
    let (digits, _) = after.split_once('\r').unwrap_or((after, ""));
    Ok(Some(head + 4 + digits.parse::<usize>()?))
}
