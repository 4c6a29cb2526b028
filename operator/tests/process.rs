//! The binary as a cluster runs it: with the rights of `config/rbac` and no more, its health ports, and its end on SIGTERM.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it must be"
)]

mod world;

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use catalyst_operator::crd::CatalystInstance;
use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    networking::v1::{Ingress, ServiceCIDR},
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use world::{World, plane, until};

/// The operator's process; killed if the test ends early.
struct Process(Child);

impl Process {
    fn start(kubeconfig: &Path, admin: SocketAddr, world: &World) -> Process {
        let child = Command::new(env!("CARGO_BIN_EXE_catalyst-operator"))
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .env("POD_NAME", "the-pod")
            .env("POD_NAMESPACE", &world.namespace)
            .env("ADMIN_ADDRESS", admin.to_string())
            .env("WATCH_NAMESPACES", "")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Process(child)
    }

    fn terminate(&self) {
        assert!(Command::new("kill").arg(self.0.id().to_string()).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

async fn status_of(address: SocketAddr, path: &str) -> Option<u16> {
    get(address, path).await?.split_whitespace().nth(1)?.parse().ok()
}

/// Grants `user` what `config/rbac` grants the operator's service account.
async fn grant(admin: &Client, namespace: &str, user: &str) {
    let rbac = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/rbac");
    for file in ["operator.yaml", "leader-election.yaml"] {
        let text = std::fs::read_to_string(rbac.join(file)).unwrap();
        for document in serde_yaml::Deserializer::from_str(&text) {
            let mut object = serde_json::Value::deserialize(document).unwrap();
            object["metadata"]["namespace"] = json!(namespace);
            if object.get("subjects").is_some() {
                object["subjects"] = json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}]);
            }
            match object["kind"].as_str().unwrap() {
                "ClusterRole" => apply::<ClusterRole>(Api::all(admin.clone()), object).await,
                "ClusterRoleBinding" => apply::<ClusterRoleBinding>(Api::all(admin.clone()), object).await,
                "Role" => apply::<Role>(Api::namespaced(admin.clone(), namespace), object).await,
                "RoleBinding" => apply::<RoleBinding>(Api::namespaced(admin.clone(), namespace), object).await,
                other => panic!("{other} in {file}"),
            }
        }
    }
}

async fn apply<K>(api: Api<K>, mut object: serde_json::Value)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    if object["kind"].as_str().unwrap().starts_with("Cluster") {
        object["metadata"].as_object_mut().unwrap().remove("namespace");
    }
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_rights_of_config_rbac_everything_works_and_sigterm_releases_the_lease() {
    let world = World::without_operator("process").await;
    grant(&world.admin, &world.namespace, "confined").await;
    let kubeconfig = plane().kubeconfig_for("confined", None).unwrap();
    let admin = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let mut process = Process::start(&kubeconfig, admin, &world);
    until("ready", || async { (status_of(admin, "/readyz").await? == 200).then_some(()) }).await;
    assert_eq!(status_of(admin, "/livez").await, Some(200));

    let spec = json!({"ssh": {"host": "127.0.0.1", "user": "dev"}, "ingress": {"host": "process.example.com"}});
    world.apply("x", spec).await;
    world.exists::<Ingress>("x").await;
    // This machine's own address is none that the operator connects to.
    world.reason("x", "HostForbidden").await;
    // Nor is an address of a Service.
    let ranges = Api::<ServiceCIDR>::all(world.admin.clone()).list(&ListParams::default()).await.unwrap().items;
    let range = ranges[0].spec.clone().unwrap().cidrs.unwrap().remove(0);
    let address = range.split('/').next().unwrap().to_owned();
    world.apply("service", json!({"ssh": {"host": address, "user": "dev"}})).await;
    world.reason("service", "HostForbidden").await;
    world.edit::<Deployment>("x", json!({"spec": {"template": {"spec": {"serviceAccountName": "other"}}}})).await;
    world.apply("x", json!({"ssh": {"host": "127.0.0.1", "user": "dev"}})).await;
    until("the Ingress goes", || async { world.api::<Ingress>().get_opt("x").await.unwrap().is_none().then_some(()) })
        .await;
    let instance: CatalystInstance = world.exists("x").await;
    assert_eq!(instance.name_any(), "x");
    let metrics = get(admin, "/metrics").await.unwrap();
    assert!(metrics.contains("catalyst_operator_leader 1"), "{metrics}");
    assert!(!metrics.contains("catalyst_operator_reconcile_errors_total{"), "something was refused: {metrics}");
    let refused: Vec<_> =
        plane().writes().unwrap().into_iter().filter(|write| write.user == "confined" && write.code == 403).collect();
    assert!(refused.is_empty(), "{refused:#?}");

    process.terminate();
    let ended = until("the process ends", || {
        let ended = process.0.try_wait().unwrap();
        async move { ended }
    })
    .await;
    assert!(ended.success(), "{ended}");
    let lease = world.api::<Lease>().get("catalyst-operator").await.unwrap().spec.unwrap();
    assert_eq!(lease.holder_identity.as_deref(), Some(""), "the Lease was not released");
}
