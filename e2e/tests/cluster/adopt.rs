//! A Helm release that serves is taken over under load, by the command that a user runs: no reading request fails (one that breaks with
//! a kept connection is asked once more), who is signed in stays so, and what is nobody's business but its owner's is not touched.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use catalyst_e2e::eventually::eventually;
use catalyst_e2e::instance::Instance;
use catalyst_e2e::load::Load;
use catalyst_e2e::stage::{Stage, root};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::alone;

const NAMESPACE: &str = "adopt";
/// Who migrates, so that the audit log tells what was written for it.
const USER: &str = "migrator";
/// Requests before and after.
const ENOUGH: usize = 120;

/// `values-prod.yaml` of the chart's page, with this lab's VM, image and host.
fn values(stage: &Stage, host: &str) -> String {
    let vm = stage.lab().vm();
    format!(
        "image:\n  repository: docker.io/library/catalyst-proxy\n  tag: \"{}\"\n  pullPolicy: IfNotPresent\n\
         ingress:\n  enabled: true\n  className: nginx\n  host: {host}\n\
         ssh:\n  host: \"{}\"\n  port: \"22\"\n  user: \"{}\"\n  ideasBasePath: \"~/{NAMESPACE}/ideas\"\n  \
         existingKeySecret: \"catalyst-ssh-key\"\nsecrets:\n  useExisting: true\n",
        env!("CARGO_PKG_VERSION"),
        vm.address(),
        vm.user()
    )
}

