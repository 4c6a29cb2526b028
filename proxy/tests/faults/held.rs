//! A way to the VM that takes its time: whatever is sent comes 300 ms later in either direction, and in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use catalyst_ssh::testing::TestSshd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::frames::{chat, text, ticks};
use crate::serving::Server;
use crate::{assert_leaves_nothing, assert_said_by_the_log, vm};

const HELD: Duration = Duration::from_millis(300);
/// Pieces that are on their way in one direction at most.
const ON_THE_WAY: usize = 1024;

#[tokio::test]
async fn a_way_that_holds_everything_for_a_while_costs_no_event() {
    let (sshd, mut settings) = vm().await;
    let (port, far) = relay(&sshd).await;
    let known = sshd.known_hosts_text().replace(&format!("]:{} ", settings.ssh.port), &format!("]:{port} "));
    std::fs::write(settings.ssh.known_hosts.as_ref().unwrap(), known).unwrap();
    settings.ssh.port = port;
    let server = Server::start(&settings).await;
    let slug = server.idea("Far away").await;
    let mut socket = server.watching(&slug).await;
    chat(&mut socket, &slug, "ticks 200 0.02").await;
    let mut frames = socket.until("claude:text").await;
    far.store(true, Ordering::Relaxed);
    frames.extend(socket.until("claude:result").await);
    assert_eq!(text(&frames), ticks(200));
    let asked = Instant::now();
    chat(&mut socket, &slug, "and then").await;
    frames.extend(socket.until("claude:result").await);
    assert!(asked.elapsed() > 2 * HELD, "{:?}: nothing is held", asked.elapsed());
    // And who comes now is shown the same.
    let mut late = server.watching(&slug).await;
    let mut shown = late.until("claude:result").await;
    shown.extend(late.until("claude:result").await);
    for frames in [&frames, &shown] {
        assert_eq!(text(frames), ticks(200) + "you said: and then");
        assert!(!frames.iter().any(|frame| frame["type"] == "claude:error"), "{frames:#?}");
        assert_said_by_the_log(&sshd, &slug, frames);
    }
    far.store(false, Ordering::Relaxed);
    assert_leaves_nothing(server, &sshd, &slug).await;
}

/// A port that leads to the VM, and whether it is far away.
async fn relay(sshd: &TestSshd) -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (vm, far) = (sshd.endpoint(), Arc::new(AtomicBool::default()));
    let holds = Arc::clone(&far);
    tokio::spawn(async move {
        loop {
            let (near, _) = listener.accept().await.unwrap();
            let far = TcpStream::connect((vm.host.as_str(), vm.port)).await.unwrap();
            let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
            carry(from_near, to_far, &holds);
            carry(from_far, to_near, &holds);
        }
    });
    (port, far)
}

/// Carries what comes to the other end, each piece when its time is up, and the end behind it.
fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, holds: &Arc<AtomicBool>) {
    let (send, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    let holds = Arc::clone(holds);
    tokio::spawn(async move {
        let mut piece = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            let held = if holds.load(Ordering::Relaxed) { HELD } else { Duration::ZERO };
            if send.send((Instant::now() + held, piece[..length].to_vec())).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        let _gone = to.shutdown().await;
    });
}
