//! A namespace of a real API server for one test, and the operator in it, in this process.
//!
//! One control plane serves all tests of the binary; each has a namespace, and an account for its operator by which the
//! audit log tells what that operator wrote.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses a part")]

pub mod owned;
pub mod vm;

use std::{
    fmt::Debug,
    sync::{Arc, OnceLock, mpsc},
    time::Duration,
};

use catalyst_lab::{ControlPlane, ControlPlaneOptions};
use catalyst_operator::{
    admin::Readiness,
    controller::{self, Settings},
    crd::{self, CatalystInstance},
    metrics::Metrics,
    prober::{AddressPolicy, ProberSettings},
    validated::Defaults,
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{core::v1::Namespace, events::v1::Event},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams},
    runtime::{conditions, wait::await_condition},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The control plane of this test binary, with the CRD.
pub fn plane() -> &'static ControlPlane {
    static PLANE: OnceLock<ControlPlane> = OnceLock::new();
    PLANE.get_or_init(|| {
        let (sender, receiver) = mpsc::channel();
        // A runtime of its own that outlives every test's: the plane's processes are looked after on it.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let plane = ControlPlane::start(ControlPlaneOptions::default()).await.unwrap();
                install_crds(&plane.client().await.unwrap()).await;
                sender.send(plane).unwrap();
                std::future::pending::<()>().await;
            });
        });
        receiver.recv().unwrap()
    })
}

/// Installs the CRDs and awaits that they are served.
pub async fn install_crds(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in crd::all() {
        let name = crd.name_any();
        api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&crd)).await.unwrap();
        within("the CRD is served", await_condition(api.clone(), &name, conditions::is_crd_established()))
            .await
            .unwrap();
    }
}

/// Installs HTTPRoutes as the Gateway API has them.
pub async fn install_http_routes(client: &Client) {
    // Outside of any deadline: the first time it is fetched.
    let crd = catalyst_lab::http_routes_crd().await.unwrap();
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = "httproutes.gateway.networking.k8s.io";
    api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&crd)).await.unwrap();
    within("HTTPRoutes are served", await_condition(api, name, conditions::is_crd_established())).await.unwrap();
}

/// Awaits a future, not for ever.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("not within {} s: {what}", DEADLINE.as_secs()),
    }
}

/// Passes that have ended so far.
pub fn passes(metrics: &Metrics) -> usize {
    let text = metrics.text();
    let counts = text.lines().filter_map(|line| line.strip_prefix("catalyst_operator_reconciles_total{"));
    counts.filter_map(|line| line.split_whitespace().last()?.parse::<usize>().ok()).sum()
}

/// Whether no pass is asked for or runs, nor a look at a VM, whose end asks for one.
pub fn rests(metrics: &Metrics) -> bool {
    let text = metrics.text();
    let idle = ["reconciles_running 0\n", "queue_depth 0\n", "ssh_checks_running 0\n"];
    idle.iter().all(|idle| text.contains(idle))
}

/// Awaits that at least so many passes have ended, and that nothing leads to another for two seconds: the cluster's controllers,
/// whose word asks for one, take as long on a machine at work.
pub async fn quiet(metrics: &Metrics, at_least: usize) {
    let (mut last, mut still) = (0, 0);
    until("no more passes", || {
        let now = passes(metrics);
        still = if now == last && now >= at_least && rests(metrics) { still + 1 } else { 0 };
        last = now;
        let done = (still > 40).then_some(());
        async move { done }
    })
    .await;
}

/// A namespace, the rights of an administrator, and an operator.
pub struct World {
    pub admin: Client,
    pub namespace: String,
    pub metrics: Arc<Metrics>,
    account: String,
    operator: Option<(CancellationToken, JoinHandle<()>)>,
}

impl World {
    /// A namespace without an operator.
    pub async fn without_operator(namespace: &str) -> World {
        let plane = plane();
        let admin = plane.client().await.unwrap();
        let metadata = ObjectMeta { name: Some(namespace.to_owned()), ..ObjectMeta::default() };
        let object = Namespace { metadata, ..Namespace::default() };
        Api::<Namespace>::all(admin.clone()).create(&PostParams::default(), &object).await.unwrap();
        World {
            admin,
            namespace: namespace.to_owned(),
            metrics: Arc::default(),
            account: format!("operator-{namespace}"),
            operator: None,
        }
    }

    /// A namespace with an operator at work.
    pub async fn with_operator(namespace: &str) -> World {
        let mut world = World::without_operator(namespace).await;
        world.start_operator().await;
        world
    }

    /// Starts the operator and awaits its caches.
    pub async fn start_operator(&mut self) {
        let client = plane().client_for(&self.account, Some("system:masters")).await.unwrap();
        self.start_operator_with(client).await;
    }

    /// Starts the operator with this client.
    pub async fn start_operator_with(&mut self, client: Client) {
        self.metrics = Arc::default();
        let (stop, readiness) = (CancellationToken::new(), Readiness::default());
        let settings = settings(vec![self.namespace.clone()]);
        let run = controller::run(client, settings, Arc::clone(&self.metrics), readiness.clone(), stop.clone());
        self.operator = Some((stop, tokio::spawn(run)));
        until("the operator's caches are filled", || async { readiness.get().then_some(()) }).await;
    }

    /// The account under which the operator writes.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Ends the operator as SIGKILL does.
    pub async fn kill_operator(&mut self) {
        let (_, task) = self.operator.take().expect("the operator runs");
        task.abort();
        assert!(task.await.is_err_and(|ended| ended.is_cancelled()));
    }

