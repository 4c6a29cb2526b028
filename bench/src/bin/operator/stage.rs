//! The control plane of a run, the objects of one instance, and what the audit log says of the operator.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use catalyst_lab::{ControlPlane, ControlPlaneOptions};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::{
    api::{
        authentication::v1::TokenRequest,
        coordination::v1::Lease,
        core::v1::{Namespace, Pod, Secret, ServiceAccount},
        networking::v1::IngressClass,
        rbac::v1::ClusterRoleBinding,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams},
    runtime::{conditions, wait::await_condition},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    changes::{SUSPENDED, is_ready},
    process::Operator,
};

/// Instances are spread over this many namespaces, unless [`Stage::spread_over`] says otherwise.
pub(crate) const NAMESPACES: usize = 10;
/// Stands for the instance's name in the objects of one.
pub(crate) const TEMPLATE: &str = "zztemplatezz";
/// A host key that no host has.
const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
/// The namespace of what all share.
const NAMESPACE: &str = "default";
/// The service account that the operator uses, as its pod would: by a token.
const ACCOUNT: &str = "operator";
/// The one that the plain client uses, and whoever looks.
const PLAIN: &str = "plain";
/// Longer than anything here takes.
const TOKEN_SECONDS: i64 = 86_400;

pub(crate) struct Stage {
    plane: ControlPlane,
    kubeconfig: PathBuf,
    plain_kubeconfig: PathBuf,
    folder: tempfile::TempDir,
    namespaces: usize,
    pub(crate) client: Client,
    /// The objects that the operator makes of one instance, as `render` prints them.
    pub(crate) objects: Vec<Value>,
    /// The status that the operator gives a suspended instance, when it has been [sampled](Stage::sample).
    pub(crate) status: Value,
}

