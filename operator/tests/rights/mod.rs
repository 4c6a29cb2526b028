//! What the operator may not do, or cannot have done: told with the right or the webhook that is missing, and gone when it is there.

use std::path::Path;

use catalyst_lab::AUDITED_GROUP;
use catalyst_operator::crd::CatalystInstance;
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingWebhookConfiguration,
    apps::v1::Deployment,
    networking::v1::Ingress,
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::world::{World, parts, plane, ready, true_conditions, until};

const KNOWN: &str = "192.0.2.1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

/// The rules of `config/rbac`, without `verb` on `resource`.
fn rules_without(verb: &str, resource: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/rbac/operator.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let mut documents = serde_yaml::Deserializer::from_str(&text).map(|it| Value::deserialize(it).unwrap());
    let mut rules = documents.find(|object| object["kind"] == "ClusterRole").unwrap()["rules"].clone();
    let mut narrowed = Vec::new();
    for rule in rules.as_array_mut().unwrap() {
        let mut of_it = rule.clone();
        rule["resources"].as_array_mut().unwrap().retain(|it| it != resource);
        of_it["resources"].as_array_mut().unwrap().retain(|it| it == resource);
        of_it["verbs"].as_array_mut().unwrap().retain(|it| it != verb);
        narrowed.extend([rule.clone(), of_it]);
    }
    narrowed.retain(|rule| ["resources", "verbs"].iter().all(|key| !rule[*key].as_array().unwrap().is_empty()));
    Value::Array(narrowed)
}

/// Grants the operator of this world the rights of `config/rbac`, without `verb` on `resource`.
async fn grant_without(world: &World, verb: &str, resource: &str) {
    let name = format!("rights-{}", world.namespace);
    let params = PatchParams::apply("test").force();
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
        "rules": rules_without(verb, resource)});
    Api::<ClusterRole>::all(world.admin.clone()).patch(&name, &params, &Patch::Apply(&role)).await.unwrap();
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": world.account()}]});
    Api::<ClusterRoleBinding>::all(world.admin.clone()).patch(&name, &params, &Patch::Apply(&binding)).await.unwrap();
}