    /// Stops the operator as SIGTERM does, and awaits its end.
    pub async fn stop_operator(&mut self) {
        let (stop, task) = self.operator.take().expect("the operator runs");
        stop.cancel();
        within("the operator stops", task).await.unwrap();
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    /// Creates or changes the instance as `kubectl apply --server-side` does.
    pub async fn apply(&self, name: &str, spec: Value) -> CatalystInstance {
        let object = json!({"apiVersion": "catalyst.dev/v1alpha1", "kind": "CatalystInstance",
            "metadata": {"name": name}, "spec": spec});
        let params = PatchParams::apply("user").force();
        self.api::<CatalystInstance>().patch(name, &params, &Patch::Apply(&object)).await.unwrap()
    }

    /// Changes something as `kubectl edit` (another manager) does.
    pub async fn edit<K>(&self, name: &str, patch: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let params = PatchParams { field_manager: Some("kubectl-edit".into()), ..PatchParams::default() };
        self.api::<K>().patch(name, &params, &Patch::Merge(patch)).await.unwrap()
    }

    /// Runs kubectl in this world's namespace, and returns what it prints.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        let mut command = plane().kubectl().await.unwrap();
        command.args(["--namespace", &self.namespace]).args(arguments);
        let output = within("kubectl", command.output()).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "kubectl {arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Awaits that the instance's Ready condition carries this reason for its present generation.
    pub async fn reason(&self, name: &str, reason: &str) -> CatalystInstance {
        let mut last = None;
        let instance = tokio::time::timeout(DEADLINE, async {
            loop {
                let instance = self.api::<CatalystInstance>().get(name).await.unwrap();
                let is = ready(&instance).is_some_and(|ready| {
                    ready.reason == reason && ready.observed_generation == instance.metadata.generation
                });
                if is {
                    return instance;
                }
                last = instance.status;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        instance.unwrap_or_else(|_| panic!("{name} is not {reason}: {last:#?}"))
    }

    /// Awaits an object.
    pub async fn exists<K>(&self, name: &str) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let what = format!("{} {name} exists", K::kind(&()));
        until(&what, || async { self.api::<K>().get_opt(name).await.unwrap() }).await
    }

    /// What the operator's account wrote so far, its events left out, as `verb resource name`.
    pub fn writes(&self) -> Vec<String> {
        let writes = plane().writes().unwrap();
        let ours = writes.into_iter().filter(|write| write.user == self.account && write.resource != "events");
        ours.map(|write| format!("{} {} {}", write.verb, write.resource, write.name)).collect()
    }

    /// Passes that have ended so far.
    pub fn passes(&self) -> usize {
        passes(&self.metrics)
    }

    /// Makes the operator look at an instance once more, and awaits that it did.
    pub async fn another_pass(&self, name: &str, mark: &str) {
        let before = self.passes();
        self.edit::<CatalystInstance>(name, json!({"metadata": {"annotations": {"example.com/mark": mark}}})).await;
        until("another pass", || async { (self.passes() > before).then_some(()) }).await;
        self.settled().await;
    }

    /// Awaits that no pass is asked for, runs or follows: what had to be done is done, for only passes write.
    pub async fn settled(&self) {
        quiet(&self.metrics, 0).await;
    }

    /// The notes of the events with this reason.
    pub async fn events(&self, reason: &str) -> Vec<String> {
        let events = self.api::<Event>().list(&ListParams::default()).await.unwrap();
        let with = events.items.into_iter().filter(|event| event.reason.as_deref() == Some(reason));
        with.filter_map(|event| event.note).collect()
    }

    /// What else these are about, beside the instance: UIDs.
    pub async fn regarding(&self, reason: &str) -> Vec<Option<String>> {
        let events = self.api::<Event>().list(&ListParams::default()).await.unwrap();
        let with = events.items.into_iter().filter(|event| event.reason.as_deref() == Some(reason));
        with.map(|event| event.related.and_then(|object| object.uid)).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some((stop, _)) = &self.operator {
            stop.cancel();
        }
    }
}

/// The Ready condition.
pub fn ready(instance: &CatalystInstance) -> Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    instance.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == "Ready")
}

/// Status and reason of the conditions of the parts, in the order of status.
pub fn parts(instance: &CatalystInstance) -> Vec<String> {
    let conditions = instance.status.iter().flat_map(|status| &status.conditions);
    let of_part = conditions.filter(|condition| condition.type_.len() > 5 && condition.type_.ends_with("Ready"));
    of_part.map(|condition| format!("{}={} {}", condition.type_, condition.status, condition.reason)).collect()
}

/// Of the conditions that kstatus reads those that are True.
pub fn true_conditions(instance: &CatalystInstance) -> Vec<String> {
    let conditions = instance.status.iter().flat_map(|status| &status.conditions);
    let kstatus = |kind: &str| ["Ready", "Reconciling", "Stalled"].contains(&kind);
    let is = conditions.filter(|condition| condition.status == "True" && kstatus(&condition.type_));
    is.map(|condition| condition.type_.clone()).collect()
}

/// Settings under which a test's sshd on this machine counts as a VM.
pub fn settings(namespaces: Vec<String>) -> Settings {
    Settings {
        namespaces,
        concurrency: 4,
        identity: "test".into(),
        defaults: Defaults { proxy_image: "catalyst-proxy:test".into() },
        prober: ProberSettings {
            concurrent: 4,
            deadline: Duration::from_secs(10),
            addresses: AddressPolicy::allowing_own_machine(Vec::new()),
        },
    }
}

/// Asks until there is an answer.
pub async fn until<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    within(what, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}
