//! A browser that always comes back with the last place that it has seen, to either replica.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::WAIT;
use crate::faults::{Act, Faults};
use crate::replica::{ORIGIN, Replicas};

pub(crate) struct Viewer {
    replicas: Arc<Replicas>,
    slug: String,
    at: usize,
    socket: Option<WebSocketStream<TcpStream>>,
    /// Offset and sub-index of the last frame.
    seen: Option<(u64, u32)>,
    /// Texts as they came, everything else as its frame.
    pub(crate) said: String,
    connections: u32,
    outages: u32,
}

/// A message as far as it is looked at.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow, rename = "type")]
    kind: &'a str,
    run: Option<u64>,
    seq: Option<&'a str>,
    after: Option<&'a str>,
    #[serde(default)]
    text: std::borrow::Cow<'a, str>,
    #[serde(default, rename = "messageId")]
    message_id: Option<&'a str>,
}

impl Viewer {
    pub(crate) fn new(replicas: &Arc<Replicas>, slug: &str) -> Viewer {
        let replicas = Arc::clone(replicas);
        let slug = slug.to_owned();
        let said = String::new();
        Viewer { replicas, slug, at: 0, socket: None, seen: None, said, connections: 0, outages: 0 }
    }

    /// Sends a message until it is taken, and reads its answer to the end.
    pub(crate) async fn turn(&mut self, id: &str, text: &str, faults: &mut Faults) {
        let chat = json!({"type": "chat", "ideaId": self.slug, "message": text, "messageId": id}).to_string();
        let mut accepted = false;
        let mut sent_to = 0;
        loop {
            match faults.due(self.at) {
                Some(Act::Cut) => self.socket = None,
                Some(Act::Leave) => (self.socket, self.at) = (None, 1 - self.at),
                Some(Act::Stop(time)) => sleep(time).await,
                None => {}
            }
            self.connect().await;
            if !accepted && sent_to != self.connections {
                sent_to = self.connections;
                self.send(chat.clone()).await;
            }
            let Some(message) = self.receive().await else { continue };
            let told: Told<'_> = serde_json::from_str(&message).unwrap_or_else(|error| panic!("{error}: {message}"));
            if told.message_id == Some(id) && told.seq.is_none() {
                accepted |= told.kind == "accepted";
                // Refused while the VM is away: it is sent again.
                sent_to = if told.kind == "claude:error" { 0 } else { sent_to };
            }
            if self.take(&told, &message) && told.kind == "claude:result" {
                assert!(accepted || told.run.is_some());
                return;
            }
            if told.kind == "claude:error" {
                self.outages += 1;
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Whether it is a frame of the run's log.
    fn take(&mut self, told: &Told<'_>, message: &str) -> bool {
        if told.kind == "subscribed" {
            let asked = self.seen.map(|(offset, sub)| format!("{offset}.{sub}"));
            assert_eq!(told.after, asked.as_deref().or(Some("0.0")).filter(|_| told.after.is_some()), "{message}");
            assert!(asked.is_none() || told.after.is_some(), "the place was not known: {message}");
        }
        let Some((run, seq)) = told.run.zip(told.seq) else { return false };
        let (offset, sub) = seq.split_once('.').unwrap();
        let place = (offset.parse().unwrap(), sub.parse().unwrap());
        assert!(run == 1 && self.seen < Some(place), "after {:?} came {message}", self.seen);
        // Nothing that breaks here ends a run; its last turn would show as a log that lacks events.
        assert!(told.kind != "run:exit", "the run has ended: {message} after {}", self.last_words());
        self.seen = Some(place);
        if told.kind == "claude:text" {
            self.said.push_str(&told.text);
        } else {
            writeln!(self.said, "\n{message}").unwrap();
        }
        true
    }

    /// The end of what was said.
    fn last_words(&self) -> &str {
        let from = self.said.len().saturating_sub(1000);
        &self.said[self.said.ceil_char_boundary(from)..]
    }

    async fn connect(&mut self) {
        let trying = async {
            while self.socket.is_none() {
                self.socket = self.open().await;
                if self.socket.is_none() {
                    self.at = 1 - self.at;
                    sleep(Duration::from_millis(20)).await;
                    continue;
                }
                self.connections += 1;
                let mut subscribe = json!({"type": "subscribe", "ideaId": self.slug, "run": 1});
                if let Some((offset, sub)) = self.seen {
                    subscribe["after"] = json!(format!("{offset}.{sub}"));
                }
                self.send(subscribe.to_string()).await;
            }
        };
        timeout(WAIT, trying).await.expect("no replica lets the viewer in");
    }

    async fn open(&self) -> Option<WebSocketStream<TcpStream>> {
        let port = self.replicas.port(self.at);
        let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        let mut request = format!("ws://127.0.0.1:{port}/ws").into_client_request().unwrap();
        request.headers_mut().insert("cookie", self.replicas.cookie.parse().unwrap());
        request.headers_mut().insert("origin", ORIGIN.parse().unwrap());
        client_async(request, stream).await.ok().map(|(socket, _)| socket)
    }

    async fn send(&mut self, text: String) {
        if let Some(socket) = &mut self.socket
            && socket.send(Message::text(text)).await.is_err()
        {
            self.socket = None;
        }
    }

    /// The next message; none when the connection has ended.
    async fn receive(&mut self) -> Option<String> {
        let socket = self.socket.as_mut()?;
        // Signs of life are messages, too: this is silence.
        match timeout(WAIT, socket.next()).await.expect("the server is silent") {
            Some(Ok(Message::Text(text))) => Some(text.to_string()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => None,
            _ => {
                self.socket = None;
                None
            }
        }
    }
}

impl fmt::Display for Viewer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} connections, {} times told of an outage", self.connections, self.outages)
    }
}
