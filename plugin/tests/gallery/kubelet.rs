//! What a kubelet does, as far as status shows it: it runs pods, says how they are, and gives out their logs. The test says what it
//! says.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use rustls::{
    ServerConfig, ServerConnection,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};

use crate::world::{World, until};

const NODE: &str = "node-1";

/// A line of our server's log about the VM.
pub(crate) fn vm_log(reason: &str) -> String {
    let line = json!({"timestamp": "2026-01-01T00:00:00.000000Z", "level": "WARN", "message": "the dev-VM cannot be used",
        "reason": reason, "target": "catalyst_proxy::health"});
    format!("{line}\n")
}

/// A line of our server's log about the folder of the ideas.
pub(crate) fn folder_log(cause: &str) -> String {
    let line = json!({"timestamp": "2026-01-01T00:00:00.000000Z", "level": "WARN", "message": "the ideas folder cannot be used",
        "reason": "IdeasPathUnwritable", "cause": cause, "target": "catalyst_proxy::health"});
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

/// Serves them until this process ends; on which port.
fn serve(logs: BTreeMap<&'static str, String>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let made = rcgen::generate_simple_self_signed(vec![NODE.to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let (config, logs) = (Arc::new(config), Arc::new(logs));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (config, logs) = (Arc::clone(&config), Arc::clone(&logs));
            // Whoever goes away in the midst of it asks again.
            std::thread::spawn(move || stream.and_then(|stream| answer(stream, config, &logs)));
        }
    });
    port
}

/// One request: `GET /containerLogs/NAMESPACE/POD/CONTAINER?…`.
fn answer(
    mut stream: TcpStream,
    config: Arc<ServerConfig>,
    logs: &BTreeMap<&'static str, String>,
) -> std::io::Result<()> {
    let mut session = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut tls = rustls::Stream::new(&mut session, &mut stream);
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match tls.read(&mut piece)? {
            0 => return Ok(()),
            read => request.extend_from_slice(&piece[..read]),
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let pod = request.split('/').nth(3).unwrap_or_default();
    let is_of = |name: &str| pod.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
    let log = logs.iter().find(|(name, _)| is_of(name)).map(|(_, log)| log.as_str()).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        log.len()
    );
    tls.write_all(format!("{head}{log}").as_bytes())?;
    session.send_close_notify();
    session.complete_io(&mut stream).map(|_| ())
}
