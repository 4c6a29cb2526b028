//! What the API server says when it refuses or fails, in its own words.

/// The API server's own words, or the error's.
#[must_use]
pub fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}
