//! The TCP stream under an SSH session, watched: what the other side said first, writes that get stuck, and release.
//!
//! The session ends as soon as its owner lets go, whatever state it is in; without this a handshake that is given up
//! would go on reading in its task for ever.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

/// How long a write may get nowhere; keepalives cannot notice it, because they queue behind it.
const WRITE_STALL: Duration = Duration::from_secs(12);
/// What is kept of the other side's first words, to tell what it speaks.
const OPENING_LIMIT: usize = 2048;
/// Reads that are acknowledged at once: sshd sets TCP_NODELAY only with the first session, and until then each of its
/// small packets waits for our acknowledgement, which Linux delays by 40 ms.
const QUICK_READS: u8 = 64;

/// What the other side sent before (or in place of) its SSH identification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Nothing yet.
    Silent,
    /// It says that it takes no more connections for now (sshd's MaxStartups or penalties).
    TurnedAway,
    /// Something that is not SSH.
    Foreign,
    /// An SSH identification.
    Ssh,
}

#[derive(Debug, Default)]
pub(crate) struct FirstWords {
    identified: AtomicBool,
    bytes: Mutex<Vec<u8>>,
}

impl FirstWords {
    fn hear(&self, heard: &[u8]) {
        if self.identified.load(Ordering::Relaxed) {
            return;
        }
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let room = OPENING_LIMIT.saturating_sub(bytes.len());
        bytes.extend(heard.iter().take(room));
        if is_ssh(&bytes) {
            self.identified.store(true, Ordering::Relaxed);
            *bytes = Vec::new();
        }
    }

    pub(crate) fn opening(&self) -> Opening {
        if self.identified.load(Ordering::Relaxed) {
            return Opening::Ssh;
        }
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.is_empty() {
            Opening::Silent
        } else if bytes.starts_with(b"Exceeded MaxStartups") || bytes.starts_with(b"Not allowed at this time") {
            Opening::TurnedAway
        } else {
            Opening::Foreign
        }
    }
}

/// The identification may come after other lines (RFC 4253, 4.2).
fn is_ssh(bytes: &[u8]) -> bool {
    bytes.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"SSH-2.0-") || line.starts_with(b"SSH-1.99-"))
}

pub(crate) struct Socket {
    stream: TcpStream,
    words: Arc<FirstWords>,
    released: oneshot::Receiver<()>,
    stall: Option<Pin<Box<Sleep>>>,
    quick_reads: u8,
}

impl Socket {
    /// Dropping the returned sender ends the session over this socket.
    pub(crate) fn new(stream: TcpStream, words: Arc<FirstWords>) -> (Socket, oneshot::Sender<()>) {
        let (hold, released) = oneshot::channel();
        (Socket { stream, words, released, stall: None, quick_reads: QUICK_READS }, hold)
    }

    fn check_released(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match Pin::new(&mut self.released).poll(cx) {
            Poll::Ready(_) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }

    fn acknowledge_quickly(&mut self) {
        #[cfg(target_os = "linux")]
        if self.quick_reads > 0 {
            self.quick_reads -= 1;
            // The kernel falls back to delaying by itself, hence again for each read. A failure only costs time.
            let _ = self.stream.set_quickack(true);
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
        self.acknowledge_quickly();
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.words.hear(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check_released(cx)?;
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch_stall(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(parts: &[&[u8]]) -> Opening {
        let words = FirstWords::default();
        parts.iter().for_each(|part| words.hear(part));
        words.opening()
    }

    #[test]
    fn tells_ssh_from_silence_and_from_other_protocols() {
        assert_eq!(heard(&[]), Opening::Silent);
        assert_eq!(heard(&[b"SSH-2.0-OpenSSH_9.2p1\r\n"]), Opening::Ssh);
        assert_eq!(heard(&[b"SS", b"H-2.0", b"-x\r\n"]), Opening::Ssh);
        assert_eq!(heard(&[b"welcome\r\n", b"SSH-2.0-x\r\n"]), Opening::Ssh);
        assert_eq!(heard(&[b"HTTP/1.1 400 Bad Request\r\n"]), Opening::Foreign);
        assert_eq!(heard(&[b"Exceeded MaxStartups\r\n"]), Opening::TurnedAway);
        assert_eq!(heard(&[b"Not allowed at this time\r\n"]), Opening::TurnedAway);
    }
}
