//! The terminal against `ssh -tt` doing the same: 100 MB of output, and the echo of a key, alone and beside another
//! terminal that prints as fast as it can.

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use catalyst_bench::table::{Table, Wanted};
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::openssh;
use crate::process::cpu_seconds;
use crate::socket::PATIENCE;
use crate::stage::{Idea, Stage};

/// What the page credits at a time.
const CREDIT: usize = 32 * 1024;
const END: &[u8] = b"THE-END";

/// Either way to a terminal.
enum Terminal {
    Proxy(Box<WebSocketStream<TcpStream>>, usize),
    Ssh { _child: Box<Child>, keys: ChildStdin, output: ChildStdout },
}

impl Terminal {
    async fn through_proxy(stage: &Stage, idea: &Idea, number: u8) -> anyhow::Result<Terminal> {
        let tcp = TcpStream::connect(("127.0.0.1", stage.port())).await?;
        tcp.set_nodelay(true)?;
        let address = format!("ws://127.0.0.1:{}/ws/terminal?idea={}&terminal={number}", stage.port(), idea.id);
        let mut request = address.into_client_request()?;
        request.headers_mut().insert("Cookie", stage.cookie().parse()?);
        request.headers_mut().insert("Origin", stage.origin().parse()?);
        let (mut stream, _) = client_async(request, tcp).await?;
        stream.send(Message::text(r#"{"type":"open","cols":80,"rows":24}"#)).await?;
        Ok(Terminal::Proxy(Box::new(stream), 0))
    }

    fn through_ssh(stage: &Stage) -> anyhow::Result<Terminal> {
        let mut child = openssh::shell(stage)?;
        let keys = child.stdin.take().context("no input")?;
        let output = child.stdout.take().context("no output")?;
        Ok(Terminal::Ssh { _child: Box::new(child), keys, output })
    }

    async fn type_in(&mut self, keys: &str) -> anyhow::Result<()> {
        match self {
            Terminal::Proxy(stream, _) => stream.send(Message::binary(keys.as_bytes().to_vec())).await?,
            Terminal::Ssh { keys: pipe, .. } => {
                pipe.write_all(keys.as_bytes()).await?;
                pipe.flush().await?;
            }
        }
        Ok(())
    }

    /// Adds the next output to `to`.
    async fn read(&mut self, to: &mut Vec<u8>) -> anyhow::Result<()> {
        match self {
            Terminal::Proxy(stream, uncredited) => loop {
                match stream.next().await.context("the socket ended")?? {
                    Message::Binary(bytes) => {
                        to.extend_from_slice(&bytes);
                        *uncredited += bytes.len();
                        if *uncredited >= CREDIT {
                            let credit = format!(r#"{{"type":"credit","bytes":{uncredited}}}"#);
                            *uncredited = 0;
                            stream.send(Message::text(credit)).await?;
                        }
                        return Ok(());
                    }
                    Message::Text(text) if text.contains(r#""type":"error""#) => bail!("the proxy says: {text}"),
                    Message::Close(_) => bail!("the socket was closed"),
                    _ => {}
                }
            },
            Terminal::Ssh { output, .. } => {
                if output.read_buf(to).await? == 0 {
                    bail!("ssh ended");
                }
                Ok(())
            }
        }
    }

    /// Reads until the output ends with this; how many bytes came.
    async fn until(&mut self, end: &[u8]) -> anyhow::Result<usize> {
        let reading = async {
            let (mut read, mut kept) = (0, Vec::with_capacity(64 * 1024));
            loop {
                let before = kept.len();
                self.read(&mut kept).await?;
                read += kept.len() - before;
                let from = before.saturating_sub(end.len());
                if kept.get(from..).is_some_and(|new| new.windows(end.len()).any(|window| window == end)) {
                    return Ok(read);
                }
                kept.drain(..kept.len().saturating_sub(end.len()));
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.map_err(|_| anyhow!("it did not come within {PATIENCE:?}"))?
    }

    /// A shell that prints nothing by itself.
    async fn calm(&mut self) -> anyhow::Result<()> {
        self.type_in("PS1=; stty -echo -opost; echo re''ady\r").await?;
        self.until(b"ready").await.map(drop)
    }

    /// Seconds for so many bytes of a file.
    async fn output(&mut self, file: &str, bytes: usize) -> anyhow::Result<f64> {
        let began = Instant::now();
        self.type_in(&format!("cat '{file}'; printf THE-''END\r")).await?;
        let read = self.until(END).await?;
        anyhow::ensure!(read >= bytes, "{read} of {bytes} bytes came");
        Ok(began.elapsed().as_secs_f64())
    }

    /// Milliseconds from a key to its echo, sorted.
    async fn echoes(&mut self, keys: usize) -> anyhow::Result<Vec<f64>> {
        self.type_in("stty echo; echo be''gin; cat >/dev/null\r").await?;
        self.until(b"begin").await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut echoes = Vec::with_capacity(keys);
        for _ in 0..keys {
            let began = Instant::now();
            self.type_in("x").await?;
            self.until(b"x").await?;
            echoes.push(began.elapsed().as_secs_f64() * 1000.0);
            // As fast as people type, or nearly.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        echoes.sort_by(f64::total_cmp);
        Ok(echoes)
    }
}

pub(crate) async fn measure(stage: &Stage, table: &mut Table, small: bool) -> anyhow::Result<()> {
    let (mib, keys) = if small { (5, 50) } else { (100, 400) };
    let bytes = mib << 20;
    let file = stage.sshd.home().join("blob");
    let line: Vec<u8> = (b' '..b'~').chain(*b"\r\n").collect();
    std::fs::write(&file, line.iter().copied().cycle().take(bytes).collect::<Vec<u8>>())?;
    let file = file.display().to_string();
    let idea = stage.idea("terminal").await?;
    let mut proxy = Terminal::through_proxy(stage, &idea, 1).await?;
    let mut ssh = Terminal::through_ssh(stage)?;
    proxy.calm().await?;
    ssh.calm().await?;

    let used = cpu_seconds(stage.pid())?;
    let ours = proxy.output(&file, bytes).await?;
    let used = cpu_seconds(stage.pid())? - used;
    let theirs = ssh.output(&file, bytes).await?;
    table.add("terminal: output", mib as f64 / ours, "MiB/s", Wanted::Nothing, format!("{used:.2} CPU s of the proxy"));
    table.add(
        "terminal: output over `ssh -tt`",
        theirs / ours,
        "×",
        Wanted::AtLeast(0.8),
        format!("ssh: {:.0} MiB/s", mib as f64 / theirs),
    );

    let (ours, theirs) = (proxy.echoes(keys).await?, ssh.echoes(keys).await?);
    added(table, "terminal: echo of a key", &ours, &theirs);

    // Another terminal prints as fast as it can, through the proxy, and is read.
    let mut loud = Terminal::through_proxy(stage, &idea, 2).await?;
    loud.calm().await?;
    loud.type_in("yes\r").await?;
    let reading = tokio::spawn(async move {
        let mut read = Vec::new();
        while loud.read(&mut read).await.is_ok() {
            read.clear();
        }
    });
    proxy.type_in("\x03").await?;
    ssh.type_in("\x03").await?;
    // bash throws away what is typed while it hears the interrupt.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (ours, theirs) = (proxy.echoes(keys).await?, ssh.echoes(keys).await?);
    reading.abort();
    added(table, "terminal: echo beside a full stream", &ours, &theirs);
    Ok(())
}

fn added(table: &mut Table, what: &str, ours: &[f64], theirs: &[f64]) {
    let middle = |sorted: &[f64]| sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    let late = |sorted: &[f64]| sorted.get(sorted.len() * 99 / 100).copied().unwrap_or(f64::NAN);
    let remark = format!(
        "proxy p50 {:.2} p99 {:.2} ms, ssh p50 {:.2} p99 {:.2} ms",
        middle(ours),
        late(ours),
        middle(theirs),
        late(theirs)
    );
    table.add(
        &format!("{what}, over `ssh -tt`, p50"),
        middle(ours) - middle(theirs),
        "ms",
        Wanted::AtMost(1.0),
        remark,
    );
}
