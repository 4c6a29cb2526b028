//! A dev-VM: a real sshd on this machine; and what a person does there and a kubelet in the cluster.

use catalyst_operator::crd::CatalystInstance;
use catalyst_ssh::testing::{TestSshd, TestSshdOptions};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{World, until};

/// A VM.
pub async fn sshd() -> TestSshd {
    TestSshd::start(TestSshdOptions::default()).await
}

/// The spec of an instance whose VM this is.
pub fn at(sshd: &TestSshd) -> Value {
    let endpoint = sshd.endpoint();
    json!({"ssh": {"host": endpoint.host, "port": endpoint.port, "user": endpoint.user}})
}

/// Does on the VM what status asks for.
pub fn authorize(sshd: &TestSshd, instance: &CatalystInstance) {
    let line = instance.status.as_ref().unwrap().authorized_keys_line.clone().unwrap();
    assert!(line.starts_with("restrict,pty ssh-ed25519 "), "{line}");
    let path = sshd.authorized_keys_path();
    let before = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{before}{line}\n")).unwrap();
}

/// Plays the kubelet for every pod of the instance: it runs and is ready.
pub async fn pods_become_ready(world: &World) {
    let pods = until("a pod", || async {
        let pods =
            world.api::<Pod>().list(&ListParams::default().labels("catalyst.dev/instance=x")).await.unwrap().items;
        (!pods.is_empty()).then_some(pods)
    })
    .await;
    let status = json!({"status": {"phase": "Running", "conditions": [
        {"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"}]}});
    for pod in pods {
        let params = PatchParams::default();
        world.api::<Pod>().patch_status(&pod.name_any(), &params, &Patch::Merge(&status)).await.unwrap();
    }
}
