//! What the API server answers: what a person must mend, told apart from what passes by itself.

use crate::{reason::Reason, validated::Finding};

/// Why a pass could not be brought to its end and is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server, or the way to it, failed.
    #[error("{kind} {name} could not be written: {}", crate::words::words(source))]
    Api {
        /// The object's kind.
        kind: String,
        /// Its name.
        name: String,
        /// What came back.
        #[source]
        source: Box<kube::Error>,
    },
    /// Somebody else created an object of that name between our look and our write.
    #[error("{kind} {name} exists and is not ours")]
    Foreign {
        /// The object's kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A manifest of ours is no JSON: a bug.
    #[error("a manifest cannot be encoded: {0}")]
    Encode(#[from] serde_json::Error),
}

impl ApplyError {
    /// Wraps what a write came back with.
    #[must_use]
    pub fn new(kind: &str, name: &str, source: kube::Error) -> Self {
        Self::Api { kind: kind.to_owned(), name: name.to_owned(), source: Box::new(source) }
    }
}

/// The finding for a write that was refused for good; `None`: it may succeed later (conflict, throttling, network, a
/// namespace that is going away).
#[must_use]
pub fn refusal(kind: &str, name: &str, error: &kube::Error) -> Option<Finding> {
    let kube::Error::Api(status) = error else { return None };
    let words = status.message.trim();
    if !matches!(status.code, 400 | 403 | 405 | 413 | 415 | 422) || words.contains("is being terminated") {
        return None;
    }
    let reason = if kind == "Ingress" && words.contains("configuration-snippet") {
        Reason::ConfigurationSnippetRejected
    } else if kind == "Ingress" && words.contains("is already defined in ingress") {
        Reason::HostConflict
    } else {
        Reason::ApplyRefused
    };
    let words: String = words.chars().take(600).collect();
    let message = format!("{kind} {name} was refused: {words}. {}", reason.remedy());
    Some(Finding { reason, field: None, message })
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn api(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Status::failure(message, "X").with_code(code).boxed())
    }

    #[test]
    fn what_a_webhook_of_ingress_nginx_says_becomes_its_reason() {
        let snippet = "admission webhook \"validate.nginx.ingress.kubernetes.io\" denied the request: \
                       nginx.ingress.kubernetes.io/configuration-snippet annotation cannot be used";
        let host =
            "admission webhook denied the request: host \"a.b\" and path \"/\" is already defined in ingress x/y";
        assert_eq!(refusal("Ingress", "x", &api(400, snippet)).unwrap().reason, Reason::ConfigurationSnippetRejected);
        assert_eq!(refusal("Ingress", "x", &api(400, host)).unwrap().reason, Reason::HostConflict);
        assert_eq!(refusal("Service", "x", &api(422, "port")).unwrap().reason, Reason::ApplyRefused);
    }

    #[test]
    fn what_may_pass_is_no_finding() {
        for code in [404, 409, 429, 500, 503] {
            assert!(refusal("Service", "x", &api(code, "later")).is_none(), "{code}");
        }
        assert!(refusal("Service", "x", &api(403, "namespace x is being terminated")).is_none());
    }
}
