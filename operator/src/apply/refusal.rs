//! What the API server answers: what a person must mend, told apart from what passes by itself.

use std::collections::BTreeMap;

use crate::{build::SNIPPET, reason::Reason, validated::Finding, words::missing_right};

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
    /// Where we saw no object, the API server says that there is one, or that something else is in the way for now.
    #[error("{kind} {name} could not be created: {}", crate::words::words(source))]
    Unseen {
        /// The object's kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What came back.
        #[source]
        source: Box<kube::Error>,
    },
    /// The object that we saw is not ours. (Validation says so before; this is for whatever it may miss.)
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

/// The finding for a write that was refused for good, or by a webhook that is away, which is no reason to leave the rest undone;
/// `None`: it may succeed with the next try (conflict, throttling, network, a namespace that is going away). `annotations`: those
/// of the object that was to be written.
#[must_use]
pub fn refusal(kind: &str, name: &str, annotations: &BTreeMap<String, String>, error: &kube::Error) -> Option<Finding> {
    let kube::Error::Api(status) = error else { return None };
    let words = status.message.trim();
    let told: String = words.chars().take(600).collect();
    if status.code == 500 && words.contains("failed calling webhook") {
        let reason = Reason::WebhookUnavailable;
        let message = format!("{kind} {name} could not be written: {told}. {}", reason.remedy());
        return Some(Finding { reason, field: None, message });
    }
    if !matches!(status.code, 400 | 403 | 405 | 413 | 415 | 422) || words.contains("is being terminated") {
        return None;
    }
    let snippet = annotations.iter().find(|(key, _)| key.ends_with(SNIPPET_SUFFIX) && is_about(words, key));
    let (reason, remedy) = if let Some((key, value)) = snippet.filter(|_| kind == "Ingress") {
        (Reason::ConfigurationSnippetRejected, without_snippet(key, value))
    } else if kind == "Ingress" && words.contains("is already defined in ingress") {
        (Reason::HostConflict, Reason::HostConflict.remedy().to_owned())
    } else if missing_right(error).is_some() {
        (Reason::RightMissing, Reason::RightMissing.remedy().to_owned())
    } else {
        (Reason::ApplyRefused, Reason::ApplyRefused.remedy().to_owned())
    };
    let message = format!("{kind} {name} was refused: {told}. {remedy}");
    Some(Finding { reason, field: None, message })
}

/// How the annotations end with which nginx's configuration is written by hand.
const SNIPPET_SUFFIX: &str = "-snippet";

/// ingress-nginx names the annotation, or, since its version 1.12, the group of annotations (`ConfigurationSnippet`).
fn is_about(words: &str, annotation: &str) -> bool {
    let name = annotation.rsplit('/').next().unwrap_or_default();
    let plain = |text: &str| text.replace('-', "").to_ascii_lowercase();
    words.contains(name) || plain(words).contains(&format!("annotation group {}", plain(name)))
}

/// Ours is asked for by a field of its own; any other is one that a person wrote, or brought along from the chart.
fn without_snippet(annotation: &str, value: &str) -> String {
    let field = if value == SNIPPET {
        "ingress.configurationSnippet".to_owned()
    } else {
        format!("{annotation} from ingress.annotations")
    };
    let why = if annotation.ends_with("configuration-snippet") {
        "current controllers set the WebSocket headers by themselves"
    } else {
        "or have whoever runs the controller allow snippets"
    };
    format!("Remove {field}: {why}.")
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
        let newer = "admission webhook \"validate.nginx.ingress.kubernetes.io\" denied the request: annotation group \
                     ConfigurationSnippet contains risky annotation based on ingress configuration";
        let key = "nginx.ingress.kubernetes.io/configuration-snippet";
        for words in [snippet, newer] {
            for (value, remedy) in [
                (SNIPPET, "Remove ingress.configurationSnippet: current controllers".to_owned()),
                ("more_set_headers x;", format!("Remove {key} from ingress.annotations: current controllers")),
            ] {
                let annotations = [(key.to_owned(), value.to_owned())].into();
                let finding = refusal("Ingress", "x", &annotations, &api(400, words)).unwrap();
                assert_eq!(finding.reason, Reason::ConfigurationSnippetRejected);
                assert!(finding.message.contains(&remedy), "{finding:?}");
            }
        }
        let reason = |kind, code, words| refusal(kind, "x", &BTreeMap::new(), &api(code, words)).unwrap().reason;
        assert_eq!(reason("Ingress", 400, host), Reason::HostConflict);
        assert_eq!(reason("Service", 422, "port"), Reason::ApplyRefused);
    }

    #[test]
    fn a_right_that_is_missing_is_told_apart_from_what_a_quota_or_a_policy_refuses() {
        let reason = |words| refusal("Service", "x", &BTreeMap::new(), &api(403, words)).unwrap().reason;
        let right = "services \"x\" is forbidden: User \"u\" cannot patch resource \"services\" in API group \"\" in the namespace \"n\"";
        assert_eq!(reason(right), Reason::RightMissing);
        assert_eq!(reason("services \"x\" is forbidden: exceeded quota: none"), Reason::ApplyRefused);
    }

    #[test]
    fn a_webhook_that_is_away_is_a_finding_that_may_pass() {
        let words = "Internal error occurred: failed calling webhook \"validate.nginx.ingress.kubernetes.io\": failed to call webhook: Post \
                     \"https://a:8443/x?timeout=10s\": connection refused";
        let finding = refusal("Ingress", "x", &BTreeMap::new(), &api(500, words)).unwrap();
        assert_eq!(finding.reason, Reason::WebhookUnavailable);
        assert!(finding.message.starts_with("Ingress x could not be written: ") && finding.message.contains(words));
    }

    #[test]
    fn what_may_pass_is_no_finding() {
        for code in [404, 409, 429, 500, 503] {
            assert!(refusal("Service", "x", &BTreeMap::new(), &api(code, "later")).is_none(), "{code}");
        }
        let going = api(403, "namespace x is being terminated");
        assert!(refusal("Service", "x", &BTreeMap::new(), &going).is_none());
    }
}
