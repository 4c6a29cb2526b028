//! From an earlier schema of the resource and an earlier image to these: instances that were made then stay valid, and the pods that
//! are replaced are those that the preview names.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it must be"
)]

mod examples;
mod world;

use std::{collections::BTreeSet, process::Command, sync::Arc};

use catalyst_lab::{ControlPlane, ControlPlaneOptions};
use catalyst_operator::{admin::Readiness, controller, crd::CatalystInstance, metrics::Metrics, validated::Defaults};
use k8s_openapi::{
    api::apps::v1::Deployment, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams},
    core::ApiResource,
    runtime::{conditions, wait::await_condition},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use world::{install_crds, quiet, settings, until, within};

const OPERATOR: &str = "upgraded-operator";
/// The image of the operator's release, then and now.
const IMAGES: [&str; 2] = ["catalyst-proxy:earlier", "catalyst-proxy:test"];

/// `crds/catalystinstances.yaml` as it once was: before trusted proxies could name people, and all that came since.
const EARLIER: &str = include_str!("upgrade/earlier-crd.yaml");

async fn install_earlier(client: &Client) {
    let crd: CustomResourceDefinition = serde_yaml::from_str(EARLIER).unwrap();
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = crd.name_any();
    api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&crd)).await.unwrap();
    within("the CRD is served", await_condition(api, &name, conditions::is_crd_established())).await.unwrap();
}

/// Creates what the examples show, as far as the schema of then takes it; how many it took.
async fn create_examples(client: &Client) -> usize {
    let resource = ApiResource::erase::<CatalystInstance>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource);
    let mut taken = 0;
    for (number, path) in examples::examples().into_iter().enumerate() {
        let mut object: Value = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        object["metadata"] = json!({"name": format!("e{number}")});
        // Nothing listens there, so that each look ends at once; and no host is asked for twice.
        object["spec"]["ssh"]["host"] = json!("127.0.0.1");
        object["spec"]["ssh"]["port"] = json!(9);
        object["spec"]["ssh"]["knownHosts"] =
            json!("[127.0.0.1]:9 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ");
        let params = PatchParams::apply("user");
        taken += usize::from(api.patch(&format!("e{number}"), &params, &Patch::Apply(&object)).await.is_ok());
    }
    taken
}

/// Runs the operator whose release has this image until each instance is judged and no pass follows.
async fn run_until_quiet(plane: &ControlPlane, client: &Client, image: &str) {
    let (metrics, readiness, stop) = (Arc::new(Metrics::default()), Readiness::default(), CancellationToken::new());
    let as_operator = plane.client_for(OPERATOR, Some("system:masters")).await.unwrap();
    let mut settings = settings(Vec::new());
    settings.defaults = Defaults { proxy_image: image.to_owned() };
    let run = controller::run(as_operator, settings, Arc::clone(&metrics), readiness.clone(), stop.clone());
    let task = tokio::spawn(run);
    let resource = ApiResource::erase::<CatalystInstance>(&());
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    until("each instance is judged", || async {
        let all = api.list(&ListParams::default()).await.unwrap().items;
        let judged = |it: &DynamicObject| {
            it.data.pointer("/status/observedGeneration").and_then(Value::as_i64) == it.metadata.generation
        };
        (readiness.get() && all.iter().all(judged)).then_some(())
    })
    .await;
    let count = api.list(&ListParams::default()).await.unwrap().items.len();
    quiet(&metrics, count).await;
    stop.cancel();
    within("the operator stops", task).await.unwrap();
}

async fn templates(client: &Client) -> Vec<(String, Value)> {
    let all = Api::<Deployment>::all(client.clone()).list(&ListParams::default()).await.unwrap().items;
    let template = |it: Deployment| (it.name_any(), serde_json::to_value(it.spec.unwrap().template).unwrap());
    let mut templates: Vec<_> = all.into_iter().map(template).collect();
    templates.sort_by(|one, other| one.0.cmp(&other.0));
    templates
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_an_earlier_schema_stay_valid_and_the_pods_that_the_preview_names_are_replaced_and_no_others() {
    let options = ControlPlaneOptions { controllers: false, ..ControlPlaneOptions::default() };
    let plane = ControlPlane::start(options).await.unwrap();
    let client = plane.client().await.unwrap();
    install_earlier(&client).await;
    let taken = create_examples(&client).await;
    assert!(taken >= 6, "the earlier schema took only {taken} of the examples");
    let [earlier, now] = IMAGES;
    run_until_quiet(&plane, &client, earlier).await;
    let before = templates(&client).await;
    assert!(before.len() >= 4, "{before:#?}");

    install_crds(&client).await;
    let preview = Command::new(env!("CARGO_BIN_EXE_catalyst-operator"))
        .args(["upgrade-preview", "--proxy-image", now, "-o", "json"])
        .env("KUBECONFIG", plane.kubeconfig())
        .output()
        .unwrap();
    let told = String::from_utf8(preview.stdout).unwrap();
    // 1: as of `diff`, there is something to tell.
    assert_eq!(preview.status.code(), Some(1), "{told}{}", String::from_utf8_lossy(&preview.stderr));
    let previews: Value = serde_json::from_str(&told).unwrap();
    let previews = previews.as_array().unwrap();
    assert_eq!(previews.len(), taken, "{told}");
    let restarting = previews.iter().filter(|preview| preview["fate"] == "restart");
    let named: BTreeSet<&str> = restarting.map(|preview| preview["name"].as_str().unwrap()).collect();
    assert!(!named.is_empty() && named.len() < before.len(), "{told}");

    let writes = || plane.writes().unwrap().into_iter().filter(|write| write.user == OPERATOR).collect::<Vec<_>>();
    let made = writes().len();
    run_until_quiet(&plane, &client, now).await;
    let after = templates(&client).await;
    let replaced = before.iter().zip(&after).filter(|(before, after)| before != after);
    assert_eq!(replaced.map(|(before, _)| before.0.as_str()).collect::<BTreeSet<_>>(), named);
    let told = ["events", "catalystinstances/status"];
    let since: Vec<_> =
        writes().split_off(made).into_iter().filter(|it| !told.contains(&it.resource.as_str())).collect();
    let of_named = since.iter().all(|it| it.resource == "deployments" && named.contains(it.name.as_str()));
    assert!(of_named && since.len() == named.len(), "{since:#?}");
    let resource = ApiResource::erase::<CatalystInstance>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource);
    for instance in api.list(&ListParams::default()).await.unwrap().items {
        let name = instance.name_any();
        // As whoever applies his manifests again does.
        let touched = json!({"metadata": {"annotations": {"example.com/touched": "yes"}}});
        let patched = api.patch(&name, &PatchParams::default(), &Patch::Merge(&touched)).await;
        assert!(patched.is_ok(), "{name} is not valid any more: {patched:?}");
    }
}
