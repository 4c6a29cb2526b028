//! Growing waits with jitter, one counter an object.

use std::time::Duration;

use rand::Rng;

/// A counter of failures in a row.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits from `first`, doubling, up to `longest`; each shortened or lengthened by up to a fifth at random.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// Failures since the last success.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts a failure and says how long to wait.
    pub fn next_delay(&mut self) -> Duration {
        let doubled = 2_u32.checked_pow(self.failures).and_then(|factor| self.first.checked_mul(factor));
        self.failures = self.failures.saturating_add(1);
        doubled.unwrap_or(self.longest).min(self.longest).mul_f64(rand::rng().random_range(0.8..1.2))
    }

    /// A success: the next failure waits the shortest time again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let waits: Vec<_> = (0..100).map(|_| backoff.next_delay()).collect();
        assert!(waits[0] < Duration::from_millis(1200) && waits[0] >= Duration::from_millis(800));
        assert!(waits[3] >= Duration::from_millis(6400), "{:?}", waits[3]);
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(72)));
        assert_eq!(backoff.failures(), 100);
        backoff.reset();
        assert!(backoff.next_delay() < Duration::from_millis(1200));
    }
}
