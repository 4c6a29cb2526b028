//! An instance that can be built: every value parsed, every default resolved, nothing of the raw spec left to look at.
//!
//! Made by [`crate::validate::validate`] alone and read by [`crate::build`] and by status.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Affinity, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::crd::{EgressProtocol, EntryRefSpec, PullPolicy, ServiceType, TolerationSpec};
use crate::names::InstanceName;
use crate::reason::Reason;

/// Something found about an instance: what kind, where, and a sentence with the particulars and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind.
    pub reason: Reason,
    /// Path of the field under `spec`, such as `ssh.port`; `None` where no field is to blame.
    pub field: Option<String>,
    /// For the person who reads status.
    pub message: String,
}

/// What is not written in the resource and comes from the operator itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The proxy image of the operator's own release, `repository[:tag][@digest]`.
    pub proxy_image: String,
}

/// A valid instance.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedInstance {
    /// Its name, from which all others come.
    pub name: InstanceName,
    /// Its namespace, that of everything built.
    pub namespace: String,
    /// The controller reference that makes an object ours.
    pub owner: OwnerReference,
    /// The image.
    pub image: Image,
    /// Pods to run: 0 when suspended.
    pub replicas: i32,
    /// Whether `suspend` is set.
    pub suspended: bool,
    /// The way to the VM.
    pub ssh: Ssh,
    /// The application Secret.
    pub app_secret: AppSecretUse,
    /// Where people open the app; `None`: only by port-forward.
    pub public_url: Option<PublicUrl>,
    /// Reverse proxies whose X-Forwarded-For the server believes.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which one of them names a person; never without any of them.
    pub identity_header: Option<String>,
    /// The Service.
    pub service: Service,
    /// The Ingress, if wanted.
    pub ingress: Option<Ingress>,
    /// The route of the Gateway API, if wanted; never beside an Ingress.
    pub gateway: Option<Gateway>,
    /// The NetworkPolicy, if wanted.
    pub network_policy: Option<Policy>,
    /// Requests and limits, in canonical form.
    pub resources: Resources,
    /// When the pod is restarted.
    pub liveness: Probe,
    /// When the pod leaves the Service.
    pub readiness: Probe,
    /// Everything else of the pods.
    pub pod: Pod,
    /// Findings that keep nothing from being built: warnings, and what only exposure suffers from.
    pub advice: Vec<Finding>,
}

impl ValidatedInstance {
    /// Whether more than one pod is wanted, so that one of them may be taken away for a while.
    pub fn is_redundant(&self) -> bool {
        self.replicas > 1
    }

    /// The origins that browsers come from, the one that is shown first; empty: only by port-forward.
    pub fn origins(&self) -> Vec<String> {
        let gateway = self.gateway.iter().flat_map(Gateway::urls);
        let mut origins: Vec<String> = Vec::new();
        for origin in self.public_url.iter().cloned().chain(gateway).map(|url| url.origin()) {
            if !origins.contains(&origin) {
                origins.push(origin);
            }
        }
        origins
    }

    /// The Secrets that have to be generated (POST, never apply) before anything is built: build leaves their checksums
    /// out while they are missing, and the pods would roll once more when they come.
    pub fn missing_secrets(&self) -> Vec<MissingSecret> {
        let mut missing = Vec::new();
        if self.app_secret.state == AppSecretState::ToGenerate {
            missing.push(MissingSecret::App);
        }
        if self.ssh.key.state == KeyState::ToGenerate {
            missing.push(MissingSecret::SshKey);
        }
        missing
    }
}

/// A Secret that the operator has to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingSecret {
    /// `NAME-secrets`.
    App,
    /// `NAME-ssh-key`.
    SshKey,
}

/// The image and how it is pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `repository:tag` or `repository@digest`.
    pub reference: String,
    /// When it is pulled; `None` leaves it to Kubernetes.
    pub pull_policy: Option<PullPolicy>,
    /// Names of Secrets.
    pub pull_secrets: Vec<String>,
}

/// The way to the VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssh {
    /// Where it is.
    pub host: Host,
    /// Its SSH port.
    pub port: u16,
    /// Who signs in.
    pub user: String,
    /// What it goes through, if anything.
    pub jump: Option<Jump>,
    /// Where ideas live on it.
    pub ideas_base_path: String,
    /// The private key.
    pub key: KeyUse,
    /// What the pods know of its host keys.
    pub host_keys: HostKeys,
}

impl Ssh {
    /// The host that the pods open a connection to: the jump host, or the VM itself.
    pub fn first_hop(&self) -> (&Host, u16) {
        self.jump.as_ref().map_or((&self.host, self.port), |jump| (&jump.host, jump.port))
    }
}

/// A host that SSH goes through. Its `Display` is what the server takes: `user@host:port`, an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jump {
    /// Where it is.
    pub host: Host,
    /// Its SSH port.
    pub port: u16,
    /// Who signs in.
    pub user: String,
}

impl std::fmt::Display for Jump {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Jump { host, port, user } = self;
        match host {
            Host::Address(IpAddr::V6(address)) => write!(formatter, "{user}@[{address}]:{port}"),
            host => write!(formatter, "{user}@{host}:{port}"),
        }
    }
}

/// A host as `ssh.host` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An address.
    Address(IpAddr),
    /// A name, to be resolved by whoever connects.
    Name(String),
}

impl std::fmt::Display for Host {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Host::Address(address) => address.fmt(formatter),
            Host::Name(name) => name.fmt(formatter),
        }
    }
}

/// Which private key the pods use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The Secret.
    pub secret: String,
    /// Its entry, also the file's name.
    pub entry: String,
    /// The folder in the container where it is mounted.
    pub folder: String,
    /// Whether it is there.
    pub state: KeyState,
}

