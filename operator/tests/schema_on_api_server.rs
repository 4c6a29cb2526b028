//! The CRD and what is built, as a real API server takes them: it has the last word on schemas, on the cost of rules and on
//! what a pod may be.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test says what is wrong by panicking, and its modules are its own"
)]

mod agreement;
mod examples;
mod refusals;
mod shapes;

use std::collections::BTreeSet;
use std::time::Duration;

use catalyst_lab::{ControlPlane, ControlPlaneOptions};
use catalyst_operator::build::{Desired, build};
use catalyst_operator::crd::{self, CatalystInstance};
use examples::{examples, validated};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams, ValidationDirective};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, Resource, ResourceExt as _};
use refusals::{ACCEPTED, REFUSALS, manifest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// As kubectl does: an unknown field is an error.
fn dry_run() -> PatchParams {
    PatchParams { dry_run: true, field_validation: Some(ValidationDirective::Strict), ..PatchParams::apply("test") }
}

async fn install(client: &Client) {
    for crd in crd::all() {
        install_crd(client, &crd.name_any(), &crd).await;
    }
}

async fn install_crd(client: &Client, name: &str, crd: &(impl Serialize + std::fmt::Debug)) {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    crds.patch(name, &PatchParams::apply("test"), &Patch::Apply(crd)).await.unwrap();
    let established = await_condition(crds, name, conditions::is_crd_established());
    tokio::time::timeout(Duration::from_secs(30), established).await.expect("the CRD is not established").unwrap();
}

/// What the API server says to a manifest: nothing, or its refusal.
async fn refusal(client: &Client, name: &str, manifest: &str) -> Option<String> {
    let instances: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), "default", &ApiResource::erase::<CatalystInstance>(&()));
    let object: Value = serde_yaml::from_str(manifest).unwrap();
    instances.patch(name, &dry_run(), &Patch::Apply(&object)).await.err().map(|error| error.to_string())
}

async fn apply<K>(client: &Client, object: &K) -> K
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
    K::DynamicType: Default,
{
    let api: Api<K> = Api::namespaced(client.clone(), "team");
    // What the kind does not have is an error here, and not left out.
    let strict = Some(ValidationDirective::Strict);
    let params = PatchParams { field_validation: strict, ..PatchParams::apply("catalyst-operator") };
    api.patch(&object.name_any(), &params, &Patch::Apply(object)).await.unwrap()
}

/// A second apply of what is there already must not be a write.
async fn assert_applies_once<K>(client: &Client, object: &K)
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope> + Clone + Serialize + DeserializeOwned + std::fmt::Debug,
    K::DynamicType: Default,
{
    let first = apply(client, object).await;
    let second = apply(client, object).await;
    assert_eq!(
        first.resource_version(),
        second.resource_version(),
        "{} {}",
        K::kind(&Default::default()),
        object.name_any()
    );
}

#[tokio::test]
async fn the_api_server_refuses_and_takes_what_it_should_and_names_the_field() {
    let plane = ControlPlane::start(ControlPlaneOptions { controllers: false, ..Default::default() }).await.unwrap();
    let client = plane.client().await.unwrap();
    install(&client).await;

    for (case, name, spec, _, expected) in REFUSALS {
        let refusal = refusal(&client, name, &manifest(name, spec)).await.unwrap_or_else(|| panic!("{case}: accepted"));
        assert!(refusal.contains(expected), "{case}: {refusal}");
    }
    for (case, spec) in ACCEPTED {
        assert_eq!(refusal(&client, "x", &manifest("x", spec)).await, None, "{case}");
    }
    for path in examples() {
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(refusal(&client, "catalyst", &text).await, None, "{}", path.display());
    }
    let unknown = refusal(&client, "x", &manifest("x", "{ssh: {host: vm, user: dev, prot: 22}}")).await.unwrap();
    assert!(unknown.contains(".spec.ssh.prot"), "{unknown}");

    // Before any operator has looked at an instance it has a status of no generation, and not none, which would be healthy.
    let api: Api<CatalystInstance> = Api::namespaced(client, "default");
    let spec: Value = serde_yaml::from_str(&manifest("new", "{ssh: {host: vm, user: dev}}")).unwrap();
    let new = api.patch("new", &PatchParams::apply("test"), &Patch::Apply(&spec)).await.unwrap();
    let status = new.status.unwrap();
    assert_eq!((status.observed_generation, status.conditions.len(), status.is_written()), (Some(-1), 0, false));
}

