//! A real API server with the CRD, an operator in this process, and the plugin's binary. One control plane serves a test binary.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses a part")]

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, OnceLock, mpsc},
    time::Duration,
};

use catalyst_lab::{ControlPlane, ControlPlaneOptions};
use catalyst_operator::{
    admin::Readiness,
    controller::{self, Settings},
    crd::{self, CatalystInstance},
    prober::{AddressPolicy, ProberSettings},
    validated::Defaults,
};
use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    runtime::{conditions, wait::await_condition},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// One control plane for all tests, with the CRD.
pub fn plane() -> &'static ControlPlane {
    static PLANE: OnceLock<ControlPlane> = OnceLock::new();
    PLANE.get_or_init(|| {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let plane = ControlPlane::start(ControlPlaneOptions::default()).await.unwrap();
                let crds: Api<CustomResourceDefinition> = Api::all(plane.client().await.unwrap());
                for crd in crd::all() {
                    let name = crd.name_any();
                    crds.patch(&name, &PatchParams::apply("test"), &Patch::Apply(&crd)).await.unwrap();
                    await_condition(crds.clone(), &name, conditions::is_crd_established()).await.unwrap();
                }
                sender.send(plane).unwrap();
                std::future::pending::<()>().await;
            });
        });
        receiver.recv().unwrap()
    })
}

/// Exit code, standard output, standard error of the plugin.
pub fn plugin_as(kubeconfig: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-catalyst"))
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

pub fn plugin(arguments: &[&str]) -> (i32, String, String) {
    plugin_as(plane().kubeconfig(), arguments)
}

pub struct World {
    pub client: kube::Client,
    pub namespace: String,
}

impl World {
    pub async fn new(namespace: &str) -> World {
        let client = plane().client().await.unwrap();
        let object: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        Api::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();
        World { client, namespace: namespace.to_owned() }
    }

    pub fn instances(&self) -> Api<CatalystInstance> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// An operator at work in these namespaces, or all; an administrator.
    pub fn operator(&self, namespaces: &[&str], addresses: AddressPolicy) -> (CancellationToken, JoinHandle<()>) {
        self.operator_as(self.client.clone(), namespaces, addresses)
    }

    /// The same, that may do what the account of this client may.
    pub fn operator_as(
        &self,
        client: kube::Client,
        namespaces: &[&str],
        addresses: AddressPolicy,
    ) -> (CancellationToken, JoinHandle<()>) {
        let stop = CancellationToken::new();
        let settings = Settings {
            namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(),
            concurrency: 4,
            identity: "test".into(),
            defaults: Defaults { proxy_image: "proxy:test".into() },
            prober: ProberSettings { concurrent: 8, deadline: Duration::from_secs(5), addresses },
        };
        let run = controller::run(client, settings, Arc::default(), Readiness::default(), stop.clone());
        (stop, tokio::spawn(run))
    }

    /// Creates an instance.
    pub async fn create(&self, name: &str, spec: Value) {
        let object: CatalystInstance =
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap();
        self.instances().create(&PostParams::default(), &object).await.unwrap();
    }

    /// An instance with a status as the operator writes it.
    pub async fn instance(&self, name: &str, spec: Value, status: Value) {
        self.create(name, spec).await;
        let params = PatchParams::default();
        self.instances().patch_status(name, &params, &Patch::Merge(json!({"status": status}))).await.unwrap();
    }

    pub async fn annotation(&self, name: &str, key: &str) -> Option<String> {
        self.instances().get(name).await.unwrap().annotations().get(key).cloned()
    }
}

pub fn status(ready: &str, reason: &str, message: &str) -> Value {
    let condition = |kind: &str, status: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1})
    };
    let stalled = if ready == "True" { "False" } else { "True" };
    json!({"observedGeneration": 1, "conditions": [condition("Ready", ready), condition("Stalled", stalled)],
        "hostKeys": [{"host": "192.0.2.1", "port": 22, "key": "ssh-ed25519 AAAA", "fingerprint": "SHA256:old",
            "recordedAt": "2026-01-01T00:00:00Z"}],
        "authorizedKeysLine": "restrict,pty ssh-ed25519 AAAAC3 catalyst-x"})
}

pub fn spec() -> Value {
    json!({"ssh": {"host": "192.0.2.1", "user": "dev"}})
}

pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.unwrap_or_else(|_| panic!("not within 60 s: {what}"))
}
