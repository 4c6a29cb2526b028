//! `CatalystInstance`: the root, the image, the way to the VM and the Secrets.

use k8s_openapi::api::core::v1::{Affinity, LocalObjectReference, TopologySpreadConstraint};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exposure::{GatewaySpec, IngressSpec, ServiceSpec};
use super::network_policy::NetworkPolicySpec;
use super::rules::is_subdomain;
use super::scalars::PortValue;
use super::status::CatalystInstanceStatus;
use super::workload::{EnvVarSpec, ProbeSpec, ResourcesSpec, SecurityContextSpec, TolerationSpec};

/// What is wanted: one Catalyst server that talks to one dev-VM. Only `ssh.host` and `ssh.user` are required.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "catalyst.dev",
    version = "v1alpha1",
    kind = "CatalystInstance",
    plural = "catalystinstances",
    singular = "catalystinstance",
    shortname = "cati",
    category = "catalyst",
    namespaced,
    doc = "A Catalyst server: a web app in this cluster that works, over SSH, with Claude Code on a dev-VM.",
    status = "CatalystInstanceStatus",
    derive = "PartialEq",
    cel,
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the instance can be used."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why it is ready or not; docs/reasons.md explains each."
    ),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url", description = "Where the web app is."),
    printcolumn(name = "VM", type_ = "string", json_path = ".spec.ssh.host", description = "The dev-VM."),
    printcolumn(
        name = "Pods",
        type_ = "integer",
        json_path = ".status.readyReplicas",
        description = "Pods that are ready.",
        priority = 1
    ),
    printcolumn(name = "Image", type_ = "string", json_path = ".status.image", description = "What runs.", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        description = "What is wrong and what to do about it.",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since it was created."),
    validation = Rule::new("size(self.metadata.name) <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must be at most 52 characters of a-z, 0-9 and '-', begin with a letter and end with a letter or digit: the Service and the other objects are named after it")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.gateway) || !has(self.ingress) || !has(self.ingress.host) || (has(self.ingress.enabled) && !self.ingress.enabled)").message("gateway and ingress are two ways in that exclude each other: remove one, or set ingress.enabled to false").field_path(".gateway"))]
#[x_kube(validation = Rule::new("!has(self.identityHeader) || (has(self.trustedProxies) && size(self.trustedProxies) > 0)").message("trustedProxies is required with identityHeader: the addresses of the proxy that sets it").field_path(".trustedProxies"))]
#[x_kube(validation = Rule::new("!has(self.identityHeader) || !has(self.trustedProxies) || self.trustedProxies.all(block, !block.endsWith('/0'))").message("trustedProxies must not hold every address with identityHeader: whoever connects could name himself anybody; set it to the addresses of the proxy that sets the header").field_path(".trustedProxies"))]
#[x_kube(validation = Rule::new("!has(self.identityHeader) || !has(self.networkPolicy) || !has(self.networkPolicy.enabled) || self.networkPolicy.enabled").message("identityHeader needs the NetworkPolicy: with networkPolicy.enabled: false every pod of the cluster could connect and name itself anybody; remove one of the two").field_path(".identityHeader"))]
pub struct CatalystInstanceSpec {
    /// The dev-VM and how to reach it over SSH.
    pub ssh: SshSpec,

    /// Which container image to run. Unset: the proxy of the operator's own release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSpec>,

    /// How many pods serve the web app. Runs live on the VM, so any number of pods, also none for a while, loses nothing.
    #[serde(default = "one_replica")]
    #[schemars(range(min = 0, max = 20))]
    pub replicas: i32,

    /// Scales to zero pods without forgetting `replicas`. Everything else is kept. Unset: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,

    /// The URL that people open, as `scheme://host[:port]`, where it differs from what `ingress` says: something else
    /// terminates TLS, or maps the port. The accepted browser origin, `status.url` and the cookie's Secure attribute follow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^https?://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\\\\[[0-9A-Fa-f:.]+\\\\])(:[0-9]{1,5})?/?$')").message("publicUrl must be http:// or https://, a host and optionally a port, without path, user or query, such as https://catalyst.example.com"))]
    pub public_url: Option<String>,

