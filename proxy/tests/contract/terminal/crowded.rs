//! A terminal's socket while others send so much that there is no room for what it sends.

use catalyst_proxy::settings::TerminalMode;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::client::{Terminal, eventually, vm};

/// The bytes of all clients that may be on the way.
const ALL: usize = 64 * 1024 * 1024;
/// What is left of them in this test, at most.
const LEFT: usize = 50_000;

/// The first bytes of a frame of 65,535 that has this opcode; more than is left.
async fn begin_a_frame(terminal: &mut Terminal, opcode: u8) {
    let mut frame = vec![0x80 | opcode, 0x80 | 126, 0xff, 0xff];
    frame.resize(60_000, 0);
    terminal.socket.get_mut().write_all(&frame).await.unwrap();
}

#[tokio::test]
async fn who_types_more_than_there_is_room_for_is_told_and_may_come_again() {
    let vm = vm(TerminalMode::Plain).await;
    let mut open = Terminal::open(&vm.server, &vm.slug, json!({})).await;
    let mut others = Vec::new();
    for sent in [15_990_000, 15_990_000, 15_990_000, 15_990_000, 3_135_000] {
        let mut socket = vm.server.socket().await;
        assert!(socket.send_beginning_of_frame(16_000_000, sent).await);
        others.push(socket);
    }
    eventually("what others send has come", || vm.server.app.receiving.bytes() > ALL - LEFT).await;
    // It may also come with its first word.
    let mut unopened = Terminal::unopened(&vm.server, &vm.slug).await;
    for (terminal, opcode) in [(&mut unopened, 1), (&mut open, 2)] {
        begin_a_frame(terminal, opcode).await;
        let error = terminal.until_control("error").await;
        assert!(error["error"].as_str().unwrap().starts_with("Others send very much"), "{error}");
        assert_eq!(error["retry"], true);
        assert_eq!(terminal.until_closed().await, Some(1013));
    }
    drop(others);
    Terminal::open(&vm.server, &vm.slug, json!({})).await;
}
