//! The cluster's own networks, as far as the cluster itself knows them: those that Services and pods have addresses in.

use std::{fmt::Debug, time::Duration};

use ipnet::IpNet;
use k8s_openapi::api::{core::v1::Node, networking::v1::ServiceCIDR};
use kube::{Api, Client, Resource, api::ListParams};
use serde::de::DeserializeOwned;

use crate::{backoff::Backoff, fetch::READ_DEADLINE, prober::AddressPolicy};

/// Nodes come with networks of their own, which are told to nobody; so they are read again this often.
const AGAIN: Duration = Duration::from_secs(600);
/// Objects of one answer.
const PAGE: u32 = 100;

/// What the cluster has told so far.
#[derive(Debug, Default)]
pub struct ClusterNetworks {
    services: Vec<IpNet>,
    pods: Vec<IpNet>,
}

impl ClusterNetworks {
    /// The ranges of Services and of the nodes' pods, once all is read. Awaits an API server that answers; one that has no such
    /// resource (ServiceCIDRs before Kubernetes 1.33) or does not allow to read it leaves them as they were told before, and to
    /// the settings: a right that is lost for a moment opens no network.
    pub async fn read(&mut self, client: &Client) -> Vec<IpNet> {
        if let Some(services) = read::<ServiceCIDR>(client, "the ranges of Services", of_services).await {
            self.services = services;
        }
        if let Some(pods) = read::<Node>(client, "the ranges of pods", of_pods).await {
            self.pods = pods;
        }
        if self.pods.is_empty() {
            tracing::warn!("no node tells the range of its pods: name the networks of pods in CLUSTER_CIDRS");
        }
        self.services.iter().chain(&self.pods).copied().collect()
    }

    /// Keeps `policy` up with the cluster, for ever.
    pub async fn follow(mut self, client: Client, policy: AddressPolicy) {
        loop {
            tokio::time::sleep(AGAIN).await;
            policy.learn(self.read(&client).await);
        }
    }
}

/// `None`: it may not be read, or is not known.
async fn read<K>(client: &Client, what: &str, ranges: fn(K) -> Vec<String>) -> Option<Vec<IpNet>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
    loop {
        match tokio::time::timeout(READ_DEADLINE, listed(client, ranges)).await {
            Ok(Ok(found)) => return Some(found),
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 403 | 404) => {
                tracing::warn!(error = %status.message, "{what} cannot be read; name them in CLUSTER_CIDRS");
                return None;
            }
            Ok(Err(error)) => tracing::warn!(%error, "{what} could not be read; trying again"),
            Err(_) => tracing::warn!("{what} could not be read in time; trying again"),
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// The ranges of all objects of a kind; of each object only they are kept.
async fn listed<K>(client: &Client, ranges: fn(K) -> Vec<String>) -> Result<Vec<IpNet>, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let mut page = ListParams::default().limit(PAGE);
    let mut all = Vec::new();
    loop {
        let found = api.list(&page).await?;
        all.extend(found.items.into_iter().flat_map(ranges).filter_map(|range| range.parse::<IpNet>().ok()));
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page.continue_token = Some(token),
            None => return Ok(all),
        }
    }
}

fn of_services(range: ServiceCIDR) -> Vec<String> {
    range.spec.and_then(|spec| spec.cidrs).unwrap_or_default()
}

fn of_pods(node: Node) -> Vec<String> {
    let spec = node.spec.unwrap_or_default();
    // The first of them is in both fields, or in the older one alone.
    spec.pod_cidrs.unwrap_or_else(|| spec.pod_cidr.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use serde_json::{Value, json};

    use super::*;

    fn of<K: DeserializeOwned>(object: Value, ranges: fn(K) -> Vec<String>) -> Vec<String> {
        ranges(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn every_range_of_both_families_counts() {
        let services = |spec: Value| of(json!({"metadata": {"name": "s"}, "spec": spec}), of_services);
        assert_eq!(
            services(json!({"cidrs": ["10.96.0.0/16", "fd00:10:96::/112"]})),
            ["10.96.0.0/16", "fd00:10:96::/112"]
        );
        assert_eq!(services(Value::Null), [""; 0]);
        let pods = |spec: Value| of(json!({"metadata": {"name": "n"}, "spec": spec}), of_pods);
        let both = json!({"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:10:244:1::/64"]});
        assert_eq!(pods(both), ["10.244.1.0/24", "fd00:10:244:1::/64"]);
        assert_eq!(pods(json!({"podCIDR": "10.244.2.0/24"})), ["10.244.2.0/24"]);
        assert_eq!(pods(json!({})), [""; 0]);
    }

    #[tokio::test]
    async fn ranges_that_may_not_be_read_any_more_stay_as_they_were_told() {
        let refused = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&refused);
        let client = Client::new(
            tower::service_fn(move |request: axum::http::Request<kube::client::Body>| {
                let answer = match request.uri().path() {
                    _ if asked.load(Ordering::SeqCst) => json!({"kind": "Status", "status": "Failure", "code": 403,
                        "reason": "Forbidden", "message": "nodes is forbidden"}),
                    path if path.ends_with("/nodes") => {
                        json!({"items": [{"metadata": {"name": "n"}, "spec": {"podCIDR": "10.244.1.0/24"}}]})
                    }
                    _ => json!({"items": [{"metadata": {"name": "s"}, "spec": {"cidrs": ["10.96.0.0/16"]}}]}),
                };
                let status = u16::try_from(answer["code"].as_u64().unwrap_or(200)).unwrap();
                let body = kube::client::Body::from(answer.to_string().into_bytes());
                let answer = axum::http::Response::builder().status(status).body(body).unwrap();
                std::future::ready(Ok::<_, std::convert::Infallible>(answer))
            }),
            "n",
        );
        let mut networks = ClusterNetworks::default();
        let told = networks.read(&client).await;
        assert_eq!(told.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.96.0.0/16", "10.244.1.0/24"]);
        refused.store(true, Ordering::SeqCst);
        assert_eq!(networks.read(&client).await, told, "a right that is lost for a moment opens a network");
    }
}
