//! The server in the pod: web UI, REST and WebSocket in front of Claude Code on a dev-VM reached over SSH.
//!
//! A frame's way is straight: `websocket` → `protocol` → `run` → `remote` → the crate `catalyst_ssh`, and back by
//! bounded channels. `agent` is pure translation beside it; only `args` reads the environment.

pub mod agent;
pub mod remote;
pub mod run;
