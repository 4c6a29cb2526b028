//! What it means that a part is ready, asked of the part itself.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

/// How often it is asked.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
/// A part that does not answer in this time is not ready.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// A client from a kubeconfig file.
pub(crate) async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    let read = Kubeconfig::read_from(kubeconfig).with_context(|| format!("read {}", kubeconfig.display()))?;
    let config =
        Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.context("use the kubeconfig")?;
    Client::try_from(config).context("make a client")
}

/// Whether the API server serves and all its start hooks are through.
pub(crate) async fn api_server(client: &Client) -> bool {
    let Ok(request) = axum::http::Request::get("/readyz").body(Vec::new()) else { return false };
    answered(client.request_text(request)).await.is_some()
}

/// Whether controllers have done their first work: the account that every pod of the default namespace runs as.
pub(crate) async fn controllers(client: &Client) -> bool {
    answered(Api::<ServiceAccount>::namespaced(client.clone(), "default").get("default")).await.is_some()
}

/// Whether the kubelet says that its node is ready.
pub(crate) async fn node(client: &Client, name: &str) -> bool {
    let node = answered(Api::<Node>::all(client.clone()).get(name)).await;
    let conditions = node.and_then(|node| node.status).and_then(|status| status.conditions).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

async fn answered<T, E>(answer: impl Future<Output = Result<T, E>>) -> Option<T> {
    tokio::time::timeout(ANSWER_DEADLINE, answer).await.ok()?.ok()
}
