use std::time::{Duration, Instant};

use catalyst_proxy::observer::reference;
use catalyst_proxy::run::Mode;
use futures::SinkExt;
use tokio::net::TcpSocket;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::serving::{ORIGIN, Server, settings, vm};

#[tokio::test]
async fn open_sockets_are_told_and_the_server_ends_though_they_stay() {
    let sshd = vm().await;
    let mut server = Server::start(&settings(&sshd)).await;
    let mut socket = server.socket().await;
    let began = Instant::now();
    server.app.draining.cancel();
    assert_eq!(socket.until("server:draining").await.len(), 1);
    assert_eq!(server.get("/readyz").await.0, 503);
    assert_eq!(server.try_socket(&server.cookie, Some(ORIGIN)).await.err(), Some(503));
    assert_eq!(socket.next().await, None);
    tokio::time::timeout(Duration::from_secs(10), &mut server.ended).await.expect("the server does not end").unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_client_that_takes_nothing_does_not_hold_up_the_end() {
    let sshd = vm().await;
    let mut server = Server::start(&settings(&sshd)).await;
    let mut request = format!("ws://{}/ws", server.address).into_client_request().unwrap();
    request.headers_mut().insert("cookie", server.cookie.parse().unwrap());
    request.headers_mut().insert("origin", ORIGIN.parse().unwrap());
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(server.address).await.unwrap();
    let (mut deaf, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    // Each is answered, until answers have no room on the way; then the server reads no further.
    let nonsense = "x".repeat(1000);
    while let Ok(sent) = tokio::time::timeout(Duration::from_secs(1), deaf.send(Message::text(nonsense.clone()))).await
    {
        sent.unwrap();
    }
    let began = Instant::now();
    server.app.draining.cancel();
    tokio::time::timeout(Duration::from_secs(20), &mut server.ended).await.expect("the server does not end").unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_runs_told_of_last_is_written_before_the_server_ends() {
    let sshd = vm().await;
    let mut server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Last words").await;
    let idea = server.app.ideas.get(&slug).await.unwrap();
    server.app.draining.cancel();
    server.app.observer.turn_accepted(&reference(&idea), Mode::Chat);
    tokio::time::timeout(Duration::from_secs(10), &mut server.ended).await.expect("the server does not end").unwrap();
    let meta = std::fs::read_to_string(sshd.home().join(format!("catalyst/ideas/{slug}/meta.json"))).unwrap();
    assert!(meta.contains(r#""status":"chatting""#), "{meta}");
}
