//! Requests without a pause, to see whether one fails while something is changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::task::JoinHandle;

use crate::eventually::eventually;
use crate::instance::Instance;
use crate::stage::Stage;

/// Requests that are under way at the same time, and how long each pauses after an answer.
const READERS: usize = 6;
const PAUSE: Duration = Duration::from_millis(25);

/// People who go on reading until they are told to stop: half of them keep their connections, half open one for each request.
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    readers: Vec<JoinHandle<Vec<String>>>,
}

/// As a browser does: a kept connection that is closed just when it is used is no answer, and another one is tried once
/// (RFC 9112, 9.3.1). nginx closes those of its old workers when it reads another configuration.
async fn get(client: &reqwest::Client, url: &str, kept: bool) -> reqwest::Result<reqwest::Response> {
    match client.get(url).send().await {
        Err(error) if kept && was_closed(&error) => client.get(url).send().await,
        other => other,
    }
}

fn was_closed(error: &reqwest::Error) -> bool {
    // hyper's own kind is not told in another way.
    let told = format!("{error:?}");
    ["IncompleteMessage", "ConnectionReset", "BrokenPipe"].iter().any(|kind| told.contains(kind))
}

impl Load {
    /// They read `/api/health` of the instance through the ingress.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn start(stage: &Stage, instance: &Instance<'_>) -> Result<Load> {
        let (stop, answered, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Instant::now());
        let mut readers = Vec::new();
        for reader in 0..READERS {
            let client = reqwest::Client::builder()
                .resolve(&instance.host(), stage.lab().ingress_addr())
                .timeout(Duration::from_secs(10))
                .pool_max_idle_per_host(reader % 2)
                .build()?;
            let url = format!("{}/api/health", instance.url());
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            readers.push(tokio::spawn(async move {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let outcome = match get(&client, &url, reader % 2 == 1).await {
                        Ok(answer) if answer.status() == 200 => answer.bytes().await.map(|_| None),
                        Ok(answer) => Ok(Some(answer.status().to_string())),
                        Err(error) => Err(error),
                    };
                    answered.fetch_add(1, Ordering::Relaxed);
                    let at = begun.elapsed().as_secs_f64();
                    match outcome {
                        Ok(None) => {}
                        Ok(Some(status)) => failures.push(format!("{at:.2} s: {status}")),
                        Err(error) => failures.push(format!("{at:.2} s: {error:?}")),
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                failures
            }));
        }
        Ok(Load { stop, answered, readers })
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until so many more requests have been answered.
    ///
    /// # Errors
    /// When they are not in 30 s.
    pub async fn goes_on(&self, requests: usize) -> Result<()> {
        let until = self.answered() + requests;
        eventually("the load goes on", Duration::from_secs(30), || async {
            let now = self.answered();
            ensure!(now >= until, "{now} of {until}");
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// How many requests there were, and which failed.
    ///
    /// # Errors
    /// When a reader ended abnormally.
    pub async fn end(self) -> Result<(usize, Vec<String>)> {
        self.stop.store(true, Ordering::Relaxed);
        let mut failures = Vec::new();
        for reader in self.readers {
            failures.extend(reader.await?);
        }
        Ok((self.answered.load(Ordering::Relaxed), failures))
    }
}
