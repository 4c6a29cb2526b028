//! A server of this test that the API server asks over TLS: a kubelet, or a webhook.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
};

use rustls::{
    ServerConfig, ServerConnection,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// Where it is asked, and by which certificate (PEM) it is known.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) certificate: String,
}

/// Answers until this process ends: `answer` makes the body from the request's line and its body.
pub(crate) fn serve(
    content_type: &'static str,
    answer: impl Fn(&str, &[u8]) -> String + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let (config, answer) = (Arc::new(config), Arc::new(answer));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (config, answer) = (Arc::clone(&config), Arc::clone(&answer));
            // Whoever goes away in the midst of it asks again.
            std::thread::spawn(move || stream.and_then(|stream| one(stream, config, content_type, &*answer)));
        }
    });
    Server { port, certificate: made.cert.pem() }
}

/// One request, one answer.
fn one(
    mut stream: TcpStream,
    config: Arc<ServerConfig>,
    content_type: &str,
    answer: &dyn Fn(&str, &[u8]) -> String,
) -> std::io::Result<()> {
    let mut session = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut tls = rustls::Stream::new(&mut session, &mut stream);
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    let head = loop {
        match request.windows(4).position(|end| end == b"\r\n\r\n") {
            Some(end) if request.len() >= end + 4 + length(&request[..end]) => break end,
            _ => {}
        }
        match tls.read(&mut piece)? {
            0 => return Ok(()),
            read => request.extend_from_slice(&piece[..read]),
        }
    };
    let line = String::from_utf8_lossy(&request[..head]).lines().next().unwrap_or_default().to_owned();
    let body = answer(&line, &request[head + 4..]);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    tls.write_all(format!("{head}{body}").as_bytes())?;
    session.send_close_notify();
    session.complete_io(&mut stream).map(|_| ())
}

/// The length of the body that this head announces.
fn length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let told = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    told.unwrap_or_default()
}
