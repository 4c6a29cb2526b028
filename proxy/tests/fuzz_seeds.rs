//! What `make fuzz` looks for with a nightly compiler, asked here of the inputs that are kept: those that it begins with, and those that once
//! failed. Each also cut off anywhere and with each of its bytes changed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(unreachable_pub, reason = "the properties are shared with the crate in fuzz")]

#[path = "../../fuzz/properties/frames.rs"]
mod frames;
#[path = "../../fuzz/properties/known_hosts.rs"]
mod known_hosts;
#[path = "../../fuzz/properties/paths.rs"]
mod paths;
#[path = "../../fuzz/properties/sign_in.rs"]
mod sign_in;
#[path = "../../fuzz/properties/stream_json.rs"]
mod stream_json;
#[path = "../../fuzz/properties/terminal.rs"]
mod terminal;

use std::path::Path;

/// Beyond it only the seed itself is asked, since the variants of a long one take minutes; so do those with what `stream_json` takes for much.
const VARIED: usize = 400;
const MUCH: u8 = 2;

fn ask(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let mut asked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let seed = std::fs::read(&path).unwrap();
        // Shown when it fails.
        println!("{}", path.display());
        check(&seed);
        asked += 1;
        if seed.len() > VARIED || seed.contains(&MUCH) {
            continue;
        }
        for at in 0..seed.len() {
            check(&seed[..at]);
            let mut changed = seed.clone();
            for other in [b'"', b'\\', b'\n', 0, 0xff, changed[at] ^ 1] {
                changed[at] = other;
                check(&changed);
            }
        }
    }
    assert!(asked > 3, "{target} has no seeds");
}

#[test]
fn frames_hold_for_the_kept_inputs() {
    ask("frames", frames::check);
}

#[test]
fn known_hosts_holds_for_the_kept_inputs() {
    ask("known_hosts", known_hosts::check);
}

#[test]
fn paths_hold_for_the_kept_inputs() {
    ask("paths", paths::check);
}

#[test]
fn sign_in_holds_for_the_kept_inputs() {
    ask("sign_in", sign_in::check);
}

#[test]
fn stream_json_holds_for_the_kept_inputs() {
    ask("stream_json", stream_json::check);
}

#[test]
fn terminal_holds_for_the_kept_inputs() {
    ask("terminal", terminal::check);
}
