//! What pods and their Deployment say before any server runs in them. The test plays the kubelet; the controllers are real.

use catalyst_operator::crd::CatalystInstance;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::world::{
    World, ready, until,
    vm::{at, authorize, sshd},
};

/// The newest pod of `x` has this status from now on.
async fn kubelet_says(world: &World, status: Value) {
    let pods = world.api::<Pod>().list(&ListParams::default().labels("catalyst.dev/instance=x")).await.unwrap().items;
    let newest = pods.iter().max_by_key(|pod| pod.creation_timestamp().map(|time| time.0)).expect("a pod");
    let patch = Patch::Merge(json!({"status": status}));
    world.api::<Pod>().patch_status(&newest.name_any(), &PatchParams::default(), &patch).await.unwrap();
}

fn container(state: Value, last: Value) -> Value {
    json!({"phase": "Pending", "containerStatuses": [{"name": "catalyst", "image": "catalyst-proxy:test", "imageID": "",
        "ready": false, "restartCount": 3, "state": state, "lastState": last}]})
}

fn waiting(reason: &str, message: &str) -> Value {
    container(json!({"waiting": {"reason": reason, "message": message}}), json!({}))
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_do_not_start_are_told_with_the_cause_and_the_remedy() {
    let sshd = sshd().await;
    let world = World::with_operator("pods").await;
    let mut spec = at(&sshd);
    spec["image"] =
        json!({"repository": "registry.example.com/catalyst", "tag": "1", "pullSecrets": [{"name": "regcred"}]});
    world.apply("x", spec).await;
    authorize(&sshd, &world.reason("x", "SSHAuthRejected").await);
    world.reason("x", "RolloutInProgress").await;
    until("a pod", || async {
        let pods = world.api::<Pod>().list(&ListParams::default()).await.unwrap().items;
        (!pods.is_empty()).then_some(())
    })
    .await;
    let told = async |reason: &str, words: &str| {
        until(&format!("{reason} is told with {words}"), || async {
            let instance = world.api::<CatalystInstance>().get("x").await.unwrap();
            let ready = ready(&instance)?;
            (ready.reason == reason && ready.message.contains(words)).then_some(())
        })
        .await;
    };

    // Nobody schedules them, and nobody says so.
    world.edit::<Deployment>("x", json!({"spec": {"progressDeadlineSeconds": 1}})).await;
    told("RolloutStuck", "kubectl describe -n pods deployment x").await;
    kubelet_says(&world, waiting("ContainerCreating", "")).await;
    told("PodStarting", "what holds it up: kubectl describe pod -n pods x-").await;
    kubelet_says(&world, waiting("ErrImagePull", "failed to authorize: 401 Unauthorized")).await;
    told("ImagePullFailed", "Secret regcred, which image.pullSecrets names, does not exist").await;
    let secret = ["create", "secret", "docker-registry", "regcred", "--docker-server=registry.example.com"];
    world.kubectl(&[&secret[..], &["--docker-username=a", "--docker-password=b"]].concat()).await;
    kubelet_says(&world, waiting("ImagePullBackOff", "Back-off: failed to authorize: 401 Unauthorized")).await;
    told("ImagePullFailed", "does not give it to the cluster without a sign-in").await;
    // Older kubelets say only that they wait.
    kubelet_says(&world, waiting("ImagePullBackOff", "Back-off pulling image")).await;
    world.another_pass("x", "1").await;
    told("ImagePullFailed", "does not give it to the cluster without a sign-in").await;
    kubelet_says(&world, waiting("CreateContainerConfigError", "secret \"theirs\" not found")).await;
    told("PodCannotStart", "secret \"theirs\" not found").await;
    let ended =
        json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "{\"message\":\"a request\"}\n"}});
    kubelet_says(&world, container(json!({"waiting": {"reason": "CrashLoopBackOff"}}), ended)).await;
    told("PodCrashing", "more memory than resources.limits.memory (512Mi) allows").await;
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory.",
        "containerStatuses": null});
    kubelet_says(&world, evicted).await;
    told("PodFailed", "Evicted (The node was low on resource: memory)").await;
}
