//! Every command of the deployment page that users have today, with our manifest in place of the chart; and the plugin's in their place.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use catalyst_e2e::eventually::eventually;
use catalyst_e2e::instance::Instance;
use catalyst_e2e::stage::{Stage, root};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

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
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().await?;
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
    the_plugin_does_it_in_a_word(stage, &instance, &"5".repeat(64)).await?;
    instance.delete().await
}

/// `kubectl catalyst` shows the same log, and opens the app where no ingress leads to it: at that address it is the app's own page that asks.
async fn the_plugin_does_it_in_a_word(stage: &Stage, instance: &Instance<'_>, secret: &str) -> Result<()> {
    let plugin = |arguments: &[&str]| {
        let mut command = Command::new(root().join("target/release/kubectl-catalyst"));
        command.args(arguments).args(["-n", instance.namespace()]).env("KUBECONFIG", stage.lab().kubeconfig());
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    };
    let logs = plugin(&["logs", "catalyst"]).output().await?;
    let (said, failed) = (String::from_utf8_lossy(&logs.stdout), String::from_utf8_lossy(&logs.stderr));
    ensure!(logs.status.success() && failed.is_empty() && said.contains("3001"), "logs: {said}{failed}");
    ensure!(!said.contains(secret), "logs: {said}");

    let mut open = plugin(&["open", "--no-browser"]).stdout(Stdio::piped()).spawn()?;
    let mut output = BufReader::new(open.stdout.take().context("output")?).lines();
    let line = output.next_line().await?.context("open ended")?;
    ensure!(line.contains("leads to seed/catalyst (pod catalyst-"), "{line}");
    let url = line.split("/ ").next().unwrap_or_default().to_owned();
    let page = reqwest::get(format!("{url}/")).await?.text().await?;
    ensure!(page.contains("<script"), "no page: {page}");
    let sign_in = async |origin: &str| {
        let body = json!({"secret": secret}).to_string();
        let request = reqwest::Client::new().post(format!("{url}/api/login")).header("origin", origin);
        anyhow::Ok(request.header("content-type", "application/json").body(body).send().await?)
    };
    let elsewhere = sign_in("http://elsewhere.example.com").await?;
    ensure!(elsewhere.status() == 403, "a page of another origin: {}", elsewhere.status());
    let signed_in = sign_in(&url).await?;
    ensure!(signed_in.status() == 200, "the page that was opened: {}", signed_in.status());
    let cookie = signed_in.headers().get("set-cookie").context("a cookie")?.to_str()?.to_owned();
    let cookie = cookie.split(';').next().unwrap_or_default();
    let known = reqwest::Client::new().get(format!("{url}/api/auth/check")).header("cookie", cookie).send().await?;
    let known = known.text().await?;
    ensure!(known.contains(r#""authenticated":true"#), "{known}");
    // As Ctrl-C does.
    let process = open.id().context("it runs")?.to_string();
    ensure!(Command::new("kill").args(["-INT", &process]).status().await?.success(), "kill -INT {process}");
    let ended = tokio::time::timeout(Duration::from_secs(10), open.wait()).await.context("open goes on")??;
    ensure!(ended.success(), "{ended}");
    Ok(())
}