    /// Reverse proxies in front of the pods, in CIDR form: only what comes from them is believed when it says whom it forwards (X-Forwarded-For).
    /// Set it to the addresses of the ingress controller's pods, such as 10.244.0.0/16 for the cluster's pod network; failed sign-ins are then
    /// counted for each visitor. Unset: none is believed, and visitors behind one proxy slow each other down when sign-ins fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), extend("items" = {"type": "string", "minLength": 1, "maxLength": 64}))]
    #[x_kube(validation = Rule::new("self.all(block, isCIDR(block))").message("trustedProxies must be addresses in CIDR form, such as 10.244.0.0/16 (one address: 10.244.1.7/32)"))]
    pub trusted_proxies: Option<Vec<String>>,

    /// Header in which a proxy of `trustedProxies` names the person whom it has signed in, such as X-Forwarded-User (oauth2-proxy) or
    /// Remote-User (Authelia): who comes so needs no secret. From anybody else the header is dropped. Unset: everybody signs in with the secret.
    /// Whoever connects from `trustedProxies` can name himself anybody, and has a terminal on the VM then. So it takes the NetworkPolicy, which lets
    /// only the ingress controller's namespace connect (narrower: `networkPolicy.ingressPodLabels`), and a network that enforces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$')").message("identityHeader must be the name of a header, such as X-Forwarded-User"))]
    pub identity_header: Option<String>,

    /// The application Secret (`CATALYST_SECRET`, with which people sign in, and `COOKIE_SECRET`). Unset: generated by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretsSpec>,

    /// The Service in front of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSpec>,

    /// The Ingress through which browsers come. It exists when `ingress.host` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressSpec>,

    /// The Gateway through which browsers come, in place of `ingress`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewaySpec>,

    /// The NetworkPolicy around the pods. Unset: enabled, with the defaults below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicySpec>,

    /// Requests and limits of the container. What is not given keeps its default: requests cpu 100m, memory 128Mi; limits cpu 500m, memory 512Mi.
    /// A request above the default limit raises that limit to itself, a limit below the default request lowers that request to itself.
    /// A limit of 0 means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourcesSpec>,

    /// When the pod is restarted. Unset: GET /api/health after 10 s, every 30 s, 20 failures in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<ProbeSpec>,

    /// When the pod leaves the Service. Unset: GET /api/health after 5 s, every 10 s, one failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<ProbeSpec>,

    /// Annotations added to the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64), extend("additionalProperties" = {"type": "string", "maxLength": 16384}))]
    #[x_kube(validation = Rule::new("!self.exists(key, key.startsWith('catalyst.dev/'))").message("podAnnotations must not contain keys that begin with catalyst.dev/: the operator writes those"))]
    pub pod_annotations: Option<std::collections::BTreeMap<String, String>>,

    /// Labels added to the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64), extend("additionalProperties" = {"type": "string", "maxLength": 63}))]
    #[x_kube(validation = Rule::new("!self.exists(key, key.startsWith('catalyst.dev/') || key.startsWith('app.kubernetes.io/'))").message("podLabels must not contain keys that begin with catalyst.dev/ or app.kubernetes.io/: the operator writes those"))]
    pub pod_labels: Option<std::collections::BTreeMap<String, String>>,

    /// Labels that a node must have to run the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 32), extend("additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub node_selector: Option<std::collections::BTreeMap<String, String>>,

    /// Taints of nodes that the pods tolerate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub tolerations: Option<Vec<TolerationSpec>>,

    /// Which nodes the pods prefer or need, and which other pods they are kept near to or away from; as in a pod's own `affinity`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,

    /// How the pods are spread over nodes and zones; as in a pod's own `topologySpreadConstraints`. A constraint without `labelSelector`
    /// counts the pods of this instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,

