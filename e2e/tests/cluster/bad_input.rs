//! What users get wrong: each mistake is answered by a message that names the field or the part and what to do, and never by a crash loop.

use std::time::Duration;

use anyhow::{Result, ensure};
use catalyst_e2e::browser::Browser;
use catalyst_e2e::instance::Instance;
use serde_json::json;

use crate::turn;

/// Twice the period of the readiness probe.
const TWO_PROBES: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_manifest_with_a_wrong_field_is_refused_with_its_name() -> Result<()> {
    let turn = turn().await;
    let stage = turn.stage;
    for (field, spec) in [
        ("spec.ssh.host", r#"{"ssh": {"user": "dev"}}"#),
        ("spec.ssh.user", r#"{"ssh": {"host": "10.0.0.1"}}"#),
        ("spec.ssh.port", r#"{"ssh": {"host": "10.0.0.1", "user": "dev", "port": 70000}}"#),
        (
            "spec.networkPolicy.sshEgressCidr",
            r#"{"ssh": {"host": "10.0.0.1", "user": "dev"}, "networkPolicy": {"sshEgressCidr": "10.0.0.0/33"}}"#,
        ),
        ("spec.ingress.host", r#"{"ssh": {"host": "10.0.0.1", "user": "dev"}, "ingress": {"host": "Not A Host"}}"#),
        ("spec.replcias", r#"{"ssh": {"host": "10.0.0.1", "user": "dev"}, "replcias": 2}"#),
    ] {
        let manifest = format!(
            r#"{{"apiVersion": "catalyst.dev/v1alpha1", "kind": "CatalystInstance", "metadata": {{"name": "wrong", "namespace": "default"}}, "spec": {spec}}}"#
        );
        let refused = stage
            .apply(&manifest)
            .await
            .err()
            .map(|error| error.to_string())
            .unwrap_or_else(|| "was accepted".to_owned());
        ensure!(refused.contains(field), "{field} is not named: {refused}");
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_the_vm_does_not_know_is_a_reason_in_status_and_no_crash_loop() -> Result<()> {
    let turn = turn().await;
    let instance = Instance::apply(turn.stage, "wrong-key", json!({})).await?;
    let (message, _) =
        instance.await_condition("Stalled", "True", Some("SSHAuthRejected"), Duration::from_secs(60)).await?;
    ensure!(message.contains("authorized_keys"), "no remedy: {message}");
    instance.pods_stay(TWO_PROBES).await?;
    instance.authorize().await?;
    instance.await_ready(Duration::from_secs(90)).await?;
    instance.delete().await
}

#[tokio::test]
async fn a_vm_that_is_not_there_is_a_reason_in_status_and_no_crash_loop() -> Result<()> {
    let turn = turn().await;
    let stage = turn.stage;
    // An address of the lab's own network that nobody has.
    let nobody =
        stage.lab().vm().address().to_string().rsplit_once('.').map(|(net, _)| format!("{net}.99")).unwrap_or_default();
    let instance = Instance::apply(stage, "no-vm", json!({"ssh": {"host": nobody}})).await?;
    let (message, _) =
        instance.await_condition("Ready", "False", Some("HostUnreachable"), Duration::from_secs(60)).await?;
    ensure!(message.contains(&nobody), "the host is not named: {message}");
    instance.pods_stay(TWO_PROBES).await?;
    instance.delete().await
}

#[tokio::test]
async fn a_snippet_that_the_ingress_controller_refuses_is_told_by_the_field_that_asks_for_it() -> Result<()> {
    let turn = turn().await;
    let stage = turn.stage;
    let key = "nginx.ingress.kubernetes.io/configuration-snippet";
    for (namespace, ingress, remedy) in [
        ("snippet-field", json!({"configurationSnippet": true}), "Remove ingress.configurationSnippet:".to_owned()),
        (
            "snippet-annotation",
            json!({"annotations": {key: "add_header X-A b;"}}),
            format!("Remove {key} from ingress.annotations:"),
        ),
    ] {
        let instance = Instance::apply(stage, namespace, json!({"ingress": ingress})).await?;
        let reason = Some("ConfigurationSnippetRejected");
        let (message, _) = instance.await_condition("Stalled", "True", reason, Duration::from_secs(60)).await?;
        ensure!(message.contains(&remedy), "{namespace}: {message}");
        instance.delete().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_browser_is_told_what_is_wrong() -> Result<()> {
    let turn = turn().await;
    let instance = Instance::ready(turn.stage, "told", json!({})).await?;
    let browser = Browser::start().await?;
    browser.open(&instance.url()).await?;
    browser.type_into("sign-in-secret", "not the secret").await?;
    browser.click("sign-in-submit").await?;
    let error = browser.find("sign-in-error").await?.text().await?;
    ensure!(error.contains("not right") && error.contains("CATALYST_SECRET"), "{error}");
    browser.screenshot("6-wrong-secret").await?;
    browser.sign_in(&instance.url(), &instance.secret().await?).await?;
    browser.open(&format!("{}/ideas/no-such-idea", instance.url())).await?;
    browser.await_text("This idea is not here", Duration::from_secs(10)).await?;
    browser.screenshot("7-unknown-idea").await?;
    browser.close().await?;
    instance.delete().await
}
