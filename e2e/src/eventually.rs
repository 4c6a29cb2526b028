//! Awaiting a condition with a deadline: the one way in which tests wait. A wait that fails says what it waited for and what it last saw.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// Looks at `check` until it is `Ok`, and returns that value with the time it took. Its `Err` is what was seen instead; the last one is told when
/// `deadline` has passed.
///
/// # Errors
/// When the deadline passes first.
pub async fn eventually<T, E: Display, F: Future<Output = Result<T, E>>>(
    what: &str,
    deadline: Duration,
    mut check: impl FnMut() -> F,
) -> Result<(T, Duration)> {
    let start = Instant::now();
    let mut seen = "no answer".to_owned();
    loop {
        match tokio::time::timeout(deadline.saturating_sub(start.elapsed()), check()).await {
            Ok(Ok(value)) => return Ok((value, start.elapsed())),
            Ok(Err(other)) => seen = format!("{other:#}"),
            // Cut off by the deadline: what was seen before it says more.
            Err(_) => {}
        }
        if start.elapsed() >= deadline {
            bail!("{what}: not within {deadline:?}; last seen: {seen}");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
