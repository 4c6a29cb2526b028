//! Failed sign-ins cost: ten at once, then one every [`REFILL`], an address (a /64 of IPv6).
//!
//! An address that many share (a proxy that is not trusted) is slowed, never locked out: its attempts wait [`SLOWED`]
//! and are then judged. Memory is bounded: only addresses with failures are kept, and [`ADDRESSES`] of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::address::Client;

/// Failures that are free.
pub const BURST: u32 = 10;
/// One more failure is free after so long.
pub const REFILL: Duration = Duration::from_secs(30);
/// How long an attempt from a shared address waits once its failures are used up.
pub const SLOWED: Duration = Duration::from_secs(2);
const ADDRESSES: usize = 10_000;
const WAITING: usize = 256;

/// Counts failures by address.
pub struct Limiter {
    failures: Mutex<HashMap<IpAddr, Failures>>,
    waiting: Semaphore,
    slowed: Duration,
}

#[derive(Clone, Copy)]
struct Failures {
    count: f64,
    at: Instant,
}

impl Failures {
    fn now(self, now: Instant) -> f64 {
        let gone = now.saturating_duration_since(self.at).as_secs_f64() / REFILL.as_secs_f64();
        (self.count - gone).max(0.0)
    }
}

/// An attempt is refused; the caller may try again after the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany(pub Duration);

impl Default for Limiter {
    fn default() -> Self {
        Limiter::new(SLOWED)
    }
}

impl Limiter {
    /// A limiter whose shared addresses wait for `slowed`.
    pub fn new(slowed: Duration) -> Limiter {
        Limiter { failures: Mutex::default(), waiting: Semaphore::new(WAITING), slowed }
    }

    /// Lets an attempt pass, after a wait when the address is shared and out of credit.
    ///
    /// # Errors
    /// [`TooMany`] when the address is out of credit and not shared.
    pub async fn admit(&self, client: Client) -> Result<(), TooMany> {
        let Some(wait) = self.owed(client.address, Instant::now()) else { return Ok(()) };
        if !client.shared {
            return Err(TooMany(wait));
        }
        let Ok(_place) = self.waiting.try_acquire() else { return Err(TooMany(self.slowed)) };
        tokio::time::sleep(self.slowed).await;
        Ok(())
    }

    /// Notes a failure.
    pub fn failed(&self, client: Client) {
        let now = Instant::now();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= ADDRESSES {
            failures.retain(|_, entry| entry.now(now) > 0.0);
        }
        if failures.len() >= ADDRESSES {
            return; // So many at once are one attacker with a network: the length of the secret is what holds.
        }
        let entry = failures.entry(prefix(client.address)).or_insert(Failures { count: 0.0, at: now });
        *entry = Failures { count: (entry.now(now) + 1.0).min(f64::from(BURST) + 1.0), at: now };
    }

    /// How long until the address has credit again; `None` when it has.
    fn owed(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let over = failures.get(&prefix(address))?.now(now) - f64::from(BURST - 1);
        (over > 0.0).then(|| REFILL.mul_f64(over))
    }
}

/// A household has a /64 of IPv6.
fn prefix(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str, shared: bool) -> Client {
        Client { address: address.parse().unwrap(), shared }
    }

    #[tokio::test]
    async fn ten_failures_are_free_then_the_address_is_refused_and_others_are_not() {
        let limiter = Limiter::default();
        for _ in 0..BURST {
            assert_eq!(limiter.admit(client("2001:db8::1", false)).await, Ok(()));
            limiter.failed(client("2001:db8::1", false));
        }
        let TooMany(wait) = limiter.admit(client("2001:db8::2", false)).await.unwrap_err();
        assert!(wait <= REFILL, "{wait:?}");
        assert_eq!(limiter.admit(client("2001:db8:0:1::1", false)).await, Ok(()));
        let later = Instant::now() + REFILL;
        assert_eq!(limiter.owed("2001:db8::1".parse().unwrap(), later), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shared_address_is_slowed_but_never_locked_out() {
        let limiter = Limiter::default();
        for _ in 0..100 {
            limiter.failed(client("192.0.2.1", true));
        }
        let before = tokio::time::Instant::now();
        assert_eq!(limiter.admit(client("192.0.2.1", true)).await, Ok(()));
        assert!(before.elapsed() >= SLOWED);
    }
}
