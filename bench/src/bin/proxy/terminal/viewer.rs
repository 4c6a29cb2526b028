//! Somebody who looks at a terminal and types into it: the one consumer of every way there.

use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};

use super::{proxy, ssh, sshx, wetty};
use crate::socket::PATIENCE;

const END: &[u8] = b"THE-END";
/// A key whose echo is not there by then is stuck.
const STUCK: Duration = Duration::from_secs(1);

pub(super) enum Viewer {
    Proxy(proxy::Viewer),
    Ssh(ssh::Viewer),
    Wetty(wetty::Viewer),
    Sshx(sshx::Viewer),
}

impl Viewer {
    pub(super) async fn type_in(&mut self, keys: &str) -> anyhow::Result<()> {
        match self {
            Viewer::Proxy(viewer) => viewer.type_in(keys).await,
            Viewer::Ssh(viewer) => viewer.type_in(keys).await,
            Viewer::Wetty(viewer) => viewer.type_in(keys).await,
            Viewer::Sshx(viewer) => viewer.type_in(keys).await,
        }
    }

    /// Adds the next output to `to`.
    pub(super) async fn read(&mut self, to: &mut Vec<u8>) -> anyhow::Result<()> {
        match self {
            Viewer::Proxy(viewer) => viewer.read(to).await,
            Viewer::Ssh(viewer) => viewer.read(to).await,
            Viewer::Wetty(viewer) => viewer.read(to).await,
            Viewer::Sshx(viewer) => viewer.read(to).await,
        }
    }

    /// How many bytes of the output will never come.
    pub(super) fn lost(&self) -> u64 {
        match self {
            Viewer::Sshx(viewer) => viewer.lost(),
            _ => 0,
        }
    }

    /// Ends the terminal and what runs in it.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        match self {
            Viewer::Proxy(viewer) => viewer.close().await,
            // With their processes, and with wetty's socket.
            Viewer::Ssh(_) | Viewer::Wetty(_) | Viewer::Sshx(_) => Ok(()),
        }
    }

    /// Reads until this comes; how many bytes came.
    async fn until(&mut self, wanted: &[u8]) -> anyhow::Result<u64> {
        let reading = async {
            let (mut read, mut kept) = (0, Vec::with_capacity(64 * 1024));
            loop {
                let before = kept.len();
                self.read(&mut kept).await?;
                read += (kept.len() - before) as u64;
                if memchr::memmem::find(&kept, wanted).is_some() {
                    return Ok(read);
                }
                kept.drain(..kept.len().saturating_sub(wanted.len()));
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.map_err(|_| anyhow!("it did not come within {PATIENCE:?}"))?
    }

    /// A shell that prints nothing by itself.
    pub(super) async fn calm(&mut self) -> anyhow::Result<()> {
        self.type_in("PS1=; stty -echo -opost; echo re''ady\r").await?;
        self.until(b"ready").await.map(drop)
    }

    /// Seconds for so many bytes of a file.
    pub(super) async fn output(&mut self, file: &str, bytes: u64) -> anyhow::Result<f64> {
        let began = Instant::now();
        // sshx sends the last piece now and then only when another is printed.
        let more = "for more in 1 2 3 4 5 6 7 8 9 10; do sleep 0.02; printf .; done";
        self.type_in(&format!("cat '{file}'; printf THE-''END; {more}\r")).await?;
        let read = self.until(END).await?;
        let seconds = began.elapsed().as_secs_f64();
        let lost = self.lost();
        ensure!(read + lost >= bytes, "{read} of {bytes} bytes came, and {lost} are told to be lost");
        Ok(seconds)
    }

    /// Adds the milliseconds from keys to their echoes; how many keys were stuck until another was typed.
    pub(super) async fn echoes(&mut self, keys: usize, echoes: &mut Vec<f64>) -> anyhow::Result<usize> {
        self.type_in("stty echo; echo be''gin; cat >/dev/null\r").await?;
        self.until(b"begin").await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut stuck = 0;
        // Each key another than the one before, so that a late echo is not taken for the next one's.
        for key in ('a'..='z').cycle().take(keys) {
            let key = key.to_string();
            let began = Instant::now();
            self.type_in(&key).await?;
            match tokio::time::timeout(STUCK, self.until(key.as_bytes())).await {
                Ok(came) => drop(came?),
                Err(_) => {
                    stuck += 1;
                    self.type_in(&key).await?;
                    self.until(key.as_bytes()).await?;
                }
            }
            echoes.push(began.elapsed().as_secs_f64() * 1000.0);
            // As fast as people type, or nearly.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(stuck)
    }
}
