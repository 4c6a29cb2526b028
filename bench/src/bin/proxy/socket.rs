//! A browser's socket, as far as the benchmark needs one.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use futures::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::stage::{Idea, Stage};

/// Nothing in here takes longer than this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Socket {
    stream: WebSocketStream<TcpStream>,
}

/// What a message is, read without a tree.
#[derive(serde::Deserialize)]
pub(crate) struct Told<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) kind: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) text: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) error: std::borrow::Cow<'a, str>,
}

impl Socket {
    pub(crate) async fn open(stage: &Stage) -> anyhow::Result<Socket> {
        let tcp = TcpStream::connect(("127.0.0.1", stage.port())).await?;
        tcp.set_nodelay(true)?;
        let mut request = format!("ws://127.0.0.1:{}/ws", stage.port()).into_client_request()?;
        request.headers_mut().insert("Cookie", stage.cookie().parse()?);
        request.headers_mut().insert("Origin", stage.origin().parse()?);
        let (stream, _) = client_async(request, tcp).await?;
        Ok(Socket { stream })
    }

    pub(crate) async fn send(&mut self, message: serde_json::Value) -> anyhow::Result<()> {
        Ok(self.stream.send(Message::text(message.to_string())).await?)
    }

    pub(crate) async fn chat(&mut self, idea: &Idea, text: &str) -> anyhow::Result<()> {
        self.send(serde_json::json!({"type": "chat", "ideaId": idea.id, "message": text})).await
    }

    /// Subscribes, and returns when the past has begun to come.
    pub(crate) async fn subscribe(&mut self, idea: &Idea) -> anyhow::Result<()> {
        self.send(serde_json::json!({"type": "subscribe", "ideaId": idea.id})).await?;
        self.until(|told| Ok(told.kind == "subscribed")).await
    }

    /// Gives messages to `each` until it says that it has what it wants.
    pub(crate) async fn until(&mut self, mut each: impl FnMut(Told<'_>) -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let reading = async {
            loop {
                match self.stream.next().await.context("the socket ended")?? {
                    Message::Text(text) => {
                        let told: Told<'_> = serde_json::from_str(text.as_str())?;
                        if told.kind == "claude:error" {
                            bail!("the proxy says: {}", told.error);
                        }
                        if each(told)? {
                            return Ok(());
                        }
                    }
                    Message::Close(_) => bail!("the socket was closed"),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.map_err(|_| anyhow!("it did not come within {PATIENCE:?}"))?
    }

    /// Whether the other side still answers.
    pub(crate) async fn answers(&mut self) -> anyhow::Result<()> {
        self.stream.send(Message::Ping("there?".into())).await?;
        let reading = async {
            while !matches!(self.stream.next().await.context("the socket ended")??, Message::Pong(_)) {}
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, reading).await?
    }

    /// Until the turn is over.
    pub(crate) async fn turn(&mut self) -> anyhow::Result<()> {
        self.until(|told| Ok(told.kind == "claude:result")).await
    }
}
