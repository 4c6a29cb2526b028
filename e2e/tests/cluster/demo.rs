//! `catalyst-demo up`, as `make demo` runs it: what it prints is taken at its word.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use catalyst_e2e::instance::Instance;
use serde_json::json;

use crate::alone;

/// The namespace that the demo makes.
const NAMESPACE: &str = "catalyst";

/// What a person takes from the demo's words.
struct Printed {
    kubeconfig: String,
    url: String,
    secret: String,
}

/// Runs it to its end.
async fn up(lab: &str) -> Result<Printed> {
    let mut demo = tokio::process::Command::new(env!("CARGO_BIN_EXE_catalyst-demo"));
    demo.args(["--name", lab, "up"]).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(240), demo.output()).await.context("it does not end")??;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{}: {said}", output.status);
    let row = said.lines().find(|line| line.starts_with("catalyst "));
    ensure!(row.is_some_and(|row| row.split_whitespace().nth(1) == Some("True")), "no row that is Ready: {said}");
    let after = |words: &str| {
        let line = said.lines().find_map(|line| line.split_once(words)).with_context(|| format!("{words:?}: {said}"));
        line.map(|(_, rest)| rest.trim().to_owned())
    };
    Ok(Printed { kubeconfig: after("export KUBECONFIG=")?, url: after(" Open ")?, secret: after("and sign in with ")? })
}

#[tokio::test]
async fn the_demo_prints_what_works_and_a_second_run_mends_what_was_done_to_it() -> Result<()> {
    let turn = alone().await;
    let stage = turn.stage;
    let first = up(stage.lab().name()).await?;
    // What the demo suggests to try.
    stage.lab().vm().cut().await?;
    let second = up(stage.lab().name()).await?;
    ensure!((&first.url, &first.secret) == (&second.url, &second.secret), "another URL or secret the second time");

    let Printed { kubeconfig, url, secret } = second;
    let mut kubectl = stage.lab().kubectl();
    kubectl.env("KUBECONFIG", kubeconfig).args(["-n", NAMESPACE, "get", "cati", "catalyst", "-o", "name"]);
    let output = kubectl.output().await?;
    ensure!(output.status.success(), "the kubeconfig: {}", String::from_utf8_lossy(&output.stderr));

    let browser_url = reqwest::Url::parse(&url)?;
    let (host, port) = (browser_url.host_str().context("a host")?, browser_url.port().context("a port")?);
    // Browsers take NAME.localhost for this machine; this client has to be told.
    let client = reqwest::Client::builder().resolve(host, SocketAddr::from(([127, 0, 0, 1], port))).build()?;
    let page = client.get(browser_url.clone()).send().await?;
    ensure!(page.status() == 200 && page.text().await?.contains("<html"), "{url} is no page");
    let sign_in = async |secret: &str| {
        let request = client.post(format!("{url}/api/login")).header("Origin", &url);
        let body = json!({"secret": secret}).to_string();
        let answer = request.header("Content-Type", "application/json").body(body).send().await?;
        anyhow::Ok(answer.status().as_u16())
    };
    ensure!(sign_in("not the secret").await? == 401, "anything signs in");
    let code = sign_in(&secret).await?;
    ensure!(code == 200, "the secret that was printed is answered {code}");
    Instance::at(stage, NAMESPACE).delete().await
}
