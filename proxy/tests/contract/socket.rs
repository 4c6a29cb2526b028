use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::serving::{PATIENCE, Server, Socket, settings, vm};

impl Socket {
    /// Whether the server still answers here.
    pub async fn next_is_open(&mut self) -> bool {
        self.send_text("null").await;
        self.next().await == Some(invalid())
    }

    /// The errors that are told at once of what was sent up to now.
    async fn refusals(&mut self) -> Vec<String> {
        self.send_text("null").await;
        let mut told = Vec::new();
        loop {
            let next = self.until_any(&["claude:error"]).await;
            if next == invalid() {
                return told;
            }
            told.push(next["error"].as_str().unwrap().to_owned());
        }
    }
}

fn invalid() -> Value {
    json!({"type": "claude:error", "ideaId": "", "error": "Invalid message format"})
}

#[tokio::test]
async fn what_is_no_message_is_answered_and_the_socket_stays() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let mut socket = server.socket().await;
    let deep = "[".repeat(200_000);
    let large = format!("\"{}\"", "x".repeat(8 << 20));
    for text in
        ["", "null", "[]", "17", "garbage", "{\"type\":\"rm\"}", "{\"type\":\"chat\",\"ideaId\":7}", &deep, &large]
    {
        socket.send_text(text).await;
        assert_eq!(socket.next().await, Some(invalid()), "{}", &text[..text.len().min(40)]);
    }
    socket.send_message(Message::binary(vec![0, 159, 146, 150])).await;
    assert_eq!(socket.next().await, Some(invalid()));
    assert!(socket.next_is_open().await);
}

#[tokio::test]
async fn a_huge_frame_is_answered_and_one_beyond_all_reason_ends_its_socket_alone() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let (mut huge, mut other) = (server.socket().await, server.socket().await);
    huge.send_text(&"x".repeat(15 << 20)).await;
    assert_eq!(huge.next().await, Some(invalid()));
    assert!(huge.next_is_open().await);
    assert!(huge.send_beginning_of_frame(17 << 20, 64).await);
    let told = huge.next().await.unwrap();
    assert!(told["error"].as_str().unwrap().contains("too large"), "{told}");
    assert_eq!(huge.next().await, None);
    assert!(other.next_is_open().await);
}

#[tokio::test]
async fn what_all_clients_are_sending_is_bounded_in_bytes_and_those_who_came_first_get_theirs_through() {
    const LENGTH: usize = 16_000_000;
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let mut first = Vec::new();
    for _ in 0..4 {
        let mut socket = server.socket().await;
        assert!(socket.send_beginning_of_frame(LENGTH as u64, LENGTH - 1).await);
        first.push(socket);
    }
    let here = async {
        while server.app.receiving.bytes() < 4 * (LENGTH - 20_000) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, here).await.expect("it does not come, or is not counted");
    let mut fifth = server.socket().await;
    // A little more than there is room for.
    assert!(fifth.send_beginning_of_frame(LENGTH as u64, 3_300_000).await);
    let told = fifth.next().await.unwrap();
    assert!(told["error"].as_str().unwrap().starts_with("Others send very much"), "{told}");
    assert_eq!(fifth.next().await, None);
    assert!(server.socket().await.next_is_open().await, "what is short comes through");
    for socket in &mut first {
        assert!(socket.send_rest_of_frame(&[0]).await);
        assert_eq!(socket.next().await, Some(invalid()));
    }
    let mut again = server.socket().await;
    again.send_text(&"x".repeat(LENGTH)).await;
    assert_eq!(again.next().await, Some(invalid()));
    drop(first);
}

#[tokio::test]
async fn an_unknown_idea_is_named_as_the_client_wrote_it() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let mut socket = server.socket().await;
    for id in ["no-such-idea", "..%2f..%2fx", "../../x", "", "a\"b", "💥"] {
        for message in [
            json!({"type": "chat", "ideaId": id, "message": "hi"}),
            json!({"type": "cancel", "ideaId": id}),
            json!({"type": "subscribe", "ideaId": id}),
        ] {
            socket.send(message).await;
            let error = json!({"type": "claude:error", "ideaId": id, "error": format!("Idea not found: {id}")});
            assert_eq!(socket.next().await, Some(error));
        }
    }
}

