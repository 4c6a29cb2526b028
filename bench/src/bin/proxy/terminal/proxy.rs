//! The terminal through the proxy, as its page does it.

use anyhow::Context as _;
use anyhow::{anyhow, bail};
use futures::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;

use super::{WebSocket, connect};
use crate::socket::PATIENCE;
use crate::stage::{Idea, Stage};

/// What the page credits at a time.
const CREDIT: usize = 32 * 1024;

pub(super) struct Viewer {
    socket: WebSocket,
    uncredited: usize,
}

impl Viewer {
    pub(super) async fn open(stage: &Stage, idea: &Idea, number: u8) -> anyhow::Result<Viewer> {
        let path = format!("/ws/terminal?idea={}&terminal={number}", idea.id);
        let headers = [("Cookie", stage.cookie()), ("Origin", &stage.origin())];
        let mut socket = connect(stage.port(), &path, &headers).await?;
        socket.send(Message::text(r#"{"type":"open","cols":80,"rows":24}"#)).await?;
        Ok(Viewer { socket, uncredited: 0 })
    }

    pub(super) async fn type_in(&mut self, keys: &str) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::binary(keys.as_bytes().to_vec())).await?)
    }

    pub(super) async fn read(&mut self, to: &mut Vec<u8>) -> anyhow::Result<()> {
        loop {
            match self.socket.next().await.context("the socket ended")?? {
                Message::Binary(bytes) => {
                    to.extend_from_slice(&bytes);
                    self.uncredited += bytes.len();
                    if self.uncredited >= CREDIT {
                        let credit = format!(r#"{{"type":"credit","bytes":{}}}"#, self.uncredited);
                        self.uncredited = 0;
                        self.socket.send(Message::text(credit)).await?;
                    }
                    return Ok(());
                }
                Message::Text(text) if text.contains(r#""type":"error""#) => bail!("the proxy says: {text}"),
                Message::Close(_) => bail!("the socket was closed"),
                _ => {}
            }
        }
    }

    /// Ends the terminal, and returns when the proxy has.
    pub(super) async fn close(mut self) -> anyhow::Result<()> {
        self.socket.send(Message::text(r#"{"type":"close"}"#)).await?;
        let ending = async { while matches!(self.socket.next().await, Some(Ok(message)) if !message.is_close()) {} };
        tokio::time::timeout(PATIENCE, ending).await.map_err(|_| anyhow!("the terminal did not end"))
    }
}
