//! A terminal's WebSocket: binary frames are bytes, text frames are control (`docs/terminal.md`). One terminal a socket.
//!
//! Reading and writing are apart: a client that takes nothing can still type. What goes out is bounded by credit.

use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::incoming::ALL_FULL;
use super::{LATER, is_too_much, meter};
use crate::app::App;
use crate::audit;
use crate::auth::cookie::{self, Session};
use crate::error::ApiError;
use crate::origin;
use crate::remote::ideas::{Idea, IdeasError};
use crate::server::Place;
use crate::terminal::protocol::{Control, Notice, decode};
use crate::terminal::{Attachment, Event, Number};

/// The largest frame that is read: more than may be on the way.
const FRAME_LIMIT: usize = 512 * 1024;
const BUFFER: usize = 8 * 1024;
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// Under the idle limits of load balancers.
const ALIVE_EVERY: Duration = Duration::from_secs(20);
/// A client that is heard of in no way for so long is gone. A browser answers pings also when its page is asleep.
const SILENT_LIMIT: Duration = Duration::from_secs(90);
const LEAVE_WITHIN: Duration = Duration::from_secs(1);
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
const NOTICES: usize = 8;

const NORMAL: u16 = 1000;
const POLICY: u16 = 1008;
const BROKEN: u16 = 1011;
const RESTARTING: u16 = 1012;

/// Which terminal.
#[derive(Debug, Deserialize)]
pub struct Which {
    idea: String,
    terminal: String,
}

/// GET /ws/terminal?idea=…&terminal=…
pub async fn upgrade(
    State(app): State<App>,
    session: Option<Extension<Session>>,
    Extension(place): Extension<Place>,
    headers: HeaderMap,
    which: Result<Query<Which>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Some(Extension(session)) = session else { return ApiError::Unauthorized.into_response() };
    if let Err(refused) = origin::check(&app.web.allowed_origins, &headers) {
        tracing::warn!(cause = %refused, "terminal refused");
        return ApiError::Forbidden(refused.to_string()).into_response();
    }
    let asked = which.ok().and_then(|Query(which)| Some((which.idea, which.terminal.parse::<Number>().ok()?)));
    let Some((idea, number)) = asked else {
        return ApiError::BadRequest("Give idea=ID and terminal=N, a number from 1 to 9".to_owned()).into_response();
    };
    let Ok(upgrade) = upgrade else {
        return ApiError::BadRequest("This address is for WebSockets".to_owned()).into_response();
    };
    if app.draining.is_cancelled() {
        return ApiError::Restarting.into_response();
    }
    audit::act(&session, "terminal", &idea);
    let tracker = app.sockets.clone();
    upgrade
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(FRAME_LIMIT)
        .max_frame_size(FRAME_LIMIT)
        .on_upgrade(async move |socket| {
            let _counted = app.metrics.socket();
            let (sink, stream) = socket.split();
            place.meter.begin();
            let client = Client { app, session, place, stream, heard: Instant::now() };
            tracker.track_future(serve(client, sink, idea, number)).await;
        })
}

async fn serve(mut client: Client, mut sink: SplitSink<WebSocket, Message>, idea_id: String, number: Number) {
    let end = match begin(&mut client, &idea_id, number).await {
        Ok(Some((idea, mut attachment))) => {
            let (notices, waiting) = mpsc::channel(NOTICES);
            let (_, none) = mpsc::channel(1);
            let events = std::mem::replace(&mut attachment.events, none);
            let writer = AbortOnDropHandle::new(tokio::spawn(write(sink, events, waiting, client.app.clone())));
            let end = client.read(&idea, number, attachment, notices).await;
            // Aborting it would cut a frame in two; it ends when nothing more can come.
            match tokio::time::timeout(CLOSE_WITHIN, writer).await {
                Ok(Ok((back, written))) => {
                    sink = back;
                    written.or(end)
                }
                _ => return,
            }
        }
        Ok(None) => return,
        Err(end) => Some(end),
    };
    let closing = async {
        if let Some(end) = end {
            if let Some(notice) = end.notice {
                let _gone = sink.send(Message::text(notice.encode())).await;
            }
            if end.code == LATER {
                // Closing with bytes unread resets the connection: let the notice arrive first.
                tokio::time::sleep(LEAVE_WITHIN).await;
            }
            let _gone = sink.send(Message::Close(Some(CloseFrame { code: end.code, reason: "".into() }))).await;
        }
        let _gone = sink.close().await;
    };
    let _slow = tokio::time::timeout(LEAVE_WITHIN + CLOSE_WITHIN, closing).await;
}

