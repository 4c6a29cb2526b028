//! Values of the chart that the instance calls or shapes otherwise, one method each. Pure.

use serde_json::{Map, Value, json};

use super::{
    DEFAULT_NAME, Mapping,
    convert::{at, text, unset},
};
use crate::{container::is_managed_variable, crd::spec_schema, validate::secret_problem};

/// The Secret that the chart reads or makes, whatever the release is called.
const CHART_SECRET: &str = "catalyst-secrets";
/// The Secret with the private key that it reads where its values name none.
const CHART_KEY_SECRET: &str = "catalyst-ssh-key";
/// The annotation of the chart that asks the controller to insert text into its configuration.
const SNIPPET: &str = "nginx.ingress.kubernetes.io/configuration-snippet";

/// Annotations by which cert-manager makes a certificate, and of which kind the issuer is that they name.
const ISSUERS: [(&str, &str); 2] =
    [("cert-manager.io/cluster-issuer", "ClusterIssuer"), ("cert-manager.io/issuer", "Issuer")];

impl Mapping {
    pub(super) fn environment(&mut self, path: &str, value: &Value) {
        let entries: Vec<Value> = match value {
            Value::Array(entries) => entries.clone(),
            // Some charts take a mapping.
            Value::Object(members) => {
                members.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
            }
            _ => return self.note(path, "it is no list of variables.", "Set spec.extraEnv by hand."),
        };
        let mut kept = self.spec.get("extraEnv").and_then(Value::as_array).cloned().unwrap_or_default();
        for entry in entries {
            let name = entry.get("name").and_then(Value::as_str).unwrap_or("?").to_owned();
            if is_managed_variable(&name) {
                let remedy = "Set the field that it comes from, if it is not the same: kubectl explain cati.spec";
                self.note(&format!("{path}.{name}"), "the operator sets this variable from other fields.", remedy);
                continue;
            }
            let source = entry.get("valueFrom").and_then(Value::as_object).filter(|source| {
                source.len() == 1
                    && source.keys().all(|key| ["secretKeyRef", "configMapKeyRef"].contains(&key.as_str()))
            });
            match (entry.get("value").and_then(text), source) {
                (Some(value), _) => kept.push(json!({"name": name, "value": value})),
                (None, Some(source)) => kept.push(json!({"name": name, "valueFrom": source})),
                (None, None)
                    if entry.get("valueFrom").and_then(Value::as_object).is_some_and(|from| from.len() > 1) =>
                {
                    self.note(
                        &format!("{path}.{name}"),
                        "its valueFrom names more than one source.",
                        "Set it in spec.extraEnv, from one of them.",
                    );
                }
                (None, None) => self.note(
                    &format!("{path}.{name}"),
                    "the instance takes plain values and entries of Secrets and ConfigMaps, no fields of the pod.",
                    "Set the value in spec.extraEnv.",
                ),
            }
        }
        if !kept.is_empty() {
            self.set(&["extraEnv"], Value::Array(kept));
        }
    }

    /// Those that the operator sets to the same value anyway are left out: a later release may know better.
    pub(super) fn annotations(&mut self, value: &Value) {
        let mut kept = Map::new();
        for (key, value) in value.as_object().into_iter().flatten() {
            let path = format!("ingress.annotations[{key}]");
            let Some(value) = text(value) else {
                self.note(&path, "its value is no text.", "Set spec.ingress.annotations by hand.");
                continue;
            };
            if key == SNIPPET {
                let own = value
                    .split_whitespace()
                    .eq("proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";"
                        .split_whitespace());
                if own {
                    let remedy = "If yours needs it, set spec.ingress.configurationSnippet: true.";
                    self.note(
                        &path,
                        "current nginx controllers refuse snippets, and need none for WebSockets.",
                        remedy,
                    );
                    continue;
                }
                let remedy = "The status says so if yours does; then move it into the controller's own configuration.";
                self.note(&path, "it is taken over, but current nginx controllers refuse snippets.", remedy);
            }
            kept.insert(key.clone(), Value::String(value));
        }
        if !kept.is_empty() {
            self.set(&["ingress", "annotations"], Value::Object(kept));
        }
    }

