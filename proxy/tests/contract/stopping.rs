use std::time::{Duration, Instant};

use catalyst_proxy::observer::reference;
use catalyst_proxy::run::Mode;

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