/// What is said of a spec, one word for each warning.
const WARNINGS: &[(&str, &[&str])] = &[
    ("{ssh: {host: 10.0.0.1, user: dev, knownHosts: x}, ingress: {host: a.b, tls: {secretName: s}}}", &[]),
    ("{ssh: {host: 10.0.0.1, user: dev}, ingress: {host: catalyst.localhost}}", &["knownHosts"]),
    ("{ssh: {host: 10.0.0.1, user: dev, knownHosts: x}, ingress: {host: a.b}}", &["plain http"]),
    ("{ssh: {host: 10.0.0.1, user: dev, knownHosts: x}, ingress: {host: a.b}, publicUrl: 'https://a.b'}", &[]),
    (
        "{ssh: {host: 10.0.0.1, user: dev, knownHosts: x}, gateway: {parentRefs: [{name: g}], hostnames: [a.b], tls: false}}",
        &["plain http"],
    ),
    ("{ssh: {host: vm, user: root, knownHosts: x}}", &["is a name", "is root"]),
    (
        "{ssh: {host: vm, user: dev, knownHosts: x}, networkPolicy: {sshEgressCidr: 0.0.0.0/0}}",
        &["large part of all addresses"],
    ),
    (
        "{ssh: {host: 10.0.0.1, user: dev, knownHosts: x}, networkPolicy: {ingressCidrs: [10.0.0.0/8, 0.0.0.0/0]}}",
        &["past the ingress controller"],
    ),
    (
        "{ssh: {host: 10.0.0.1, user: dev, knownHosts: x}, networkPolicy: {extraEgress: [{cidr: '::/0', port: 443}]}}",
        &["needs DNS and SSH only"],
    ),
    (
        "{ssh: {host: 10.0.0.1, user: dev, knownHosts: x}, networkPolicy: {ingressCidrs: [10.0.0.0/8], extraEgress: [{cidr: 10.0.0.0/8}]}}",
        &[],
    ),
    ("{ssh: {host: 10.0.0.1, user: dev, knownHosts: x}, service: {type: NodePort}}", &["lets nobody in from there"]),
    (
        "{ssh: {host: 10.0.0.1, user: dev, knownHosts: x}, service: {type: NodePort}, networkPolicy: {ingressCidrs: [10.0.0.0/8]}}",
        &[],
    ),
    (
        "{ssh: {host: vm, user: dev, knownHosts: x}, networkPolicy: {enabled: false}}",
        &["networkPolicy.enabled is false"],
    ),
    (
        "{ssh: {host: 10.0.0.1, user: dev, knownHosts: x}, trustedProxies: [10.244.0.0/16], identityHeader: Remote-User}",
        &["can name itself anybody"],
    ),
    (
        "{ssh: {host: 10.0.0.1, user: dev, knownHosts: x}, trustedProxies: [10.244.0.0/16], identityHeader: Remote-User, networkPolicy: {ingressPodLabels: {a: b}}}",
        &[],
    ),
];

/// What kubectl prints as warnings when a manifest is applied without effect.
async fn warnings(plane: &ControlPlane, manifest: &str) -> Vec<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), manifest).unwrap();
    let mut kubectl = plane.kubectl().await.unwrap();
    kubectl.args(["apply", "--server-side", "--dry-run=server", "-f"]).arg(file.path());
    let output = kubectl.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    text.lines().filter(|line| line.starts_with("Warning:")).map(str::to_owned).collect()
}

/// Every field below a schema, by its whole path.
fn fields(path: &str, schema: &Value, found: &mut BTreeSet<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        for below in [field, &field["items"], &field["additionalProperties"]] {
            fields(&path, below, found);
        }
        found.insert(path);
    }
}

/// The same as kubectl tells them: a line each, `name<TAB><type>`, indented below what it belongs to.
fn explained(text: &str) -> BTreeSet<String> {
    let mut within: Vec<(usize, &str)> = Vec::new();
    let mut found = BTreeSet::new();
    for (head, _) in text.lines().filter_map(|line| line.split_once("\t<")).filter(|(head, _)| head.starts_with(' ')) {
        let name = head.trim_start();
        let indent = head.len() - name.len();
        while within.pop_if(|(other, _)| *other >= indent).is_some() {}
        within.push((indent, name));
        found.insert(within.iter().map(|(_, name)| *name).collect::<Vec<_>>().join("."));
    }
    found
}