impl Stage {
    /// With the cluster's controllers in any case: an instance has come to its end when its Deployment says that it has.
    pub(crate) async fn start(operator: &Path, options: ControlPlaneOptions) -> anyhow::Result<Stage> {
        let plane = ControlPlane::start(ControlPlaneOptions { controllers: true, ..options }).await?;
        let folder = tempfile::tempdir()?;
        let admin = plane.client().await?;
        let plain_kubeconfig = account(&plane, &admin, PLAIN, folder.path()).await?;
        let client = catalyst_lab::client(&plain_kubeconfig).await?;
        let kubeconfig = account(&plane, &admin, ACCOUNT, folder.path()).await?;
        let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
        for document in documents(&run(operator, &["crds"], None).await?)? {
            let crd: CustomResourceDefinition = serde_json::from_value(document)?;
            crds.patch(&crd.name_any(), &PatchParams::apply("bench"), &Patch::Apply(&crd)).await?;
            await_condition(crds.clone(), &crd.name_any(), conditions::is_crd_established()).await?;
        }
        // Without it each instance would be looked at every half minute, for it would lack its class.
        let classes: Api<IngressClass> = Api::all(client.clone());
        let class = json!({"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}});
        classes.create(&PostParams::default(), &serde_json::from_value(class)?).await?;
        let text = run(operator, &["render", "-f", "-"], Some(&instance(TEMPLATE).to_string())).await?;
        let objects = documents(&text)?;
        anyhow::ensure!(objects.len() >= 5, "the operator renders only {} objects", objects.len());
        let status = Value::Null;
        Ok(Stage { plane, kubeconfig, plain_kubeconfig, folder, namespaces: NAMESPACES, client, objects, status })
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// That of whoever is no operator.
    pub(crate) fn plain_kubeconfig(&self) -> &Path {
        &self.plain_kubeconfig
    }

    /// The control plane itself.
    pub(crate) fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// Adds as many nodes on which nothing runs, each with room for `pods` pods.
    pub(crate) async fn add_fake_nodes(&mut self, many: usize, pods: usize) -> anyhow::Result<()> {
        self.plane.add_fake_nodes(many, pods).await
    }

    /// Ends the control plane and awaits its end, so that it takes nothing from what is measured next.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        self.plane.stop().await
    }

    /// What the parts of the cluster have taken of the processor since `before` (see [`ControlPlane::processor_time`]), for each of
    /// as many instances.
    pub(crate) fn taken(&self, before: &[(&'static str, Duration)], instances: usize) -> anyhow::Result<String> {
        let now = self.plane.processor_time()?;
        let each = now.iter().zip(before).map(|((part, now), (_, before))| {
            let taken = now.saturating_sub(*before).as_secs_f64() * 1000.0 / instances as f64;
            format!("{part} {taken:.1} ms")
        });
        Ok(each.collect::<Vec<_>>().join(", "))
    }

    /// Where the operator's logs go, and what else is kept until the end.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the operator's account wrote so far, but its Lease.
    pub(crate) fn operators_writes(&self) -> anyhow::Result<Vec<String>> {
        let writes = self.plane.writes()?.into_iter();
        let account = format!("system:serviceaccount:{NAMESPACE}:{ACCOUNT}");
        let ours = writes.filter(|write| write.user == account && write.resource != "leases");
        Ok(ours.map(|write| format!("{} {} {}", write.verb, write.resource, write.name)).collect())
    }

    /// Has the operator make one instance, and keeps the status that it gave it: what the plain client writes.
    pub(crate) async fn sample(&mut self, binary: &Path) -> anyhow::Result<()> {
        let operator = Operator::start(binary, self, "sample").await?;
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), NAMESPACE, &resource());
        api.create(&PostParams::default(), &serde_json::from_value(instance(TEMPLATE))?).await?;
        let said = |object: Option<&DynamicObject>| object.is_some_and(|object| is_ready(object, SUSPENDED));
        let made = tokio::time::timeout(Duration::from_secs(60), await_condition(api.clone(), TEMPLATE, said));
        let made = made.await.context("the instance did not come to a status")??.context("the instance is gone")?;
        self.status = made.data.get("status").context("the instance has no status")?.clone();
        operator.end().await?;
        api.delete(TEMPLATE, &DeleteParams::background()).await?;
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), NAMESPACE);
        crate::until("the sample is gone", Duration::from_secs(60), || async {
            Ok(secrets.list_metadata(&ListParams::default()).await?.items.is_empty().then_some(()))
        })
        .await
    }

    /// From now on instances are spread over this many namespaces.
    pub(crate) fn spread_over(&mut self, namespaces: usize) {
        self.namespaces = namespaces;
    }

    /// Namespaces `PREFIX-0` and so on.
    pub(crate) fn namespaces(&self, prefix: &str) -> impl Iterator<Item = String> {
        (0..self.namespaces).map(move |number| format!("{prefix}-{number}"))
    }

    /// The namespace of the instance of this number.
    pub(crate) fn namespace_of(&self, prefix: &str, number: usize) -> String {
        format!("{prefix}-{}", number % self.namespaces)
    }

    /// Creates [`Stage::namespaces`].
    pub(crate) async fn create_namespaces(&self, prefix: &str) -> anyhow::Result<()> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        for name in self.namespaces(prefix) {
            let object: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
            api.create(&PostParams::default(), &object).await?;
        }
        Ok(())
    }

    /// Secrets and Pods that have nothing to do with us, each of a kilobyte.
    pub(crate) async fn unrelated(&self, many: usize) -> anyhow::Result<()> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), NAMESPACE);
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let create = |number: usize| {
            let (secrets, pods) = (secrets.clone(), pods.clone());
            async move {
                let secret =
                    json!({"metadata": {"name": format!("unrelated-{number}")}, "stringData": {"a": "x".repeat(1024)}});
                let pod = json!({"metadata": {"name": format!("unrelated-{number}"), "annotations": {"a": "x".repeat(1024)}},
                    "spec": {"containers": [{"name": "a", "image": "a"}]}});
                secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
                pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
                anyhow::Ok(())
            }
        };
        futures::stream::iter(0..many).map(create).buffer_unordered(16).try_collect().await
    }

    /// Awaits that this operator holds the Lease.
    pub(crate) async fn leader_is(&self, identity: &str) -> anyhow::Result<()> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), NAMESPACE);
        let holds = || async {
            let lease = api.get("catalyst-operator").await?;
            let holder = lease.spec.and_then(|spec| spec.holder_identity);
            Ok((holder.as_deref() == Some(identity)).then_some(()))
        };
        crate::until("the standby leads", Duration::from_secs(60), holds).await
    }
}

