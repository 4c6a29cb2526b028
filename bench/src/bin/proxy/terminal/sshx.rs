//! The terminal through sshx, which has no SSH: its client runs on the VM itself, with a pseudo-terminal of its own, and
//! sends encrypted output by gRPC to its server, from which a browser takes it as CBOR by a WebSocket.
//!
//! What comes is decrypted here, as it is by sshx's page. There is no flow control: the server keeps 2 MiB of a
//! terminal, and a viewer that is slower than the program goes on with what is left, so that is counted as lost.

use std::path::PathBuf;
use std::process::Stdio;

use aes::cipher::{KeyIvInit as _, StreamCipher as _, StreamCipherSeek as _};
use anyhow::{Context as _, anyhow, bail};
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::cbor::{self, ARRAY, BYTES, MAP, NULL, NUMBER, Reader, TEXT};
use super::{START_WITHIN, WebSocket, answering, connect, free_port, server};
use crate::limits::Limits;
use crate::peers::Peers;
use crate::stage::Stage;

type Cipher = ctr::Ctr64BE<aes::Aes128>;

/// What sshx's page and client salt the session's key with.
const SALT: &[u8] = b"This is a non-random salt for sshx.io, since we want to stretch the security of 83-bit keys!";
/// The number of the stream of keys; that of a shell's output is its own number after a 1.
const KEYS: u64 = 0x2_0000_0000;
const OUTPUT: u64 = 0x1_0000_0000;

pub(super) struct Server {
    _process: Child,
    port: u16,
    client: PathBuf,
    home: PathBuf,
}

impl Server {
    pub(super) async fn start(stage: &Stage, peers: &Peers, limits: Option<&Limits>) -> anyhow::Result<Server> {
        let port = free_port()?;
        let process = server(&peers.sshx_server, limits)
            .args(["--listen", "127.0.0.1", "--port", &port.to_string()])
            .env("RUST_LOG", "error")
            .spawn()
            .context("start sshx-server")?;
        answering(port, "sshx-server").await?;
        Ok(Server { _process: process, port, client: peers.sshx.clone(), home: stage.sshd.home() })
    }

    /// A session of its own, with one shell. (Several shells of one session would share its one way to the server.)
    pub(super) async fn open(&self) -> anyhow::Result<Viewer> {
        tokio::time::timeout(START_WITHIN, self.session()).await.map_err(|_| anyhow!("sshx does not begin"))?
    }

    async fn session(&self) -> anyhow::Result<Viewer> {
        let mut client = Command::new(&self.client)
            .args(["--quiet", "--name", "vm", "--shell", "/bin/bash", "--server"])
            .arg(format!("http://127.0.0.1:{}", self.port))
            .env("HOME", &self.home)
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start sshx")?;
        let output = client.stdout.take().context("no output")?;
        let address = BufReader::new(output).lines().next_line().await?.context("sshx ended")?;
        let (_, session) = address.split_once("/s/").with_context(|| format!("sshx printed {address}"))?;
        let (name, secret) = session.split_once('#').context("the address has no key")?;
        let key = key(secret)?;
        let mut viewer = Viewer {
            _client: Box::new(client),
            socket: connect(self.port, &format!("/api/s/{name}"), &[]).await?,
            key,
            shell: 0,
            typed: 0,
            seen: 0,
            lost: 0,
        };
        viewer.enter().await?;
        Ok(viewer)
    }
}

pub(super) struct Viewer {
    /// On the VM.
    _client: Box<Child>,
    socket: WebSocket,
    key: [u8; 16],
    shell: u64,
    /// Places in the streams of keys and of output, in bytes.
    typed: u64,
    seen: u64,
    lost: u64,
}

