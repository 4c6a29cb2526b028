//! Stops reading from the network for a while, so that the other side stops sending; writing goes on.
//!
//! This is the flow control of terminals. russh enlarges a channel's window when data arrives, not when it is consumed,
//! and a channel that nobody reads blocks its whole session, the keys on their way out included. With the gate shut
//! the session merely sees no data: TCP's own window fills, sshd stops reading from the terminal, and Ctrl-C still passes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

#[derive(Debug, Default)]
pub(crate) struct Gate {
    shut: AtomicBool,
    reader: AtomicWaker,
}

impl Gate {
    pub(crate) fn shut(&self) {
        self.shut.store(true, Ordering::Release);
    }

    pub(crate) fn open(&self) {
        if self.shut.swap(false, Ordering::AcqRel) {
            self.reader.wake();
        }
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }

    /// Ready while it is open.
    pub(crate) fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.is_shut() {
            return Poll::Ready(());
        }
        self.reader.register(cx.waker());
        // It may have been opened before the waker was in place.
        if self.is_shut() { Poll::Pending } else { Poll::Ready(()) }
    }
}