/// Whether the key is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It is, and it is valid.
    Present {
        /// The public half as authorized_keys writes it, without options.
        public_line: String,
    },
    /// It has to be generated.
    ToGenerate,
}

/// What the pods know of the VM's host keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostKeys {
    /// `ssh.knownHosts`, as written.
    Given(String),
    /// The keys of this host and port in `status.hostKeys`, one line each as known_hosts writes them; empty before first contact.
    Recorded(Vec<String>),
}

/// Which application Secret is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSecretUse {
    /// The Secret.
    pub secret: String,
    /// The generation of sessions that is accepted; `None` leaves the first to the server.
    pub generation: Option<i64>,
    /// Whether it is there.
    pub state: AppSecretState,
}

/// Whether the application Secret is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppSecretState {
    /// It is, and it is valid.
    Present {
        /// Keyed checksum of its values: changes when they do, tells nothing about them.
        checksum: String,
    },
    /// It has to be generated.
    ToGenerate,
}

/// Where people open the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// Whether it is https.
    pub https: bool,
    /// Host as a URL writes it (an IPv6 address in brackets), in lower case.
    pub host: String,
    /// The port where it is not the scheme's own.
    pub port: Option<u16>,
}

impl PublicUrl {
    /// `scheme://host[:port]`, which is also the origin that browsers send.
    pub fn origin(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        match self.port {
            Some(port) => format!("{scheme}://{}:{port}", self.host),
            None => format!("{scheme}://{}", self.host),
        }
    }
}

/// The Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its type.
    pub type_: ServiceType,
    /// Its port.
    pub port: u16,
    /// Annotations of the user.
    pub annotations: BTreeMap<String, String>,
}

/// The Ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// The IngressClass.
    pub class: String,
    /// The host.
    pub host: String,
    /// Annotations of the user; they win over ours.
    pub annotations: BTreeMap<String, String>,
    /// TLS, if wanted.
    pub tls: Option<IngressTls>,
    /// Whether to emit the snippet.
    pub snippet: bool,
}

/// TLS at the ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressTls {
    /// The Secret with certificate and key.
    pub secret: String,
    /// The cert-manager annotation that fills it (key and issuer), if one is wanted.
    pub issuer: Option<(&'static str, String)>,
}

/// The route of the Gateway API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// What it attaches to; at least one.
    pub parents: Vec<Parent>,
    /// Its hosts; at least one.
    pub hostnames: Vec<String>,
    /// Whether people come by https.
    pub https: bool,
    /// Annotations of the user.
    pub annotations: BTreeMap<String, String>,
}

impl Gateway {
    /// Where people open the app, by host.
    pub fn urls(&self) -> impl Iterator<Item = PublicUrl> {
        self.hostnames.iter().map(|host| PublicUrl { https: self.https, host: host.clone(), port: None })
    }
}

/// A Gateway that the route attaches to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its name.
    pub name: String,
    /// Its namespace; `None`: the instance's own.
    pub namespace: Option<String>,
    /// One listener of it, by name.
    pub section: Option<String>,
    /// One listener of it, by port.
    pub port: Option<u16>,
}

/// The NetworkPolicy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Namespaces that may connect.
    pub ingress_namespaces: Vec<String>,
    /// Labels that a pod of those must have.
    pub ingress_pod_labels: BTreeMap<String, String>,
    /// Namespaces that may read metrics.
    pub metrics_namespaces: Vec<String>,
    /// Addresses that may connect.
    pub ingress_cidrs: Vec<IpNet>,
    /// Where SSH may go.
    pub ssh_cidrs: Vec<IpNet>,
    /// Where DNS may go beside pods.
    pub dns_cidrs: Vec<IpNet>,
    /// What else may be connected to.
    pub extra_egress: Vec<Egress>,
}

/// Something that the pods may connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Its addresses.
    pub cidr: IpNet,
    /// Protocol and port; `None`: every one.
    pub port: Option<(EgressProtocol, u16)>,
}

/// Requests and limits, resource name → canonical quantity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// What is reserved.
    pub requests: BTreeMap<String, String>,
    /// What may be used.
    pub limits: BTreeMap<String, String>,
}

/// An HTTP probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What is asked.
    pub path: String,
    /// Seconds before the first.
    pub initial_delay_seconds: i32,
    /// Seconds between two.
    pub period_seconds: i32,
    /// Seconds for an answer.
    pub timeout_seconds: i32,
    /// Failures in a row that count.
    pub failure_threshold: i32,
}

/// Everything else of the pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// Annotations of the user.
    pub annotations: BTreeMap<String, String>,
    /// Labels of the user.
    pub labels: BTreeMap<String, String>,
    /// Labels that a node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are tolerated.
    pub tolerations: Vec<TolerationSpec>,
    /// Nodes and neighbours, as the user wrote it but for what the API server would drop.
    pub affinity: Option<Affinity>,
    /// How they are spread, likewise.
    pub spread: Vec<TopologySpreadConstraint>,
    /// PriorityClass.
    pub priority_class: Option<String>,
    /// Numeric user; `None`: the cluster assigns one.
    pub run_as_user: Option<i64>,
    /// Numeric group.
    pub run_as_group: Option<i64>,
    /// Numeric group of the volumes.
    pub fs_group: Option<i64>,
    /// Whether the root file system is read-only.
    pub read_only_root: bool,
    /// More environment, in the order given.
    pub extra_env: Vec<(String, EnvValue)>,
}

/// What a variable of the user's is.
#[derive(Clone, Debug, PartialEq)]
pub enum EnvValue {
    /// This text.
    Text(String),
    /// An entry of a Secret.
    Secret(EntryRefSpec),
    /// An entry of a ConfigMap.
    ConfigMap(EntryRefSpec),
}
