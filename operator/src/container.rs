//! What the container is held to from both sides: what validation refuses to give away and what building puts in.
//!
//! Facts of the server's image (`catalyst-proxy`, and the existing Catalyst server alike); no decision about an instance.

/// The container's port of web app, REST and WebSocket.
pub const HTTP_PORT: u16 = 3001;
/// What both probes ask by default: 503 while the VM cannot be signed in to.
pub const HEALTH_PATH: &str = "/api/health";
/// The container's port of `/metrics`.
pub const METRICS_PORT: u16 = 9090;
/// Where the host keys are mounted in the container.
pub const KNOWN_HOSTS_FOLDER: &str = "/etc/catalyst/ssh";
/// Entry of the application Secret, and variable, with which people sign in.
pub const CATALYST_SECRET: &str = "CATALYST_SECRET";
/// Entry of the application Secret, and variable, from which cookie keys are derived.
pub const COOKIE_SECRET: &str = "COOKIE_SECRET";
/// Entry of the application Secret, and variable: the COOKIE_SECRET before, with which sessions may still be signed. Optional.
pub const COOKIE_SECRET_PREVIOUS: &str = "COOKIE_SECRET_PREVIOUS";
/// What the server takes as the body of one request, in bytes: an ingress controller that takes less would refuse it first.
pub const BODY_LIMIT: u32 = 2 * 1024 * 1024;

/// Environment that the operator sets, which `extraEnv` therefore must not. The rule of `extraEnv` in the CRD says the same.
const MANAGED_VARIABLES: [&str; 20] = [
    "NODE_ENV",
    "PORT",
    "METRICS_PORT",
    CATALYST_SECRET,
    COOKIE_SECRET,
    COOKIE_SECRET_PREVIOUS,
    "SSH_HOST",
    "SSH_PORT",
    "SSH_USER",
    "SSH_KEY",
    "SSH_KEY_PATH",
    "SSH_KNOWN_HOSTS",
    "SSH_HOST_KEY_CHECK",
    "IDEAS_BASE_PATH",
    "ALLOWED_ORIGINS",
    "PUBLIC_URL",
    "TRUSTED_PROXIES",
    "SSH_JUMP",
    "SESSION_GENERATION",
    "IDENTITY_HEADER",
];

/// Whether the operator sets this variable of the server from other fields.
pub fn is_managed_variable(name: &str) -> bool {
    MANAGED_VARIABLES.contains(&name)
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt as _;

    use super::*;

    #[test]
    fn the_rule_in_the_crd_lists_the_same_variables() {
        let crd = serde_json::to_string(&crate::crd::CatalystInstance::crd()).unwrap();
        let listed = crd.split("!(self in [").nth(1).unwrap().split(']').next().unwrap();
        let listed: Vec<&str> = listed.split(", ").map(|name| name.trim_matches('\'')).collect();
        assert_eq!(listed, MANAGED_VARIABLES);
    }
}
