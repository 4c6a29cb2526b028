//! The server in the pod: web UI, REST and WebSocket in front of Claude Code on a dev-VM reached over SSH.
//!
//! A frame's way is straight: `websocket` → `protocol` → `run` → `remote` → the crate `catalyst_ssh`, and back by
//! bounded channels. `agent` is pure translation beside it; only `args` reads the environment.

pub mod agent;
pub mod api;
pub mod app;
pub mod args;
pub mod assets;
pub mod audit;
pub mod auth;
pub mod check;
pub mod descriptors;
pub mod dial;
pub mod error;
pub mod health;
pub mod inbound;
pub mod metrics;
pub mod observer;
pub mod origin;
pub mod protocol;
pub mod receiving;
pub mod remote;
pub mod run;
pub mod server;
pub mod settings;
pub mod telemetry;
pub mod terminal;
pub mod tools;
pub mod websocket;
