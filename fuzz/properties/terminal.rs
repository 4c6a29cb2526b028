//! What a browser may send on a terminal's socket, and places as they are written.

use catalyst_proxy::agent::Seq;
use catalyst_proxy::terminal::protocol::{Control, Notice, decode};
use serde_json::Value;

/// Panics where it does not hold.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(seq) = text.parse::<Seq>() {
        assert_eq!(seq.to_string().parse(), Ok(seq));
    }
    match decode(text) {
        Ok(control) => {
            let sent: Value = serde_json::from_str(text).expect("what is no JSON was taken for a message");
            assert!(sent.is_object(), "what is no object was taken for a message");
            if let Control::Open { size, .. } | Control::Resize(size) = &control {
                assert!((1..=1000).contains(&size.columns) && (1..=500).contains(&size.rows), "{size:?}");
            }
            assert_eq!(decode(text), Ok(control));
        }
        Err(error) => {
            assert!(error.len() < 200 && error.chars().all(|letter| !letter.is_control()), "{error}");
            let notice = Notice::Error { error, reason: None, retry: None }.encode();
            serde_json::from_str::<Value>(&notice).unwrap();
        }
    }
}
