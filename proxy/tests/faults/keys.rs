//! Keys that are changed while an answer comes.

use catalyst_ssh::generate_ed25519;

use crate::frames::{chat, text, ticks};
use crate::serving::Server;
use crate::{assert_leaves_nothing, assert_said_by_the_log, error, vm};

#[tokio::test]
async fn a_key_that_is_rotated_in_mid_answer_costs_nothing() {
    let (sshd, settings) = vm().await;
    let server = Server::start(&settings).await;
    let slug = server.idea("Rotated").await;
    let mut socket = server.watching(&slug).await;
    chat(&mut socket, &slug, "ticks 60 0.05").await;
    let mut frames = socket.until("claude:text").await;
    let fresh = generate_ed25519("fresh").unwrap();
    std::fs::write(sshd.authorized_keys_path(), format!("{}\n", fresh.public_openssh)).unwrap();
    std::fs::write(sshd.key_path(), &fresh.private_openssh).unwrap();
    assert!(sshd.kill_sessions() > 0);
    frames.extend(socket.until("claude:result").await);
    assert_eq!(text(&frames), ticks(60));
    assert!(!frames.iter().any(|frame| frame["type"] == "claude:error"), "{frames:#?}");
    assert_said_by_the_log(&sshd, &slug, &frames);
    assert_leaves_nothing(server, &sshd, &slug).await;
}

#[tokio::test]
async fn a_host_key_that_changes_in_mid_answer_is_told_and_the_answer_goes_on_once_it_is_trusted() {
    let (mut sshd, settings) = vm().await;
    let server = Server::start(&settings).await;
    let slug = server.idea("Reinstalled").await;
    let mut socket = server.watching(&slug).await;
    chat(&mut socket, &slug, "ticks 100 0.05").await;
    let mut frames = socket.until("claude:text").await;
    sshd.stop();
    sshd.replace_host_key().unwrap();
    sshd.start_again().await.unwrap();
    frames.extend(socket.until("claude:error").await);
    let told = error(&frames).to_owned();
    assert!(told.contains("host key") && told.contains("has changed") && told.contains("trust the new key"), "{told}");
    frames.pop();
    std::fs::write(settings.ssh.known_hosts.as_ref().unwrap(), sshd.known_hosts_text()).unwrap();
    frames.extend(socket.until("claude:result").await);
    assert_eq!(text(&frames), ticks(100));
    assert_said_by_the_log(&sshd, &slug, &frames);
    assert_leaves_nothing(server, &sshd, &slug).await;
}