impl Viewer {
    /// Shows that the key is known, creates a shell and looks at it.
    async fn enter(&mut self) -> anyhow::Result<()> {
        let mut zeros = [0; 16];
        Cipher::new(&self.key.into(), &[0; 16].into()).apply_keystream(&mut zeros);
        self.send("authenticate", |message| {
            cbor::head(message, ARRAY, 2);
            cbor::string(message, BYTES, &zeros);
            message.push(NULL);
        })
        .await?;
        self.send("create", |message| numbers(message, [0, 0])).await?;
        while self.shell == 0 {
            let message = self.message("shells").await?;
            let mut reader = after_name(&message)?;
            // Each is an array of its number and its size.
            if reader.head(ARRAY)? > 0 {
                reader.head(ARRAY)?;
                self.shell = reader.head(NUMBER)?;
            }
        }
        let shell = self.shell;
        self.send("subscribe", |message| numbers(message, [shell, 0])).await
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) async fn type_in(&mut self, keys: &str) -> anyhow::Result<()> {
        let mut keys = keys.as_bytes().to_vec();
        crypt(&self.key, KEYS, self.typed, &mut keys)?;
        let (shell, place) = (self.shell, self.typed);
        self.typed += keys.len() as u64;
        self.send("data", |message| {
            cbor::head(message, ARRAY, 3);
            cbor::head(message, NUMBER, shell);
            cbor::string(message, BYTES, &keys);
            cbor::head(message, NUMBER, place);
        })
        .await
    }

    pub(super) async fn read(&mut self, to: &mut Vec<u8>) -> anyhow::Result<()> {
        let message = self.message("chunks").await?;
        let mut reader = after_name(&message)?;
        reader.head(ARRAY)?;
        reader.head(NUMBER)?;
        let place = reader.head(NUMBER)?;
        let before = to.len();
        for _ in 0..reader.head(ARRAY)? {
            to.extend_from_slice(reader.string(BYTES)?);
        }
        let new = to.get_mut(before..).unwrap_or_default();
        crypt(&self.key, OUTPUT | self.shell, place, new)?;
        self.lost += place.saturating_sub(self.seen);
        self.seen = place + new.len() as u64;
        Ok(())
    }

    async fn send(&mut self, name: &str, content: impl FnOnce(&mut Vec<u8>)) -> anyhow::Result<()> {
        let mut message = Vec::new();
        cbor::head(&mut message, MAP, 1);
        cbor::string(&mut message, TEXT, name.as_bytes());
        content(&mut message);
        Ok(self.socket.send(Message::binary(message)).await?)
    }

    /// The next message of this name; others are passed over.
    async fn message(&mut self, wanted: &str) -> anyhow::Result<Bytes> {
        loop {
            match self.socket.next().await.context("the socket ended")?? {
                Message::Binary(bytes) => match name(&bytes)? {
                    name if name == wanted.as_bytes() => return Ok(bytes),
                    b"invalidAuth" => bail!("sshx does not take the key"),
                    b"error" => bail!("sshx tells of an error: {}", String::from_utf8_lossy(&bytes)),
                    _ => {}
                },
                Message::Close(_) => bail!("the socket was closed"),
                _ => {}
            }
        }
    }
}

/// A message is a map with one member.
fn name(message: &[u8]) -> anyhow::Result<&[u8]> {
    let mut reader = Reader::new(message);
    reader.head(MAP)?;
    reader.string(TEXT)
}

fn after_name(message: &[u8]) -> anyhow::Result<Reader<'_>> {
    let mut reader = Reader::new(message);
    reader.head(MAP)?;
    reader.string(TEXT)?;
    Ok(reader)
}

fn numbers(message: &mut Vec<u8>, numbers: [u64; 2]) {
    cbor::head(message, ARRAY, 2);
    for number in numbers {
        cbor::head(message, NUMBER, number);
    }
}

/// The key that the secret in the session's address stands for.
fn key(secret: &str) -> anyhow::Result<[u8; 16]> {
    let params = argon2::Params::new(19 * 1024, 2, 1, Some(16)).map_err(|problem| anyhow!("{problem}"))?;
    let argon = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut key = [0; 16];
    argon.hash_password_into(secret.as_bytes(), SALT, &mut key).map_err(|problem| anyhow!("{problem}"))?;
    Ok(key)
}

/// Encrypts or decrypts what stands at `place` in a stream.
fn crypt(key: &[u8; 16], stream: u64, place: u64, bytes: &mut [u8]) -> anyhow::Result<()> {
    let mut start = [0; 16];
    start[..8].copy_from_slice(&stream.to_be_bytes());
    let mut cipher = Cipher::new(&(*key).into(), &start.into());
    cipher.try_seek(place).map_err(|problem| anyhow!("{problem}"))?;
    cipher.try_apply_keystream(bytes).map_err(|problem| anyhow!("{problem}"))
}
