//! The way out of a socket: one queue bounded in messages and bytes, one writer, one write for all that is ready, and
//! the pings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures::stream::SplitSink;
use futures::{Sink, SinkExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::metrics::Metrics;
use crate::protocol::ALIVE;

/// Messages that wait to be written.
const QUEUE: usize = 64;
/// Bytes that wait to be written. A single larger message passes alone.
const BUDGET: u32 = 256 * 1024;
/// A close frame that cannot be written by then is not waited for.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Where messages for a client are put; waits while the client does not read.
#[derive(Clone)]
pub(super) struct Outgoing {
    queue: mpsc::Sender<Queued>,
    budget: Arc<Semaphore>,
    blocked: Arc<AtomicBool>,
}

/// Messages that wait, with their part of the budget until they are written.
struct Queued {
    messages: Vec<Message>,
    bytes: usize,
    part: OwnedSemaphorePermit,
}

/// The writer of a socket.
pub(super) struct Writer {
    task: AbortOnDropHandle<SplitSink<WebSocket, Message>>,
    last: CancellationToken,
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
        let last = CancellationToken::new();
        let writing = write(sink, waiting, ping_every, blocked.clone(), metrics, last.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(writing));
        (Outgoing { queue, budget: Outgoing::budget(), blocked }, Writer { task, last })
    }

    /// Puts a text; `false` when the socket has ended.
    pub(super) async fn text(&self, text: String) -> bool {
        self.put(vec![Message::Text(text.into())]).await
    }

    /// Puts texts given as bytes, in one step; anything but UTF-8 would break the socket and is left out.
    pub(super) async fn all(&self, texts: impl Iterator<Item = Bytes>) -> bool {
        let mut messages = Vec::with_capacity(texts.size_hint().0);
        for text in texts {
            match Utf8Bytes::try_from(text) {
                Ok(text) => messages.push(Message::Text(text)),
                Err(_) => tracing::error!("a frame is not UTF-8; it is left out"),
            }
        }
        self.put(messages).await
    }

    async fn put(&self, messages: Vec<Message>) -> bool {
        let bytes = messages.iter().map(length).sum();
        let part = u32::try_from(bytes).unwrap_or(BUDGET).min(BUDGET);
        let Ok(part) = self.budget.clone().acquire_many_owned(part).await else { return false };
        self.queue.send(Queued { messages, bytes, part }).await.is_ok()
    }

    fn budget() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(BUDGET as usize))
    }

    /// Whether a write waits for the client.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }
}

impl Writer {
    /// Writes what is still queued and a close frame, within a bound. Nothing more is taken.
    pub(super) async fn finish(self, close: Option<CloseFrame>) {
        self.last.cancel();
        let closing = async {
            let Ok(mut sink) = self.task.await else { return };
            let _gone = sink.send(Message::Close(close)).await;
            let _gone = sink.close().await;
        };
        let _slow = tokio::time::timeout(CLOSE_WITHIN, closing).await;
    }
}

async fn write<S: Sink<Message> + Unpin>(
    mut sink: S,
    mut waiting: mpsc::Receiver<Queued>,
    ping_every: Duration,
    blocked: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    last: CancellationToken,
) -> S {
    let mut pings = tokio::time::interval(ping_every);
    pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    pings.reset();
    // Grown when there is something: most sockets are idle.
    let mut batch = Vec::new();
    loop {
        let outcome = tokio::select! {
            count = waiting.recv_many(&mut batch, QUEUE) => {
                if count == 0 {
                    return sink;
                }
                let bytes: usize = batch.iter().map(|queued| queued.bytes).sum();
                let frames: usize = batch.iter().map(|queued| queued.messages.len()).sum();
                metrics.frames_out(frames as u64, bytes as u64);
                blocked.store(true, Ordering::Relaxed);
                let outcome = feed_all(&mut sink, &mut batch).await;
                blocked.store(false, Ordering::Relaxed);
                outcome
            }
            _ = pings.tick() => {
                blocked.store(true, Ordering::Relaxed);
                let outcome = ping(&mut sink).await;
                blocked.store(false, Ordering::Relaxed);
                outcome
            }
            // From here on whoever puts is refused; what is queued is still written.
            () = last.cancelled(), if !waiting.is_closed() => {
                waiting.close();
                Ok(())
            }
        };
        if outcome.is_err() {
            return sink; // The reader sees the end of the socket, too.
        }
    }
}

async fn feed_all<S: Sink<Message> + Unpin>(sink: &mut S, batch: &mut Vec<Queued>) -> Result<(), S::Error> {
    // Fed is not written: the parts of the budget are given back after the flush.
    let mut parts = Vec::with_capacity(batch.len());
    for queued in batch.drain(..) {
        for message in queued.messages {
            sink.feed(message).await?;
        }
        parts.push(queued.part);
    }
    sink.flush().await
}

async fn ping<S: Sink<Message> + Unpin>(sink: &mut S) -> Result<(), S::Error> {
    sink.feed(Message::Ping(Bytes::new())).await?;
    sink.send(Message::Text(Utf8Bytes::from_static(ALIVE))).await
}

fn length(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.as_str().len(),
        Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
        Message::Close(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    /// A client that takes one message only when asked.
    fn client() -> (Outgoing, futures::channel::mpsc::Receiver<Message>, CancellationToken) {
        let (sink, client) = futures::channel::mpsc::channel(0);
        let (queue, waiting) = mpsc::channel(QUEUE);
        let blocked = Arc::new(AtomicBool::new(false));
        let last = CancellationToken::new();
        tokio::spawn(write(sink, waiting, Duration::from_secs(20), blocked.clone(), Metrics::new(), last.clone()));
        (Outgoing { queue, budget: Outgoing::budget(), blocked }, client, last)
    }

    async fn waits<T>(future: impl Future<Output = T>) -> bool {
        tokio::time::timeout(Duration::from_secs(1), future).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_hears_with_every_ping_that_the_server_is_there_and_nothing_before() {
        let (_outgoing, mut client, _) = client();
        assert!(tokio::time::timeout(Duration::from_secs(19), client.next()).await.is_err());
        assert!(matches!(client.next().await, Some(Message::Ping(_))));
        assert_eq!(client.next().await, Some(Message::Text(ALIVE.into())));
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_a_slow_client_is_bounded_in_bytes() {
        let (outgoing, mut client, _) = client();
        let part = "x".repeat(BUDGET as usize / 4);
        let mut taken = 0;
        while !waits(outgoing.text(part.clone())).await {
            taken += 1;
            assert!(taken <= QUEUE, "nothing bounds the bytes");
        }
        assert_eq!(taken, 4);
        // One that is larger than all of it passes, alone.
        let large = "y".repeat(3 * BUDGET as usize);
        let putting = tokio::spawn({
            let (outgoing, large) = (outgoing.clone(), large.clone());
            async move { outgoing.text(large).await }
        });
        for _ in 0..4 {
            assert_eq!(client.next().await, Some(Message::Text(part.as_str().into())));
        }
        assert_eq!(client.next().await, Some(Message::Text(large.into())));
        assert!(putting.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn once_a_socket_ends_what_is_queued_is_written_and_nothing_more_is_taken() {
        let (outgoing, mut client, last) = client();
        assert!(outgoing.text("a".to_owned()).await && outgoing.text("b".to_owned()).await);
        last.cancel();
        assert_eq!(client.next().await, Some(Message::Text("a".into())));
        assert_eq!(client.next().await, Some(Message::Text("b".into())));
        assert_eq!(client.next().await, None);
        assert!(!outgoing.text("c".to_owned()).await);
    }
}
