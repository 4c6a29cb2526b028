//! The way out of a socket: one bounded queue, one writer, one write for all that is ready, and the pings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures::SinkExt;
use futures::stream::SplitSink;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::metrics::Metrics;

/// Messages that wait to be written.
const QUEUE: usize = 64;
/// A close frame that cannot be written by then is not waited for.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Where messages for a client are put; waits while the client does not read.
#[derive(Clone)]
pub(super) struct Outgoing {
    queue: mpsc::Sender<Message>,
    blocked: Arc<AtomicBool>,
}

/// The writer of a socket.
pub(super) struct Writer {
    task: AbortOnDropHandle<SplitSink<WebSocket, Message>>,
}

impl Outgoing {
    /// Starts the writer.
    pub(super) fn start(
        sink: SplitSink<WebSocket, Message>,
        ping_every: Duration,
        metrics: Arc<Metrics>,
    ) -> (Outgoing, Writer) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let blocked = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(write(sink, waiting, ping_every, blocked.clone(), metrics));
        (Outgoing { queue, blocked }, Writer { task: AbortOnDropHandle::new(task) })
    }

    /// Puts a text; `false` when the socket has ended.
    pub(super) async fn text(&self, text: String) -> bool {
        self.queue.send(Message::Text(text.into())).await.is_ok()
    }

    /// Puts a text given as bytes; anything but UTF-8 would break the socket and is left out.
    pub(super) async fn bytes(&self, bytes: Vec<u8>) -> bool {
        match Utf8Bytes::try_from(Bytes::from(bytes)) {
            Ok(text) => self.queue.send(Message::Text(text)).await.is_ok(),
            Err(_) => {
                tracing::error!("a frame is not UTF-8; it is left out");
                true
            }
        }
    }

    /// Whether a write waits for the client.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }
}

impl Writer {
    /// Writes what is still queued and a close frame, within a bound. All senders must be gone.
    pub(super) async fn finish(self, close: Option<CloseFrame>) {
        let closing = async {
            let Ok(mut sink) = self.task.await else { return };
            let _gone = sink.send(Message::Close(close)).await;
            let _gone = sink.close().await;
        };
        let _slow = tokio::time::timeout(CLOSE_WITHIN, closing).await;
    }
}

async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut waiting: mpsc::Receiver<Message>,
    ping_every: Duration,
    blocked: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
) -> SplitSink<WebSocket, Message> {
    let mut pings = tokio::time::interval(ping_every);
    pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    pings.reset();
    let mut batch = Vec::with_capacity(QUEUE);
    loop {
        let outcome = tokio::select! {
            count = waiting.recv_many(&mut batch, QUEUE) => {
                if count == 0 {
                    return sink;
                }
                let bytes: usize = batch.iter().map(length).sum();
                metrics.frames_out(count as u64, bytes as u64);
                blocked.store(true, Ordering::Relaxed);
                let outcome = feed_all(&mut sink, &mut batch).await;
                blocked.store(false, Ordering::Relaxed);
                outcome
            }
            _ = pings.tick() => {
                blocked.store(true, Ordering::Relaxed);
                let outcome = sink.send(Message::Ping(Bytes::new())).await;
                blocked.store(false, Ordering::Relaxed);
                outcome
            }
        };
        if outcome.is_err() {
            return sink; // The reader sees the end of the socket, too.
        }
    }
}

async fn feed_all(sink: &mut SplitSink<WebSocket, Message>, batch: &mut Vec<Message>) -> Result<(), axum::Error> {
    for message in batch.drain(..) {
        sink.feed(message).await?;
    }
    sink.flush().await
}

fn length(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.as_str().len(),
        Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
        Message::Close(_) => 0,
    }
}
