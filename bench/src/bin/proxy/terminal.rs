//! The terminal against `ssh -tt`, wetty and sshx doing the same: 100 MB of output, and the echo of a key, alone and
//! beside another terminal that prints as fast as it can.
//!
//! That other terminal goes the same way as the one that is measured, and one consumer reads them all.

mod cbor;
mod loud;
mod proxy;
mod ssh;
mod sshx;
mod viewer;
mod wetty;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use catalyst_bench::table::{Table, Wanted};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::limits::Limits;
use crate::peers::Peers;
use crate::process::cpu_seconds;
use crate::stage::{Idea, Stage};
use crate::stream::median;
use loud::Loud;
use viewer::Viewer;

const START_WITHIN: Duration = Duration::from_secs(20);

type WebSocket = Box<WebSocketStream<TcpStream>>;

/// How the terminal is reached.
#[derive(Clone, Copy, Debug)]
enum Way {
    Proxy,
    Ssh,
    Wetty,
    Sshx,
}

/// How much is measured.
struct Amount {
    mib: usize,
    keys: usize,
    rounds: usize,
}

/// What goes each way, and what is printed.
struct Ways<'a> {
    stage: &'a Stage,
    idea: Idea,
    wetty: wetty::Server,
    sshx: sshx::Server,
    file: String,
}

/// What was measured one way.
#[derive(Default)]
struct Taken {
    /// For the whole output, each round.
    seconds: Vec<f64>,
    /// Milliseconds from a key to its echo.
    echoes: Vec<f64>,
    /// Keys whose echo came only when another was typed.
    stuck: usize,
    /// Of the output, what the viewer was never sent, in all rounds.
    lost: u64,
    /// What the other terminal printed meanwhile, in MiB/s, each round: while output came, and while keys were typed.
    beside_output: Vec<f64>,
    beside_keys: Vec<f64>,
    /// Processor time of the proxy for the output, each round.
    cpu: Vec<f64>,
}

#[derive(Default)]
struct Figures {
    proxy: Taken,
    ssh: Taken,
    wetty: Taken,
    sshx: Taken,
}

pub(crate) async fn measure(
    stage: &Stage,
    table: &mut Table,
    small: bool,
    peers: &Peers,
    limits: Option<&Limits>,
) -> anyhow::Result<()> {
    let amount = if small { Amount { mib: 5, keys: 50, rounds: 1 } } else { Amount { mib: 100, keys: 150, rounds: 3 } };
    let file = stage.sshd.home().join("blob");
    let line: Vec<u8> = (b' '..=b'~').chain(*b"\r\n").collect();
    std::fs::write(&file, line.iter().copied().cycle().take(amount.mib << 20).collect::<Vec<u8>>())?;
    let ways = Ways {
        stage,
        idea: stage.idea("terminal").await?,
        wetty: wetty::Server::start(stage, peers, limits).await?,
        sshx: sshx::Server::start(stage, peers, limits).await?,
        file: file.display().to_string(),
    };
    for full in [false, true] {
        let mut figures = Figures::default();
        // By turns and several times, since the machine is not always equally busy.
        for _ in 0..amount.rounds {
            for way in [Way::Proxy, Way::Ssh, Way::Wetty, Way::Sshx] {
                let taken = figures.of(way);
                ways.visit(way, full, &amount, taken).await.with_context(|| format!("{way:?}"))?;
            }
        }
        figures.tell(table, amount.mib, if full { " beside a full stream" } else { "" });
    }
    Ok(())
}

impl Ways<'_> {
    async fn open(&self, way: Way, number: u8) -> anyhow::Result<Viewer> {
        Ok(match way {
            Way::Proxy => Viewer::Proxy(proxy::Viewer::open(self.stage, &self.idea, number).await?),
            Way::Ssh => Viewer::Ssh(ssh::Viewer::open(self.stage)?),
            Way::Wetty => Viewer::Wetty(self.wetty.open().await?),
            Way::Sshx => Viewer::Sshx(self.sshx.open().await?),
        })
    }

    /// One round of one way, in terminals that begin and end with it.
    async fn visit(&self, way: Way, full: bool, amount: &Amount, taken: &mut Taken) -> anyhow::Result<()> {
        let loud = match full {
            true => Some(Loud::start(self.open(way, 2).await?, &self.file).await?),
            false => None,
        };
        let mut viewer = self.open(way, 1).await?;
        viewer.calm().await?;
        let cpu = cpu_seconds(self.stage.pid())?;
        let mark = loud.as_ref().map(Loud::mark);
        let seconds = viewer.output(&self.file, (amount.mib as u64) << 20).await?;
        taken.seconds.push(seconds);
        taken.cpu.push(cpu_seconds(self.stage.pid())? - cpu);
        taken.lost += viewer.lost();
        taken.beside_output.extend(mark.map(|mark| mark.rate()));
        let mark = loud.as_ref().map(Loud::mark);
        taken.stuck += viewer.echoes(amount.keys, &mut taken.echoes).await?;
        taken.beside_keys.extend(mark.map(|mark| mark.rate()));
        viewer.close().await?;
        match loud {
            Some(loud) => loud.stop().await,
            None => Ok(()),
        }
    }
}