/// Makes a service account that may do anything, and a kubeconfig with a token of its.
async fn account(plane: &ControlPlane, admin: &Client, name: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), NAMESPACE);
    let account = json!({"metadata": {"name": name}});
    accounts.create(&PostParams::default(), &serde_json::from_value(account)?).await?;
    let binding = json!({"metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}]});
    let bindings: Api<ClusterRoleBinding> = Api::all(admin.clone());
    bindings.create(&PostParams::default(), &serde_json::from_value(binding)?).await?;
    let request: TokenRequest =
        serde_json::from_value(json!({"spec": {"audiences": [], "expirationSeconds": TOKEN_SECONDS}}))?;
    let issued = accounts.create_token_request(name, &PostParams::default(), &request).await?;
    let token = issued.status.context("no token was issued")?.token;
    let mut config: Value = serde_yaml::from_str(&std::fs::read_to_string(plane.kubeconfig())?)?;
    let user = config.pointer_mut("/users/0/user").context("the kubeconfig has no user")?;
    *user = json!({"token": token});
    let path = folder.join(format!("{name}.kubeconfig"));
    std::fs::write(&path, serde_yaml::to_string(&config)?)?;
    Ok(path)
}

/// The CatalystInstance resource.
pub(crate) fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("catalyst.dev", "v1alpha1", "CatalystInstance"),
        "catalystinstances",
    )
}

/// A suspended instance that waits for nobody: its VM's host key is given, so nobody looks for it.
pub(crate) fn instance(name: &str) -> Value {
    json!({"apiVersion": "catalyst.dev/v1alpha1", "kind": "CatalystInstance", "metadata": {"name": name},
        "spec": {"suspend": true, "image": {"repository": "registry.example/catalyst-proxy", "tag": "v1"},
            "ssh": {"host": "192.0.2.1", "user": "dev", "knownHosts": format!("192.0.2.1 {HOST_KEY}")},
            "ingress": {"host": format!("{name}.example.com")}}})
}

/// One whose pod is to run, and whose VM only its pod asks: through a jump host the operator does not look.
pub(crate) fn serving(name: &str) -> Value {
    let mut object = instance(name);
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("suspend");
    }
    if let Some(ssh) = object.pointer_mut("/spec/ssh").and_then(Value::as_object_mut) {
        ssh.insert("jump".to_owned(), json!({"host": "192.0.2.2"}));
        ssh.insert("knownHosts".to_owned(), format!("192.0.2.1 {HOST_KEY}\n192.0.2.2 {HOST_KEY}").into());
    }
    object
}

fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    let documents = serde_yaml::Deserializer::from_str(text).map(Value::deserialize);
    let documents: Vec<Value> = documents.collect::<Result<_, _>>().context("read what the operator prints")?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

async fn run(operator: &Path, arguments: &[&str], input: Option<&str>) -> anyhow::Result<String> {
    use tokio::io::AsyncWriteExt as _;
    let mut child = tokio::process::Command::new(operator)
        .args(arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.unwrap_or_default().as_bytes()).await?;
    }
    let output = child.wait_with_output().await?;
    anyhow::ensure!(output.status.success(), "{} {arguments:?} ended with {}", operator.display(), output.status);
    Ok(String::from_utf8(output.stdout)?)
}
