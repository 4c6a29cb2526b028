//! The stream under an SSH session, watched: what the other side said first, writes that get stuck, and release. It is
//! TCP, or a channel through a jump host.
//!
//! The session ends as soon as its owner lets go, whatever state it is in; without this a handshake that is given up
//! would go on reading in its task for ever.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

use crate::gate::Gate;
use crate::opening::FirstWords;
use crate::transfer::ChannelBytes;

/// How long a write may get nowhere; keepalives cannot notice it, because they queue behind it.
const WRITE_STALL: Duration = Duration::from_secs(12);
/// Reads that are acknowledged at once: sshd sets TCP_NODELAY only with the first session, and until then each of its
/// small packets waits for our acknowledgement, which Linux delays by 40 ms.
const QUICK_READS: u8 = 64;

/// What carries a session's bytes.
pub(crate) enum Wire {
    Tcp(TcpStream),
    /// Through a jump host, whose session it keeps alive.
    Jump(Box<ChannelBytes>),
}

pub(crate) struct Socket {
    wire: Wire,
    gate: Arc<Gate>,
    words: Arc<FirstWords>,
    released: oneshot::Receiver<()>,
    stall: Option<Pin<Box<Sleep>>>,
    quick_reads: u8,
}

impl Socket {
    /// Dropping the returned sender ends the session over this socket.
    pub(crate) fn new(wire: Wire, gate: Arc<Gate>, words: Arc<FirstWords>) -> (Socket, oneshot::Sender<()>) {
        let (hold, released) = oneshot::channel();
        (Socket { wire, gate, words, released, stall: None, quick_reads: QUICK_READS }, hold)
    }

    fn check_released(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match Pin::new(&mut self.released).poll(cx) {
            Poll::Ready(_) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }

    fn acknowledge_quickly(&mut self) {
        #[cfg(target_os = "linux")]
        if let (Wire::Tcp(stream), 1..) = (&self.wire, self.quick_reads) {
            self.quick_reads -= 1;
            // The kernel falls back to delaying by itself, hence again for each read. A failure only costs time.
            let _ = stream.set_quickack(true);
        }
    }

    fn watch_stall<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + WRITE_STALL)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check_released(cx)?;
        ready!(self.gate.poll_open(cx));
        self.acknowledge_quickly();
        let before = buf.filled().len();
        ready!(match &mut self.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Wire::Jump(channel) => Pin::new(channel).poll_read(cx, buf),
        })?;
        self.words.hear(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check_released(cx)?;
        let written = match &mut self.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Wire::Jump(channel) => Pin::new(channel).poll_write(cx, buf),
        };
        self.watch_stall(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Jump(channel) => Pin::new(channel).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Jump(channel) => Pin::new(channel).poll_shutdown(cx),
        }
    }
}
