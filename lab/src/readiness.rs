//! What it means that a part is ready, asked of the part itself.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// How often it is asked.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
/// A part that does not answer in this time is not ready.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// A client from a kubeconfig file.
///
/// # Errors
/// When it cannot be read or used.
pub async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
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

/// The status of an HTTP answer to `GET path`, if there is one.
pub(crate) async fn http(address: IpAddr, port: u16, path: &str) -> Option<u16> {
    let asked = async {
        let mut stream = TcpStream::connect((address, port)).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: lab\r\n\r\n").as_bytes()).await?;
        let mut first = String::new();
        BufReader::new(stream).take(200).read_line(&mut first).await?;
        Ok::<_, std::io::Error>(first)
    };
    answered(asked).await?.split_whitespace().nth(1)?.parse().ok()
}

/// Whether something accepts connections there.
pub(crate) async fn accepts(address: IpAddr, port: u16) -> bool {
    answered(TcpStream::connect((address, port))).await.is_some()
}

/// Whether as many pods of a Deployment are ready as it wants, in its latest form.
pub(crate) async fn deployment(client: &Client, namespace: &str, name: &str) -> bool {
    let Some(deployment) = answered(Api::<Deployment>::namespaced(client.clone(), namespace).get(name)).await else {
        return false;
    };
    let wanted = deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.unwrap_or_default();
    status.observed_generation == deployment.metadata.generation
        && status.updated_replicas == Some(wanted)
        && status.ready_replicas == Some(wanted)
}
