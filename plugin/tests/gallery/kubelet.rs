//! What a kubelet does, as far as status shows it: it runs pods, says how they are, and gives out their logs. The test says what it
//! says.

use std::collections::BTreeMap;

use catalyst_ssh::health_log::{FOLDER_UNUSABLE, IDEAS_PATH_UNWRITABLE, VM_UNUSABLE};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    tls,
    world::{World, until},
};

const NODE: &str = "node-1";

/// A line of our server's log about the VM.
pub(crate) fn vm_log(reason: &str) -> String {
    let line = json!({"timestamp": "2026-01-01T00:00:00.000000Z", "level": "WARN", "message": VM_UNUSABLE,
        "reason": reason, "target": "catalyst_proxy::health"});
    format!("{line}\n")
}

/// A line of our server's log about the folder of the ideas.
pub(crate) fn folder_log(cause: &str) -> String {
    let line = json!({"timestamp": "2026-01-01T00:00:00.000000Z", "level": "WARN", "message": FOLDER_UNUSABLE,
        "reason": IDEAS_PATH_UNWRITABLE, "cause": cause, "target": "catalyst_proxy::health"});
    format!("{line}\n")
}

/// A pod that serves.
pub(crate) fn serves() -> Value {
    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})
}

/// A pod that runs, and does not serve.
pub(crate) fn runs() -> Value {
    json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]})
}

/// A pod whose container is in this state, and ended so the last time.
pub(crate) fn container(state: Value, last: Value) -> Value {
    json!({"phase": "Running", "containerStatuses": [{"name": "catalyst", "image": "proxy:test", "imageID": "", "ready": false,
        "restartCount": 3, "state": state, "lastState": last}]})
}

/// The kubelet says this of the instance's pod.
pub(crate) async fn says(world: &World, name: &str, status: Value) {
    let (pods, pod) = pod_of(world, name).await;
    let patch = Patch::Merge(json!({"status": status}));
    pods.patch_status(&pod, &PatchParams::default(), &patch).await.unwrap();
}

/// The same of a pod whose log can be read.
pub(crate) async fn says_with_log(world: &World, name: &str, status: Value) {
    let (pods, pod) = pod_of(world, name).await;
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod},
        "target": {"apiVersion": "v1", "kind": "Node", "name": NODE}});
    pods.create_subresource::<Value, Value>("binding", &pod, &PostParams::default(), &binding).await.unwrap();
    says(world, name, status).await;
}

async fn pod_of(world: &World, name: &str) -> (Api<Pod>, String) {
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &world.namespace);
    let of_instance = ListParams::default().labels(&format!("catalyst.dev/instance={name}"));
    let pod = until(&format!("a pod of {name}"), || async { pods.list(&of_instance).await.unwrap().items.pop() }).await;
    (pods, pod.name_any())
}

/// Makes the node, whose kubelet has these logs: of the pod of each instance.
pub(crate) async fn start(client: &kube::Client, logs: BTreeMap<&'static str, String>) {
    let nodes: Api<Node> = Api::all(client.clone());
    let node: Node = serde_json::from_value(json!({"metadata": {"name": NODE}})).unwrap();
    nodes.create(&PostParams::default(), &node).await.unwrap();
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": serve(logs)}}}});
    nodes.patch_status(NODE, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

/// Serves them; on which port. Asked is `GET /containerLogs/NAMESPACE/POD/CONTAINER?…`.
fn serve(logs: BTreeMap<&'static str, String>) -> u16 {
    let answer = move |line: &str, _: &[u8]| {
        let pod = line.split('/').nth(3).unwrap_or_default();
        let is_of = |name: &str| pod.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
        logs.iter().find(|(name, _)| is_of(name)).map(|(_, log)| log.clone()).unwrap_or_default()
    };
    tls::serve("text/plain", answer).port
}
