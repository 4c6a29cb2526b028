//! The cluster's own networks, as far as the cluster itself knows them: those that Services have addresses in.

use std::time::Duration;

use ipnet::IpNet;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::{
    Api, Client,
    api::{ListParams, ObjectList},
};

use crate::{backoff::Backoff, fetch::READ_DEADLINE};

/// The ranges of Services. Awaits an API server that answers; one that has no such resource (before Kubernetes 1.33) or does
/// not allow to read it leaves them to the settings.
pub async fn of_services(client: &Client) -> Vec<IpNet> {
    let api: Api<ServiceCIDR> = Api::all(client.clone());
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
    loop {
        match tokio::time::timeout(READ_DEADLINE, api.list(&ListParams::default())).await {
            Ok(Ok(found)) => return ranges(found),
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 403 | 404) => {
                tracing::warn!(
                    error = %status.message,
                    "the ranges of Services are not known; name them, and those of pods, in CLUSTER_CIDRS"
                );
                return Vec::new();
            }
            Ok(Err(error)) => tracing::warn!(%error, "the ranges of Services could not be read; trying again"),
            Err(_) => tracing::warn!("the ranges of Services could not be read in time; trying again"),
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

fn ranges(found: ObjectList<ServiceCIDR>) -> Vec<IpNet> {
    let specs = found.items.into_iter().filter_map(|range| range.spec);
    specs.flat_map(|spec| spec.cidrs.unwrap_or_default()).filter_map(|range| range.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_range_of_both_families_counts() {
        let found = serde_json::from_value(json!({"metadata": {}, "items": [
            {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/16", "fd00:10:96::/112"]}},
            {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.97.0.0/16"]}},
            {"metadata": {"name": "empty"}},
        ]}))
        .unwrap();
        let ranges: Vec<String> = ranges(found).iter().map(ToString::to_string).collect();
        assert_eq!(ranges, ["10.96.0.0/16", "fd00:10:96::/112", "10.97.0.0/16"]);
    }
}
