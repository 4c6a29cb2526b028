//! The lab: what the demo, the end-to-end tests and the benchmarks run on.

pub mod audit;
mod certificates;
pub mod claude;
mod components;
mod control_plane;
pub mod folders;
mod golang;
pub mod messages_api;
pub mod network;
pub mod parts;
mod progress;
mod readiness;
pub mod vm;

pub use control_plane::{ControlPlane, ControlPlaneOptions};
pub use network::Network;
pub use progress::Progress;
pub use vm::DevVm;
