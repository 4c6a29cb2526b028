//! A Helm release is taken over while it serves: killed at any step and begun again, with an endpoint that is ready at every
//! moment. The objects are those that the chart makes, written as Helm writes them; the control plane's own controllers make
//! pods and endpoints of them, and the test stands in for the kubelet.

mod precise;
mod release;
mod stand_ins;

use std::{path::Path, time::Duration};

use catalyst_operator::{
    crd::CatalystInstance,
    migrate::{
        adopt::{AdoptError, Adoption, Patience},
        step::Step,
        values::{Migrated, Options, migrate},
    },
    offline::cluster,
};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
};
use kube::{ResourceExt, api::ListParams};

use self::stand_ins::{Endpoints, Kubelet};
use super::world::{World, plane, until};

fn values(key: &str) -> String {
    format!(
        "image: {{repository: ghcr.io/your-org/catalyst, tag: main}}\nreplicaCount: 2\nssh:\n  host: 192.0.2.1\n  port: \"22\"\n  \
         user: dev\n  existingKeySecret: catalyst-ssh-key\n  knownHosts: 192.0.2.1 {key}\nsecrets: {{useExisting: true}}\n\
         imagePullSecrets: [registry]\n\
         ingress:\n  enabled: true\n  className: nginx\n  host: adopt.example.com\n  annotations:\n    example.com/own: kept\n"
    )
}

fn migrated(adopting: bool) -> Migrated {
    let key = super::host_key();
    migrate(&values(&key), "values.yaml", &Options { adopting, ..Options::default() }).unwrap()
}