#[tokio::test]
async fn a_vm_that_is_away_is_told_on_the_socket_which_stays() {
    let mut sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Away").await;
    let mut socket = server.socket().await;
    sshd.stop();
    socket.send(json!({"type": "chat", "ideaId": slug, "message": "hi"})).await;
    let error = socket.until("claude:error").await.pop().unwrap();
    assert_eq!(error["ideaId"], json!(slug));
    assert!(!error["error"].as_str().unwrap().is_empty());
    assert!(error.get("messageId").is_none() && error.get("requestId").is_none(), "{error}");
    // Whoever names what it sends is told what failed.
    for (message, name) in [
        (json!({"type": "chat", "ideaId": slug, "message": "hi", "messageId": "m-1"}), ("messageId", "m-1")),
        (json!({"type": "build", "ideaId": slug, "instructions": "do", "messageId": "m-2"}), ("messageId", "m-2")),
        (json!({"type": "answer", "ideaId": slug, "requestId": "r-1", "decision": "allow"}), ("requestId", "r-1")),
    ] {
        socket.send(message).await;
        let error = socket.until("claude:error").await.pop().unwrap();
        assert_eq!(error[name.0], name.1, "{error}");
    }
    assert!(socket.next_is_open().await);
}

#[tokio::test]
async fn too_many_requests_are_refused_by_name() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Flooded").await;
    let mut socket = server.socket().await;
    sshd.freeze();
    for n in 0..40 {
        let chat = json!({"type": "chat", "ideaId": slug, "message": "hi", "messageId": format!("m-{n}")});
        socket.send(chat).await;
    }
    let error = socket.until("claude:error").await.pop().unwrap();
    assert!(error["error"].as_str().unwrap().starts_with("Too many requests"), "{error}");
    assert!(error["messageId"].as_str().is_some_and(|id| id.starts_with("m-3")), "{error}");
    socket.refusals().await;
    // A stop and an answer wait behind all of them.
    socket.send(json!({"type": "answer", "ideaId": slug, "requestId": "r-1", "decision": "allow"})).await;
    socket.send(json!({"type": "cancel", "ideaId": slug})).await;
    assert_eq!(socket.refusals().await, [""; 0]);
    sshd.thaw();
}

#[tokio::test]
async fn what_many_send_to_a_vm_that_hangs_is_bounded_and_keeps_no_stop_answer_or_look_out() {
    let sshd = vm().await;
    let server = Server::start(&settings(&sshd)).await;
    let slug = server.idea("Loaded").await;
    let message = "w".repeat(6_000_000);
    sshd.freeze();
    let mut sockets = Vec::new();
    // Two of three fit into what a socket may have waiting, and eleven into what all may.
    for (number, sent, first_refused) in [(0, 3, 2), (1, 3, 2), (2, 3, 2), (3, 3, 2), (4, 3, 2), (5, 2, 1)] {
        let mut socket = server.socket().await;
        for at in 0..sent {
            let id = format!("m-{number}-{at}");
            socket.send(json!({"type": "chat", "ideaId": slug, "message": message, "messageId": id})).await;
        }
        for at in first_refused..sent {
            let error = socket.until("claude:error").await.pop().unwrap();
            let told = error["error"].as_str().unwrap();
            assert!(told.starts_with(if number < 5 { "Too much waits" } else { "Others send" }), "{error}");
            assert_eq!(error["messageId"], format!("m-{number}-{at}"));
        }
        sockets.push(socket);
    }
    let mut last = sockets.pop().unwrap();
    // What is left is taken by smaller ones, down to the smallest.
    for length in [100_000, 10_000, 1_000, 100, 1] {
        let mut socket = server.socket().await;
        loop {
            socket.send(json!({"type": "chat", "ideaId": slug, "message": "w".repeat(length)})).await;
            let refused = socket.refusals().await;
            if !refused.is_empty() {
                assert!(refused[0].starts_with("Others send"), "{refused:?}");
                break;
            }
        }
        sockets.push(socket);
    }
    // Stops and answers wait for their turn all the same, of whoever has sent much and of whoever has not.
    for socket in &mut sockets {
        socket.send(json!({"type": "answer", "ideaId": slug, "requestId": "r-1", "decision": "allow"})).await;
        socket.send(json!({"type": "cancel", "ideaId": slug})).await;
        assert_eq!(socket.refusals().await, [""; 0]);
    }
    // So does a page that begins to look, whether it has sent something or not.
    let mut fresh = server.socket().await;
    for socket in [&mut last, &mut fresh] {
        socket.send(json!({"type": "subscribe", "ideaId": slug})).await;
        assert_eq!(socket.refusals().await, [""; 0]);
    }
    sshd.thaw();
    last.until("subscribed").await;
    fresh.until("subscribed").await;
    // What was carried out, or failed, gives its room back.
    let again = async {
        loop {
            last.send(json!({"type": "chat", "ideaId": slug, "message": message, "messageId": "m-again"})).await;
            let all = last.until_any(&["accepted", "claude:error"]).await;
            if all["type"] == "accepted" {
                return;
            }
            assert!(all["error"].as_str().is_some_and(|told| told.starts_with("Others send")), "{all}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE * 2, again).await.expect("the room does not come back");
}
