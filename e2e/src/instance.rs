//! One `CatalystInstance` under test, in a namespace of its own and with a folder of its own on the dev-VM. Everything is done as a user does it: by kubectl and
//! over HTTP through the ingress.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use base64::Engine;
use catalyst_lab::DevVm;
use serde_json::{Value, json};

use crate::eventually::eventually;
use crate::stage::Stage;

/// How long an instance may take from `kubectl apply` to Ready: the pod's readiness probe alone waits 5 s and then looks every 10 s.
const READY: Duration = Duration::from_secs(90);

/// A namespace with one instance named `catalyst`.
pub struct Instance<'a> {
    stage: &'a Stage,
    namespace: String,
    vm: DevVm,
}

impl<'a> Instance<'a> {
    /// The instance of that namespace, whoever applied it, with the stage's VM.
    #[must_use]
    pub fn at(stage: &'a Stage, namespace: &str) -> Self {
        Self { stage, namespace: namespace.to_owned(), vm: stage.lab().vm() }
    }

    /// Applies an instance that names the stage's VM and the host `NAMESPACE.localhost`; `spec` is merged over that (JSON merge patch).
    ///
    /// # Errors
    /// When kubectl refuses it.
    pub async fn apply(stage: &'a Stage, namespace: &str, spec: Value) -> Result<Self> {
        Self::apply_with(stage, stage.lab().vm(), namespace, spec).await
    }

    async fn apply_with(stage: &'a Stage, vm: DevVm, namespace: &str, spec: Value) -> Result<Self> {
        let instance = Self { stage, namespace: namespace.to_owned(), vm };
        // What a failed or killed run left is not what this one is about.
        stage.kubectl(&["delete", "namespace", namespace, "--ignore-not-found", "--timeout=90s"]).await?;
        if let Err(error) = std::fs::remove_dir_all(instance.folder()) {
            ensure!(error.kind() == ErrorKind::NotFound, "{error}: {}", instance.folder().display());
        }
        stage.kubectl(&["create", "namespace", namespace]).await?;
        let vm = &instance.vm;
        let mut manifest = json!({
            "apiVersion": "catalyst.dev/v1alpha1",
            "kind": "CatalystInstance",
            "metadata": {"name": "catalyst", "namespace": namespace},
            "spec": {
                "ssh": {"host": vm.address().to_string(), "user": vm.user(), "ideasBasePath": format!("~/{namespace}/ideas")},
                "ingress": {"className": "nginx", "host": instance.host()},
                "publicUrl": instance.url(),
            },
        });
        merge(&mut manifest["spec"], spec);
        stage.apply(&manifest.to_string()).await?;
        Ok(instance)
    }

    /// Applies an instance, authorises the key that the operator generated, as its status says to, and waits for Ready.
    ///
    /// # Errors
    /// When it is not Ready in 90 s; the error has its status.
    pub async fn ready(stage: &'a Stage, namespace: &str, spec: Value) -> Result<Self> {
        Self::ready_with(stage, stage.lab().vm(), namespace, spec).await
    }

    /// As [`Instance::ready`], with another VM than the stage's.
    ///
    /// # Errors
    /// As [`Instance::ready`].
    pub async fn ready_with(stage: &'a Stage, vm: DevVm, namespace: &str, spec: Value) -> Result<Self> {
        let instance = Self::apply_with(stage, vm, namespace, spec).await?;
        instance.authorize().await?;
        instance.await_ready(READY).await?;
        instance.await_reachable().await?;
        Ok(instance)
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The VM that the instance names.
    #[must_use]
    pub fn vm(&self) -> &DevVm {
        &self.vm
    }

    /// Its folder on the VM, with `ideas` in it, as seen from this machine.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.vm.home().join(&self.namespace)
    }

    /// The ingress host.
    #[must_use]
    pub fn host(&self) -> String {
        format!("{}.localhost", self.namespace)
    }