impl Figures {
    fn of(&mut self, way: Way) -> &mut Taken {
        match way {
            Way::Proxy => &mut self.proxy,
            Way::Ssh => &mut self.ssh,
            Way::Wetty => &mut self.wetty,
            Way::Sshx => &mut self.sshx,
        }
    }

    fn tell(&mut self, table: &mut Table, mib: usize, place: &str) {
        let output = format!("terminal: output{place}");
        let (ours, cpu) = (median(&mut self.proxy.seconds), median(&mut self.proxy.cpu));
        let remark = format!("{cpu:.2} CPU s of the proxy{}", self.proxy.aside(mib));
        table.add(&output, mib as f64 / ours, "MiB/s", Wanted::Nothing, remark);
        // For `ssh` beside another stream nothing is asked.
        let ssh_wanted = if place.is_empty() { Wanted::AtLeast(0.8) } else { Wanted::Nothing };
        for (peer, wanted, taken) in [
            ("`ssh -tt`", ssh_wanted, &mut self.ssh),
            ("wetty", Wanted::AtLeast(2.0), &mut self.wetty),
            ("sshx", Wanted::AtLeast(1.0), &mut self.sshx),
        ] {
            let theirs = median(&mut taken.seconds);
            let remark = format!("{:.1} MiB/s{}", mib as f64 / theirs, taken.aside(mib));
            table.add(&format!("{output}, over {peer}"), theirs / ours, "×", wanted, remark);
        }
        let echo = format!("terminal: echo of a key{place}, over `ssh -tt`, p50");
        let [(ours, our_remark), (theirs, remark)] = [&mut self.proxy, &mut self.ssh].map(Taken::echo);
        table.add(&echo, ours - theirs, "ms", Wanted::AtMost(1.0), format!("proxy {our_remark}, ssh {remark}"));
        for (peer, taken) in [("wetty", &mut self.wetty), ("sshx", &mut self.sshx)] {
            let (echo, remark) = taken.echo();
            let what = format!("terminal: echo of a key{place}, {peer} over `ssh -tt`, p50");
            table.add(&what, echo - theirs, "ms", Wanted::Nothing, remark);
        }
    }
}

impl Taken {
    /// What else is to be said of the output.
    fn aside(&mut self, mib: usize) -> String {
        let mut aside = other(&mut self.beside_output);
        if self.lost > 0 {
            let printed = (self.seconds.len() * mib) as f64;
            let lost = self.lost as f64 / f64::from(1 << 20) / printed * 100.0;
            aside.push_str(&format!(", {lost:.1} % of it was never sent to the viewer"));
        }
        aside
    }

    /// The middle one, and what is to be said of them.
    fn echo(&mut self) -> (f64, String) {
        self.echoes.sort_unstable_by(f64::total_cmp);
        let quantile = |part: usize| self.echoes.get(self.echoes.len() * part / 100).copied().unwrap_or(f64::NAN);
        let (middle, late) = (quantile(50), quantile(99));
        let stuck = if self.stuck > 0 { format!(", {} keys were stuck", self.stuck) } else { String::new() };
        let other = other(&mut self.beside_keys);
        (middle, format!("p50 {middle:.2} p99 {late:.2} ms{stuck}{other}"))
    }
}

/// What the other stream did meanwhile, if there was one.
fn other(rates: &mut [f64]) -> String {
    if rates.is_empty() { String::new() } else { format!(", the other stream's {:.1} MiB/s", median(rates)) }
}

/// A browser's socket to one of the servers.
async fn connect(port: u16, path: &str, headers: &[(&'static str, &str)]) -> anyhow::Result<WebSocket> {
    let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    tcp.set_nodelay(true)?;
    let mut request = format!("ws://127.0.0.1:{port}{path}").into_client_request()?;
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse()?);
    }
    Ok(Box::new(client_async(request, tcp).await?.0))
}

/// A command that runs a peer's server within what the proxy is limited to, and that ends with its handle.
fn server(program: &Path, limits: Option<&Limits>) -> tokio::process::Command {
    let command = limits.map_or_else(|| std::process::Command::new(program), |limits| limits.command(program));
    let mut command = tokio::process::Command::from(command);
    command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    command
}

fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Returns when something listens there.
async fn answering(port: u16, what: &str) -> anyhow::Result<()> {
    let trying = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(START_WITHIN, trying).await.map_err(|_| anyhow!("{what} does not answer on its port {port}"))
}
