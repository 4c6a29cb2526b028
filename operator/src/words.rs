//! What the API server says when it refuses or fails, in its own words.

/// The API server's own words, or the error's.
#[must_use]
pub fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

/// The API server's words, if it refuses because the account lacks a right: they name the account, the verb and the resource.
/// Quotas and admission refuse by the same code in other words.
#[must_use]
pub fn missing_right(error: &kube::Error) -> Option<&str> {
    let kube::Error::Api(status) = error else { return None };
    let of_rights = status.message.contains(" cannot ") && status.message.contains(" resource ");
    (status.code == 403 && of_rights).then_some(status.message.as_str())
}