    /// The URL by which this machine's browser comes in, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}:{}", self.host(), self.stage.lab().ingress_addr().port())
    }

    /// Runs kubectl in the namespace and returns what it printed.
    ///
    /// # Errors
    /// When it exits non-zero; the error has what it printed on stderr.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.stage.kubectl(&[&["-n", &self.namespace], args].concat()).await
    }

    /// An object of the namespace as JSON, such as `get("cati/catalyst")`.
    ///
    /// # Errors
    /// When there is none.
    pub async fn get(&self, object: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.kubectl(&["get", object, "-o", "json"]).await?)?)
    }

    /// Waits for the line that status offers for the VM's authorized_keys, and puts it there.
    ///
    /// # Errors
    /// When status has none in 30 s.
    pub async fn authorize(&self) -> Result<()> {
        let (line, _) = eventually("status.authorizedKeysLine", Duration::from_secs(30), || async {
            let status = self.get("cati/catalyst").await?;
            status["status"]["authorizedKeysLine"]
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| anyhow!("{}", status["status"]))
        })
        .await?;
        self.vm.authorize(&line)
    }

    /// Waits until the condition Ready is True for the present generation.
    ///
    /// # Errors
    /// When it is not in `deadline`; the error has the conditions.
    pub async fn await_ready(&self, deadline: Duration) -> Result<Duration> {
        Ok(self.await_condition("Ready", "True", None, deadline).await?.1)
    }

    /// Waits until a condition has a status and, when given, a reason; returns its message.
    ///
    /// # Errors
    /// When it has not in `deadline`; the error has the conditions.
    pub async fn await_condition(
        &self,
        kind: &str,
        status: &str,
        reason: Option<&str>,
        deadline: Duration,
    ) -> Result<(String, Duration)> {
        eventually(&format!("{kind}={status} {}", reason.unwrap_or_default()), deadline, || async {
            let object = self.get("cati/catalyst").await?;
            let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let found = conditions.iter().find(|c| c["type"] == kind && c["status"] == status);
            match found {
                Some(found) if current && reason.is_none_or(|reason| found["reason"] == reason) => {
                    Ok(found["message"].as_str().unwrap_or_default().to_owned())
                }
                _ => Err(anyhow!("{}", object["status"])),
            }
        })
        .await
    }

    /// Waits until the ingress controller, which follows the Service at its own pace, leads to the pod and to its page.
    ///
    /// # Errors
    /// When it does not in 30 s; the error has its answer.
    pub async fn await_reachable(&self) -> Result<()> {
        eventually("an answer through the ingress", Duration::from_secs(30), || async {
            let (status, body) = self.http_get("/api/health").await?;
            ensure!(status == 200, "{status} {body}");
            let (status, page) = self.http_get("/").await?;
            ensure!(status == 200 && page.contains("<script"), "no page: {status} {page}");
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// The shared secret, read as the notes of the product say to.
    ///
    /// # Errors
    /// When the Secret is not there.
    pub async fn secret(&self) -> Result<String> {
        let encoded =
            self.kubectl(&["get", "secret", "catalyst-secrets", "-o", "jsonpath={.data.CATALYST_SECRET}"]).await?;
        Ok(String::from_utf8(base64::engine::general_purpose::STANDARD.decode(encoded)?)?)
    }

    /// GET through the ingress: status code and body.
    ///
    /// # Errors
    /// When there is no answer in 10 s.
    pub async fn http_get(&self, path: &str) -> Result<(u16, String)> {
        let address = self.stage.lab().ingress_addr();
        let client =
            reqwest::Client::builder().resolve(&self.host(), address).timeout(Duration::from_secs(10)).build()?;
        let answer = client.get(format!("{}{path}", self.url())).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// The answer of `/api/health` as the pod gives it, asked from inside the pod as the seed's page says to.
    ///
    /// # Errors
    /// When there is no pod to ask or it gives no JSON.
    pub async fn health(&self) -> Result<Value> {
        let body =
            self.kubectl(&["exec", "deployment/catalyst", "--", "curl", "-s", "localhost:3001/api/health"]).await?;
        serde_json::from_str(&body).with_context(|| format!("not JSON: {body:?}"))
    }

    /// The status code of `/api/health` as the pod gives it, asked from inside the pod.
    ///
    /// # Errors
    /// When there is no pod to ask or it gives no HTTP.
    pub async fn health_code(&self) -> Result<u16> {
        let url = "localhost:3001/api/health";
        let answer = self.kubectl(&["exec", "deployment/catalyst", "--", "curl", "-si", url]).await?;
        let code = answer.strip_prefix("HTTP/").and_then(|rest| rest.split(' ').nth(1)?.trim().parse().ok());
        code.with_context(|| format!("no HTTP: {answer:?}"))
    }

    /// Watches pods that run but are not ready for `time`: they have to be the same ones afterwards, without a restart.
    ///
    /// # Errors
    /// When no pod runs within 60 s, or one was restarted or replaced.
    pub async fn pods_stay(&self, time: Duration) -> Result<()> {
        let (before, _) = eventually("a pod runs", Duration::from_secs(60), || async {
            let running = self.kubectl(&["get", "pods", "--field-selector=status.phase=Running", "-o", "name"]).await?;
            ensure!(!running.is_empty(), "{}", self.kubectl(&["get", "pods"]).await?);
            self.pods().await
        })
        .await?;
        // Shows an absence, so there is nothing to await.
        tokio::time::sleep(time).await;
        let after = self.pods().await?;
        ensure!(before == after, "the pods were {before:?} and are {after:?}");
        ensure!(after.iter().all(|(_, restarts)| *restarts == 0), "restarted: {after:?}");
        Ok(())
    }

    /// Addresses that the Service has ready.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn ready_endpoints(&self) -> Result<usize> {
        let slices = self.get("endpointslices").await?;
        let endpoints = slices["items"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
        Ok(endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true).count())
    }

    /// The name and restart count of each pod.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn pods(&self) -> Result<Vec<(String, u64)>> {
        let pods = self.get("pods").await?;
        let pods = pods["items"].as_array().context("a list of pods")?;
        Ok(pods
            .iter()
            .map(|pod| {
                let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or_default();
                (pod["metadata"]["name"].as_str().unwrap_or_default().to_owned(), restarts)
            })
            .collect())
    }

    /// Deletes all pods, and waits until they are gone and others serve in their place.
    ///
    /// # Errors
    /// When they do not within 90 s.
    pub async fn replace_pods(&self) -> Result<()> {
        self.kubectl(&["delete", "pod", "--all", "--wait=true"]).await?;
        self.kubectl(&["rollout", "status", "deployment/catalyst", "--timeout=90s"]).await?;
        self.await_reachable().await
    }

    /// Deletes the namespace with all that is in it, and does not wait for the end of it: pods take half a minute, and the next instance in a namespace of this
    /// name waits.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn delete(self) -> Result<()> {
        self.stage.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]).await.map(drop)
    }
}

/// JSON merge patch (RFC 7396).
fn merge(target: &mut Value, patch: Value) {
    match patch {
        Value::Object(patch) => {
            if !target.is_object() {
                *target = json!({});
            }
            for (key, value) in patch {
                if value.is_null() {
                    if let Some(target) = target.as_object_mut() {
                        target.remove(&key);
                    }
                } else {
                    merge(&mut target[key], value);
                }
            }
        }
        other => *target = other,
    }
}
