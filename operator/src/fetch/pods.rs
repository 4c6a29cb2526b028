//! The pods of an instance, and what their servers log.

use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{
    Api,
    api::{GetParams, ListParams, LogParams},
    core::params::VersionMatch,
};

use super::{FetchError, Fetcher, bounded, view};
use crate::{
    names::InstanceName,
    observed::{PodView, all_unready, unready},
    triggers::POD,
};

/// Lines of a ready pod's log that are looked through for its word on the ideas folder.
const NEWS_LINES: i64 = 500;
/// Lines of a pod's log that are looked through for its word on the VM.
const LOG_LINES: i64 = 40;

impl Fetcher {
    /// Oldest first.
    async fn listed_pods(&self, namespace: &str, name: &InstanceName) -> Result<Vec<Pod>, FetchError> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let read = |params: GetParams| {
            let mut list = ListParams::default().labels(&name.selector());
            if let Some(version) = &params.resource_version {
                list = list.at(version).matching(VersionMatch::NotOlderThan);
            }
            let api = api.clone();
            async move { api.list(&list).await }
        };
        let mut pods = self.not_older(POD, "the pods", read).await?.map(|list| list.items).unwrap_or_default();
        pods.sort_by(|a, b| a.metadata.creation_timestamp.cmp(&b.metadata.creation_timestamp));
        Ok(pods)
    }

    /// Oldest first; the one that is listened to with its word on the VM.
    pub(super) async fn pods(&self, namespace: &str, name: &InstanceName) -> Result<Vec<PodView>, FetchError> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let pods = self.listed_pods(namespace, name).await?;
        let now = Timestamp::now();
        let mut views: Vec<_> = pods.iter().map(|pod| view::pod(pod, now)).collect();
        // One log a pass: that of a pod of the newest template, or else of another.
        let chosen = unready(&views).rev().chain(all_unready(&views).rev()).find(|pod| pod.phase == "Running");
        let chosen = chosen.map(|pod| pod.name.clone());
        if let Some(view) = views.iter_mut().find(|pod| Some(&pod.name) == chosen.as_ref()) {
            let params = LogParams { tail_lines: Some(LOG_LINES), limit_bytes: Some(65_536), ..LogParams::default() };
            // A log that cannot be had (the container is only starting, RBAC) leaves the pod without a word of its own.
            if let Ok(log) = bounded("a pod's log", api.logs(&view.name, &params)).await {
                view.ssh_says = view::ssh_reason_in(&log);
            }
        }
        Ok(views)
    }

    /// What the newest ready pod last logged against the ideas folder.
    pub(super) async fn word_on_ideas_path(
        &self,
        namespace: &str,
        name: &InstanceName,
    ) -> Result<Option<String>, FetchError> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let pods = self.listed_pods(namespace, name).await?;
        let now = Timestamp::now();
        let mut pods = pods.iter().map(|pod| view::pod(pod, now));
        let Some(pod) = pods.rfind(|pod| pod.ready && !pod.terminating) else { return Ok(None) };
        let params = LogParams { tail_lines: Some(NEWS_LINES), limit_bytes: Some(262_144), ..LogParams::default() };
        let log = bounded("a pod's log", api.logs(&pod.name, &params)).await;
        Ok(log.ok().and_then(|log| view::ideas_path_in(&log)))
    }
}
