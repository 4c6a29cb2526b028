//! The server under test on an ephemeral port, the VM behind it, and a client that is signed in.

use std::net::SocketAddr;
use std::time::Duration;

use catalyst_proxy::app::{App, AppState};
use catalyst_proxy::health::Timing;
use catalyst_proxy::origin::Origin;
use catalyst_proxy::protocol::ALIVE;
use catalyst_proxy::server::{self, ConnectionLimits};
use catalyst_proxy::settings::{KeySource, Secret, Settings, SshSettings, TerminalMode, WebSettings};
use catalyst_ssh::testing::{TestSshd, TestSshdOptions};
use futures::{SinkExt, StreamExt};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::error::Elapsed;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;

pub const ORIGIN: &str = "https://catalyst.example.com";
pub const SECRET: &str = "the-shared-secret-of-the-test";
/// Longer than anything here takes; a test that needs it has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A VM with the scripted `claude` on its PATH.
pub async fn vm() -> TestSshd {
    vm_with(TestSshdOptions::default()).await
}

/// The same with other options.
pub async fn vm_with(options: TestSshdOptions) -> TestSshd {
    let claude = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stage");
    let path = format!("{claude}:/usr/local/bin:/usr/bin:/bin");
    let environment = vec![("PATH".to_owned(), path)];
    TestSshd::start(TestSshdOptions { environment, ..options }).await
}

/// Settings that lead to the VM.
pub fn settings(sshd: &TestSshd) -> Settings {
    let known_hosts = sshd.home().join("known_hosts-of-the-proxy");
    std::fs::write(&known_hosts, sshd.known_hosts_text()).unwrap();
    let endpoint = sshd.endpoint();
    let nowhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Settings {
        listen: nowhere,
        metrics: None,
        web: WebSettings {
            catalyst_secret: Secret::new(SECRET),
            cookie_secret: Secret::new("the-cookie-secret-of-the-test"),
            cookie_secret_previous: None,
            session_generation: 0,
            secure_cookie: false,
            allowed_origins: vec![Origin::parse(ORIGIN).unwrap()],
            trusted_proxies: Vec::new(),
            identity_header: None,
        },
        ssh: SshSettings {
            host: endpoint.host,
            port: endpoint.port,
            user: endpoint.user,
            jump: None,
            key: KeySource::File(sshd.key_path()),
            known_hosts: Some(known_hosts),
            strict: true,
            max_connections: 3,
        },
        ideas_base_path: "~/catalyst/ideas".to_owned(),
        claude_command: "claude".to_owned(),
        claude_silence: Duration::from_secs(60),
        claude_turn: None,
        approval: Duration::from_secs(3600),
        terminal: TerminalMode::Auto,
        terminal_recording: None,
    }
}

/// A running server; told to end when dropped.
pub struct Server {
    pub address: SocketAddr,
    pub app: App,
    pub cookie: String,
    pub ended: JoinHandle<()>,
    http: reqwest::Client,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.app.draining.cancel();
    }
}

impl Server {
    /// Started, and signed in to.
    pub async fn start(settings: &Settings) -> Server {
        let mut server = Server::start_signed_out(settings).await;
        server.cookie = server.sign_in().await;
        server
    }

    /// Started only.
    pub async fn start_signed_out(settings: &Settings) -> Server {
        Server::start_within(settings, ConnectionLimits::default()).await
    }

    /// Started only, with other bounds of connections.
    pub async fn start_within(settings: &Settings, limits: ConnectionLimits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let timing = Timing { interval: Duration::from_millis(250), deadline: Duration::from_millis(1000) };
        let app = AppState::start(settings, timing, CancellationToken::new());
        let ended = tokio::spawn(server::serve_within(limits, listener, app.clone()));
        Server { address, app, cookie: String::new(), ended, http: reqwest::Client::new() }
    }

    /// The Cookie header of a new session.
    pub async fn sign_in(&self) -> String {
        let response = self.call(Method::POST, "/api/login").body(format!(r#"{{"secret":"{SECRET}"}}"#)).send();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        let set = response.headers()["set-cookie"].to_str().unwrap().to_owned();
        set.split(';').next().unwrap().to_owned()
    }

    /// A request as the client in the browser makes it.
    pub fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("http://{}{path}", self.address))
            .header("origin", ORIGIN)
            .header("cookie", &self.cookie)
            .header("content-type", "application/json")
            .timeout(PATIENCE)
    }

