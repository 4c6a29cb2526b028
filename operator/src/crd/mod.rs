//! The resource API: `CatalystInstance` (`catalyst.dev/v1alpha1`), its schema, and what is generated from it.
//!
//! These types say what a user may write and what the API server checks. They hold no decision: defaults are resolved
//! and everything is checked once more in [`crate::validate`], because an object may predate the schema that is installed.

#[expect(unreachable_pub, reason = "KubeSchema copies each struct, visibility included, into a private place")]
mod exposure;
mod manifest;
#[expect(unreachable_pub, reason = "KubeSchema copies each struct, visibility included, into a private place")]
mod network_policy;
mod reference;
mod rules;
mod scalars;
#[expect(unreachable_pub, reason = "KubeSchema copies each struct, visibility included, into a private place")]
mod spec;
#[expect(unreachable_pub, reason = "KubeSchema copies each struct, visibility included, into a private place")]
mod status;
#[expect(unreachable_pub, reason = "KubeSchema copies each struct, visibility included, into a private place")]
mod workload;

pub use exposure::{
    GatewaySpec, IngressSpec, IngressTlsSpec, IssuerKind, IssuerSpec, ParentRefSpec, ServiceSpec, ServiceType,
};
pub use manifest::{all, manifests, spec_schema};
pub use network_policy::{EgressProtocol, EgressSpec, NetworkPolicySpec};
pub use reference::reference_markdown;
pub use scalars::{PortValue, QuantityValue};
pub use spec::{CatalystInstance, CatalystInstanceSpec, ImageSpec, JumpSpec, PullPolicy, SecretsSpec, SshSpec};
pub use status::{CatalystInstanceStatus, HostKeyRecord, RolloutRecord};
pub use workload::{
    EntryRefSpec, EnvSourceSpec, EnvVarSpec, HttpGetSpec, ProbeSpec, ResourcesSpec, SecurityContextSpec, TolerationSpec,
};

/// The API group of every kind of ours.
pub const GROUP: &str = "catalyst.dev";
/// The version that is stored and served.
pub const VERSION: &str = "v1alpha1";
/// The kind that users write.
pub const KIND: &str = "CatalystInstance";
/// The longest `metadata.name` that is accepted, in characters. The longest name derived from it is `NAME-known-hosts`
/// (12 more), which has to stay within the 63 characters of a label.
pub const MAX_NAME_LENGTH: usize = 52;

/// Annotation on an instance: while it is there (and not `"false"`), the operator changes nothing and only writes status.
pub const PAUSED_ANNOTATION: &str = "catalyst.dev/paused";

/// Whether this value of [`PAUSED_ANNOTATION`] pauses: whoever writes "yes" or "1" wants no change, and is not to be surprised by one.
#[must_use]
pub fn pauses(value: &str) -> bool {
    value != "false"
}
/// Annotation on an instance: each new value has the generated SSH key replaced, once the VM accepts the new one.
pub const ROTATE_SSH_KEY_ANNOTATION: &str = "catalyst.dev/rotate-ssh-key";
/// Annotation on an instance: each new value has the generated secret with which people sign in replaced; everyone is signed out.
pub const ROTATE_CATALYST_SECRET_ANNOTATION: &str = "catalyst.dev/rotate-catalyst-secret";
/// Annotation on an instance: each new value has the generated secret that signs cookies replaced; nobody is signed out.
pub const ROTATE_COOKIE_SECRET_ANNOTATION: &str = "catalyst.dev/rotate-cookie-secret";
/// Annotation on an instance: the SHA256 fingerprint of the changed host key that a person has decided to trust.
pub const TRUST_HOST_KEY_ANNOTATION: &str = "catalyst.dev/trust-host-key";
