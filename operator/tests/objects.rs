//! What an instance owns, against a real API server: made, kept as it should be, left alone otherwise, and gone with it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it must be"
)]

mod gitops;
mod world;

use catalyst_operator::{build::HTTPRoute, crd::CatalystInstance};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v1::Scale,
    core::v1::{ConfigMap, Secret, Service},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use world::{World, install_http_routes, owned::all_objects, parts, ready, true_conditions, until};

/// A VM that does not answer quickly or at all is no matter here: the host key is given, so nothing waits for it.
fn spec() -> Value {
    json!({
        "ssh": {"host": "127.0.0.1", "port": 9, "user": "dev",
            "knownHosts": "[127.0.0.1]:9 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ"},
        "ingress": {"host": "catalyst.example.com"},
    })
}

/// Awaits every object of the instance `x`, each of which it owns; `Kind/name` → resource version. Without the Deployment's: its controller
/// writes its status.
async fn versions(world: &World) -> Vec<(String, String)> {
    let instance = world.api::<CatalystInstance>().get("x").await.unwrap();
    let mut versions = Vec::new();
    for (kind, metadata) in all_objects(world, "x").await {
        let name = format!("{kind}/{}", metadata.name.unwrap());
        let owner = metadata.owner_references.unwrap().remove(0);
        assert_eq!((owner.uid, owner.controller), (instance.uid().unwrap(), Some(true)), "{name}");
        if kind != "Deployment" {
            versions.push((name, metadata.resource_version.unwrap()));
        }
    }
    versions
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_gets_all_its_objects_and_neither_another_pass_nor_a_restart_writes() {
    let mut world = World::with_operator("quiet").await;
    world.apply("x", spec()).await;
    let before = versions(&world).await;
    world.reason("x", "SSHConnectionRefused").await;
    world.settled().await;
    let writes = world.writes();
    let applied = ["x-policy", "x-config", "x-known-hosts", "services x", "deployments x", "ingresses x"];
    for object in applied {
        let count = writes.iter().filter(|write| write.starts_with("patch") && write.ends_with(object)).count();
        assert_eq!(count, 1, "{object} in {writes:#?}");
    }

    world.another_pass("x", "one").await;
    assert_eq!(world.writes(), writes, "a second pass wrote");
    world.stop_operator().await;
    world.start_operator().await;
    until("a pass after the restart", || async { (world.passes() > 0).then_some(()) }).await;
    world.settled().await;
    assert_eq!(world.writes(), writes, "the restart wrote");
    assert_eq!(versions(&world).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_ours_comes_back_and_what_others_added_stays() {
    let world = World::with_operator("repair").await;
    world.apply("x", spec()).await;
    world.exists::<Ingress>("x").await;
    world.reason("x", "SSHConnectionRefused").await;
    world.settled().await;

    let foreign = json!({"metadata": {"annotations": {"example.com/a": "1"}, "labels": {"example.com/b": "2"}}});
    world.edit::<Service>("x", foreign.clone()).await;
    world.edit::<Deployment>("x", foreign.clone()).await;
    world
        .edit::<Deployment>(
            "x",
            json!({"spec": {"template": {"metadata": {"annotations": {
        "kubectl.kubernetes.io/restartedAt": "now"}}}}}),
        )
        .await;
    world.settled().await;
    let writes = world.writes();

    let ours = json!({"spec": {"ports": [{"name": "http", "port": 8080, "targetPort": 1, "protocol": "TCP"}]}});
    world.edit::<Service>("x", ours).await;
    let service = until("the port comes back", || async {
        let service = world.api::<Service>().get("x").await.unwrap();
        let ports = service.spec.clone()?.ports?;
        (ports.len() == 1 && ports[0].port == 80).then_some(service)
    })
    .await;
    assert_eq!(service.annotations()["example.com/a"], "1");
    assert_eq!(service.labels()["example.com/b"], "2");

    world.edit::<ConfigMap>("x-config", json!({"data": {"SSH_HOST": "evil", "EXTRA": "theirs"}})).await;
    let config = until("the setting comes back", || async {
        let config = world.api::<ConfigMap>().get("x-config").await.unwrap();
        (config.data.as_ref()?.get("SSH_HOST")? == "127.0.0.1").then_some(config)
    })
    .await;
    assert_eq!(config.data.unwrap()["EXTRA"], "theirs");

    world.api::<Deployment>().delete("x", &DeleteParams::background()).await.unwrap();
    until("another Deployment", || async {
        let now = world.api::<Deployment>().get_opt("x").await.unwrap()?;
        now.metadata.deletion_timestamp.is_none().then_some(())
    })
    .await;
    world.settled().await;
    let status = world.api::<CatalystInstance>().get("x").await.unwrap().status.unwrap();
    assert_eq!(status.last_rollout.unwrap().cause, "The Deployment was missing and has been put back.");
    let repairs: Vec<_> = world.writes()[writes.len()..].iter().filter(|w| !w.contains("status")).cloned().collect();
    // The port: two of one name cannot be, so the first apply is refused, the list overwritten, and applied again.
    let port = ["patch services x"; 3];
    assert_eq!(repairs, [&port[..], &["patch configmaps x-config", "patch deployments x"]].concat());
    let told = world.events("ObjectRepaired").await;
    assert!(!told.is_empty(), "nobody was told");
}

/// As people do it, with kubectl itself: what is in `env` wins over any other way into the environment.
#[tokio::test(flavor = "multi_thread")]
async fn a_variable_of_ours_is_put_back_and_one_of_somebody_else_stays() {
    let world = World::with_operator("variables").await;
    world.apply("x", spec()).await;
    world.exists::<Deployment>("x").await;
    world.reason("x", "SSHConnectionRefused").await;
    world.settled().await;
    let before = variables(&world).await;

    let foreign = ["SSH_USER=root", "CATALYST_SECRET=guessed", "NODE_ENV=development", "SSH_KEY_PATH-", "THEIRS=1"];
    world.kubectl(&[&["set", "env", "deployment/x"], &foreign[..]].concat()).await;
    let after = until("the variables come back", || async {
        let now = variables(&world).await;
        before.iter().all(|ours| now.contains(ours)).then_some(now)
    })
    .await;
    let added: Vec<_> = after.iter().filter(|variable| !before.contains(variable)).collect();
    assert_eq!(added, [&json!({"name": "THEIRS", "value": "1"})]);
    world.settled().await;
    let writes = world.writes();
    world.another_pass("x", "one").await;
    assert_eq!(world.writes(), writes, "the repair is not the end of it");
}

/// The environment of the only container.
async fn variables(world: &World) -> Vec<Value> {
    let deployment = world.api::<Deployment>().get("x").await.unwrap();
    let container = deployment.spec.unwrap().template.spec.unwrap().containers.remove(0);
    container.env.unwrap().into_iter().map(|variable| serde_json::to_value(variable).unwrap()).collect()
}

/// What its controller calls the revision of the Deployment, and the tag of its pods' image.
async fn revision(world: &World) -> (String, String) {
    let deployment = world.api::<Deployment>().get("x").await.unwrap();
    let revision = deployment.annotations().get("deployment.kubernetes.io/revision").cloned().unwrap_or_default();
    let image = deployment.spec.unwrap().template.spec.unwrap().containers.remove(0).image.unwrap();
    (revision, image.replace("catalyst-proxy:", ""))
}

/// The pods are what the instance says. Were an undo to last, there would be two who say it.
#[tokio::test(flavor = "multi_thread")]
async fn an_undone_rollout_of_the_instance_is_put_back_and_told_with_the_remedy_and_an_undone_restart_stays() {
    let world = World::with_operator("undo").await;
    let with_tag = async |tag: &str| {
        let mut spec = spec();
        spec["image"] = json!({"tag": tag});
        world.apply("x", spec).await;
    };
    // Waits for another revision than this, with this tag.
    let rolled = async |before: &str, tag: &str| {
        let now = until("another revision", || async {
            let (now, of) = revision(&world).await;
            (now != before && of == tag).then_some(now)
        })
        .await;
        world.settled().await;
        now
    };
    let writes = || world.writes().iter().filter(|write| *write == "patch deployments x").count();
    with_tag("one").await;
    world.exists::<Deployment>("x").await;
    world.reason("x", "SSHConnectionRefused").await;
    let first = rolled("", "one").await;
    with_tag("two").await;
    rolled(&first, "two").await;
    let before = writes();

    let said = world.kubectl(&["rollout", "undo", "deployment/x"]).await;
    assert!(said.contains("rolled back"), "{said}");
    let told = until("the event", || async { world.events("ObjectRepaired").await.pop() }).await;
    let remedy = "Deployment x was changed and has been put back. What its pods are is said in CatalystInstance x alone: to go back \
                  to an earlier image, as `kubectl rollout undo` would, set image.tag there.";
    assert_eq!(told, remedy);
    world.settled().await;
    assert_eq!((revision(&world).await.1.as_str(), writes()), ("two", before + 1));
    let status = world.api::<CatalystInstance>().get("x").await.unwrap().status.unwrap();
    let cause = "The Deployment was changed by somebody else and has been put back: image catalyst-proxy:one → catalyst-proxy:two.";
    assert_eq!(status.last_rollout.unwrap().cause, cause);

    let (second, _) = revision(&world).await;
    with_tag("one").await;
    let back = rolled(&second, "one").await;
    world.kubectl(&["rollout", "restart", "deployment/x"]).await;
    let restarted = rolled(&back, "one").await;
    let before = writes();
    world.kubectl(&["rollout", "undo", "deployment/x"]).await;
    rolled(&restarted, "one").await;
    assert_eq!(writes(), before, "of what the instance says nothing was undone");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_belong_to_whoever_scales_until_the_instance_says_otherwise() {
    let world = World::with_operator("scale").await;
    world.apply("x", spec()).await;
    world.exists::<Deployment>("x").await;
    world.settled().await;
    let scale = json!({"spec": {"replicas": 3}});
    let hpa = PatchParams { field_manager: Some("kube-controller-manager".into()), ..PatchParams::default() };
    let _: Scale = scaled(&world, &hpa, &scale).await;
    world.another_pass("x", "one").await;
    world.edit::<Deployment>("x", json!({"metadata": {"labels": {"catalyst.dev/instance": "wrong"}}})).await;
    until("the label comes back", || async {
        let now = world.api::<Deployment>().get("x").await.unwrap();
        (now.labels().get("catalyst.dev/instance")? == "x").then_some(())
    })
    .await;
    let replicas = || async { world.api::<Deployment>().get("x").await.unwrap().spec.unwrap().replicas };
    assert_eq!(replicas().await, Some(3), "the scaler's choice was lost");

    let mut suspended = spec();
    suspended["suspend"] = json!(true);
    world.apply("x", suspended).await;
    let instance = world.reason("x", "Suspended").await;
    assert_eq!(replicas().await, Some(0));
    assert_eq!(true_conditions(&instance), ["Ready"]);
}

async fn scaled(world: &World, params: &PatchParams, scale: &Value) -> Scale {
    let api = world.api::<Deployment>();
    let patched = api.patch_scale("x", params, &Patch::Merge(scale)).await.unwrap();
    serde_json::from_value(serde_json::to_value(patched).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_wanted_goes_and_what_is_not_ours_stays() {
    let world = World::with_operator("prune").await;
    world.apply("x", spec()).await;
    world.exists::<Ingress>("x").await;
    world.exists::<NetworkPolicy>("x-policy").await;
    let mut less = spec();
    less["ingress"] = json!({"enabled": false});
    less["networkPolicy"] = json!({"enabled": false});
    world.apply("x", less).await;
    until("the Ingress goes", || async { world.api::<Ingress>().get_opt("x").await.unwrap().is_none().then_some(()) })
        .await;
    until("the policy goes", || async {
        world.api::<NetworkPolicy>().get_opt("x-policy").await.unwrap().is_none().then_some(())
    })
    .await;

    let theirs: NetworkPolicy =
        serde_json::from_value(json!({"metadata": {"name": "x-policy"}, "spec": {"podSelector": {}}})).unwrap();
    world.api::<NetworkPolicy>().create(&PostParams::default(), &theirs).await.unwrap();
    world.another_pass("x", "one").await;
    world.exists::<NetworkPolicy>("x-policy").await;
}

/// Plays the controller of the Gateway `public` for the route of `x`.
async fn gateway_says(world: &World, accepted: &str, reason: &str, message: &str) {
    let generation = world.api::<HTTPRoute>().get("x").await.unwrap().metadata.generation;
    let condition = json!({"type": "Accepted", "status": accepted, "reason": reason, "message": message,
        "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let parent =
        json!({"parentRef": {"name": "public"}, "controllerName": "example.com/gateway", "conditions": [condition]});
    let status = json!({"status": {"parents": [parent]}});
    world.api::<HTTPRoute>().patch_status("x", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_waits_for_its_kind_and_another_way_in_takes_its_place() {
    let world = World::with_operator("gateway").await;
    let mut routed = spec();
    routed["replicas"] = json!(0);
    routed["ingress"] = Value::Null;
    routed["gateway"] = json!({"parentRefs": [{"name": "public"}], "hostnames": ["gateway.example.com"]});
    world.apply("x", routed.clone()).await;
    let instance = world.reason("x", "GatewayApiMissing").await;
    assert!(parts(&instance).contains(&"ExposureReady=False GatewayApiMissing".to_owned()), "{:?}", parts(&instance));

    // Seen without a restart, and watched from then on.
    install_http_routes(&world.admin).await;
    world.exists::<HTTPRoute>("x").await;
    let instance = world.reason("x", "RouteNotAccepted").await;
    assert!(ready(&instance).unwrap().message.contains("whether Gateway public exists"), "{instance:?}");
    gateway_says(&world, "False", "NotAllowedByListeners", "of another namespace").await;
    until("the Gateway's words are told", || async {
        let instance = world.api::<CatalystInstance>().get("x").await.unwrap();
        let words = "Gateway public: NotAllowedByListeners: of another namespace";
        ready(&instance)?.message.contains(words).then_some(())
    })
    .await;
    gateway_says(&world, "True", "Accepted", "").await;
    world.reason("x", "Available").await;
    world.settled().await;
    // What the Gateway API's schema fills in is no difference to what was applied.
    let writes = world.writes();
    assert_eq!(writes.iter().filter(|write| *write == "patch httproutes x").count(), 1, "{writes:#?}");
    world.another_pass("x", "one").await;
    assert_eq!(world.writes(), writes, "a second pass wrote");
    world.api::<HTTPRoute>().delete("x", &DeleteParams::default()).await.unwrap();
    let route = world.exists::<HTTPRoute>("x").await;
    assert_eq!(route.spec.hostnames, ["gateway.example.com"]);
    let elsewhere = json!({"spec": {"hostnames": ["elsewhere.example.com"], "parentRefs": [{"name": "other"}]}});
    world.edit::<HTTPRoute>("x", elsewhere).await;
    until("the route leads here again", || async {
        let spec = world.api::<HTTPRoute>().get("x").await.unwrap().spec;
        (spec == route.spec).then_some(())
    })
    .await;

    let mut by_ingress = spec();
    by_ingress["replicas"] = json!(2);
    world.apply("x", by_ingress).await;
    world.exists::<Ingress>("x").await;
    until("the route goes", || async { world.api::<HTTPRoute>().get_opt("x").await.unwrap().is_none().then_some(()) })
        .await;
    let budget = world.exists::<PodDisruptionBudget>("x").await.spec;
    world.edit::<PodDisruptionBudget>("x", json!({"spec": {"maxUnavailable": 2}})).await;
    until("the budget is what it was", || async {
        (world.api::<PodDisruptionBudget>().get("x").await.unwrap().spec == budget).then_some(())
    })
    .await;
    world.apply("x", routed).await;
    world.exists::<HTTPRoute>("x").await;
    until("the Ingress goes", || async { world.api::<Ingress>().get_opt("x").await.unwrap().is_none().then_some(()) })
        .await;
    until("the budget goes", || async {
        world.api::<PodDisruptionBudget>().get_opt("x").await.unwrap().is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_an_instance_removes_all_that_it_owns_and_nothing_else() {
    let world = World::with_operator("delete").await;
    let bystander: Secret = serde_json::from_value(json!({"metadata": {"name": "theirs",
        "labels": {"catalyst.dev/instance": "x"}}, "stringData": {"a": "b"}}))
    .unwrap();
    world.api::<Secret>().create(&PostParams::default(), &bystander).await.unwrap();
    world.apply("x", spec()).await;
    versions(&world).await;
    world.reason("x", "SSHConnectionRefused").await;
    world.api::<CatalystInstance>().delete("x", &DeleteParams::background()).await.unwrap();
    until("everything goes", || async {
        let all = ListParams::default();
        let left = world.api::<Deployment>().list(&all).await.unwrap().items.len()
            + world.api::<Service>().list(&all).await.unwrap().items.len()
            + world.api::<Ingress>().list(&all).await.unwrap().items.len()
            + world.api::<NetworkPolicy>().list(&all).await.unwrap().items.len()
            + world
                .api::<ConfigMap>()
                .list(&all)
                .await
                .unwrap()
                .items
                .iter()
                .filter(|c| c.name_any().starts_with("x-"))
                .count()
            + world
                .api::<Secret>()
                .list(&all)
                .await
                .unwrap()
                .items
                .iter()
                .filter(|s| s.name_any().starts_with("x-"))
                .count();
        (left == 0).then_some(())
    })
    .await;
    world.exists::<Secret>("theirs").await;
    assert!(ready(&world.apply("x", spec()).await).is_none(), "the new instance began with the old one's status");
    world.reason("x", "SSHConnectionRefused").await;
}
