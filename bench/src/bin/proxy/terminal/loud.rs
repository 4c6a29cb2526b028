//! A terminal that prints as fast as it can, and is read, beside the one that is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::viewer::Viewer;

/// It counts as being at its full rate when so much has come.
const RUNNING: usize = 1 << 20;

pub(super) struct Loud {
    read: Arc<AtomicU64>,
    stop: oneshot::Sender<()>,
    reading: JoinHandle<anyhow::Result<()>>,
}

impl Loud {
    /// Has it print the file again and again, and returns when it is under way.
    pub(super) async fn start(mut viewer: Viewer, file: &str) -> anyhow::Result<Loud> {
        viewer.calm().await?;
        viewer.type_in(&format!("while cat '{file}'; do :; done\r")).await?;
        let mut output = Vec::new();
        while output.len() < RUNNING {
            viewer.read(&mut output).await?;
        }
        let read = Arc::new(AtomicU64::new(0));
        let (stop, mut stopped) = oneshot::channel();
        let counter = read.clone();
        let reading = tokio::spawn(async move {
            loop {
                output.clear();
                tokio::select! {
                    _ = &mut stopped => return viewer.close().await,
                    more = viewer.read(&mut output) => more.context("the other terminal")?,
                }
                counter.fetch_add(output.len() as u64, Ordering::Relaxed);
            }
        });
        Ok(Loud { read, stop, reading })
    }

    /// From here on what it prints is counted.
    pub(super) fn mark(&self) -> Mark {
        Mark { read: self.read.clone(), before: self.read.load(Ordering::Relaxed), at: Instant::now() }
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it had ended before.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        self.reading.await?
    }
}

/// A moment in its output.
pub(super) struct Mark {
    read: Arc<AtomicU64>,
    before: u64,
    at: Instant,
}

impl Mark {
    /// MiB/s that were read since.
    pub(super) fn rate(&self) -> f64 {
        let read = self.read.load(Ordering::Relaxed) - self.before;
        read as f64 / self.at.elapsed().as_secs_f64() / f64::from(1 << 20)
    }
}
