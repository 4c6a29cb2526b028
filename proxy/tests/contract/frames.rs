//! What a viewer asks for, and what it is told of runs.

use serde_json::{Value, json};

use crate::serving::{Server, Socket};

impl Server {
    /// A socket that is told of an idea's runs from the first on.
    pub async fn watching(&self, slug: &str) -> Socket {
        let mut socket = self.socket().await;
        socket.send(json!({"type": "subscribe", "ideaId": slug, "run": 1})).await;
        let start = socket.next().await.unwrap();
        assert_eq!(start["type"], "subscribed", "{start}");
        socket
    }
}

pub async fn chat(socket: &mut Socket, slug: &str, text: &str) {
    socket.send(json!({"type": "chat", "ideaId": slug, "message": text})).await;
}

/// All texts together.
pub fn text(frames: &[Value]) -> String {
    frames.iter().filter(|frame| frame["type"] == "claude:text").map(|frame| frame["text"].as_str().unwrap()).collect()
}

/// What the stand-in for claude says to `ticks COUNT`.
pub fn ticks(count: usize) -> String {
    (0..count).map(|tick| format!("tick{tick} ")).collect()
}

/// Where a frame stands in its run's log: offset and sub-index.
pub fn place(frame: &Value) -> (u64, u64) {
    let (offset, sub) = frame["seq"].as_str().unwrap().split_once('.').unwrap();
    (offset.parse().unwrap(), sub.parse().unwrap())
}
