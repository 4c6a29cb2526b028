//! The whole product on a real cluster with a real dev-VM and a real browser: what the demo and the end-to-end tests share.
//!
//! [`stage::Stage`] is the cluster with the operator, [`instance::Instance`] one instance in it, [`browser::Browser`] the person who uses it.

#![expect(clippy::indexing_slicing, reason = "serde_json's Value answers null for what is not there")]

pub mod answer;
pub mod browser;
pub mod eventually;
pub mod instance;
pub mod load;
pub mod seat;
pub mod stage;
pub mod terminal;
