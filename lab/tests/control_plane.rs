//! A test's own control plane: real, quick, and gone with the test.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what fails in a test ends it")]

use std::time::{Duration, Instant};

use catalyst_lab::{ControlPlane, ControlPlaneOptions};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(serde_json::json!({"metadata": {"name": name}})).unwrap()
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Command lines of the processes that work in `folder`.
fn processes_of(folder: &str) -> Vec<String> {
    let command = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).ok();
    let lines = std::fs::read_dir("/proc").unwrap().flatten().filter_map(command);
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(folder)).collect()
}

#[tokio::test]
async fn objects_are_stored_owned_objects_are_collected_and_writes_are_told_by_user() {
    let start = Instant::now();
    let plane = ControlPlane::start(ControlPlaneOptions::default()).await.unwrap();
    eprintln!("control plane ready after {:.1} s", start.elapsed().as_secs_f64());

    let maps: Api<ConfigMap> = Api::namespaced(plane.client().await.unwrap(), "default");
    let owner = maps.create(&PostParams::default(), &config_map("owner")).await.unwrap();
    let mut owned = config_map("owned");
    owned.metadata.owner_references = Some(vec![kube::Resource::owner_ref(&owner, &()).unwrap()]);
    maps.create(&PostParams::default(), &owned).await.unwrap();
    maps.delete("owner", &Default::default()).await.unwrap();
    eventually("the owned object is collected", async || maps.get_opt("owned").await.unwrap().is_none()).await;

    let writes = plane.writes().unwrap();
    let by_admin: Vec<_> =
        writes.iter().filter(|write| write.user == "admin" && write.resource == "configmaps").collect();
    let verbs: Vec<_> = by_admin.iter().map(|write| (write.verb.as_str(), write.name.as_str(), write.code)).collect();
    assert_eq!(verbs, [("create", "owner", 201), ("create", "owned", 201), ("delete", "owner", 200)]);
    // The object is gone a moment before the collector's request has ended.
    eventually("the collector's write is told", async || {
        let writes = plane.writes().unwrap();
        writes.iter().any(|write| write.user.contains("generic-garbage-collector") && write.name == "owned")
    })
    .await;
}

#[tokio::test]
async fn a_user_without_rights_is_refused() {
    let plane = ControlPlane::start(ControlPlaneOptions { controllers: false, ..Default::default() }).await.unwrap();
    let nobody: Api<ConfigMap> = Api::namespaced(plane.client_for("nobody", None).await.unwrap(), "default");
    let refused = nobody.create(&PostParams::default(), &config_map("x")).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{refused:?}");
    let last = plane.writes().unwrap().into_iter().rfind(|write| write.user == "nobody").unwrap();
    assert_eq!((last.code, last.resource.as_str()), (403, "configmaps"));
}

#[tokio::test]
async fn what_was_stored_survives_the_api_servers_restart() {
    let plane = ControlPlane::start(ControlPlaneOptions { controllers: false, ..Default::default() }).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(plane.client().await.unwrap(), "default");
    let patch =
        Patch::Apply(serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}}));
    maps.patch("kept", &PatchParams::apply("test"), &patch).await.unwrap();
    plane.stop_api_server().await.unwrap();
    assert!(maps.get("kept").await.is_err(), "a stopped server answered");
    plane.start_api_server().await.unwrap();
    maps.get("kept").await.unwrap();
}

#[tokio::test]
async fn with_a_scheduler_a_pod_gets_a_node() {
    let plane = ControlPlane::start(ControlPlaneOptions { scheduler: true, ..Default::default() }).await.unwrap();
    let client = plane.client().await.unwrap();
    let object =
        serde_json::json!({"metadata": {"name": "node"}, "status": {"allocatable": {"cpu": "1", "pods": "1"}}});
    // Nobody says that it is Ready, so the controllers keep other pods away from it.
    let pod = serde_json::json!({"metadata": {"name": "pod"}, "spec": {
        "containers": [{"name": "c", "image": "i"}], "tolerations": [{"operator": "Exists"}]}});
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(client, "default");
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    eventually("the pod is on the node", async || {
        let spec = pods.get("pod").await.unwrap().spec.unwrap();
        spec.node_name.as_deref() == Some("node")
    })
    .await;
}

#[tokio::test]
async fn nothing_runs_on_once_it_is_dropped_or_its_holder_is_killed() {
    let plane = ControlPlane::start(ControlPlaneOptions::default()).await.unwrap();
    let folder = plane.kubeconfig().parent().unwrap().to_str().unwrap().to_owned();
    assert_eq!(processes_of(&folder).len(), 6, "three components and their holders");
    let kill = std::process::Command::new("kill").arg("-9").args(plane.holders().iter().map(u32::to_string)).status();
    assert!(kill.unwrap().success());
    eventually("killed holders take their components along", async || processes_of(&folder).is_empty()).await;
    drop(plane);
    assert!(!std::path::Path::new(&folder).exists());

    let plane = ControlPlane::start(ControlPlaneOptions::default()).await.unwrap();
    let folder = plane.kubeconfig().parent().unwrap().to_str().unwrap().to_owned();
    drop(plane);
    eventually("dropped ones end", async || processes_of(&folder).is_empty()).await;
}

#[tokio::test]
async fn nothing_runs_on_and_no_folder_is_left_when_the_process_that_has_it_is_killed() {
    let start = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_catalyst-lab"));
        command
            .arg("control-plane")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let folder_of = |process: &mut std::process::Child| {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(process.stdout.as_mut().unwrap()), &mut line).unwrap();
        std::path::Path::new(line.trim()).parent().unwrap().to_str().unwrap().to_owned()
    };
    let mut killed = start();
    let folder = folder_of(&mut killed);
    assert_eq!(processes_of(&folder).len(), 6);
    killed.kill().unwrap();
    killed.wait().unwrap();
    eventually("a killed process takes its control plane along", async || processes_of(&folder).is_empty()).await;

    eventually("its folder goes too", async || !std::path::Path::new(&folder).exists()).await;

    let mut next = start();
    let next_folder = folder_of(&mut next);
    drop(next.stdin.take());
    assert!(next.wait().unwrap().success());
    assert_eq!(processes_of(&next_folder), Vec::<String>::new());
    assert!(!std::path::Path::new(&next_folder).exists());
}
