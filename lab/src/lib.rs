//! The lab: what the demo, the end-to-end tests and the benchmarks run on.

mod assignment;
pub mod audit;
mod bridge_filter;
mod certificates;
mod cgroup;
pub mod claude;
mod cluster;
mod command;
mod components;
mod control_plane;
mod daemon;
mod fake_nodes;
pub mod folders;
mod golang;
mod held;
mod image;
mod ingress;
mod inspect;
mod lab;
mod links;
pub mod messages_api;
pub mod network;
mod node;
pub mod parts;
pub mod preflight;
mod progress;
mod readiness;
mod status;
pub mod vm;

pub use audit::{AUDITED_GROUP, Request};
pub use control_plane::{ControlPlane, ControlPlaneOptions};
pub use lab::Lab;
pub use network::Network;
pub use progress::Progress;
pub use status::{PartStatus, Status};
pub use vm::DevVm;
