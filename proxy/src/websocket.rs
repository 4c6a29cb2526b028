//! The WebSocket: frames in, frames out, many ideas on one socket. Knows no message but by `protocol`.
//!
//! Each idea has a worker that carries out its commands in order, so a slow one never holds up another's. Everything
//! that goes out passes one bounded queue: a client that does not read holds up its own viewers only.

mod incoming;
mod outgoing;
pub mod terminal;
mod viewer;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::app::App;
use crate::audit;
use crate::auth::cookie::{self, Session};
use crate::error::ApiError;
use crate::origin;
use crate::protocol::{self, About, Command, DRAINING, INVALID, Notice};
use crate::receiving::TOO_MUCH;
use crate::server::Place;
use incoming::Incoming;
use outgoing::Outgoing;
use worker::{Order, Worker};

/// The largest frame: a prompt of the largest size with its escapes. Beyond it the socket ends, with a word why.
const READ_LIMIT: usize = 16 * 1024 * 1024;
const TOO_LARGE: &str = "The message is too large for this connection: it may have 16.7 MB. Put what is long into a file of \
                         the project, and name that.";
/// Held by every socket, most of which are idle; a large message takes more reads.
const READ_BUFFER: usize = 1024;
const WRITE_BUFFER: usize = 8 * 1024;
/// Ideas with work under way on one socket; twice as many when one of them is to be stopped or answered.
const IDEAS_AT_ONCE: usize = 128;
/// Commands that wait for one idea; and stops and answers behind them.
const COMMANDS_WAITING: usize = 32;
const URGENT_WAITING: usize = 32;
/// Under nginx's default of 60 s, and under the 30 s of some load balancers.
const PING_EVERY: Duration = Duration::from_secs(20);
const _: () = assert!(PING_EVERY.as_secs() <= 25);
/// A client that is heard of in no way for so long is gone.
const SILENT_LIMIT: Duration = Duration::from_secs(120);
/// How long a client that was told `server:draining` has to leave by itself.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

const POLICY: u16 = 1008;
const TOO_BIG: u16 = 1009;
const RESTARTING: u16 = 1012;
const LATER: u16 = 1013;

/// GET /ws.
pub async fn upgrade(
    State(app): State<App>,
    session: Option<Extension<Session>>,
    Extension(place): Extension<Place>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Some(Extension(session)) = session else { return ApiError::Unauthorized.into_response() };
    if let Err(refused) = origin::check(&app.web.allowed_origins, &headers) {
        tracing::warn!(cause = %refused, "WebSocket refused");
        return ApiError::Forbidden(refused.to_string()).into_response();
    }
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(_) => return ApiError::BadRequest("This address is for WebSockets".to_owned()).into_response(),
    };
    if app.draining.is_cancelled() {
        return ApiError::Restarting.into_response();
    }
    let tracker = app.sockets.clone();
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(READ_LIMIT)
        .max_frame_size(READ_LIMIT)
        .on_upgrade(async move |socket| {
            // In a task of its own: that of the upgrade is larger, and ends here.
            tracker.spawn(serve(app, session, place, socket));
        })
}

async fn serve(app: App, session: Session, place: Place, socket: WebSocket) {
    let _counted = app.metrics.socket();
    place.meter.begin();
    tracing::debug!(session = session.id, "WebSocket opened");
    let (sink, stream) = socket.split();
    let (outgoing, writer) = Outgoing::start(sink, PING_EVERY, app.metrics.clone());
    let incoming = Incoming::new(app.inbound.clone());
    let session = Arc::new(session);
    let draining = app.draining.clone();
    let left_over = async {
        draining.cancelled().await;
        tokio::time::sleep(LEAVE_WITHIN).await;
    };
    let reader = Reader { app, session, place, incoming, outgoing, workers: HashMap::new() };
    let last = tokio::select! {
        last = reader.read(stream) => last,
        // Beside the reader, which itself may wait for a client that takes nothing.
        () = left_over => Some(close(RESTARTING, "the server restarts")),
    };
    writer.finish(last).await;
    tracing::debug!("WebSocket closed");
}

/// Reads until the socket ends. Its workers end with it, but for what they have to finish on the VM.
struct Reader {
    app: App,
    session: Arc<Session>,
    place: Place,
    incoming: Incoming,
    outgoing: Outgoing,
    workers: HashMap<String, Worker>,
}

