//! The terminal through wetty: a node server that runs `ssh -t` on a pseudo-terminal for each socket.
//!
//! It speaks socket.io (protocol 5 in engine.io 4), of which a terminal takes events, which are JSON arrays in text
//! frames, and pings. As in wetty's page, what was shown is acknowledged ("commit") every 256 KiB: the server stops
//! reading from `ssh` at 2 MiB that are not.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, anyhow, bail};
use futures::{SinkExt as _, StreamExt as _};
use tokio::process::Child;
use tokio_tungstenite::tungstenite::Message;

use super::{START_WITHIN, WebSocket, answering, connect, free_port, server};
use crate::limits::Limits;
use crate::peers::Peers;
use crate::stage::Stage;

/// What wetty's page acknowledges at a time.
const COMMIT: usize = 256 * 1024;
const DATA: &str = r#"42["data","#;

pub(super) struct Server {
    _process: Child,
    port: u16,
}

impl Server {
    pub(super) async fn start(stage: &Stage, peers: &Peers, limits: Option<&Limits>) -> anyhow::Result<Server> {
        let port = free_port()?;
        let vm = stage.sshd.endpoint();
        let process = server(Path::new("node"), limits)
            .arg(&peers.wetty)
            .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--base", "/", "--log-level", "error"])
            .args(["--ssh-host", &vm.host, "--ssh-port", &vm.port.to_string(), "--ssh-user", &vm.user])
            .args(["--ssh-auth", "publickey", "--ssh-config", "none", "--force-ssh"])
            .arg("--ssh-key")
            .arg(stage.sshd.key_path())
            // As `ssh -tt` is given.
            .args(["--command", "exec bash -l"])
            .env("NODE_ENV", "production")
            .stdout(Stdio::null())
            .spawn()
            .context("start node")?;
        answering(port, "wetty").await?;
        Ok(Server { _process: process, port })
    }

    pub(super) async fn open(&self) -> anyhow::Result<Viewer> {
        let socket = connect(self.port, "/socket.io/?EIO=4&transport=websocket", &[]).await?;
        let mut viewer = Viewer { socket, uncommitted: 0 };
        let greeting = async {
            viewer.packet("0").await?;
            viewer.socket.send(Message::text("40")).await?;
            viewer.packet("40").await?;
            viewer.packet(r#"42["login""#).await?;
            viewer.socket.send(Message::text(r#"42["resize",{"cols":80,"rows":24}]"#)).await?;
            anyhow::Ok(())
        };
        tokio::time::timeout(START_WITHIN, greeting).await.map_err(|_| anyhow!("wetty does not greet"))??;
        Ok(viewer)
    }
}

pub(super) struct Viewer {
    socket: WebSocket,
    uncommitted: usize,
}

impl Viewer {
    pub(super) async fn type_in(&mut self, keys: &str) -> anyhow::Result<()> {
        let event = serde_json::json!(["input", keys]);
        Ok(self.socket.send(Message::text(format!("42{event}"))).await?)
    }

    pub(super) async fn read(&mut self, to: &mut Vec<u8>) -> anyhow::Result<()> {
        let packet = self.packet(DATA).await?;
        let Message::Text(packet) = packet else { bail!("no text") };
        let text =
            packet.as_str().get(DATA.len()..).and_then(|rest| rest.strip_suffix(']')).context("not as wetty writes")?;
        let text: String = serde_json::from_str(text)?;
        to.extend_from_slice(text.as_bytes());
        // The page counts UTF-16 units, which for what is printed here are bytes.
        self.uncommitted += text.len();
        if self.uncommitted >= COMMIT {
            self.uncommitted -= COMMIT;
            self.socket.send(Message::text(format!(r#"42["commit",{COMMIT}]"#))).await?;
        }
        Ok(())
    }

    /// The next packet that begins with this; pings are answered, and what else comes is passed over.
    async fn packet(&mut self, begin: &str) -> anyhow::Result<Message> {
        loop {
            match self.socket.next().await.context("the socket ended")?? {
                Message::Text(text) if text.as_str() == "2" => self.socket.send(Message::text("3")).await?,
                Message::Text(text) if text.starts_with(begin) => return Ok(Message::Text(text)),
                Message::Text(text) if text.starts_with(r#"42["logout""#) => bail!("wetty's ssh ended"),
                Message::Close(_) => bail!("the socket was closed"),
                _ => {}
            }
        }
    }
}