#[tokio::test]
async fn kubectl_warns_of_what_is_allowed_but_unwise_and_explains_every_field() {
    let plane = ControlPlane::start(ControlPlaneOptions { controllers: false, ..Default::default() }).await.unwrap();
    install(&plane.client().await.unwrap()).await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/admission");
    let applied = plane.kubectl().await.unwrap().args(["apply", "-k", folder]).output().await.unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    // The API server takes the policy up a moment after it is stored.
    let unwise = manifest("x", "{ssh: {host: vm, user: root}}");
    let taken_up = async {
        while warnings(&plane, &unwise).await.len() < 3 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), taken_up).await.expect("the policy is not taken up");
    for (spec, expected) in WARNINGS {
        let told = warnings(&plane, &manifest("x", spec)).await;
        assert_eq!(told.len(), expected.len(), "{spec}: {told:#?}");
        for (warning, word) in told.iter().zip(*expected) {
            assert!(warning.contains(word), "{spec}: {warning}");
        }
    }

    let explain = async |arguments: &[&str]| {
        let output = plane.kubectl().await.unwrap().arg("explain").args(arguments).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = explain(&["cati.spec.ssh.jump.host"]).await;
    assert!(text.contains("as the pods see it"), "{text}");
    let mut all = BTreeSet::new();
    fields("", &serde_json::to_value(crd::spec_schema()).unwrap(), &mut all);
    assert!(all.len() > 100 && all.contains("ssh.jump.host"), "{all:?}");
    assert_eq!(explained(&explain(&["cati.spec", "--recursive"]).await), all);
}

#[tokio::test]
async fn what_is_built_is_taken_once_and_its_pods_are_restricted_ones() {
    let plane = ControlPlane::start(ControlPlaneOptions { controllers: false, ..Default::default() }).await.unwrap();
    let client = plane.client().await.unwrap();
    let namespace: Namespace = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "team", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    }))
    .unwrap();
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();

    // What an example refers to beside what every cluster has.
    let class: PriorityClass =
        serde_json::from_value(serde_json::json!({"metadata": {"name": "interactive"}, "value": 1000})).unwrap();
    Api::all(client.clone()).create(&PostParams::default(), &class).await.unwrap();
    let routes = catalyst_lab::http_routes_crd().await.unwrap();
    install_crd(&client, "httproutes.gateway.networking.k8s.io", &routes).await;

    let mut routed = 0;
    for path in examples() {
        let Desired {
            deployment,
            service,
            ingress,
            http_route,
            disruption_budget,
            config,
            known_hosts,
            network_policy,
        } = build(&validated(&path));
        assert_applies_once(&client, &config).await;
        assert_applies_once(&client, &known_hosts).await;
        assert_applies_once(&client, &deployment).await;
        assert_applies_once(&client, &service).await;
        if let Some(ingress) = ingress {
            assert_applies_once(&client, &ingress).await;
        }
        if let Some(route) = http_route {
            assert_applies_once(&client, &route).await;
            routed += 1;
        }
        if let Some(budget) = disruption_budget {
            assert_applies_once(&client, &budget).await;
        }
        assert_applies_once(&client, &network_policy.unwrap()).await;
        assert_pod_is_admitted(&client, &deployment).await;
    }
    assert!(routed > 0, "no example has a route");
}

/// No controller makes pods here, so the template is tried by itself, under Pod Security `restricted`.
async fn assert_pod_is_admitted(client: &Client, deployment: &Deployment) {
    let template = deployment.spec.as_ref().unwrap().template.clone();
    let mut metadata = template.metadata.unwrap();
    metadata.name = Some("trial".to_owned());
    let pod = Pod { metadata, spec: template.spec, status: None };
    let pods: Api<Pod> = Api::namespaced(client.clone(), "team");
    let created = pods.create(&PostParams { dry_run: true, ..PostParams::default() }, &pod).await.unwrap();
    assert_eq!(created.spec.unwrap().containers.len(), 1);
}
