//! Which cipher and which window: what russh reads from a real sshd on loopback with each, and at what price.
//!
//! The choice in the crate `catalyst-ssh` (its `settings`) was made by this table.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use catalyst_ssh::testing::{TestSshd, TestSshdOptions};
use clap::Parser;
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelMsg, Preferred, cipher, client};

/// Measures ciphers and windows of SSH on loopback.
#[derive(Parser)]
struct Args {
    /// Bytes that each line reads, in MiB.
    #[arg(long, default_value_t = 512)]
    mib: u64,
}

/// The test's sshd is on loopback and its key was made a moment ago.
struct Anyone;

impl client::Handler for Anyone {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

struct Line {
    cipher: cipher::Name,
    window: u32,
    packet: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { mib } = Args::parse();
    let sshd = TestSshd::try_start(TestSshdOptions::default()).await.map_err(anyhow::Error::msg)?;
    let (kib, mebi) = (1 << 10, 1 << 20);
    let mut lines: Vec<Line> = [cipher::AES_256_GCM, cipher::CHACHA20_POLY1305, cipher::AES_256_CTR]
        .map(|cipher| Line { cipher, window: 8 * mebi, packet: 65_535 })
        .into();
    for (window, packet) in [
        (2 * mebi, 32 * kib),
        (2 * mebi, 65_535),
        (8 * mebi, 32 * kib),
        (32 * mebi, 65_535),
        (mebi, 65_535),
        (256 * kib, 65_535),
    ] {
        lines.push(Line { cipher: cipher::AES_256_GCM, window, packet });
    }
    println!("| cipher | window | packet | MiB/s | CPU s of the client per GiB |\n|---|---|---|---|---|");
    for line in &lines {
        let (speed, cpu) = measure(&sshd, line, mib).await?;
        println!("| {} | {} KiB | {} | {speed:.0} | {cpu:.2} |", line.cipher.as_ref(), line.window / kib, line.packet);
    }
    Ok(())
}

async fn measure(sshd: &TestSshd, line: &Line, mib: u64) -> anyhow::Result<(f64, f64)> {
    let config = client::Config {
        window_size: line.window,
        maximum_packet_size: line.packet,
        channel_buffer_size: 256,
        nodelay: true,
        preferred: Preferred { cipher: Cow::Owned(vec![line.cipher]), ..Preferred::DEFAULT },
        ..client::Config::default()
    };
    let endpoint = sshd.endpoint();
    let mut session = client::connect(Arc::new(config), (endpoint.host.as_str(), endpoint.port), Anyone).await?;
    let key = PrivateKeyWithHashAlg::new(sshd.key(), None);
    anyhow::ensure!(session.authenticate_publickey(&endpoint.user, key).await?.success(), "the key is not accepted");
    let mut channel = session.channel_open_session().await?;
    let (began, used) = (Instant::now(), cpu_seconds()?);
    channel.exec(true, format!("head -c {}M /dev/zero", mib)).await?;
    let mut read = 0;
    while let Some(message) = channel.wait().await {
        if let ChannelMsg::Data { data } = message {
            read += data.len() as u64;
        }
    }
    anyhow::ensure!(read == mib << 20, "{read} bytes came");
    let seconds = began.elapsed().as_secs_f64();
    Ok((mib as f64 / seconds, (cpu_seconds()? - used) * 1024.0 / mib as f64))
}

/// Of this process, all threads.
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, after) = stat.rsplit_once(')').context("stat has no name")?;
    let ticks: f64 = after.split_ascii_whitespace().skip(11).take(2).filter_map(|word| word.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}
