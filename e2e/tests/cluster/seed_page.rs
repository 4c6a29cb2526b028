//! Every command of the deployment page that users have today, with our manifest in place of the chart.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use catalyst_e2e::eventually::eventually;
use catalyst_e2e::instance::Instance;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::turn;

#[tokio::test]
async fn every_command_of_the_deployment_page_works() -> Result<()> {
    let turn = turn().await;
    let stage = turn.stage;
    let vm = stage.lab().vm();
    let instance = Instance::apply(
        stage,
        "seed",
        json!({"secrets": {"useExisting": true}, "ssh": {"existingKeySecret": "catalyst-ssh-key"}}),
    )
    .await?;
    // Both Secrets are missing: status names the first thing to do, as the page's troubleshooting does for CrashLoopBackOff.
    let (message, _) =
        instance.await_condition("Stalled", "True", Some("SecretMissing"), Duration::from_secs(20)).await?;
    ensure!(message.contains("catalyst-secrets") || message.contains("catalyst-ssh-key"), "{message}");
    let pods = instance.kubectl(&["get", "deployments,pods", "-o", "name"]).await?;
    ensure!(pods.is_empty(), "pods that cannot start: {pods}");

    let folder = tempfile::tempdir()?;
    let key = folder.path().join("key");
    let made = tokio::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status()
        .await?;
    ensure!(made.success(), "ssh-keygen");
    vm.authorize(std::fs::read_to_string(key.with_extension("pub"))?.trim())?;
    instance
        .kubectl(&[
            "create",
            "secret",
            "generic",
            "catalyst-secrets",
            &format!("--from-literal=CATALYST_SECRET={}", "5".repeat(64)),
            &format!("--from-literal=COOKIE_SECRET={}", "6".repeat(64)),
        ])
        .await?;
    instance
        .kubectl(&[
            "create",
            "secret",
            "generic",
            "catalyst-ssh-key",
            &format!("--from-file=id_ed25519={}", key.display()),
        ])
        .await?;
    instance.await_ready(Duration::from_secs(90)).await?;

    ensure!(instance.kubectl(&["get", "pods"]).await?.contains("1/1"), "get pods");
    let rolled = instance.kubectl(&["rollout", "status", "deployment/catalyst", "--timeout=60s"]).await?;
    ensure!(rolled.contains("successfully rolled out"), "{rolled}");
    let logs = instance.kubectl(&["logs", "deployment/catalyst"]).await?;
    ensure!(logs.contains("3001") && !logs.contains(&"5".repeat(64)), "logs: {logs}");

    let health = instance.health().await?;
    ensure!(health["status"] == "ok" && health["ssh"] == true, "{health}");
    let reached = instance
        .kubectl(&["exec", "deployment/catalyst", "--", "nc", "-zv", &vm.address().to_string(), &vm.port().to_string()])
        .await;
    ensure!(reached.is_ok(), "{reached:?}");
    let refused =
        instance.kubectl(&["exec", "deployment/catalyst", "--", "nc", "-zv", &vm.address().to_string(), "9"]).await;
    ensure!(refused.is_err(), "nc must fail where nobody listens");

    let ingress = instance.kubectl(&["get", "ingress", "catalyst", "-o", "yaml"]).await?;
    for annotation in [
        "proxy-read-timeout: \"3600\"",
        "proxy-send-timeout: \"3600\"",
        "proxy-connect-timeout: \"60\"",
        "websocket-services: catalyst",
        "proxy-http-version: \"1.1\"",
    ] {
        ensure!(ingress.contains(annotation), "{annotation} is missing in\n{ingress}");
    }
    let mut forward = stage
        .lab()
        .kubectl()
        .args(["-n", instance.namespace(), "port-forward", "svc/catalyst", ":80"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    // Kept open: kubectl ends when it cannot write its next line.
    let mut output = BufReader::new(forward.stdout.take().context("output")?).lines();
    let line = output.next_line().await?.context("port-forward ended")?;
    let port: u16 =
        line.split([':', ' ']).find_map(|word| word.parse().ok().filter(|port| *port > 1024)).context(line.clone())?;
    eventually("health by port-forward", Duration::from_secs(10), || async {
        let body = reqwest::get(format!("http://127.0.0.1:{port}/api/health")).await?.text().await?;
        if body.contains("\"ok\"") { Ok(()) } else { Err(anyhow!(body)) }
    })
    .await?;
    forward.kill().await?;
    instance.delete().await
}