/// The objects that the chart makes of these values, with Helm's marks.
fn release(stage: &Stage, host: &str) -> Vec<Value> {
    let labels = json!({"app.kubernetes.io/name": "catalyst", "app.kubernetes.io/instance": "catalyst"});
    let (vm, image) = (stage.lab().vm(), format!("docker.io/library/catalyst-proxy:{}", env!("CARGO_PKG_VERSION")));
    let config = json!({"SSH_HOST": vm.address().to_string(), "SSH_PORT": "22", "SSH_USER": vm.user(),
        "IDEAS_BASE_PATH": format!("~/{NAMESPACE}/ideas"), "NODE_ENV": "production", "PORT": "3001",
        // The chart's server knows no host keys.
        "SSH_HOST_KEY_CHECK": "accept-new"});
    let probe = |delay: u32, period: u32| json!({"httpGet": {"path": "/api/health", "port": 3001}, "initialDelaySeconds": delay, "periodSeconds": period});
    let container = json!({"name": "catalyst", "image": image, "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "http", "containerPort": 3001}],
        "envFrom": [{"configMapRef": {"name": "catalyst-config"}}, {"secretRef": {"name": "catalyst-secrets"}}],
        "volumeMounts": [{"name": "ssh-key", "mountPath": "/secrets/ssh", "readOnly": true}],
        "livenessProbe": probe(10, 30), "readinessProbe": probe(5, 10)});
    let pod = json!({"serviceAccountName": "catalyst", "securityContext": {"fsGroup": 65532}, "containers": [container],
        "volumes": [{"name": "ssh-key", "secret": {"secretName": "catalyst-ssh-key", "defaultMode": 256}}]});
    let backend = json!({"service": {"name": "catalyst", "port": {"number": 80}}});
    let path = json!({"path": "/", "pathType": "Prefix", "backend": backend});
    let from = json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}]);
    vec![
        helms("v1", "ServiceAccount", "catalyst", json!({})),
        helms("v1", "ConfigMap", "catalyst-config", json!({"data": config})),
        helms(
            "v1",
            "Service",
            "catalyst",
            json!({"spec": {"selector": labels,
            "ports": [{"name": "http", "port": 80, "targetPort": 3001}]}}),
        ),
        helms(
            "apps/v1",
            "Deployment",
            "catalyst",
            json!({"spec": {"replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod}}}),
        ),
        helms(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            "catalyst-policy",
            json!({"spec": {
            "podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": from, "ports": [{"port": 3001}]}],
            "egress": [{"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}, {"port": 22}]}]}}),
        ),
        helms(
            "networking.k8s.io/v1",
            "Ingress",
            "catalyst",
            json!({"metadata": {"annotations": {
            "nginx.ingress.kubernetes.io/proxy-read-timeout": "3600", "nginx.ingress.kubernetes.io/proxy-send-timeout": "3600",
            "nginx.ingress.kubernetes.io/websocket-services": "catalyst"}},
            "spec": {"ingressClassName": "nginx", "rules": [{"host": host, "http": {"paths": [path]}}]}}),
        ),
    ]
}

fn helms(api: &str, kind: &str, name: &str, mut object: Value) -> Value {
    object["apiVersion"] = json!(api);
    object["kind"] = json!(kind);
    object["metadata"]["name"] = json!(name);
    object["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/name": "catalyst",
        "app.kubernetes.io/instance": "catalyst", "helm.sh/chart": "catalyst-0.1.0"});
    object["metadata"]["annotations"]["meta.helm.sh/release-name"] = json!("catalyst");
    object["metadata"]["annotations"]["meta.helm.sh/release-namespace"] = json!(NAMESPACE);
    object
}

/// Creates objects under a field manager's name.
async fn create(stage: &Stage, manager: &str, objects: &[Value]) -> Result<()> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let flag = format!("--field-manager={manager}");
    let mut child = stage
        .lab()
        .kubectl()
        .args(["-n", NAMESPACE, "create", &flag, "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    child.stdin.take().context("kubectl's stdin")?.write_all(list.to_string().as_bytes()).await?;
    let output = child.wait_with_output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The release as `helm install` leaves it, beside the Secrets that the page has people make, and things of others.
async fn install(stage: &Stage, instance: &Instance<'_>) -> Result<()> {
    stage.kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=90s"]).await?;
    stage.kubectl(&["create", "namespace", NAMESPACE]).await?;
    let folder = tempfile::tempdir()?;
    let key = folder.path().join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().await?;
    ensure!(made.success(), "ssh-keygen");
    stage.lab().vm().authorize(std::fs::read_to_string(key.with_extension("pub"))?.trim())?;
    let secret = |name: &str, entries: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": entries});
    let app = json!({"CATALYST_SECRET": "7".repeat(64), "COOKIE_SECRET": "8".repeat(64)});
    let by_hand = [
        secret("catalyst-secrets", app),
        secret("catalyst-ssh-key", json!({"id_ed25519": std::fs::read_to_string(&key)?})),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bystander"}, "data": {"a": "b"}}),
    ];
    create(stage, "kubectl-create", &by_hand).await?;
    let mut record = secret("sh.helm.release.v1.catalyst.v1", json!({"release": "x"}));
    record["type"] = json!("helm.sh/release.v1");
    record["metadata"]["labels"] = json!({"owner": "helm", "name": "catalyst", "status": "deployed", "version": "1"});
    create(stage, "helm", &[release(stage, &instance.host()), vec![record]].concat()).await?;
    eventually("the release serves", Duration::from_secs(90), || async {
        let (status, body) = instance.http_get("/api/health").await?;
        ensure!(status == 200, "{status} {body}: {}", instance.kubectl(&["get", "pods"]).await?);
        Ok(())
    })
    .await?;
    Ok(())
}

/// Runs `catalyst-operator migrate` as a user does; what it prints on standard output and on standard error.
async fn migrate(stage: &Stage, values: &std::path::Path, more: &[&str]) -> Result<(String, String)> {
    let program = root().join("target/release/catalyst-operator");
    ensure!(program.exists(), "{} is missing: run `make images` first", program.display());
    let output = Command::new(program)
        .args(["migrate", "-n", NAMESPACE, "--values"])
        .arg(values)
        .args(more)
        .env("KUBECONFIG", stage.lab().kubeconfig_for(USER, Some("system:masters"))?)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(180), output).await.context("migrate did not end")??;
    let told = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "migrate {}: {told}", more.join(" "));
    Ok((String::from_utf8(output.stdout)?, told))
}

/// What was written by whoever migrates, as `verb resource name`.
fn written(stage: &Stage) -> Result<Vec<String>> {
    let writes = stage.lab().writes()?.into_iter();
    let ours = writes.filter(|write| write.user == USER && write.namespace == NAMESPACE);
    Ok(ours.map(|write| format!("{} {} {}", write.verb, write.resource, write.name)).collect())
}

/// Signs in through the ingress and returns the cookie.
async fn sign_in(stage: &Stage, instance: &Instance<'_>) -> Result<String> {
    let client = reqwest::Client::builder().resolve(&instance.host(), stage.lab().ingress_addr()).build()?;
    let answer = client
        .post(format!("{}/api/login", instance.url()))
        .header("content-type", "application/json")
        .header("sec-fetch-site", "same-origin")
        .body(json!({"secret": "7".repeat(64)}).to_string())
        .send()
        .await?;
    ensure!(answer.status() == 200, "{}", answer.status());
    let cookie = answer.headers().get("set-cookie").context("a cookie")?.to_str()?;
    Ok(cookie.split(';').next().unwrap_or_default().to_owned())
}

async fn signed_in(stage: &Stage, instance: &Instance<'_>, cookie: &str) -> Result<Value> {
    let client = reqwest::Client::builder().resolve(&instance.host(), stage.lab().ingress_addr()).build()?;
    let request = client.get(format!("{}/api/auth/check", instance.url())).header("cookie", cookie);
    Ok(serde_json::from_str(&request.send().await?.text().await?)?)
}

#[tokio::test]
async fn a_release_is_adopted_under_load_without_a_failed_request_and_without_adopt_nothing_is_touched() -> Result<()> {
    let turn = alone().await;
    let stage = turn.stage;
    let instance = Instance::at(stage, NAMESPACE);
    install(stage, &instance).await?;
    let cookie = sign_in(stage, &instance).await?;
    let theirs = ["configmap/bystander", "secret/catalyst-secrets", "secret/catalyst-ssh-key"];
    let mut before = Vec::new();
    for object in theirs {
        before.push(instance.get(object).await?["metadata"]["resourceVersion"].clone());
    }
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), values(stage, &instance.host()))?;
    let writes = written(stage)?.len();
    let (manifest, told) = migrate(stage, file.path(), &[]).await?;
    ensure!(manifest.contains("kind: CatalystInstance") && told.is_empty(), "{told}\n{manifest}");
    let (_, plan) = migrate(stage, file.path(), &["--adopt", "catalyst"]).await?;
    ensure!(plan.contains("Nothing was changed"), "{plan}");
    ensure!(written(stage)?.len() == writes, "written without being told to: {:?}", written(stage)?);

    let load = Load::start(stage, &instance)?;
    load.goes_on(ENOUGH).await?;
    let begun = Instant::now();
    let outcome = migrate(stage, file.path(), &["--adopt", "catalyst", "--yes"]).await;
    let took = begun.elapsed();
    eventually("the old pods are gone", Duration::from_secs(60), || async {
        let pods = instance.kubectl(&["get", "pods", "-l", "!catalyst.dev/instance", "-o", "name"]).await?;
        ensure!(pods.is_empty(), "{pods}");
        Ok(())
    })
    .await?;
    load.goes_on(ENOUGH).await?;
    let (requests, failures) = load.end().await?;
    let (_, told) = outcome?;
    println!("{told}");
    println!("taken over in {:.1} s under {requests} requests, of which {} failed", took.as_secs_f64(), failures.len());
    ensure!(failures.is_empty(), "{} of {requests} failed, the first at {:?}", failures.len(), failures.first());

    // All of it is the operator's, and whoever was signed in is.
    instance.await_ready(Duration::from_secs(30)).await?;
    ensure!(signed_in(stage, &instance, &cookie).await?["data"]["authenticated"] == true, "a session was lost");
    let uid = instance.get("cati/catalyst").await?["metadata"]["uid"].clone();
    for object in ["deployment/catalyst", "service/catalyst", "ingress/catalyst", "configmap/catalyst-config"] {
        let metadata = instance.get(object).await?["metadata"].clone();
        ensure!(metadata["ownerReferences"][0]["uid"] == uid, "{object}: {metadata}");
        ensure!(!metadata["annotations"].to_string().contains("meta.helm.sh"), "{object}: {metadata}");
    }
    let left = instance.kubectl(&["get", "secrets,serviceaccounts", "-o", "name"]).await?;
    ensure!(!left.contains("sh.helm.release") && !left.contains("serviceaccount/catalyst"), "{left}");
    for (object, before) in theirs.into_iter().zip(before) {
        ensure!(instance.get(object).await?["metadata"]["resourceVersion"] == before, "{object} was written to");
    }
    let (_, again) = migrate(stage, file.path(), &["--adopt", "catalyst", "--yes"]).await?;
    ensure!(again.contains("Nothing is left to do"), "{again}");
    instance.delete().await
}
