//! The Catalyst operator: reconciles `CatalystInstance` resources into everything that a Catalyst server needs, and says
//! in `status` what is wrong and what to do.
//!
//! One pipeline, one step a file: `controller` → `reconcile` → `fetch` → [`validate`] → [`build`] → `apply` → `status`.
//! Of these only fetch, apply and the status patch hold a client; the rest is pure.

pub mod build;
pub mod crd;
pub mod names;
pub mod observed;
pub mod reason;
pub mod validate;
pub mod validated;