/// A world whose operator has the rights of `config/rbac`, without `verb` on `resource`.
async fn world_without(namespace: &str, verb: &str, resource: &str) -> World {
    let mut world = World::without_operator(namespace).await;
    grant_without(&world, verb, resource).await;
    let client = plane().client_for(world.account(), Some(AUDITED_GROUP)).await.unwrap();
    world.start_operator_with(client).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_to_read_that_is_missing_asks_for_a_person_and_is_named_until_it_is_there() {
    for (verb, resource) in [("get", "secrets"), ("list", "pods")] {
        let world = world_without(&format!("no-{verb}-{resource}"), verb, resource).await;
        world.apply("x", json!({"ssh": {"host": "192.0.2.1", "user": "dev", "knownHosts": KNOWN}})).await;
        let instance = world.reason("x", "RightMissing").await;
        let message = &ready(&instance).unwrap().message;
        assert!(message.contains(&format!("cannot {verb} resource \"{resource}\"")), "{message}");
        assert!(message.contains("Give the operator's service account the verb"), "{message}");
        assert_eq!(true_conditions(&instance), ["Stalled"]);
        grant_without(&world, "", "").await;
        world.exists::<Deployment>("x").await;
        until("it is told no more", || async {
            let instance = world.api::<CatalystInstance>().get("x").await.unwrap();
            (ready(&instance)?.reason != "RightMissing").then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_instance_is_told_the_right_without_which_nothing_is_known_of_it() {
    let world = World::without_operator("paused-blind").await;
    world.apply("x", json!({"ssh": {"host": "192.0.2.1", "user": "dev", "knownHosts": KNOWN}})).await;
    world.edit::<CatalystInstance>("x", json!({"metadata": {"annotations": {"catalyst.dev/paused": "true"}}})).await;
    let mut world = world;
    grant_without(&world, "get", "secrets").await;
    world.start_operator_with(plane().client_for(world.account(), Some(AUDITED_GROUP)).await.unwrap()).await;
    let instance = world.reason("x", "Paused").await;
    let message = &ready(&instance).unwrap().message;
    assert!(message.contains("As it is: RightMissing: The operator lacks a right"), "{message}");
    assert!(message.contains("cannot get resource \"secrets\""), "{message}");
    grant_without(&world, "", "").await;
    until("it is told how it is", || async {
        let instance = world.api::<CatalystInstance>().get("x").await.unwrap();
        ready(&instance)?.message.contains("As it is: Deployment x is not there.").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_in_that_cannot_be_looked_at_is_unknown_and_the_right_is_named() {
    let world = world_without("unseen", "list", "ingressclasses").await;
    let spec = json!({"ssh": {"host": "192.0.2.1", "user": "dev", "knownHosts": KNOWN}, "replicas": 0,
        "ingress": {"host": "unseen.example.com"}});
    world.apply("x", spec).await;
    let instance = world.reason("x", "Available").await;
    assert!(parts(&instance).contains(&"ExposureReady=Unknown LookForbidden".to_owned()), "{:?}", parts(&instance));
    let conditions = instance.status.unwrap().conditions;
    let message = &conditions.iter().find(|condition| condition.type_ == "ExposureReady").unwrap().message;
    assert!(message.contains("cannot list resource \"ingressclasses\""), "{message}");
    assert!(message.contains("WATCH_NAMESPACES"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_does_not_answer_is_told_and_the_rest_of_the_instance_too() {
    let world = World::with_operator("webhook").await;
    let webhook: ValidatingWebhookConfiguration = serde_json::from_value(json!({"metadata": {"name": "away"},
        "webhooks": [{"name": "away.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"url": "https://127.0.0.1:1/"}, "failurePolicy": "Fail", "timeoutSeconds": 1,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "webhook"}},
            "rules": [{"apiGroups": ["networking.k8s.io"], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["ingresses"]}]}]}))
    .unwrap();
    let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(world.admin.clone());
    webhooks.create(&PostParams::default(), &webhook).await.unwrap();
    let ingress: Ingress = serde_json::from_value(json!({"metadata": {"name": "dry"},
        "spec": {"defaultBackend": {"service": {"name": "x", "port": {"number": 80}}}}}))
    .unwrap();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    until("the webhook is asked", || async {
        world.api::<Ingress>().create(&dry, &ingress).await.is_err().then_some(())
    })
    .await;

    let spec = json!({"ssh": {"host": "192.0.2.1", "user": "dev", "knownHosts": KNOWN}, "replicas": 0,
        "ingress": {"host": "webhook.example.com"}});
    world.apply("x", spec).await;
    let instance = world.reason("x", "WebhookUnavailable").await;
    let message = &ready(&instance).unwrap().message;
    assert!(message.contains("Ingress x could not be written") && message.contains("away.example.com"), "{message}");
    assert_eq!(true_conditions(&instance), ["Reconciling"]);
    until("the rest is judged all the same", || async {
        let told = parts(&world.api::<CatalystInstance>().get("x").await.unwrap());
        let expected = ["WorkloadReady=True Available", "ExposureReady=False WebhookUnavailable"];
        expected.iter().all(|part| told.contains(&(*part).to_owned())).then_some(())
    })
    .await;
    webhooks.delete("away", &DeleteParams::default()).await.unwrap();
    world.exists::<Ingress>("x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_is_refused_asks_for_a_person_and_is_named() {
    let world = world_without("no-watch", "watch", "deployments").await;
    world.apply("x", json!({"ssh": {"host": "192.0.2.1", "user": "dev", "knownHosts": KNOWN}, "replicas": 0})).await;
    let instance = world.reason("x", "RightMissing").await;
    let message = &ready(&instance).unwrap().message;
    assert!(message.contains("does not see what changes"), "{message}");
    assert!(message.contains("cannot watch resource \"deployments\""), "{message}");
    assert_eq!(true_conditions(&instance), ["Stalled"]);
    grant_without(&world, "", "").await;
    // What the watch then shows is the proof that it goes on.
    let mut mark = 0;
    until("it is told no more", || {
        mark += 1;
        let label = json!({"metadata": {"labels": {"example.com/mark": mark.to_string()}}});
        let world = &world;
        async move {
            world.edit::<Deployment>("x", label).await;
            let instance = world.api::<CatalystInstance>().get("x").await.unwrap();
            (ready(&instance)?.reason == "Available").then_some(())
        }
    })
    .await;
}
