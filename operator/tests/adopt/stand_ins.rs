//! Stand-ins for the kubelet and for those who follow endpoints.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::{
    core::v1::{Node, Pod},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::watcher,
};
use serde_json::{Value, json};

use crate::world::World;

const NODE: &str = "adopting-node";

/// What a kubelet does, as far as controllers see it: pods run and are ready a moment after they are bound, and go when told.
pub(super) struct Kubelet {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Kubelet {
    pub(super) async fn start(world: &World) -> Kubelet {
        let nodes: Api<Node> = Api::all(world.admin.clone());
        let node: Node = serde_json::from_value(json!({"metadata": {"name": NODE}})).unwrap();
        match nodes.create(&PostParams::default(), &node).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            outcome => drop(outcome.unwrap()),
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (pods, stopped) = (world.api::<Pod>(), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut address = 0;
            while !stopped.load(Ordering::Relaxed) {
                for pod in pods.list(&ListParams::default()).await.unwrap().items {
                    look_after(&pods, &pod, &mut address).await;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Kubelet { stop, task }
    }

    pub(super) async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

async fn look_after(pods: &Api<Pod>, pod: &Pod, address: &mut u8) {
    let name = pod.name_any();
    if pod.metadata.deletion_timestamp.is_some() {
        let _ = pods.delete(&name, &DeleteParams::default().grace_period(0)).await;
        return;
    }
    if pod.spec.as_ref().unwrap().node_name.is_none() {
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"apiVersion": "v1", "kind": "Node", "name": NODE}});
        let _ = pods.create_subresource::<Value, Value>("binding", &name, &PostParams::default(), &binding).await;
        return;
    }
    if pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some()) {
        return;
    }
    *address += 1;
    let ip = format!("10.200.0.{address}");
    let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        {"type": "ContainersReady", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    let _ = pods.patch_status(&name, &PatchParams::default(), &Patch::Strategic(&status)).await;
}

/// Watches the Service's endpoints from the moment when there is one; notes every moment without.
pub(super) struct Endpoints {
    pub(super) gaps: Arc<Mutex<Vec<String>>>,
    pub(super) seen: Arc<Mutex<usize>>,
    task: tokio::task::JoinHandle<()>,
}

impl Endpoints {
    pub(super) fn watch(world: &World) -> Endpoints {
        let (gaps, seen) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let config = watcher::Config::default().labels("kubernetes.io/service-name=catalyst");
        let mut events = watcher(world.api::<EndpointSlice>(), config).boxed();
        let (noted, counted) = (Arc::clone(&gaps), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            let mut slices: HashMap<String, usize> = HashMap::new();
            let ready = |slice: &EndpointSlice| {
                let ready = |endpoint: &&k8s_openapi::api::discovery::v1::Endpoint| {
                    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
                };
                slice.endpoints.iter().filter(ready).count()
            };
            while let Some(event) = events.next().await {
                match event.unwrap() {
                    watcher::Event::Apply(slice) | watcher::Event::InitApply(slice) => {
                        slices.insert(slice.name_any(), ready(&slice));
                    }
                    watcher::Event::Delete(slice) => drop(slices.remove(&slice.name_any())),
                    watcher::Event::Init | watcher::Event::InitDone => continue,
                }
                let now: usize = slices.values().sum();
                let mut before = counted.lock().unwrap();
                if now == 0 && *before > 0 {
                    noted.lock().unwrap().push(format!("none of {slices:?}"));
                }
                *before = (*before).max(now);
            }
        });
        Endpoints { gaps, seen, task }
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        self.task.abort();
    }
}
