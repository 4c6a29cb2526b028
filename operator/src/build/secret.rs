//! The Secrets that the operator generates. They are created by POST, never applied, never updated: random material goes in
//! as an argument, so building stays pure.

use k8s_openapi::api::core::v1::Secret;

use crate::validated::ValidatedInstance;

/// Entry of the application Secret with which people sign in.
pub const CATALYST_SECRET: &str = "CATALYST_SECRET";
/// Entry of the application Secret from which cookie keys are derived.
pub const COOKIE_SECRET: &str = "COOKIE_SECRET";

/// `NAME-secrets` with two fresh values.
pub fn app_secret(instance: &ValidatedInstance, catalyst_secret: String, cookie_secret: String) -> Secret {
    let _ = (instance, catalyst_secret, cookie_secret);
    Secret::default()
}

/// `NAME-ssh-key` with a fresh key pair, both halves in OpenSSH's formats.
pub fn ssh_key(instance: &ValidatedInstance, private_openssh: String, public_openssh: String) -> Secret {
    let _ = (instance, private_openssh, public_openssh);
    Secret::default()
}
