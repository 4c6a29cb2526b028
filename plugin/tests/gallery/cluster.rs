//! What the cluster has beside the instances: classes, Secrets, rights of the operator, and what is in its way.

use std::path::Path;

use catalyst_operator::build::HTTPRoute;
use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::{
            ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
        },
        core::v1::{ConfigMap, ResourceQuota, Secret},
        networking::v1::{Ingress, IngressClass},
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
        scheduling::v1::PriorityClass,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
    runtime::{conditions, wait::await_condition},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    tls,
    world::{World, plane, until},
};

/// The account of an operator that runs in this namespace.
pub(crate) fn account(namespace: &str) -> String {
    format!("system:serviceaccount:{namespace}:catalyst-operator")
}

/// A client of that account.
pub(crate) async fn operator_in(namespace: &str) -> Client {
    plane().client_for(&account(namespace), None).await.unwrap()
}

async fn create<K>(api: Api<K>, object: Value) -> K
where
    K: Resource + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
}

/// Creates something in the namespace of this world.
pub(crate) async fn beside<K>(world: &World, object: Value)
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    create::<K>(Api::namespaced(world.client.clone(), &world.namespace), object).await;
}

pub(crate) async fn secret(world: &World, name: &str, values: Value) {
    beside::<Secret>(world, json!({"metadata": {"name": name}, "stringData": values})).await;
}

/// The rights of `config/rbac`, as they stand there: its objects of this kind.
fn rights(kind: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/rbac/operator.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let mut objects = serde_yaml::Deserializer::from_str(&text).map(|object| Value::deserialize(object).unwrap());
    objects.find(|object| object["kind"] == kind).unwrap()
}

/// Grants the operator what `config/rbac` grants it.
pub(crate) async fn grant(client: &Client) {
    create::<ClusterRole>(Api::all(client.clone()), rights("ClusterRole")).await;
    create::<ClusterRoleBinding>(Api::all(client.clone()), rights("ClusterRoleBinding")).await;
}

/// Grants an operator in the namespace of this world what `config/namespaced` does, as somebody has it who did not apply that anew
/// when PodDisruptionBudgets came.
pub(crate) async fn grant_within(world: &World) {
    let mut role = rights("ClusterRole");
    let rules = role["rules"].as_array_mut().unwrap();
    let budgets = rules.iter_mut().find(|rule| rule["resources"][0] == "poddisruptionbudgets").unwrap();
    budgets["verbs"] = json!(["get", "list", "watch"]);
    let name = "catalyst-operator";
    let role = json!({"metadata": {"name": name}, "rules": rules});
    beside::<Role>(world, role).await;
    let subject = json!({"kind": "ServiceAccount", "name": name, "namespace": world.namespace});
    let binding = json!({"metadata": {"name": name}, "subjects": [subject],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}});
    beside::<RoleBinding>(world, binding).await;
}

/// The class that Ingresses have if they name none, and somebody else's Ingress of it.
pub(crate) async fn ingresses(world: &World) {
    let class = json!({"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}});
    create::<IngressClass>(Api::all(world.client.clone()), class).await;
    let backend = json!({"service": {"name": "wiki", "port": {"number": 80}}});
    let paths = json!([{"path": "/", "pathType": "Prefix", "backend": backend}]);
    let ingress = json!({"metadata": {"name": "wiki"}, "spec": {"ingressClassName": "nginx",
        "rules": [{"host": "wiki.example.com", "http": {"paths": paths}}]}});
    beside::<Ingress>(world, ingress).await;
}

/// Pods of one class are refused by a quota.
pub(crate) async fn quota(world: &World) {
    let class = json!({"metadata": {"name": "idle"}, "value": 1});
    create::<PriorityClass>(Api::all(world.client.clone()), class).await;
    let of_class = json!({"scopeName": "PriorityClass", "operator": "In", "values": ["idle"]});
    let quota = json!({"metadata": {"name": "idle-pods"},
        "spec": {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [of_class]}}});
    beside::<ResourceQuota>(world, quota).await;
    let quotas: Api<ResourceQuota> = Api::namespaced(world.client.clone(), &world.namespace);
    until("the quota is counted", || async { quotas.get("idle-pods").await.unwrap().status?.hard }).await;
}

fn ingresses_of(instance: &str) -> Value {
    json!({"objectSelector": {"matchLabels": {"catalyst.dev/instance": instance}},
        "resourceRules": [{"apiGroups": ["networking.k8s.io"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
            "resources": ["ingresses"]}]})
}

/// The Ingress of an instance is refused in these words.
pub(crate) async fn refuse_ingress(world: &World, policy: &str, instance: &str, words: &str) {
    let object = json!({"metadata": {"name": policy}, "spec": {"failurePolicy": "Fail",
        "matchConstraints": ingresses_of(instance), "validations": [{"expression": "false", "message": words}]}});
    create::<ValidatingAdmissionPolicy>(Api::all(world.client.clone()), object).await;
    let binding = json!({"metadata": {"name": policy}, "spec": {"policyName": policy, "validationActions": ["Deny"]}});
    create::<ValidatingAdmissionPolicyBinding>(Api::all(world.client.clone()), binding).await;
    await_refusal(world, instance).await;
}

/// The webhook of an ingress-nginx says this of the Ingress of an instance, as it does.
pub(crate) async fn refuse_by_webhook(world: &World, instance: &str, words: &'static str) {
    let server = tls::serve("application/json", move |_, body| {
        let review: Value = serde_json::from_slice(body).unwrap_or_default();
        let status = json!({"code": 400, "message": words});
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "response": {"uid": review["request"]["uid"], "allowed": false, "status": status}})
        .to_string()
    });
    let url = format!("https://127.0.0.1:{}/networking/v1/ingresses", server.port);
    let client = json!({"url": url, "caBundle": ByteString(server.certificate.into_bytes())});
    ask_webhook(world, "ingress-nginx-admission", instance, client).await;
}

