//! What the operator tells about an instance. Written by the operator alone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The generation of a status that the API server made up, because nobody has written one yet.
pub const NOT_WRITTEN: i64 = -1;

/// What is: conditions, where the app is, which key to authorise, which host keys are trusted.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalystInstanceStatus {
    /// The generation of the spec that this status speaks of. -1: the operator has not looked at the instance yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// `Ready`, and the two that are True only when something is going on: `Reconciling` (it will pass by itself) and `Stalled` (a person must act).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map"), extend("x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// Where the web app is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub url: Option<String>,

    /// Public half of the key with which the pods sign in on the VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub ssh_public_key: Option<String>,

    /// The line to add to `~/.ssh/authorized_keys` of the user on the VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub authorized_keys_line: Option<String>,

    /// While a new SSH key waits for the VM: its line for `~/.ssh/authorized_keys`. As soon as the VM accepts it, it takes the place of the one so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub next_authorized_keys_line: Option<String>,

    /// The value of the annotation `catalyst.dev/rotate-ssh-key` that was carried out or refused last. An event SSHKeyRotationRefused says why it
    /// was refused: the key is one of yours (`ssh.existingKeySecret`), the operator cannot ask the VM whether it accepts a new one (`ssh.jump`, or an
    /// address that the operator does not connect to), or the Secret NAME-ssh-key-next is somebody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub ssh_key_rotation: Option<String>,

    /// The value of the annotation `catalyst.dev/rotate-catalyst-secret` that was carried out or refused last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub catalyst_secret_rotation: Option<String>,

    /// The value of the annotation `catalyst.dev/rotate-cookie-secret` that was carried out or refused last. An event SecretRotationRefused says why
    /// either was refused: the Secret is one of yours, or the Secret NAME-secrets-next is somebody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub cookie_secret_rotation: Option<String>,

    /// Host keys recorded on first contact: the record that the mounted known_hosts is made from. Not used while `spec.ssh.knownHosts` is set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub host_keys: Vec<HostKeyRecord>,

    /// Fingerprint of the key that the VM shows in place of the one that is trusted, when the operator last looked. To trust it where host keys are
    /// recorded, set the annotation `catalyst.dev/trust-host-key` to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub changed_host_key: Option<String>,

    /// Pods that exist, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,

    /// Pods that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,

    /// Label selector of the pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub selector: Option<String>,

    /// The image that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub image: Option<String>,

    /// When the operator last made the pods roll, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rollout: Option<RolloutRecord>,
}

impl CatalystInstanceStatus {
    /// Whether the operator wrote it, and not the API server by the schema's default.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.observed_generation != Some(NOT_WRITTEN)
    }
}

/// One host key of the VM.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostKeyRecord {
    /// The host as in `spec.ssh.host` when the key was recorded.
    #[schemars(length(max = 253))]
    pub host: String,

    /// The port as in `spec.ssh.port` then.
    pub port: i32,

    /// The key as known_hosts writes it: type and base64.
    #[schemars(length(max = 16384))]
    pub key: String,

    /// Its fingerprint, SHA256:….
    #[schemars(length(max = 128))]
    pub fingerprint: String,

    /// When it was recorded.
    pub recorded_at: Time,
}

/// A rollout of the pods.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRecord {
    /// When it began.
    pub time: Time,

    /// What changed.
    #[schemars(length(max = 1024))]
    pub cause: String,
}