/// The last thing that a client is told.
struct End {
    code: u16,
    notice: Option<Notice>,
}

impl End {
    fn error(code: u16, error: impl ToString, reason: Option<&'static str>, retry: bool) -> End {
        let notice = Notice::Error { error: error.to_string(), reason, retry: Some(retry) };
        End { code, notice: Some(notice) }
    }

    /// All clients together send too much.
    fn too_much() -> End {
        End::error(LATER, ALL_FULL, None, true)
    }

    fn of_idea(idea_id: &str, error: &IdeasError) -> End {
        match error {
            IdeasError::NotFound => End::error(POLICY, format!("Idea not found: {idea_id}"), None, false),
            IdeasError::Ssh(failure) => End::error(BROKEN, failure, Some(failure.reason.as_str()), true),
            other => End::error(BROKEN, other, None, true),
        }
    }
}

/// Waits for `open` and attaches. None when the client has gone.
async fn begin(client: &mut Client, idea_id: &str, number: Number) -> Result<Option<(Idea, Attachment)>, End> {
    let late = || End::error(POLICY, "The first frame has to be {\"type\":\"open\",…}, within 10 s", None, false);
    let first = tokio::time::timeout(OPEN_WITHIN, async {
        loop {
            let message = client.stream.next().await;
            meter(&client.place, &message);
            match message {
                Some(Ok(Message::Text(text))) => return Ok(Some(text)),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Binary(_))) => return Err(late()),
                Some(Err(error)) if is_too_much(&error) => return Err(End::too_much()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(None),
            }
        }
    });
    let Some(text) = first.await.unwrap_or_else(|_| Err(late()))? else { return Ok(None) };
    let (size, resume) = match decode(text.as_str()) {
        Ok(Control::Open { size, resume }) => (size, resume),
        Ok(_) => return Err(late()),
        Err(problem) => return Err(End::error(POLICY, problem, None, false)),
    };
    let idea = client.app.ideas.get(idea_id).await.map_err(|error| End::of_idea(idea_id, &error))?;
    let opening = client.app.terminals.open(&idea, number, size, resume);
    let attachment = tokio::select! {
        opened = opening => opened.map_err(|error| End::error(BROKEN, &error, error.reason(), error.may_pass()))?,
        () = client.app.draining.cancelled() => return Err(End { code: RESTARTING, notice: Some(Notice::Draining) }),
    };
    Ok(Some((idea, attachment)))
}

struct Client {
    app: App,
    session: Session,
    place: Place,
    stream: SplitStream<WebSocket>,
    heard: Instant,
}

