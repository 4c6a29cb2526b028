//! More connections than there are places: health is answered all the same, and who asks nothing does not stay.

use std::time::Duration;

use catalyst_proxy::server::ConnectionLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::serving::{ORIGIN, PATIENCE, Server, settings, vm};

/// What the server answers to a request on a connection of its own.
async fn asked(server: &Server, path: &str) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.expect("no answer").unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

/// Connections that have begun a request and do not go on.
async fn slow(server: &Server, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /api/ideas HTTP/1.1\r\n").await.unwrap();
        streams.push(stream);
    }
    streams
}

#[tokio::test]
async fn whoever_holds_every_place_does_not_keep_health_from_being_answered() {
    let sshd = vm().await;
    let limits = ConnectionLimits {
        connections: 8,
        reserve: 4,
        first_request: Duration::from_secs(60),
        in_reserve: Duration::from_millis(300),
    };
    let server = Server::start_within(&settings(&sshd), limits).await;
    let slow = slow(&server, 40).await;
    for path in ["/livez", "/readyz", "/api/health"] {
        let answer = asked(&server, path).await;
        assert!(answer.starts_with("HTTP/1.1 200") || answer.contains("\"degraded\""), "{path}: {answer}");
    }
    let answer = asked(&server, "/api/ideas").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("Too many connections"), "{answer}");
    assert!(answer.contains("connection: close") && answer.contains("x-frame-options"), "{answer}");
    drop(slow);
    until_there_is_room(&server).await;
}

#[tokio::test]
async fn an_open_socket_holds_its_place_until_it_is_closed() {
    let sshd = vm().await;
    let limits = ConnectionLimits { connections: 4, ..ConnectionLimits::default() };
    let server = Server::start_within(&settings(&sshd), limits).await;
    let cookie = server.sign_in().await;
    let mut sockets = Vec::new();
    let refused = loop {
        match server.try_socket(&cookie, Some(ORIGIN)).await {
            Ok(socket) => sockets.push(socket),
            Err(status) => break status,
        }
        assert!(sockets.len() <= 4, "sockets are not counted");
    };
    // The test's own client may keep a connection, too.
    assert!(refused == 503 && sockets.len() >= 3, "{refused} after {}", sockets.len());
    assert!(asked(&server, "/livez").await.starts_with("HTTP/1.1 200"));
    drop(sockets);
    until_there_is_room(&server).await;
}

async fn until_there_is_room(server: &Server) {
    let room = async { while asked(server, "/api/ideas").await.starts_with("HTTP/1.1 503") {} };
    tokio::time::timeout(PATIENCE, room).await.expect("the places are not given back");
}

#[tokio::test]
async fn who_asks_nothing_does_not_stay_and_who_has_asked_does() {
    let sshd = vm().await;
    let limits = ConnectionLimits { first_request: Duration::from_secs(2), ..ConnectionLimits::default() };
    let server = Server::start_within(&settings(&sshd), limits).await;
    let mut silent = slow(&server, 1).await.remove(0);
    let mut asked = TcpStream::connect(server.address).await.unwrap();
    let request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut answer = vec![0; 4096];
    asked.write_all(request).await.unwrap();
    assert!(asked.read(&mut answer).await.unwrap() > 0);
    let ended = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_ok(), "it stays though it asks nothing");
    // Long after its own first request would have been too late.
    tokio::time::sleep(Duration::from_millis(300)).await;
    asked.write_all(request).await.unwrap();
    assert!(asked.read(&mut answer).await.unwrap() > 0);
}
