//! The existing client's calls against the real router, a real sshd and a scripted `claude`: shapes, cookies, order of
//! messages, and what bad input and a VM in trouble look like from outside.

#![expect(unreachable_pub, reason = "what a test file offers the others is public in this binary only")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test, and in what it stands on, a panic is the failure"
)]

mod binary;
mod crowded;
mod edits;
mod faults;
#[allow(dead_code, reason = "other tests of frames stand on it, too")]
mod frames;
mod ideas;
mod project;
mod runs;
mod serving;
mod sign_in;
mod socket;
mod stopping;
mod terminal;
mod trash;
mod web;
