//! What the binary does without running the controller: show the objects of a manifest (`render`), compare them with a
//! cluster (`diff`), and tell which pods a new version would restart (`upgrade-preview`).
//!
//! Invariant: nothing here writes to a cluster. What is decided is decided by [`crate::validate`], [`crate::build`] and the
//! API server's own dry run; this module reads input and prints.

pub mod cluster;
pub mod diff;
mod input;
mod manifests;
mod paths;
mod render;
mod schema;
mod stand_in;
mod unified;
pub mod upgrade;
mod yaml;

pub use input::{BadInput, Problem, Source, agree, check, read};
pub use manifests::{Manifest, Wanted, wanted};
pub use render::render;
pub(crate) use schema::nearest;
pub use schema::{Fault, faults};
pub use stand_in::{acceptable, ingress_annotations, names_of};
pub(crate) use yaml::to_yaml;
