//! The NetworkPolicy, really enforced: what must be open is open, and what must be shut is shut because of the policy, for it is open without it.

use std::time::Duration;

use anyhow::{Result, ensure};
use catalyst_e2e::eventually::eventually;
use catalyst_e2e::instance::Instance;
use serde_json::{Value, json};

use crate::turn;

/// How long the enforcer may take to follow a change of a policy or a pod.
const SETTLED: Duration = Duration::from_secs(30);
const FRIEND: &str = "policy-friend";
const STRANGER: &str = "policy-stranger";
/// The test server in each of these namespaces, and one in the ingress' namespace that has not the label of its controller.
const SERVER: &str = "server";
const BYSTANDER: &str = "bystander";

/// One connection that somebody may or may not open.
struct Probe {
    what: &'static str,
    from: From,
    to: String,
    open: bool,
}

enum From {
    /// The instance's own pod.
    Pod,
    /// The test server in that namespace.
    Namespace(&'static str),
    /// The one in the ingress' namespace that is no controller.
    Bystander,
}

#[tokio::test]
async fn the_network_policy_holds_and_is_what_holds() -> Result<()> {
    let turn = turn().await;
    let stage = turn.stage;
    let image = stage.lab().test_image();
    for namespace in [FRIEND, STRANGER] {
        stage.kubectl(&["delete", "namespace", namespace, "--ignore-not-found", "--timeout=90s"]).await?;
        stage.kubectl(&["create", "namespace", namespace]).await?;
        stage.apply(&server(&image, namespace, SERVER).to_string()).await?;
    }
    stage.apply(&server(&image, FRIEND, BYSTANDER).to_string()).await?;
    let instance = Instance::ready(stage, "policy", json!({"networkPolicy": {"ingressNamespace": FRIEND}})).await?;
    for namespace in [FRIEND, STRANGER] {
        stage.kubectl(&["-n", namespace, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s"]).await?;
    }

    let vm = stage.lab().vm().address();
    let pod = address(&instance.kubectl(&["get", "pods", "-o", "jsonpath={.items[0].status.podIP}"]).await?)?;
    let stranger = stage.kubectl(&["-n", STRANGER, "get", "pod/server", "-o", "jsonpath={.status.podIP}"]).await?;
    let service = instance.kubectl(&["get", "service/catalyst", "-o", "jsonpath={.spec.clusterIP}"]).await?;
    let node = stage.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].status.addresses[0].address}"]).await?;
    let probe = |what, from, to, open| Probe { what, from, to, open };
    let probes = [
        probe("the ingress' namespace to the pod", From::Namespace(FRIEND), format!("{pod}:3001"), true),
        probe("the ingress' namespace to the Service", From::Namespace(FRIEND), format!("{service}:80"), true),
        probe("another pod of that namespace to the pod", From::Bystander, format!("{pod}:3001"), true),
        probe("the pod to SSH of the VM", From::Pod, format!("{vm}:22"), true),
        probe("the pod to DNS, by name", From::Pod, "kube-dns.kube-system.svc.cluster.local:53".to_owned(), true),
        probe("a strange namespace to the pod", From::Namespace(STRANGER), format!("{pod}:3001"), false),
        probe("a strange namespace to the Service", From::Namespace(STRANGER), format!("{service}:80"), false),
        probe("the ingress' namespace to the pod's metrics", From::Namespace(FRIEND), format!("{pod}:9090"), false),
        probe("the pod to a pod of another namespace", From::Pod, format!("{stranger}:8080"), false),
        probe("the pod to the API server's Service", From::Pod, "10.96.0.1:443".to_owned(), false),
        probe("the pod to the node's API server", From::Pod, format!("{node}:6443"), false),
    ];

    for probe in &probes {
        expect(&instance, probe, probe.open).await?;
    }

    // Who else may come in and where else the pod may go opens that, and nothing beside it; a label narrows who comes from the namespace.
    let stranger = stranger.trim();
    let friend = stage.kubectl(&["-n", FRIEND, "get", "pod/server", "-o", "jsonpath={.status.podIP}"]).await?;
    let more = json!({"spec": {"networkPolicy": {
        "ingressPodLabels": {"app": SERVER},
        "ingressCidrs": [format!("{stranger}/32")],
        "extraEgress": [{"cidr": format!("{stranger}/32"), "port": 8080}],
    }}});
    instance.kubectl(&["patch", "cati/catalyst", "--type=merge", "-p", &more.to_string()]).await?;
    let with_more = [
        probe("an address of ingressCidrs to the pod", From::Namespace(STRANGER), format!("{pod}:3001"), true),
        probe("the pod to what extraEgress names", From::Pod, format!("{stranger}:8080"), true),
        probe(
            "an address of ingressCidrs to the pod's metrics",
            From::Namespace(STRANGER),
            format!("{pod}:9090"),
            false,
        ),
        probe("the pod to another pod on that port", From::Pod, format!("{}:8080", friend.trim()), false),
        probe("the pod to the API server's Service", From::Pod, "10.96.0.1:443".to_owned(), false),
        probe("a pod of ingressPodLabels to the pod", From::Namespace(FRIEND), format!("{pod}:3001"), true),
        probe("a pod without ingressPodLabels to the pod", From::Bystander, format!("{pod}:3001"), false),
        probe("the pod to SSH of the VM", From::Pod, format!("{vm}:22"), true),
    ];
    for probe in &with_more {
        expect(&instance, probe, probe.open).await?;
    }

    // Who may read metrics may do that alone.
    let readers = json!({"spec": {"networkPolicy": {"ingressCidrs": null, "metricsNamespaces": [STRANGER]}}});
    instance.kubectl(&["patch", "cati/catalyst", "--type=merge", "-p", &readers.to_string()]).await?;
    let with_readers = [
        probe(
            "a namespace of metricsNamespaces to the metrics",
            From::Namespace(STRANGER),
            format!("{pod}:9090"),
            true,
        ),
        probe("a namespace of metricsNamespaces to the pod", From::Namespace(STRANGER), format!("{pod}:3001"), false),
        probe("the ingress' namespace to the pod's metrics", From::Namespace(FRIEND), format!("{pod}:9090"), false),
    ];
    for probe in &with_readers {
        expect(&instance, probe, probe.open).await?;
    }

    instance
        .kubectl(&["patch", "cati/catalyst", "--type=merge", "-p", r#"{"spec":{"networkPolicy":{"enabled":false}}}"#])
        .await?;
    eventually("the policy is gone", SETTLED, || async {
        ensure!(instance.get("networkpolicy/catalyst-policy").await.is_err(), "it is there");
        anyhow::Ok(())
    })
    .await?;
    for probe in probes.iter().chain(&with_more).chain(&with_readers) {
        expect(&instance, probe, true).await?;
    }

    for namespace in [FRIEND, STRANGER] {
        stage.kubectl(&["delete", "namespace", namespace, "--timeout=60s"]).await?;
    }
    instance.delete().await
}

/// Waits until a probe ends as it must.
async fn expect(instance: &Instance<'_>, probe: &Probe, open: bool) -> Result<()> {
    let what = format!("{} ({}) is {}", probe.what, probe.to, if open { "open" } else { "shut" });
    eventually(&what, SETTLED, || async {
        let (reached, said) = connect(instance, probe).await;
        ensure!(reached == open, "{said}");
        // Shut is what who dialled says, not that nobody could be asked to.
        let dialled = match probe.from {
            From::Pod => said.contains("nc: connect to"),
            From::Namespace(_) | From::Bystander => said.contains(&format!("dial tcp {}: ", probe.to)),
        };
        ensure!(open || dialled, "{said}");
        anyhow::Ok(())
    })
    .await?;
    Ok(())
}

/// Whether the connection could be opened, and what was said.
async fn connect(instance: &Instance<'_>, probe: &Probe) -> (bool, String) {
    let (host, port) = probe.to.rsplit_once(':').unwrap_or_default();
    // The API server's proxy asks the test server, which dials.
    let by = async |namespace: &str, server: &str| {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{server}:8080/proxy/dial?to={}", probe.to);
        instance.kubectl(&["get", "--raw", &path]).await
    };
    let said = match probe.from {
        From::Pod => instance.kubectl(&["exec", "deployment/catalyst", "--", "nc", "-zv", host, port]).await,
        From::Namespace(namespace) => by(namespace, SERVER).await,
        From::Bystander => by(FRIEND, BYSTANDER).await,
    };
    match said {
        Ok(said) => (true, said),
        Err(error) => (false, format!("{error:#}")),
    }
}

fn server(image: &str, namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "server", "image": image, "imagePullPolicy": "Never",
                "args": ["serve", ":8080"], "ports": [{"containerPort": 8080}],
            }],
        },
    })
}

fn address(said: &str) -> Result<std::net::IpAddr> {
    Ok(said.trim().parse()?)
}
