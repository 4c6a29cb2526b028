//! The Catalyst operator: reconciles `CatalystInstance` resources into everything that a Catalyst server needs, and says
//! in `status` what is wrong and what to do.
//!
//! One pipeline, one step a file: `controller` → `reconcile` → `fetch` → [`validate`] → [`build`] → `apply` → `status`.
//! Of these only fetch, apply and the status patch hold a client; the rest is pure.

pub mod admin;
pub mod apply;
pub mod args;
pub mod backoff;
pub mod build;
pub mod children;
pub mod container;
pub mod controller;
pub mod crd;
pub mod events;
pub mod fetch;
pub mod hex;
pub mod hosts;
pub mod leader;
pub mod live;
pub mod metrics;
pub mod migrate;
pub mod names;
pub mod networks;
pub mod observed;
pub mod offline;
pub mod ownership;
pub mod prober;
pub mod publish;
pub mod reason;
pub mod reconcile;
pub mod rotation;
pub mod secret_uses;
pub mod secrets;
pub mod shown;
pub mod status;
pub mod telemetry;
pub mod triggers;
pub mod trust;
pub mod validate;
pub mod validated;
pub mod versions;
pub mod watches;
pub mod words;
