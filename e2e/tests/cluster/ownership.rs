//! What the operator owns it keeps, what it does not own it leaves alone, and at rest it writes nothing.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use catalyst_e2e::eventually::eventually;
use catalyst_e2e::instance::Instance;
use catalyst_lab::audit::Request;
use serde_json::{Value, json};

use crate::turn;

const REPAIR: Duration = Duration::from_secs(10);
const OWNED: [&str; 8] = [
    "deployment/catalyst",
    "service/catalyst",
    "ingress/catalyst",
    "configmap/catalyst-config",
    "configmap/catalyst-known-hosts",
    "networkpolicy/catalyst-policy",
    "secret/catalyst-secrets",
    "secret/catalyst-ssh-key",
];

#[tokio::test]
async fn a_deleted_object_of_any_kind_is_back_at_once() -> Result<()> {
    let turn = turn().await;
    let instance = Instance::ready(turn.stage, "deleted", json!({})).await?;
    let old =
        instance.get("cati/catalyst").await?["status"]["authorizedKeysLine"].as_str().unwrap_or_default().to_owned();
    for object in OWNED {
        let before = instance.get(object).await?["metadata"]["uid"].clone();
        instance.kubectl(&["delete", object, "--wait=false"]).await?;
        let ((), took) = eventually(&format!("{object} is back"), REPAIR, || async {
            match instance.get(object).await {
                Ok(now) if now["metadata"]["uid"] != before => Ok(()),
                Ok(_) => Err(anyhow!("still the old one")),
                Err(error) => Err(error),
            }
        })
        .await?;
        println!("{object}: back after {} ms", took.as_millis());
    }
    // The lost key cannot come back: status shows the line of the new one, and so does an event.
    let (new, _) = eventually("the line of the new key in status", REPAIR, || async {
        let now = instance.get("cati/catalyst").await?["status"]["authorizedKeysLine"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if now != old && !now.is_empty() { Ok(now) } else { Err(anyhow!(now)) }
    })
    .await?;
    eventually("an event with the line of the new key", REPAIR, || async {
        let events =
            instance.kubectl(&["get", "events", "-o", "jsonpath={range .items[*]}{.message}{\"\\n\"}{end}"]).await?;
        ensure!(events.contains(&new), "{events}");
        ensure!(events.contains("CATALYST_SECRET"), "nothing of the new shared secret: {events}");
        anyhow::Ok(())
    })
    .await?;
    instance.authorize().await?;
    instance.await_ready(Duration::from_secs(90)).await?;
    instance.delete().await
}

#[tokio::test]
async fn our_fields_return_and_foreign_ones_stay() -> Result<()> {
    let turn = turn().await;
    let instance = Instance::ready(turn.stage, "changed", json!({})).await?;
    let foreign = r#"{"metadata":{"annotations":{"example.com/note":"mine"},"labels":{"example.com/team":"a"}}}"#;
    let ours: [(&str, &str, &str, Value); 6] = [
        (
            "deployment/catalyst",
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"catalyst","image":"evil:1"}]}}}}"#,
            "/spec/template/spec/containers/0/image",
            Value::Null,
        ),
        (
            "service/catalyst",
            r#"{"spec":{"ports":[{"port":80,"targetPort":9}]}}"#,
            "/spec/ports/0/targetPort",
            Value::Null,
        ),
        (
            "ingress/catalyst",
            r#"{"metadata":{"annotations":{"nginx.ingress.kubernetes.io/proxy-read-timeout":"1"}}}"#,
            "/metadata/annotations/nginx.ingress.kubernetes.io~1proxy-read-timeout",
            json!("3600"),
        ),
        ("configmap/catalyst-config", r#"{"data":{"SSH_USER":"root"}}"#, "/data/SSH_USER", Value::Null),
        ("configmap/catalyst-known-hosts", r#"{"data":{"known_hosts":""}}"#, "/data/known_hosts", Value::Null),
        ("networkpolicy/catalyst-policy", r#"{"spec":{"policyTypes":["Ingress"]}}"#, "/spec/policyTypes", Value::Null),
    ];
    for (object, patch, path, expected) in ours {
        let before =
            instance.get(object).await?.pointer(path).cloned().ok_or_else(|| anyhow!("{object} has no {path}"))?;
        ensure!(expected.is_null() || before == expected, "{object} {path} is {before}");
        instance.kubectl(&["patch", object, "--type=strategic", "-p", foreign]).await?;
        instance.kubectl(&["patch", object, "--type=strategic", "-p", patch]).await?;
        eventually(&format!("{object} {path} is {before} again"), REPAIR, || async {
            let now = instance.get(object).await?;
            let field = now.pointer(path).cloned().unwrap_or_default();
            if field == before { Ok(()) } else { Err(anyhow!("{field}")) }
        })
        .await?;
        let now = instance.get(object).await?;
        ensure!(now["metadata"]["annotations"]["example.com/note"] == "mine", "{object} lost a foreign annotation");
        ensure!(now["metadata"]["labels"]["example.com/team"] == "a", "{object} lost a foreign label");
    }
    instance.kubectl(&["rollout", "restart", "deployment/catalyst"]).await?;
    instance.kubectl(&["rollout", "status", "deployment/catalyst", "--timeout=90s"]).await?;
    let restarted = instance.get("deployment/catalyst").await?;
    ensure!(
        restarted.pointer("/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt").is_some(),
        "the restart was undone"
    );
    instance.delete().await
}

#[tokio::test]
async fn at_rest_the_operator_writes_nothing_but_its_lease() -> Result<()> {
    let turn = turn().await;
    let stage = turn.stage;
    let instance = Instance::ready(stage, "rest", json!({})).await?;
    let is_its_lease = |write: &Request| {
        (write.resource.as_str(), write.namespace.as_str(), write.name.as_str())
            == ("leases", "catalyst-system", "catalyst-operator")
    };
    // What other cases left behind is not at rest; their namespaces do not count.
    let counts = |write: &Request| ["", "catalyst-system", instance.namespace()].contains(&write.namespace.as_str());
    let operator = |all: Vec<Arc<Request>>| -> Vec<String> {
        all.into_iter()
            .filter(|write| write.user == "system:serviceaccount:catalyst-system:catalyst-operator")
            .filter(|write| counts(write) && !is_its_lease(write))
            .map(|write| format!("{} {} {}/{}", write.verb, write.resource, write.namespace, write.name))
            .collect()
    };
    // The rollout's last pod events may still be told; rest begins when the generation that is observed is Ready and nothing was written for 5 s.
    let seen = std::cell::Cell::new(operator(stage.lab().writes()?).len());
    eventually("the operator comes to rest", Duration::from_secs(60), || async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let now = operator(stage.lab().writes()?).len();
        if seen.replace(now) == now { Ok(()) } else { Err(anyhow!("{now} writes")) }
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (seen, after) = (seen.get(), operator(stage.lab().writes()?));
    ensure!(seen > 0, "the audit log shows no write of the operator at all: the test looks at the wrong account");
    ensure!(after.len() == seen, "in 60 s of rest: {:?}", &after[seen..]);
    instance.delete().await
}

#[tokio::test]
async fn deleting_an_instance_removes_all_that_it_owns_and_nothing_else() -> Result<()> {
    let turn = turn().await;
    let stage = turn.stage;
    let instance = Instance::ready(stage, "deletion", json!({"replicas": 2})).await?;
    // Another instance in the same namespace, which needs not be Ready for this.
    let other = json!({
        "apiVersion": "catalyst.dev/v1alpha1", "kind": "CatalystInstance",
        "metadata": {"name": "other", "namespace": "deletion"},
        "spec": {"ssh": {"host": stage.lab().vm().address().to_string(), "user": "nobody"}},
    });
    stage.apply(&other.to_string()).await?;
    for object in ["deployment/other", "service/other", "secret/other-secrets", "poddisruptionbudget/catalyst"] {
        eventually(&format!("{object} is there"), REPAIR, || instance.get(object)).await?;
    }
    eventually("a pod of the other is there", Duration::from_secs(30), || async {
        let pods = instance.kubectl(&["get", "pods", "-l", "catalyst.dev/instance=other", "-o", "name"]).await?;
        ensure!(!pods.is_empty(), "none");
        anyhow::Ok(())
    })
    .await?;
    instance.kubectl(&["create", "configmap", "bystander", "--from-literal=a=b"]).await?;
    instance.kubectl(&["create", "secret", "generic", "catalyst-other", "--from-literal=a=b"]).await?;
    let is_its = |object: &str| {
        let name = object.split_once('/').map_or(object, |(_, name)| name);
        name.starts_with("catalyst") && object != "secret/catalyst-other"
    };
    let all = async || {
        let kinds = "deployment,replicaset,service,ingress,configmap,secret,networkpolicy,poddisruptionbudget,pod";
        let all = instance.kubectl(&["get", kinds, "-o", "name"]).await?;
        anyhow::Ok(all.lines().map(str::to_owned).collect::<Vec<String>>())
    };
    let (its, others): (Vec<String>, Vec<String>) = all().await?.into_iter().partition(|object| is_its(object));
    ensure!(its.len() >= OWNED.len(), "{its:?}");
    ensure!(others.iter().any(|object| object == "secret/other-ssh-key"), "{others:?}");
    instance.kubectl(&["delete", "cati", "catalyst", "--wait=true"]).await?;
    eventually("all that it owned is gone, and nothing else", Duration::from_secs(60), || async {
        let left = all().await?;
        if left == others { Ok(()) } else { Err(anyhow!("{left:?} and not {others:?}")) }
    })
    .await?;
    // The operator is no obstacle to the end of a namespace, with an instance still in it.
    instance.delete().await?;
    stage.kubectl(&["wait", "--for=delete", "namespace/deletion", "--timeout=120s"]).await.map(drop)
}