impl Reader {
    /// Returns what the client is told at the end, if it is to be told anything.
    async fn read(mut self, mut stream: futures::stream::SplitStream<WebSocket>) -> Option<CloseFrame> {
        let mut heard = Instant::now();
        let mut watch = tokio::time::interval(PING_EVERY);
        let mut signed_out = self.app.revocation.changes();
        let draining = self.app.draining.clone();
        let mut told = false;
        loop {
            tokio::select! {
                message = stream.next() => {
                    heard = Instant::now();
                    meter(&self.place, &message);
                    match message {
                        None | Some(Ok(Message::Close(_))) => return None,
                        // Boxed, as what is rare in here: an idle socket is as large as the largest of its branches.
                        Some(Ok(Message::Text(text))) => Box::pin(self.text(text.as_str())).await,
                        Some(Ok(Message::Binary(_))) => Box::pin(self.outgoing.notice("", INVALID)).await,
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Err(error)) => {
                            tracing::debug!(cause = %error, "WebSocket broke");
                            let (told, last) = if is_too_big(&error) {
                                (TOO_LARGE, close(TOO_BIG, "the message is too big"))
                            } else if is_too_much(&error) {
                                (incoming::ALL_FULL, close(LATER, "too much is being sent"))
                            } else {
                                return None;
                            };
                            Box::pin(self.outgoing.notice("", told)).await;
                            // Closing with bytes unread resets the connection: let the answer arrive first.
                            tokio::time::sleep(LEAVE_WITHIN).await;
                            return Some(last);
                        }
                    }
                }
                Ok(()) = signed_out.changed() => {
                    if self.app.revocation.is_over(&self.session, cookie::now()) {
                        return Some(close(POLICY, "signed out"));
                    }
                }
                _ = watch.tick() => {
                    if self.app.revocation.is_over(&self.session, cookie::now()) {
                        return Some(close(POLICY, "signed out"));
                    }
                    if heard.elapsed() > SILENT_LIMIT && !self.outgoing.is_blocked() {
                        tracing::debug!("WebSocket closed: the client has been silent");
                        return None;
                    }
                    self.workers.retain(|_, worker| !worker.is_done());
                }
                () = draining.cancelled(), if !told => {
                    told = true;
                    Box::pin(self.outgoing.text(DRAINING.to_owned())).await;
                }
            }
        }
    }

    async fn text(&mut self, text: &str) {
        self.app.metrics.frames_in(1, text.len() as u64);
        match protocol::decode(text) {
            Err(_) => self.outgoing.notice("", INVALID).await,
            Ok(request) => self.hand_over(request.idea_id, request.command, text.len()).await,
        }
    }

    async fn hand_over(&mut self, idea_id: String, command: Command, bytes: usize) {
        let (about, said) = (command.about(), command.said());
        match command.audited() {
            // An answer is told with its outcome, when that is known.
            Some(act) if said.is_none() => audit::act(&self.session, act, &idea_id),
            _ => {}
        }
        let Err(refused) = self.try_to_hand_over(&idea_id, command, bytes) else { return };
        if let (Some(said), Some(request)) = (said, &about.request_id) {
            audit::answer(&self.session, &idea_id, request, said, "failed");
        }
        self.outgoing.failure(&idea_id, refused, &about).await;
    }

    /// Gives a command to its idea's worker.
    ///
    /// # Errors
    /// What to tell the client, if too much waits.
    fn try_to_hand_over(&mut self, idea_id: &str, command: Command, bytes: usize) -> Result<(), &'static str> {
        let urgent = command.is_urgent();
        let room = self.incoming.take(bytes, &command)?;
        let mut order = Order { command, by: self.session.clone(), room };
        if let Some(worker) = self.workers.get(idea_id) {
            let full = "Too many requests wait for this idea; try again when some are done";
            if !urgent && !worker.orders.is_closed() && worker.orders.capacity() <= URGENT_WAITING {
                return Err(full);
            }
            match worker.orders.try_send(order) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(_)) => return Err(full),
                // The worker had nothing left to do; a new one takes over.
                Err(TrySendError::Closed(back)) => order = back,
            }
            self.workers.remove(idea_id);
        }
        let most = if urgent { 2 * IDEAS_AT_ONCE } else { IDEAS_AT_ONCE };
        if self.workers.len() >= most {
            self.workers.retain(|_, worker| !worker.is_done());
        }
        if self.workers.len() >= most {
            return Err("Too many ideas are open on this connection; close some");
        }
        let (orders, waiting) = mpsc::channel(COMMANDS_WAITING + URGENT_WAITING);
        let _fits = orders.try_send(order);
        let worker = Worker::start(self.app.clone(), idea_id.to_owned(), orders, waiting, self.outgoing.clone());
        self.workers.insert(idea_id.to_owned(), worker);
        Ok(())
    }
}

/// What has come of a message counts no more when all of it has.
fn meter(place: &Place, message: &Option<Result<Message, axum::Error>>) {
    match message {
        Some(Ok(Message::Text(_) | Message::Binary(_))) => place.meter.whole(),
        Some(Ok(Message::Ping(carried) | Message::Pong(carried))) => place.meter.control(carried.len()),
        _ => {}
    }
}

fn close(code: u16, reason: &'static str) -> CloseFrame {
    CloseFrame { code, reason: reason.into() }
}

/// The library gives no type for it; the words are checked by a test.
fn is_too_big(error: &axum::Error) -> bool {
    let text = error.to_string();
    text.contains("too long") || text.contains("Space limit") || text.contains("too big")
}

/// Whether it ended because all clients together send too much.
fn is_too_much(error: &axum::Error) -> bool {
    error.to_string().contains(TOO_MUCH)
}

impl Outgoing {
    /// A `claude:error` that is about nothing that the client named.
    async fn notice(&self, idea_id: &str, error: &str) {
        self.failure(idea_id, error, &About::default()).await;
    }

    /// A `claude:error` for an idea as the client wrote it.
    async fn failure(&self, idea_id: &str, error: &str, about: &About) {
        self.text(Notice::error(error, about).encode(idea_id)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, D, F: Future>(_: impl FnOnce(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_task_of_an_idle_socket_is_small() {
        assert!(size(serve) <= 2048, "{} bytes", size(serve));
    }
}