async fn adoption(world: &World, instance: CatalystInstance, step: Duration) -> Adoption {
    Adoption {
        cluster: cluster::connect(Some(plane().kubeconfig()), None).await.unwrap(),
        release: "catalyst".into(),
        namespace: world.namespace.clone(),
        instance,
        patience: Patience { step, drain: Duration::from_millis(200) },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serving_release_is_taken_over_without_a_gap_though_the_run_is_killed_at_every_step() {
    let world = World::with_operator("adopt").await;
    let kubelet = Kubelet::start(&world).await;
    release::install(&world).await;
    let endpoints = Endpoints::watch(&world);
    until("the release serves", || {
        let seen = *endpoints.seen.lock().unwrap();
        async move { (seen == 2).then_some(()) }
    })
    .await;
    let other = world.exists::<ConfigMap>("other-config").await.metadata.resource_version;
    let key = world.exists::<Secret>("catalyst-ssh-key").await.metadata.resource_version;

    let instance = migrated(true).instance;
    let mut steps = Vec::new();
    for round in 1_u64.. {
        assert!(round < 60, "it does not come to its end: {steps:?}");
        // Every round is a process of its own; most are killed somewhere in the midst of their step first.
        let first = adoption(&world, instance.clone(), Duration::from_secs(60)).await;
        let _ = tokio::time::timeout(Duration::from_millis(round * 37 % 120), first.next(&mut |_| ())).await;
        match adoption(&world, instance.clone(), Duration::from_secs(60)).await.next(&mut |_| ()).await.unwrap() {
            Some(step) => steps.push(step),
            None => break,
        }
    }
    assert_eq!(*endpoints.gaps.lock().unwrap(), Vec::<String>::new(), "{steps:?}");
    assert!(steps.iter().any(|step| *step == Step::AwaitReady || *step == Step::Finish), "{steps:?}");

    let instance = world.exists::<CatalystInstance>("catalyst").await;
    let notes: Vec<_> = instance.annotations().iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(notes, [("catalyst.dev/adopted", "catalyst")]);
    let uid = instance.uid().unwrap();
    let ours = |meta: &kube::api::ObjectMeta| {
        let owned = meta
            .owner_references
            .as_ref()
            .is_some_and(|all| all.iter().any(|one| one.uid == uid && one.controller == Some(true)));
        let helms = meta.managed_fields.iter().flatten().any(|entry| {
            entry.subresource.is_none()
                && ["helm", "catalyst-migrate"].contains(&entry.manager.as_deref().unwrap_or_default())
        });
        let marks = meta.annotations.iter().flatten().any(|(key, _)| key.starts_with("meta.helm.sh/"))
            || meta.labels.iter().flatten().any(|(key, _)| key.starts_with("helm.sh/"));
        owned && !helms && !marks
    };
    let deployment = world.exists::<Deployment>("catalyst").await;
    assert!(ours(&deployment.metadata));
    let service = world.exists::<Service>("catalyst").await;
    assert!(ours(&service.metadata), "{:#?}", service.metadata);
    let selector = service.spec.unwrap().selector.unwrap();
    assert_eq!(selector, [("catalyst.dev/instance".to_owned(), "catalyst".to_owned())].into());
    let ingress = world.exists::<Ingress>("catalyst").await;
    assert!(ours(&ingress.metadata));
    assert_eq!(ingress.annotations().get("example.com/own").map(String::as_str), Some("kept"));
    assert!(!ingress.annotations().keys().any(|key| key.ends_with("configuration-snippet")), "what only Helm set goes");
    let config = world.exists::<ConfigMap>("catalyst-config").await;
    assert!(ours(&config.metadata) && !config.data.unwrap().contains_key("HELM_ONLY"));
    assert!(ours(&world.exists::<NetworkPolicy>("catalyst-policy").await.metadata));

    assert!(world.api::<Secret>().get_opt("sh.helm.release.v1.catalyst.v1").await.unwrap().is_none());
    assert!(world.api::<ServiceAccount>().get_opt("catalyst").await.unwrap().is_none(), "nothing needs it");
    until("the old pods are gone", || async {
        let pods = world.api::<Pod>().list(&ListParams::default()).await.unwrap().items;
        let sets = world.api::<ReplicaSet>().list(&ListParams::default()).await.unwrap().items;
        let new = |labels: &std::collections::BTreeMap<String, String>| labels.get("catalyst.dev/instance").is_some();
        (pods.len() == 2 && pods.iter().all(|pod| new(pod.labels())) && sets.iter().all(|set| new(set.labels())))
            .then_some(())
    })
    .await;
    // What is not ours is as it was.
    assert_eq!(world.exists::<ConfigMap>("other-config").await.metadata.resource_version, other);
    assert_eq!(world.exists::<Secret>("catalyst-ssh-key").await.metadata.resource_version, key);
    let registry = world.exists::<Secret>("registry").await;
    assert!(!registry.annotations().keys().any(|key| key.starts_with("meta.helm.sh/")), "the instance reads it");
    let kept = world.exists::<ConfigMap>("kept").await;
    assert!(!kept.annotations().keys().any(|key| key.starts_with("meta.helm.sh/")), "the chart asks to keep it");
    kubelet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_writes_nothing_and_without_an_operator_nothing_is_begun() {
    let world = World::without_operator("plan").await;
    release::install(&world).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), values(&super::host_key())).unwrap();
    let kubeconfig = plane().kubeconfig_for("planner", Some("system:masters")).unwrap();
    let run = |kubeconfig: &Path, arguments: &[&str]| {
        let values = file.path().to_str().unwrap();
        let mut command = super::command(&[&["migrate", "--values", values, "-n", "plan"], arguments].concat());
        command.env("KUBECONFIG", kubeconfig);
        super::told(&super::run(command, ""))
    };
    let (code, yaml, told) = run(&kubeconfig, &["--adopt", "catalyst"]);
    assert_eq!(code, 0, "{told}");
    assert!(yaml.contains("kind: CatalystInstance") && yaml.contains("namespace: plan"), "{yaml}");
    for line in [
        "hand Service catalyst over",
        "delete Deployment catalyst without its pods",
        "delete Helm's records",
        "what the chart has made of them stays",
        "helm get manifest catalyst -n plan",
        "Nothing was changed",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    let (code, _, told) = run(&kubeconfig, &["--adopt", "nonesuch"]);
    assert!(code == 2 && told.contains("no Helm release nonesuch in this namespace. Here are: catalyst;"), "{told}");
    let written: Vec<_> = plane().writes().unwrap().into_iter().filter(|write| write.user == "planner").collect();
    assert!(written.is_empty(), "{written:#?}");

    // Nobody acknowledges the instance.
    let adoption = adoption(&world, migrated(true).instance, Duration::from_secs(1)).await;
    assert!(matches!(adoption.next(&mut |_| ()).await.unwrap(), Some(Step::Create(_))));
    match adoption.next(&mut |_| ()).await {
        Err(AdoptError::TimedOut { remedy, .. }) => assert!(remedy.contains("catalyst-operator runs"), "{remedy}"),
        other => panic!("{other:?}"),
    }
    assert!(world.exists::<Deployment>("catalyst").await.metadata.deletion_timestamp.is_none());

    // One that has taken over a release of that name before is not meant, and no other is begun beside the one that is at it.
    world.apply("before", serde_json::json!({"ssh": {"host": "192.0.2.1", "user": "dev"}})).await;
    let adopted = serde_json::json!({"metadata": {"annotations": {"catalyst.dev/adopted": "catalyst"}}});
    world.edit::<CatalystInstance>("before", adopted).await;
    let (code, _, told) = run(&kubeconfig, &["--adopt", "catalyst"]);
    assert!(code == 0 && told.contains("becomes CatalystInstance catalyst:"), "{told}");
    let (code, _, told) = run(&kubeconfig, &["--adopt", "catalyst", "--name", "another"]);
    assert!(code == 2 && told.contains("the CatalystInstance catalyst is taking that release over"), "{told}");
}
