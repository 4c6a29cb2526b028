//! Nodes that are objects and nothing else: kwok plays their kubelets, so a pod on one is Ready at once and runs nothing.

use std::path::Path;

use anyhow::Context;
use k8s_openapi::api::core::v1::Node;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::components::Plane;
use crate::held::{Held, Launcher};
use crate::parts::Built;

/// Of the component, and of its log.
pub(crate) const NAME: &str = "kwok";
/// Kwok plays the kubelets of those nodes only that carry this.
const ANNOTATION: (&str, &str) = ("kwok.x-k8s.io/node", "fake");
/// What happens to nodes and pods, among kwok's own descriptions of it: a node is Ready and renews its Lease; a pod is Ready when it
/// is scheduled, and gone when it is deleted.
const STAGES: [&str; 3] = ["node/fast", "node/heartbeat-with-lease", "pod/fast"];

/// Starts kwok.
pub(crate) fn start(kwok: &Built, launcher: &Launcher, plane: &Plane) -> anyhow::Result<Held> {
    let mut arguments = vec![
        // Else a watch that the API server has cut off, because kwok was slow for a moment, begins with all of the pods, which makes kwok
        // slow, and so on: seen with 5,000 pods, when kwok took three quarters of a processor for nothing else.
        "KUBE_FEATURE_WatchListClient=false".to_owned(),
        kwok.program().display().to_string(),
        format!("--kubeconfig={}", plane.kubeconfig().display()),
        format!("--manage-nodes-with-annotation-selector={}={}", ANNOTATION.0, ANNOTATION.1),
        // Seconds; it is renewed four times as often.
        "--node-lease-duration-seconds=40".to_owned(),
    ];
    for folder in STAGES {
        arguments.extend(stages(&kwok.kept().join(folder))?.into_iter().map(|file| format!("--config={file}")));
    }
    launcher.start_program(NAME, Path::new("/usr/bin/env"), &arguments, plane)
}

/// The descriptions in a folder; beside them lies what puts them together for kustomize.
fn stages(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_stage = path.extension().is_some_and(|end| end == "yaml") && !path.ends_with("kustomization.yaml");
        found.extend(is_stage.then(|| path.display().to_string()));
    }
    found.sort();
    anyhow::ensure!(!found.is_empty(), "{} holds no stage", folder.display());
    Ok(found)
}

/// Creates as many nodes with room for `pods` pods each.
pub(crate) async fn create(client: &Client, many: usize, pods: usize) -> anyhow::Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    for number in 0..many {
        let name = format!("fake-{number}");
        let room = json!({"cpu": "1k", "memory": "4Ti", "pods": pods.to_string()});
        let node = json!({
            "metadata": {"name": name, "annotations": {ANNOTATION.0: ANNOTATION.1}, "labels": {
                "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}},
            "status": {"allocatable": room, "capacity": room},
        });
        nodes.create(&PostParams::default(), &serde_json::from_value(node)?).await.context("create a fake node")?;
    }
    Ok(())
}

/// How many nodes are Ready.
pub(crate) async fn ready(client: &Client) -> usize {
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await;
    let ready = |node: &&Node| {
        let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    nodes.map(|nodes| nodes.items.iter().filter(ready).count()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_the_yaml_files_but_that_of_kustomize() {
        let folder = tempfile::tempdir().unwrap();
        assert!(stages(folder.path()).is_err());
        for name in ["b.yaml", "a.yaml", "kustomization.yaml", "embed.go"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = stages(folder.path()).unwrap();
        let names: Vec<_> = found.iter().map(|file| file.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, ["a.yaml", "b.yaml"]);
    }
}
