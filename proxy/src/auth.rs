//! Sign-in: the shared secret gives a signed cookie; who asks, and how often they may be wrong.

pub mod address;
pub mod cookie;
pub mod limiter;
pub mod revocation;

#[cfg(test)]
pub(crate) mod testing {
    use crate::origin::Origin;
    use crate::settings::{Secret, WebSettings};

    /// Settings of a test with the given origins.
    pub(crate) fn web_settings(origins: &[&str]) -> WebSettings {
        WebSettings {
            catalyst_secret: Secret::new("the-shared-secret-of-the-test"),
            cookie_secret: Secret::new("the-cookie-secret-of-the-test"),
            cookie_secret_previous: None,
            session_generation: 0,
            secure_cookie: false,
            allowed_origins: origins.iter().filter_map(|origin| Origin::parse(origin)).collect(),
            trusted_proxies: Vec::new(),
            identity_header: None,
        }
    }
}
