//! The way to a cluster by kubeconfig, and the words for what fails on it: each with the remedy.

use std::{path::Path, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::words::words;

/// No single answer takes longer.
const ANSWER: Duration = Duration::from_secs(30);

/// A client, and what the kubeconfig says beside it.
#[derive(Clone)]
pub struct Cluster {
    /// The client.
    pub client: Client,
    /// The namespace of the context, `default` where it names none.
    pub namespace: String,
    /// The API server's URL.
    pub url: String,
    /// How it was named, as [`flags`] has it.
    pub flags: String,
}

impl Cluster {
    /// What went wrong with a request, and what to do. `doing` completes "cannot …"; the namespace is the one that it was about,
    /// if it was one.
    #[must_use]
    pub fn explain(&self, error: &kube::Error, doing: &str, namespace: Option<&str>) -> String {
        explain(error, doing, self.url.as_str(), namespace, &self.flags)
    }
}

/// The flags by which a cluster is named, each after a space and quoted for a shell; empty where none is. kubectl has them too.
#[must_use]
pub fn flags(file: Option<&Path>, context: Option<&str>) -> String {
    let file = file.map(|file| ("kubeconfig", file.display().to_string()));
    let flags = [file, context.map(|context| ("context", context.to_owned()))].into_iter().flatten();
    flags.map(|(flag, value)| format!(" --{flag} {}", quoted(&value))).collect()
}

/// As one word of a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:@%+=,".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Why there is no way to a cluster. The message names the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoCluster(String);

/// Connects by the kubeconfig in `file`, else by `KUBECONFIG`, `~/.kube/config` or the pod's service account; in `context`, else the
/// current one. Nothing is asked of the server yet.
///
/// # Errors
/// No kubeconfig, or none that can be used.
pub async fn connect(file: Option<&Path>, context: Option<&str>) -> Result<Cluster, NoCluster> {
    // One TLS provider in the process; an error means that it is set already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let none = |problem: String| {
        NoCluster(format!(
            "no cluster to talk to: {problem}. Name a kubeconfig (--kubeconfig FILE, or KUBECONFIG) and a context of it (--context; \
             `kubectl config get-contexts` lists them)."
        ))
    };
    let mut config = match (file, context) {
        (Some(file), _) => {
            let read = Kubeconfig::read_from(file).map_err(|error| none(chain(&error)))?;
            Config::from_custom_kubeconfig(read, &options).await.map_err(|error| none(chain(&error)))?
        }
        (None, Some(_)) => Config::from_kubeconfig(&options).await.map_err(|error| none(chain(&error)))?,
        (None, None) => Config::infer().await.map_err(|error| none(chain(&error)))?,
    };
    config.connect_timeout = Some(Duration::from_secs(10));
    // Bounded, but not for a log or a port-forward that is quiet: those have no read timeout.
    config.write_timeout = Some(ANSWER);
    let (namespace, url) = (config.default_namespace.clone(), config.cluster_url.to_string());
    let client = Client::try_from(config).map_err(|error| none(chain(&error)))?;
    Ok(Cluster { client, namespace, url: url.trim_end_matches('/').to_owned(), flags: flags(file, context) })
}

fn explain(error: &kube::Error, doing: &str, url: &str, namespace: Option<&str>, flags: &str) -> String {
    match error {
        kube::Error::Api(status) if status.code == 401 => format!(
            "cannot {doing}: the API server at {url} does not accept the credentials ({}). Sign in anew, or choose another --context.",
            words(error)
        ),
        kube::Error::Api(status) if status.code == 403 => {
            let place = namespace.map_or_else(String::new, |name| format!(" -n {name}"));
            format!(
                "cannot {doing}: {}. Ask an administrator for that right (`kubectl auth can-i --list{place}{flags}` shows what you \
                 have; the role catalyst-edit in config/rbac/users.yaml grants what concerns instances).",
                words(error)
            )
        }
        kube::Error::Api(status)
            if status.code == 404 && status.details.as_ref().is_none_or(|details| details.name.is_empty()) =>
        {
            format!(
                "cannot {doing}: the cluster at {url} does not know CatalystInstances, or whatever else this is about. Install the \
                 CRD: catalyst-operator crds | kubectl apply --server-side -f -{flags}"
            )
        }
        kube::Error::Api(_) => format!("cannot {doing}: {}", words(error)),
        other => format!(
            "cannot {doing}: no answer from the API server at {url} ({}). Check that the cluster runs, that you are in its network, \
             and that --context is the right one.",
            chain(other)
        ),
    }
}

/// An error with its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn answered(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status::failure(message, "Reason").with_code(code)))
    }

    #[test]
    fn each_kind_of_failure_has_its_remedy() {
        let told = |error: &kube::Error| explain(error, "list the instances", "https://k", Some("n"), " --context c");
        assert!(told(&answered(401, "Unauthorized")).contains("Sign in anew"));
        let forbidden = told(&answered(403, "user x cannot list"));
        assert!(forbidden.contains("user x cannot list. Ask an administrator"), "{forbidden}");
        assert!(forbidden.contains("`kubectl auth can-i --list -n n --context c`"), "{forbidden}");
        let unknown = told(&answered(404, "404 page not found"));
        assert!(
            unknown.ends_with("catalyst-operator crds | kubectl apply --server-side -f - --context c"),
            "{unknown}"
        );
        assert!(told(&answered(422, "bad")).ends_with("cannot list the instances: bad"));
    }

    #[tokio::test]
    async fn a_kubeconfig_that_is_not_there_is_told_with_the_remedy() {
        let error = connect(Some(Path::new("/nowhere/config")), None).await.err().unwrap().to_string();
        assert!(error.contains("/nowhere/config") && error.contains("--kubeconfig FILE"), "{error}");
    }
}