    /// The PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(is_subdomain("self")).message("priorityClassName must be the name of a PriorityClass"))]
    pub priority_class_name: Option<String>,

    /// The user that the container runs as, and whether its root file system is read-only. Everything else of Pod Security `restricted` always holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContextSpec>,

    /// More environment for the server, such as CLAUDE_TIMEOUT_MS or MAX_SSH_CONNECTIONS. Names that the operator sets are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map"), extend("x-kubernetes-list-map-keys" = ["name"]))]
    pub extra_env: Option<Vec<EnvVarSpec>>,
}

fn one_replica() -> i32 {
    1
}

/// Where the dev-VM is, who signs in there, and with which key.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.jump) || has(self.knownHosts)").message("ssh.knownHosts is required with ssh.jump, with the host keys of the jump host and of the VM: through a jump host the operator records none").field_path(".knownHosts"))]
pub struct SshSpec {
    /// Host name or IP address of the dev-VM, as the pods see it.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("isIP(self) || (self.matches('^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$') && !self.matches('^[0-9.]+$') && !self.contains('..'))").message("ssh.host must be a host name or an IP address alone, such as dev-vm.example.com or 192.168.1.100; user and port have fields of their own (ssh.user, ssh.port)"))]
    pub host: String,

    /// TCP port of its SSH server, as a number or a string. Unset: 22.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("string(self).matches('^[0-9]{1,5}$') && int(string(self)) >= 1 && int(string(self)) <= 65535").message("ssh.port must be a port from 1 to 65535"))]
    pub port: Option<PortValue>,

    /// User on the dev-VM: the one who has Claude Code installed, never root if you can help it.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_][A-Za-z0-9_.@+-]*[$]?$')").message("ssh.user must be a user name of letters, digits and _ . @ + -, such as vagrant"))]
    pub user: String,

    /// Folder on the dev-VM where ideas live; `~` is the user's home. Unset: ~/catalyst/ideas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("self.matches('^(~|~/[^[:cntrl:]]*|/[^[:cntrl:]]+)$')").message("ssh.ideasBasePath must be an absolute path or begin with ~/, such as ~/catalyst/ideas"))]
    pub ideas_base_path: Option<String>,

    /// A host that SSH goes through, where the VM cannot be reached from the cluster itself. It has to accept the same key, and to allow
    /// forwarding. With it, `knownHosts` is required, with the keys of both: through a jump host the operator records none.
    /// Nor does it replace the generated key on request (`catalyst.dev/rotate-ssh-key`): it cannot ask the VM whether it accepts a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump: Option<JumpSpec>,

    /// Path of the private key inside the container. Its last part is also the name of the entry in the Secret. Unset: /secrets/ssh/id_ed25519.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^(/[A-Za-z0-9_][A-Za-z0-9._-]*){2,8}$')").message("ssh.keyPath must be an absolute path of a file in a folder of its own, such as /secrets/ssh/id_ed25519"))]
    pub key_path: Option<String>,

    /// Name of a Secret in this namespace that holds the private key (entry `id_ed25519`, or the last part of `keyPath`). It is only read.
    /// Unset: the operator generates a key in the Secret NAME-ssh-key and shows its public half in `status.sshPublicKey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(is_subdomain("self")).message("ssh.existingKeySecret must be the name of a Secret"))]
    pub existing_key_secret: Option<String>,

    /// Host keys of the dev-VM in the format of known_hosts, one a line (from `ssh-keyscan HOST`, compared with what the VM's console shows).
    /// Unset: the operator records the key that it sees on first contact in `status.hostKeys`, and refuses another one from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub known_hosts: Option<String>,
}

