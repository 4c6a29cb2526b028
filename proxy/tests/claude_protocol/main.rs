//! What the product relies on of the Claude Code CLI, held against the real one (`catalyst_lab::claude::VERSION`).
//! A bump of that version that changes any of it fails here first.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod ending;
mod permissions;
mod restriction;
mod session;
mod turns;
