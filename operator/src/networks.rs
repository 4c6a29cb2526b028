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

/// The ranges of Services and of the nodes' pods, once all is read. Awaits an API server that answers; one that has no such
/// resource (ServiceCIDRs before Kubernetes 1.33) or does not allow to read it leaves them to the settings.
pub async fn of_cluster(client: &Client) -> Vec<IpNet> {
    let services = read::<ServiceCIDR>(client, "the ranges of Services", of_services).await;
    let pods = read::<Node>(client, "the ranges of pods", of_pods).await;
    if pods.is_empty() {
        tracing::warn!("no node tells the range of its pods: name the networks of pods in CLUSTER_CIDRS");
    }
    services.into_iter().chain(pods).collect()
}

/// Keeps `policy` up with the cluster, for ever.
pub async fn follow(client: Client, policy: AddressPolicy) {
    loop {
        tokio::time::sleep(AGAIN).await;
        policy.learn(of_cluster(&client).await);
    }
}

async fn read<K>(client: &Client, what: &str, ranges: fn(K) -> Vec<String>) -> Vec<IpNet>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
    loop {
        match tokio::time::timeout(READ_DEADLINE, listed(client, ranges)).await {
            Ok(Ok(found)) => return found,
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 403 | 404) => {
                tracing::warn!(error = %status.message, "{what} are not known; name them in CLUSTER_CIDRS");
                return Vec::new();
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
}