/// A host that SSH goes through.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JumpSpec {
    /// Its host name or IP address, as the pods see it.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("isIP(self) || (self.matches('^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$') && !self.matches('^[0-9.]+$') && !self.contains('..'))").message("ssh.jump.host must be a host name or an IP address alone, such as bastion.example.com"))]
    pub host: String,

    /// TCP port of its SSH server, as a number or a string. Unset: 22.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("string(self).matches('^[0-9]{1,5}$') && int(string(self)) >= 1 && int(string(self)) <= 65535").message("ssh.jump.port must be a port from 1 to 65535"))]
    pub port: Option<PortValue>,

    /// User on it. Unset: that of `ssh.user`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_][A-Za-z0-9_.@+-]*[$]?$')").message("ssh.jump.user must be a user name of letters, digits and _ . @ + -, such as vagrant"))]
    pub user: Option<String>,
}

/// The application Secret.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.existingSecret) || !has(self.useExisting) || self.useExisting").message("secrets.existingSecret names a Secret to be used, secrets.useExisting: false says to use none: remove one of the two").field_path(".existingSecret"))]
pub struct SecretsSpec {
    /// Use a Secret that you made (`NAME-secrets`, or `existingSecret`) with the entries CATALYST_SECRET and COOKIE_SECRET, each of at
    /// least 16 characters; with COOKIE_SECRET_PREVIOUS, sessions that a COOKIE_SECRET before has signed stay valid. It is only read. Unset: true if `existingSecret` is set, else false: the operator generates `NAME-secrets`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_existing: Option<bool>,

    /// Name of that Secret in this namespace. Unset: NAME-secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(is_subdomain("self")).message("secrets.existingSecret must be the name of a Secret"))]
    pub existing_secret: Option<String>,

    /// Raise it to sign everyone out: only sessions of this generation are accepted. Lowered again, it would accept old ones. Unset: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2147483647))]
    pub generation: Option<i64>,
}

impl SecretsSpec {
    /// Whether the Secret is a person's own, and not to be generated.
    #[must_use]
    pub fn are_given(&self) -> bool {
        self.use_existing.unwrap_or(self.existing_secret.is_some())
    }
}

/// The container image. What is not given is taken from the proxy image of the operator's own release.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.tag) && has(self.digest))").message("image.tag and image.digest exclude each other: a digest already names one image").field_path(".digest"))]
pub struct ImageSpec {
    /// Registry and name, without tag, such as ghcr.io/your-org/catalyst.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$')").message("image.repository must be an image name without tag or digest, such as ghcr.io/your-org/catalyst; those have fields of their own (image.tag, image.digest)"))]
    pub repository: Option<String>,

    /// Tag of the image, such as v1.2.3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_][A-Za-z0-9_.-]*$')").message("image.tag must be of letters, digits and _ . -, such as v1.2.3"))]
    pub tag: Option<String>,

    /// Digest of the image, such as sha256:1f…; excludes `tag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 136))]
    #[x_kube(validation = Rule::new("self.matches('^sha256:[0-9a-f]{64}$')").message("image.digest must be sha256: and 64 hexadecimal digits"))]
    pub digest: Option<String>,

    /// When the image is pulled. Unset: Kubernetes decides by the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,

    /// Secrets in this namespace with which the image is pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), extend("items" = {
        "type": "object",
        "description": "A Secret in this namespace.",
        "required": ["name"],
        "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 253, "description": "Name of the Secret."}}
    }))]
    #[x_kube(validation = Rule::new(format!("self.all(secret, {})", is_subdomain("secret.name"))).message("image.pullSecrets must hold names of Secrets"))]
    pub pull_secrets: Option<Vec<LocalObjectReference>>,
}

/// When the image is pulled. Unset: Kubernetes decides by the tag.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// On every start of a pod.
    Always,
    /// When the node has it not.
    IfNotPresent,
    /// Never: the node must have it.
    Never,
}

impl PullPolicy {
    /// As the pod spec writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            PullPolicy::Always => "Always",
            PullPolicy::IfNotPresent => "IfNotPresent",
            PullPolicy::Never => "Never",
        }
    }
}
