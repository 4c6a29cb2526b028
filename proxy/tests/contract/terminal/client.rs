//! A VM, a server before it, and a terminal's page as far as the tests need one.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use catalyst_proxy::settings::{Settings, TerminalMode};
use catalyst_ssh::testing::{TestSshd, TestSshdOptions};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::serving::{ORIGIN, PATIENCE, Server, settings};

pub const WINDOW: usize = 256 * 1024;

pub struct Vm {
    pub sshd: TestSshd,
    pub server: Server,
    pub slug: String,
    pub _sockets: tempfile::TempDir,
}

pub async fn vm(mode: TerminalMode) -> Vm {
    vm_with_tmux(mode, true).await
}

/// A VM whose tmux is its own, or does not work; a server before it, and an idea.
pub async fn vm_with_tmux(mode: TerminalMode, works: bool) -> Vm {
    let sockets = tempfile::Builder::new().prefix("catalyst-tmux-").tempdir().unwrap();
    // screen insists on it.
    std::fs::set_permissions(sockets.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    if !works {
        let broken = sockets.path().join("tmux");
        std::fs::write(&broken, "#!/bin/sh\nexit 1\n").unwrap();
        std::fs::set_permissions(&broken, std::fs::Permissions::from_mode(0o755)).unwrap();
        // As on a busy machine: screen goes to the background, and its socket comes later.
        let screen = sockets.path().join("screen");
        let late = "#!/bin/sh\ncase \" $* \" in *' -d -m '*) (sleep 1; exec /usr/bin/screen \"$@\") & exit ;; esac\n\
                    exec /usr/bin/screen \"$@\"\n";
        std::fs::write(&screen, late).unwrap();
        std::fs::set_permissions(&screen, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", sockets.path().display());
    let environment = vec![
        ("SCREENDIR".to_owned(), sockets.path().display().to_string()),
        ("TMUX_TMPDIR".to_owned(), sockets.path().display().to_string()),
        ("PS1".to_owned(), "$ ".to_owned()),
        ("PATH".to_owned(), path),
    ];
    let sshd = TestSshd::start(TestSshdOptions { environment, ..TestSshdOptions::default() }).await;
    let server = Server::start(&Settings { terminal: mode, ..settings(&sshd) }).await;
    let slug = server.idea("Terminals").await;
    Vm { sshd, server, slug, _sockets: sockets }
}

impl Vm {
    pub fn project(&self) -> PathBuf {
        self.sshd.home().join("catalyst/ideas").join(&self.slug).join("project")
    }

    /// A new shell that prints no echo, so that what is awaited is output.
    pub async fn quiet(&self) -> Terminal {
        let mut terminal = Terminal::open(&self.server, &self.slug, json!({})).await;
        terminal.type_in("stty -echo; PS1=; PS2=; echo re''ady\r").await;
        terminal.until("ready").await;
        terminal
    }
}

pub struct Terminal {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub opened: Value,
    /// Everything that was printed.
    pub output: Vec<u8>,
    pub credits: bool,
    pub uncredited: usize,
    pub searched: usize,
}

pub enum Heard {
    Output,
    Control(Value),
    Closed(Option<u16>),
}

impl Terminal {
    pub async fn connect(server: &Server, query: &str, cookie: &str, origin: &str) -> Result<Terminal, u16> {
        let mut request = format!("ws://{}/ws/terminal?{query}", server.address).into_client_request().unwrap();
        request.headers_mut().insert("cookie", cookie.parse().unwrap());
        request.headers_mut().insert("origin", origin.parse().unwrap());
        match tokio_tungstenite::connect_async(request).await {
            Ok((socket, _)) => Ok(Terminal {
                socket,
                opened: Value::Null,
                output: Vec::new(),
                credits: true,
                uncredited: 0,
                searched: 0,
            }),
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }

    /// Connected, nothing sent yet.
    pub async fn unopened(server: &Server, slug: &str) -> Terminal {
        Terminal::connect(server, &format!("idea={slug}&terminal=1"), &server.cookie, ORIGIN).await.unwrap()
    }

    pub async fn open(server: &Server, slug: &str, members: Value) -> Terminal {
        let mut terminal = Terminal::unopened(server, slug).await;
        let mut open = json!({"type": "open", "cols": 80, "rows": 24});
        open.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        terminal.control(open).await;
        terminal.opened = terminal.until_control("opened").await;
        assert_eq!(terminal.opened["window"], WINDOW);
        terminal
    }

    /// Opened again where this one is.
    pub async fn again(self, server: &Server, slug: &str) -> Terminal {
        let after = self.opened["offset"].as_u64().unwrap() + self.output.len() as u64;
        let place = json!({"session": self.opened["session"], "after": after});
        drop(self);
        Terminal::open(server, slug, place).await
    }

    pub async fn control(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    pub async fn type_in(&mut self, keys: &str) {
        self.socket.send(Message::binary(keys.as_bytes().to_vec())).await.unwrap();
    }

    pub async fn hear(&mut self) -> Heard {
        let heard = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Binary(bytes))) => {
                        self.output.extend_from_slice(&bytes);
                        self.uncredited += bytes.len();
                        return Heard::Output;
                    }
                    Some(Ok(Message::Text(text))) => {
                        let value: Value = serde_json::from_str(&text).unwrap();
                        if value["type"] != "alive" && value["type"] != "credit" {
                            return Heard::Control(value);
                        }
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(frame))) => return Heard::Closed(frame.map(|frame| frame.code.into())),
                    Some(Ok(other)) => panic!("{other:?}"),
                    Some(Err(_)) | None => return Heard::Closed(None),
                }
            }
        };
        let heard = tokio::time::timeout(PATIENCE, heard).await;
        let heard = heard.unwrap_or_else(|_| panic!("nothing comes after {:?}", self.tail()));
        if self.credits && self.uncredited >= 32 * 1024 {
            self.credit().await;
        }
        heard
    }

    pub async fn credit(&mut self) {
        let bytes = std::mem::take(&mut self.uncredited);
        self.control(json!({"type": "credit", "bytes": bytes})).await;
    }

    pub fn tail(&self) -> String {
        String::from_utf8_lossy(&self.output[self.output.len().saturating_sub(300)..]).into_owned()
    }

    /// Reads until this was printed, after what was awaited before; where it ends.
    pub async fn until(&mut self, text: &str) -> usize {
        loop {
            let found = self.output[self.searched..].windows(text.len()).position(|window| window == text.as_bytes());
            if let Some(at) = found {
                self.searched += at + text.len();
                return self.searched;
            }
            match self.hear().await {
                Heard::Output => {}
                Heard::Control(value) => panic!("{value} before {text:?}; printed was {:?}", self.tail()),
                Heard::Closed(code) => panic!("closed ({code:?}) before {text:?}; printed was {:?}", self.tail()),
            }
        }
    }

    pub async fn until_control(&mut self, kind: &str) -> Value {
        loop {
            match self.hear().await {
                Heard::Output => {}
                Heard::Control(value) if value["type"] == kind => return value,
                Heard::Control(other) => panic!("{other} in place of {kind}"),
                Heard::Closed(code) => panic!("closed ({code:?}) before {kind}"),
            }
        }
    }

    pub async fn until_closed(&mut self) -> Option<u16> {
        loop {
            if let Heard::Closed(code) = self.hear().await {
                return code;
            }
        }
    }
}

/// Waits until `holds`.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