impl Client {
    /// Reads until the client goes, or the writer has ended. Dropping the attachment detaches.
    async fn read(
        mut self,
        idea: &Idea,
        number: Number,
        attachment: Attachment,
        notices: mpsc::Sender<Notice>,
    ) -> Option<End> {
        let mut watch = tokio::time::interval(ALIVE_EVERY);
        let mut signed_out = self.app.revocation.changes();
        let draining = self.app.draining.clone();
        let mut leave_at: Option<tokio::time::Instant> = None;
        loop {
            let leaving = async {
                match leave_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = self.stream.next() => {
                    self.heard = Instant::now();
                    meter(&self.place, &message);
                    match message {
                        Some(Err(error)) if is_too_much(&error) => return Some(End::too_much()),
                        None | Some(Ok(Message::Close(_)) | Err(_)) => return None,
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Ok(Message::Binary(bytes))) => {
                            self.app.metrics.frames_in(1, bytes.len() as u64);
                            attachment.input(bytes).await;
                        }
                        Some(Ok(Message::Text(text))) => {
                            self.app.metrics.frames_in(1, text.len() as u64);
                            if let Err(error) = self.control(text.as_str(), idea, number, &attachment).await {
                                let _full = notices.try_send(Notice::Error { error, reason: None, retry: None });
                            }
                        }
                    }
                }
                // The writer has ended, and knows why.
                () = notices.closed() => return None,
                Ok(()) = signed_out.changed() => {
                    if self.app.revocation.is_over(&self.session, cookie::now()) {
                        return Some(End::error(POLICY, "You were signed out", None, false));
                    }
                }
                _ = watch.tick() => {
                    if self.app.revocation.is_over(&self.session, cookie::now()) {
                        return Some(End::error(POLICY, "You were signed out", None, false));
                    }
                    if self.heard.elapsed() > SILENT_LIMIT {
                        return None;
                    }
                }
                () = draining.cancelled(), if leave_at.is_none() => {
                    let _full = notices.try_send(Notice::Draining);
                    leave_at = Some(tokio::time::Instant::now() + LEAVE_WITHIN);
                }
                () = leaving => return Some(End { code: RESTARTING, notice: None }),
            }
        }
    }

    async fn control(&self, text: &str, idea: &Idea, number: Number, attachment: &Attachment) -> Result<(), String> {
        match decode(text)? {
            Control::Open { .. } => return Err("The terminal is open already; connect anew for another".to_owned()),
            Control::Resize(size) => attachment.resize(size).await,
            Control::Credit(bytes) => attachment.credit(bytes).await,
            Control::Close => {
                audit::act(&self.session, "close-terminal", &idea.slug);
                if let Err(error) = self.app.terminals.close(idea, number).await {
                    return Err(error.to_string());
                }
            }
        }
        Ok(())
    }
}

type Written = (SplitSink<WebSocket, Message>, Option<End>);

/// Writes what the terminal and the reader say; ends with the terminal, the reader or the socket.
async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut events: mpsc::Receiver<Event>,
    mut notices: mpsc::Receiver<Notice>,
    app: App,
) -> Written {
    let mut alive = tokio::time::interval(ALIVE_EVERY);
    alive.reset();
    let mut batch = Vec::new();
    loop {
        let mut end = None;
        let sent = tokio::select! {
            count = events.recv_many(&mut batch, 64) => {
                if count == 0 {
                    end = Some(End::error(BROKEN, "The terminal is gone; connect again", None, true));
                }
                let mut sent = Ok(());
                for event in batch.drain(..) {
                    match message(event) {
                        Ok(message) => {
                            app.metrics.frames_out(1, length(&message));
                            sent = sink.feed(message).await;
                        }
                        Err(last) => end = Some(last),
                    }
                    if sent.is_err() {
                        break;
                    }
                }
                match sent {
                    Ok(()) => sink.flush().await,
                    gone => gone,
                }
            }
            notice = notices.recv() => match notice {
                Some(notice) => sink.send(Message::text(notice.encode())).await,
                None => return (sink, None),
            },
            _ = alive.tick() => match sink.feed(Message::Ping(bytes::Bytes::new())).await {
                Ok(()) => sink.send(Message::text(Notice::Alive.encode())).await,
                gone => gone,
            },
        };
        if end.is_some() || sent.is_err() {
            return (sink, end);
        }
    }
}

fn message(event: Event) -> Result<Message, End> {
    Ok(match event {
        Event::Output(bytes) => Message::Binary(bytes),
        Event::Opened(opened) => Message::text(Notice::Opened(opened).encode()),
        Event::Credit(bytes) => Message::text(Notice::Credit { bytes }.encode()),
        Event::Exit(exit) => return Err(End { code: NORMAL, notice: Some(Notice::Exit(exit)) }),
        Event::Failed(failure) => return Err(End::error(BROKEN, &failure, Some(failure.reason.as_str()), true)),
        Event::Refused(sentence) => return Err(End::error(POLICY, sentence, None, false)),
    })
}

fn length(message: &Message) -> u64 {
    match message {
        Message::Text(text) => text.len() as u64,
        Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len() as u64,
        Message::Close(_) => 0,
    }
}