    /// The annotation by which cert-manager is asked for a certificate becomes the issuer, of which the operator makes the annotation
    /// again, and the Secret. One that names an issuer of another kind or group stays as it is.
    pub(super) fn issuer(&mut self) {
        let Some(Value::Object(ingress)) = self.spec.get_mut("ingress") else { return };
        let secret_given = ingress.get("tls").is_some_and(|tls| tls.get("secretName").is_some());
        let Some(Value::Object(annotations)) = ingress.get_mut("annotations") else { return };
        if annotations.contains_key("cert-manager.io/issuer-kind")
            || annotations.contains_key("cert-manager.io/issuer-group")
        {
            return;
        }
        let named: Vec<_> = ISSUERS.iter().filter(|(key, _)| annotations.contains_key(*key)).collect();
        let &[&(key, kind)] = named.as_slice() else { return };
        let Some(name) = annotations.remove(key) else { return };
        self.set(&["ingress", "tls", "issuer"], json!({"name": name, "kind": kind}));
        if !secret_given {
            let reason = "it becomes spec.ingress.tls.issuer, by which the app is served over https; without ingress.tls the chart \
                          had no certificate made.";
            let remedy = "To stay with plain http, remove spec.ingress.tls.";
            self.note(&format!("ingress.annotations[{key}]"), reason, remedy);
        }
    }

    pub(super) fn tls(&mut self, value: &Value) {
        let entries: Vec<&Value> = match value {
            Value::Array(entries) => entries.iter().collect(),
            other => vec![other],
        };
        let secret = entries.first().and_then(|entry| entry.get("secretName")).cloned();
        match secret.filter(Value::is_string) {
            Some(secret) => self.set(&["ingress", "tls", "secretName"], secret),
            None => self.note(
                "ingress.tls",
                "it names no Secret.",
                "Set spec.ingress.tls.secretName, or issuer for cert-manager.",
            ),
        }
        if entries.len() > 1 {
            self.note(
                "ingress.tls",
                "the instance has one host, so only the first entry is taken.",
                "Check that it is the right one.",
            );
        }
    }