/// One that was uninstalled is to be asked about the Ingress of an instance.
pub(crate) async fn leave_webhook(world: &World, instance: &str) {
    let service = json!({"namespace": "ingress-nginx", "name": "ingress-nginx-controller-admission",
        "path": "/networking/v1/ingresses"});
    ask_webhook(world, "old-ingress-nginx-admission", instance, json!({"service": service})).await;
}

async fn ask_webhook(world: &World, name: &str, instance: &str, client: Value) {
    let mut webhook = json!({"name": "validate.nginx.ingress.kubernetes.io", "admissionReviewVersions": ["v1"],
        "sideEffects": "None", "clientConfig": client, "failurePolicy": "Fail"});
    let matched = ingresses_of(instance);
    webhook["objectSelector"] = matched["objectSelector"].clone();
    webhook["rules"] = matched["resourceRules"].clone();
    let object = json!({"metadata": {"name": name}, "webhooks": [webhook]});
    create::<ValidatingWebhookConfiguration>(Api::all(world.client.clone()), object).await;
    await_refusal(world, instance).await;
}

async fn await_refusal(world: &World, instance: &str) {
    let labels = json!({"catalyst.dev/instance": instance});
    let ingress = json!({"metadata": {"name": "dry", "labels": labels},
        "spec": {"defaultBackend": {"service": {"name": "x", "port": {"number": 80}}}}});
    let ingress: Ingress = serde_json::from_value(ingress).unwrap();
    let ingresses: Api<Ingress> = Api::namespaced(world.client.clone(), &world.namespace);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    until("it is in force", || async { ingresses.create(&dry, &ingress).await.is_err().then_some(()) }).await;
}

/// An object of an instance of this name that was before, held back by a finalizer.
pub(crate) async fn predecessor(world: &World, name: &str) {
    let owner = json!({"apiVersion": "catalyst.dev/v1alpha1", "kind": "CatalystInstance", "name": name,
        "uid": "00000000-0000-0000-0000-000000000000", "controller": true});
    let left = json!({"metadata": {"name": format!("{name}-config"), "labels": {"catalyst.dev/instance": name},
        "finalizers": ["example.com/hold"], "ownerReferences": [owner]}});
    beside::<ConfigMap>(world, left).await;
}

/// From now on the cluster knows HTTPRoutes. `stored`: whether it can store them, or has to ask a webhook first that was uninstalled.
pub(crate) async fn install_http_routes(client: &Client, stored: bool) {
    let name = "httproutes.gateway.networking.k8s.io";
    let mut crd = catalyst_lab::http_routes_crd().await.unwrap();
    if !stored {
        // As it was when v1beta1 was the version that is stored.
        let service = json!({"namespace": "gateway-system", "name": "gateway-api-conversion"});
        let webhook = json!({"conversionReviewVersions": ["v1"], "clientConfig": {"service": service}});
        crd["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": webhook});
        for version in crd["spec"]["versions"].as_array_mut().unwrap() {
            version["storage"] = json!(version["name"] == "v1beta1");
        }
    }
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    crds.patch(name, &PatchParams::apply("test"), &Patch::Apply(&crd)).await.unwrap();
    await_condition(crds, name, conditions::is_crd_established()).await.unwrap();
}

/// The controller of a Gateway does not take the route of an instance.
pub(crate) async fn refuse_route(world: &World, name: &str) {
    let routes: Api<HTTPRoute> = Api::namespaced(world.client.clone(), &world.namespace);
    let refused = json!({"type": "Accepted", "status": "False", "reason": "NotAllowedByListeners",
        "message": "No listener allows routes of namespace ideas.", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let parent =
        json!({"parentRef": {"name": "public"}, "controllerName": "example.com/gateway", "conditions": [refused]});
    let patch = Patch::Merge(json!({"status": {"parents": [parent]}}));
    until("the route is there", || async { routes.patch_status(name, &PatchParams::default(), &patch).await.ok() })
        .await;
}
