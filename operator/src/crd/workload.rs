//! What concerns the pods: resources, probes, security context, tolerations, environment.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::rules::is_subdomain;
use super::scalars::{PortValue, QuantityValue};

/// Requests and limits of the container.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourcesSpec {
    /// What is reserved on the node. What is not given keeps its default: cpu 100m, memory 128Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub requests: Option<BTreeMap<String, QuantityValue>>,

    /// What may be used at most. What is not given keeps its default: cpu 500m, memory 512Mi. `"0"` takes a limit away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub limits: Option<BTreeMap<String, QuantityValue>>,
}

/// A probe of the container over HTTP.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeSpec {
    /// What is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGetSpec>,

    /// Seconds from the container's start to the first probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86400))]
    pub initial_delay_seconds: Option<i32>,

    /// Seconds between two probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub period_seconds: Option<i32>,

    /// Seconds after which a probe without an answer has failed. Unset: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_seconds: Option<i32>,

    /// How many failures in a row count as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub failure_threshold: Option<i32>,
}

/// What an HTTP probe asks.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpGetSpec {
    /// The path. Unset: /api/health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^/[!-~]*$')").message("a probe's httpGet.path must begin with / and contain no spaces, such as /api/health"))]
    pub path: Option<String>,

    /// The container's port: always 3001, accepted so that a probe can be taken over from Helm values as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("string(self) == '3001' || string(self) == 'http'").message("a probe's httpGet.port must be 3001, the only port that the server has"))]
    pub port: Option<PortValue>,
}

/// Who the container runs as.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityContextSpec {
    /// Numeric user, never 0. Unset: 65532. `-1` sets none, for clusters that assign one (OpenShift).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == -1 || (self >= 1 && self <= 2147483647)").message("securityContext.runAsUser must be a user other than root, or -1 for none"))]
    pub run_as_user: Option<i64>,

    /// Numeric group. Unset: 65532. `-1` sets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1, max = 2147483647))]
    pub run_as_group: Option<i64>,

    /// Numeric group that may read the mounted key. Unset: 65532. `-1` sets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1, max = 2147483647))]
    pub fs_group: Option<i64>,

    /// Whether the container's root file system is read-only. Unset: true. /tmp can always be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only_root_filesystem: Option<bool>,
}

/// A taint that the pods tolerate.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.key) && self.key != '' || has(self.operator) && self.operator == 'Exists'").message("a toleration needs a key, or the operator Exists, which without a key tolerates every taint"))]
#[x_kube(validation = Rule::new("!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''").message("a toleration with the operator Exists has no value; write Equal to compare it"))]
#[x_kube(validation = Rule::new("!has(self.tolerationSeconds) || has(self.effect) && self.effect == 'NoExecute'").message("a toleration has tolerationSeconds only with the effect NoExecute, which alone ends pods that run"))]
pub struct TolerationSpec {
    /// Key of the taint. Unset, with operator Exists: every taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317))]
    #[x_kube(validation = Rule::new(r"self.matches('^(([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$')").message("a toleration's key must be the key of a taint, such as dedicated or example.com/dedicated"))]
    pub key: Option<String>,

    /// Exists or Equal. Unset: Equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self in ['', 'Exists', 'Equal']").message("a toleration's operator must be Exists or Equal"))]
    pub operator: Option<String>,

    /// Value of the taint, with operator Equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$')").message("a toleration's value must be the value of a taint: letters, digits, -, _ and ., a letter or digit first and last"))]
    pub value: Option<String>,

    /// NoSchedule, PreferNoSchedule or NoExecute. Unset: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self in ['', 'NoSchedule', 'PreferNoSchedule', 'NoExecute']").message("a toleration's effect must be NoSchedule, PreferNoSchedule or NoExecute"))]
    pub effect: Option<String>,

    /// Seconds that a running pod stays on a node with this taint (effect NoExecute). Unset: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// One variable of the server's environment.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.value) != has(self.valueFrom)").message("a variable of extraEnv needs value or valueFrom, and not both"))]
pub struct EnvVarSpec {
    /// Its name.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("!(self in ['NODE_ENV', 'PORT', 'METRICS_PORT', 'CATALYST_SECRET', 'COOKIE_SECRET', 'COOKIE_SECRET_PREVIOUS', 'SSH_HOST', 'SSH_PORT', 'SSH_USER', 'SSH_KEY', 'SSH_KEY_PATH', 'SSH_KNOWN_HOSTS', 'SSH_HOST_KEY_CHECK', 'IDEAS_BASE_PATH', 'ALLOWED_ORIGINS', 'PUBLIC_URL', 'TRUSTED_PROXIES', 'SSH_JUMP', 'SESSION_GENERATION', 'IDENTITY_HEADER'])").message("extraEnv must not set a variable that the operator sets from other fields, such as SSH_HOST (from ssh.host)"))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_]*$')").message("extraEnv[].name must be of letters, digits and _, and not begin with a digit"))]
    pub name: String,

    /// Its value. Never a secret, which is what `valueFrom` is for: anyone who may read the instance reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub value: Option<String>,

    /// Where its value is. It is read when a pod starts, so after a change there restart the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<EnvSourceSpec>,
}

/// Where the value of a variable is, in the instance's namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretKeyRef) != has(self.configMapKeyRef)").message("a valueFrom of extraEnv needs secretKeyRef or configMapKeyRef, and not both"))]
pub struct EnvSourceSpec {
    /// An entry of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<EntryRefSpec>,

    /// An entry of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<EntryRefSpec>,
}

/// An entry of a Secret or a ConfigMap.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryRefSpec {
    /// Name of the Secret or ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(is_subdomain("self")).message("what valueFrom of extraEnv names must be the name of a Secret or ConfigMap"))]
    pub name: String,

    /// The entry in it.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')").message("the key that valueFrom of extraEnv names must be that of an entry: letters, digits, -, _ and ."))]
    pub key: String,

    /// Whether it may be missing; the variable is then not set. Unset: false, and pods wait for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}