    /// Status and JSON of a call.
    pub async fn json(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut call = self.call(method, path);
        if let Some(body) = body {
            call = call.body(body.to_string());
        }
        read(call.send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.json(Method::GET, path, None).await
    }

    /// A new idea's slug.
    pub async fn idea(&self, title: &str) -> String {
        let body = serde_json::json!({"title": title, "content": "Some text."});
        let (status, answer) = self.json(Method::POST, "/api/ideas", Some(body)).await;
        assert_eq!(status, 201, "{answer}");
        answer["data"]["slug"].as_str().unwrap().to_owned()
    }

    /// Waits until /api/health answers so.
    pub async fn until_health(&self, status: u16) -> Value {
        let waiting = async {
            loop {
                let (now, body) = self.get("/api/health").await;
                if now == status && body["reason"] != "Checking" {
                    return body;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("health never answered {status}"))
    }

    /// A WebSocket as the client in the browser opens it.
    pub async fn socket(&self) -> Socket {
        self.try_socket(&self.cookie, Some(ORIGIN)).await.unwrap()
    }

    /// The status with which the upgrade is refused.
    pub async fn try_socket(&self, cookie: &str, origin: Option<&str>) -> Result<Socket, u16> {
        let origin = origin.map(|origin| ("origin", origin));
        self.try_socket_with(&[&[("cookie", cookie)], origin.as_slice()].concat()).await
    }

    /// The same with these headers.
    pub async fn try_socket_with(&self, headers: &[(&'static str, &str)]) -> Result<Socket, u16> {
        let mut request = format!("ws://{}/ws", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((stream, _)) => Ok(Socket(stream)),
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }
}

/// Status and JSON of an answer; every answer of the interface must be JSON.
pub async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} is not JSON: {text:?}")))
}

/// An open WebSocket.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub async fn send(&mut self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    pub async fn send_text(&mut self, text: &str) {
        self.send_message(Message::text(text)).await;
    }

    pub async fn send_message(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    /// The first bytes of a text frame that claims this length; false if the server has closed the socket meanwhile.
    pub async fn send_beginning_of_frame(&mut self, length: u64, sent: usize) -> bool {
        let mut frame = vec![0x81, 0x80 | 127];
        frame.extend(length.to_be_bytes());
        frame.resize(frame.len() + 4 + sent, 0);
        self.send_rest_of_frame(&frame).await
    }

    /// More of it.
    pub async fn send_rest_of_frame(&mut self, bytes: &[u8]) -> bool {
        self.0.get_mut().write_all(bytes).await.is_ok()
    }

    /// The next message; `None` when the server closed the socket.
    pub async fn next(&mut self) -> Option<Value> {
        self.next_in_time().await.expect("the server sends nothing")
    }

    async fn next_in_time(&mut self) -> Result<Option<Value>, Elapsed> {
        let message = async {
            loop {
                match self.0.next().await {
                    // A sign of life is no message: without it, too, whoever waits gives up in time.
                    Some(Ok(Message::Text(text))) if text == ALIVE => {}
                    Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(other)) => panic!("{other:?}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, message).await
    }

    /// The next message of one of these types.
    pub async fn until_any(&mut self, kinds: &[&str]) -> Value {
        loop {
            let message = self.next().await.unwrap_or_else(|| panic!("closed before any of {kinds:?}"));
            if kinds.iter().any(|kind| message["type"] == *kind) {
                return message;
            }
        }
    }

    /// Messages up to and including the first of this type.
    pub async fn until(&mut self, kind: &str) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let message = self.next_in_time().await.unwrap_or_else(|_| panic!("no {kind} comes after {all:#?}"));
            let message = message.unwrap_or_else(|| panic!("closed before {kind}: {all:#?}"));
            let found = message["type"] == kind;
            all.push(message);
            if found {
                return all;
            }
        }
    }
}
