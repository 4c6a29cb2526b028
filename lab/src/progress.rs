//! What a lab says while it works: one line a step with the time since the start, and a sign of life during long steps.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a step that is still under way says so.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

type Sink = Arc<Mutex<dyn Write + Send>>;

/// Receives progress lines; cheap to clone, silent if made by [`Progress::silent`].
#[derive(Clone)]
pub struct Progress {
    sink: Option<Sink>,
    start: Instant,
}

impl Progress {
    /// Lines go to standard error.
    #[must_use]
    pub fn stderr() -> Progress {
        Progress::to(std::io::stderr())
    }

    /// Lines go to `sink`; what cannot be written is dropped, progress is never a reason to fail.
    pub fn to(sink: impl Write + Send + 'static) -> Progress {
        Progress { sink: Some(Arc::new(Mutex::new(sink))), start: Instant::now() }
    }

    /// No lines at all.
    #[must_use]
    pub fn silent() -> Progress {
        Progress { sink: None, start: Instant::now() }
    }

    /// One line, with the seconds since this progress began.
    pub fn say(&self, line: &str) {
        let Some(sink) = &self.sink else { return };
        let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(sink, "{:>6.1} s  {line}", self.start.elapsed().as_secs_f64());
        let _ = sink.flush();
    }

    /// Awaits `work`, saying `doing` when it takes long, and `done` with the time it took.
    pub async fn step<T, E>(&self, doing: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let start = Instant::now();
        let mut work = std::pin::pin!(work);
        let mut life = tokio::time::interval_at((start + SIGN_OF_LIFE).into(), SIGN_OF_LIFE);
        loop {
            tokio::select! {
                outcome = &mut work => {
                    let verdict = if outcome.is_ok() { "done" } else { "failed" };
                    self.say(&format!("{doing}: {verdict} in {:.1} s", start.elapsed().as_secs_f64()));
                    return outcome;
                }
                _ = life.tick() => self.say(&format!("{doing}: still at it after {} s", start.elapsed().as_secs())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_step_gives_signs_of_life_and_ends_with_its_verdict() {
        let lines = Lines::default();
        let progress = Progress::to(lines.clone());
        let outcome = progress.step("build", async {
            tokio::time::sleep(SIGN_OF_LIFE + Duration::from_secs(1)).await;
            Err::<(), &str>("no")
        });
        assert_eq!(outcome.await, Err("no"));
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("build: still at it"), "{text}");
        assert!(text.trim_end().lines().last().unwrap().contains("build: failed in"), "{text}");
    }
}
