//! Rules that several fields share, in CEL.

/// That `what` is a subdomain as RFC 1123 has it: the name of most objects, or a host. By a pattern and not by
/// `format.dns1123Subdomain()`: kube, which reads the rules where there is no API server, holds each part of it to 63 characters.
pub(super) fn is_subdomain(what: &str) -> String {
    format!("{what}.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')")
}
