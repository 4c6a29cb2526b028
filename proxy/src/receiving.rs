//! What clients are sending over WebSockets and is not whole yet: a message that comes slowly lies in memory until it is, and nobody
//! but the connection itself sees how much of it is there. It is bounded in bytes over all of them: what counts together, and what does
//! not for each.
//!
//! Invariant: what counts is given back when the message is whole, or its connection has ended.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Of all clients together, beyond what is free: four of the longest messages.
const ALL: usize = 64 * 1024 * 1024;
/// What each of them may have on the way without its counting, so that what is short comes through however much others send: another
/// 64 MiB of as many connections as there may be.
const FREE: usize = 4 * 1024;
/// A control frame without what it carries, as a client sends it.
const CONTROL: usize = 6;

/// How an error begins that says that it was too much.
pub const TOO_MUCH: &str = "others are sending too much at the moment";

/// The bytes of all clients that count.
#[derive(Debug, Default)]
pub struct Receiving(AtomicUsize);

impl Receiving {
    /// How many there are.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The bytes of one connection that came since its last whole message.
#[derive(Debug)]
pub struct Meter {
    all: Arc<Receiving>,
    on: AtomicBool,
    since: AtomicUsize,
}

impl Meter {
    /// Counts nothing before [`Meter::begin`]: requests have bounds of their own.
    pub fn new(all: Arc<Receiving>) -> Arc<Meter> {
        Arc::new(Meter { all, on: AtomicBool::new(false), since: AtomicUsize::new(0) })
    }

    /// The connection is a WebSocket from now on.
    pub fn begin(&self) {
        self.on.store(true, Ordering::Relaxed);
    }

    /// A message of the client is whole.
    pub fn whole(&self) {
        self.change(|_| 0);
    }

    /// A ping or pong came that carried so many bytes; it may have come in the midst of a message.
    pub fn control(&self, carried: usize) {
        self.change(|since| since.saturating_sub(carried + CONTROL));
    }

    /// So many bytes came; false if that is too much.
    fn came(&self, bytes: usize) -> bool {
        !self.on.load(Ordering::Relaxed) || self.change(|since| since + bytes) <= ALL
    }

    /// Of one connection, so one after another. What counts of all of them.
    fn change(&self, change: impl Fn(usize) -> usize) -> usize {
        let before = self.since.load(Ordering::Relaxed);
        let after = change(before);
        self.since.store(after, Ordering::Relaxed);
        let (before, after) = (before.saturating_sub(FREE), after.saturating_sub(FREE));
        let all = &self.all.0;
        match after.checked_sub(before) {
            Some(0) => 0,
            Some(more) => all.fetch_add(more, Ordering::Relaxed) + more,
            None => all.fetch_sub(before - after, Ordering::Relaxed),
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.whole();
    }
}

/// A connection whose bytes are counted; it fails where that is too much.
pub struct Metered<S> {
    stream: S,
    meter: Arc<Meter>,
}

impl<S> Metered<S> {
    /// As `stream`, but for what `meter` says.
    pub fn new(stream: S, meter: Arc<Meter>) -> Metered<S> {
        Metered { stream, meter }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, into);
        if self.meter.came(into.filled().len() - before) {
            polled
        } else {
            Poll::Ready(Err(io::Error::other(TOO_MUCH)))
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_long_counts_and_it_is_given_back_when_it_is_whole_or_its_connection_ends() {
        let all = Arc::new(Receiving::default());
        let [first, second, third] = [(); 3].map(|()| Meter::new(all.clone()));
        assert!(first.came(2 * ALL), "a request has bounds of its own");
        for meter in [&first, &second, &third] {
            meter.begin();
            assert!(meter.came(FREE));
        }
        assert_eq!(all.bytes(), 0);
        assert!(first.came(ALL) && !second.came(1));
        second.whole();
        // In the midst of its message the second sends a sign of life.
        first.whole();
        assert!(second.came(FREE + ALL) && !third.came(1));
        second.control(0);
        assert_eq!(all.bytes(), ALL - CONTROL + 1);
        drop(second);
        assert!(third.came(ALL - 1));
        drop(third);
        assert_eq!(all.bytes(), 0);
    }

    #[test]
    fn what_does_not_count_is_no_more_than_what_may() {
        assert!(crate::server::ConnectionLimits::default().connections * FREE <= ALL);
    }

    #[test]
    fn signs_of_life_never_count_however_many_come() {
        let all = Arc::new(Receiving::default());
        let meter = Meter::new(all.clone());
        meter.begin();
        for _ in 0..100_000 {
            assert!(meter.came(CONTROL + 4));
            meter.control(4);
        }
        assert_eq!((meter.since.load(Ordering::Relaxed), all.bytes()), (0, 0));
    }
}