    /// The list that `helm create` writes: the first host is the instance's.
    pub(super) fn hosts(&mut self, value: &Value) {
        let hosts: Vec<String> = value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.as_str().or_else(|| entry.get("host")?.as_str()).map(str::to_owned))
            .collect();
        match hosts.split_first() {
            Some((first, others)) => {
                self.set(&["ingress", "host"], json!(first));
                if !others.is_empty() {
                    let reason = format!("the instance has one host; not taken: {}.", others.join(", "));
                    self.note("ingress.hosts", reason, "Make an Ingress of your own for them.");
                }
            }
            None => self.note("ingress.hosts", "it names no host.", "Set spec.ingress.host."),
        }
    }

    pub(super) fn security_context(&mut self, path: &str, value: &Value) {
        for (key, value) in value.as_object().into_iter().flatten() {
            let field = match key.as_str() {
                "readOnlyRootFilesystem" => "readOnlyRootFilesystem",
                "readOnlyRootFileSystem" => "readOnlyRootFilesystem",
                // Always so.
                "runAsNonRoot" | "allowPrivilegeEscalation" | "capabilities" | "seccompProfile" | "privileged" => {
                    let fits = match key.as_str() {
                        "runAsNonRoot" => value == &json!(true),
                        "capabilities" => value.get("add").is_none_or(unset),
                        "seccompProfile" => value.get("type") == Some(&json!("RuntimeDefault")),
                        _ => value == &json!(false),
                    };
                    if !fits {
                        let reason = "the pods always hold to the Pod Security standard \"restricted\".";
                        self.note(&format!("{path}.{key}"), reason, "Nothing is to be done: the server needs no more.");
                    }
                    continue;
                }
                other => other,
            };
            let schema = spec_schema().unwrap_or_default();
            if at(&schema, &["securityContext", field]).is_some() {
                self.renamed(&format!("{path}.{key}"), &["securityContext", field], value);
            } else {
                self.note(
                    &format!("{path}.{key}"),
                    "no field of the instance corresponds to it.",
                    "Ask whether the server needs it.",
                );
            }
        }
    }

    /// The application Secret holds what people sign in with: that of the release goes on being used, unless a new one is as good.
    pub(super) fn kept_secret(&mut self, values: &Map<String, Value>, name: &str) {
        let secrets = values.get("secrets");
        let given = secrets.and_then(|secrets| secrets.get("useExisting")).and_then(Value::as_bool);
        let written = |key: &str| values.get(key).or_else(|| secrets?.get(key)).is_some_and(|value| !unset(value));
        let written = written("catalystSecret") || written("cookieSecret");
        let use_existing = match given {
            Some(false) if self.adopting => {
                let reason = "the Secret that the chart made is kept and used, so everybody signs in as before.";
                self.note("secrets.useExisting", reason, "Nothing is to be done.");
                self.refused_secrets(values);
                true
            }
            Some(false) => {
                let remedy =
                    "To keep the present one, take the release over with --adopt, which sets spec.secrets.useExisting.";
                self.note("secrets.useExisting", "the operator generates a new secret to sign in with.", remedy);
                self.refused_secrets(values);
                false
            }
            Some(true) => true,
            None => {
                let reason = format!(
                    "it is not given, so the chart's default is taken: the Secret {CHART_SECRET} is yours and only read."
                );
                self.note("secrets.useExisting", reason, "Remove spec.secrets to have one generated.");
                true
            }
        };
        if written && given != Some(false) {
            let reason = "secrets do not belong into an instance, which anyone who may read it reads.";
            self.note(
                "secrets.catalystSecret, secrets.cookieSecret",
                reason,
                format!("They are read from the Secret {CHART_SECRET}."),
            );
        }
        if use_existing {
            self.set(&["secrets", "useExisting"], Value::Bool(true));
            if name != DEFAULT_NAME
                && self.spec.get("secrets").is_none_or(|secrets| secrets.get("existingSecret").is_none())
            {
                self.set(&["secrets", "existingSecret"], json!(CHART_SECRET));
            }
        }
    }

    /// The chart made its Secret of these; with --adopt the operator's pods would wait for better ones.
    fn refused_secrets(&mut self, values: &Map<String, Value>) {
        for (key, entry) in [("catalystSecret", "CATALYST_SECRET"), ("cookieSecret", "COOKIE_SECRET")] {
            let value = values.get(key).or_else(|| values.get("secrets")?.get(key)).filter(|value| !unset(value));
            let problem = value.and_then(text).and_then(|value| secret_problem(value.as_bytes()));
            if let Some(problem) = problem {
                let place = self.namespace.as_ref().map(|namespace| format!("-n {namespace} ")).unwrap_or_default();
                let remedy = format!(
                    "Set it before you take the release over: kubectl patch secret {place}{CHART_SECRET} -p \
                     '{{\"stringData\":{{\"{entry}\":\"'$(openssl rand -hex 32)'\"}}}}'"
                );
                let reason = if self.adopting {
                    format!("the value {problem}, and the new pods do not start with such a one.")
                } else {
                    format!(
                        "the value {problem}: whoever guesses it signs in to the release, and the operator takes no such one."
                    )
                };
                self.note(&format!("secrets.{key}"), reason, remedy);
            }
        }
    }

    pub(super) fn kept_key(&mut self, values: &Map<String, Value>) {
        let Some(ssh) = values.get("ssh").and_then(Value::as_object) else { return };
        if !ssh.contains_key("existingKeySecret") {
            self.set(&["ssh", "existingKeySecret"], json!(CHART_KEY_SECRET));
            let reason = format!("it is not given, so the chart's default {CHART_KEY_SECRET} is taken.");
            self.note("ssh.existingKeySecret", reason, "Remove spec.ssh.existingKeySecret to have a key generated.");
        }
    }
}
