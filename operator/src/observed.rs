//! What `fetch` has read: the seam between the step that holds a client and the steps that do not.
//!
//! Pure data, filled by fetch and read by validate and status. Secret values live only in [`SecretText`], which prints
//! nothing. An absent part is told apart from one that could not be looked at.

use std::collections::BTreeMap;
use std::net::IpAddr;

use catalyst_ssh::Reason as SshReason;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::jiff::Timestamp;

/// Everything that one pass knows of the cluster and of the VM.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// The application Secret: `secrets.existingSecret`, else `NAME-secrets`.
    pub app_secret: Referenced<AppSecret>,
    /// The Secret with the private key: `ssh.existingKeySecret`, else `NAME-ssh-key`.
    pub ssh_key: Referenced<SshKeySecret>,
    /// Objects that already carry the names of the ones that we build, except the two Secrets.
    pub children: Vec<Child>,
    /// IngressClasses of the cluster; `None`: not looked at (no Ingress is wanted, or RBAC does not allow it).
    pub ingress_classes: Option<Vec<IngressClass>>,
    /// What could not be looked at, as sentences that name the right or the setting; each leaves something about the way in unknown.
    pub unseen: Vec<String>,
    /// Whether the Secret that `ingress.tls` names exists; `None`: none is named.
    pub tls_secret: Option<bool>,
    /// `namespace/name` of an Ingress that had the Ingress's host first.
    pub host_taken_by: Option<String>,
    /// Whether the cluster knows HTTPRoutes; `None`: none is wanted.
    pub gateway_api: Option<bool>,
    /// What the Gateways say of the HTTPRoute, if it is ours and exists.
    pub route: Option<RouteView>,
    /// Of the Secrets in `image.pullSecrets` those that do not exist; looked at only while an image cannot be pulled.
    pub missing_pull_secrets: Vec<String>,
    /// What the server last logged against the ideas folder on the VM; looked for only where it may be new.
    pub ideas_path: Option<String>,
    /// The Deployment's own report, if it exists.
    pub deployment: Option<DeploymentView>,
    /// The pods, oldest first.
    pub pods: Vec<PodView>,
    /// The addresses that `ssh.host` resolved to; empty: not looked at, or it did not resolve.
    pub host_addresses: Vec<IpAddr>,
    /// What the operator's own attempt at the VM showed; `None`: there was none.
    pub ssh: Option<SshObservation>,
}

/// Something that the spec refers to by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Referenced<T> {
    /// There is no such object.
    #[default]
    Missing,
    /// It is there.
    Found {
        /// Whose it is.
        owner: Ownership,
        /// What it holds.
        value: T,
    },
}

/// Whether an object is ours: our controller owner reference, by UID of this instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Ours: may be changed.
    Ours,
    /// Somebody else's: read only. Holds `Kind/name` of its controller, if it has one.
    Foreign(Option<String>),
}

impl Ownership {
    /// Whether it belongs to an instance of this name that is gone: the garbage collector is on its way.
    pub fn is_predecessors(&self, name: &str) -> bool {
        let own = |controller: &String| controller.split_once('/') == Some((crate::crd::KIND, name));
        matches!(self, Ownership::Foreign(Some(controller)) if own(controller))
    }
}

/// A secret value. Its `Debug` shows nothing of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretText(Vec<u8>);

impl SecretText {
    /// Takes the bytes of a Secret's entry.
    pub fn new(bytes: impl Into<Vec<u8>>) -> SecretText {
        SecretText(bytes.into())
    }

    /// The value itself; for validation and hashing only.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("(secret)")
    }
}

/// The entries of the application Secret that the server reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppSecret {
    /// `CATALYST_SECRET`.
    pub catalyst_secret: Option<SecretText>,
    /// `COOKIE_SECRET`.
    pub cookie_secret: Option<SecretText>,
    /// `COOKIE_SECRET_PREVIOUS`.
    pub cookie_secret_previous: Option<SecretText>,
    /// The requests that it answers: annotation → value.
    pub answers: Answers,
}

/// The Secret with the private key, all of its entries: which one counts is for validation to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshKeySecret {
    /// Entry name → bytes.
    pub entries: BTreeMap<String, SecretText>,
    /// The requests that it answers: annotation → value.
    pub answers: Answers,
}

/// Requests to replace a generated Secret that one answers, by annotation. They stand on the Secret itself, so that a request
/// is not carried out twice by an operator that died before it had noted it in status.
pub type Answers = BTreeMap<String, String>;

/// An object that carries the name of one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// `Deployment`, `Service`, `Ingress`, `HTTPRoute`, `ConfigMap`, `NetworkPolicy` or `PodDisruptionBudget`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub owner: Ownership,
}

/// An IngressClass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressClass {
    /// Its name.
    pub name: String,
}

/// What Gateways say of an HTTPRoute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteView {
    /// None has said anything of it as it is now.
    Unheard,
    /// At least one leads it to the app.
    Accepted,
    /// Those that have spoken do not; why, in their words.
    Refused(String),
}

/// What the Deployment says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeploymentView {
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// `metadata.generation`.
    pub generation: i64,
    /// `status.observedGeneration`.
    pub observed_generation: i64,
    /// `spec.replicas`.
    pub wanted: i32,
    /// The pods that we had asked for when somebody else came to scale it, which is left to him until another number is asked
    /// for; `None`: nobody does.
    pub scaled_from: Option<i32>,
    /// `status.replicas`.
    pub replicas: i32,
    /// `status.updatedReplicas`.
    pub updated: i32,
    /// `status.readyReplicas`.
    pub ready: i32,
    /// `status.availableReplicas`.
    pub available: i32,
    /// Message of condition `ReplicaFailure` if True: quota, admission, service account.
    pub replica_failure: Option<String>,
    /// Whether it has come no further for longer than its `progressDeadlineSeconds`.
    pub stuck: bool,
    /// The pod template: tells why a rollout begins.
    pub template: Option<PodTemplateSpec>,
    /// The image of the container.
    pub image: Option<String>,
}

/// What matters of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// Which template it was made from, as the Deployment's controller names it (`pod-template-hash`).
    pub revision: String,
    /// The checksum of the settings that it was made with.
    pub settings: Option<String>,
    /// Whether it is Ready.
    pub ready: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// `status.phase`.
    pub phase: String,
    /// Reason and message for which it is not scheduled.
    pub unschedulable: Option<String>,
    /// Why the container waits (`ImagePullBackOff`, `CrashLoopBackOff`, `CreateContainerConfigError` …) and the message.
    pub waiting: Option<(String, String)>,
    /// Why and with which words the pod as a whole ended, if its node ended or did not take it (`Evicted` …).
    pub failed: Option<(String, String)>,
    /// The cause in the container's last termination message, if it left one: its last words.
    pub last_words: Option<String>,
    /// Whether the container was restarted twice at least and has ended with an error a short time ago and soon after its start: it ends
    /// again and again, even if it runs just now. (One of which the process never began is `unstartable`.)
    pub crashes: bool,
    /// Why the node cannot start the container's process (an empty text: it does not say), whether it tries just now or waits.
    pub unstartable: Option<String>,
    /// The exit code with which it last ended.
    pub last_exit: Option<i32>,
    /// Whether it last ended because it took more memory than its limit.
    pub out_of_memory: bool,
    /// The image that it was started from.
    pub image: String,
    /// What the server in the pod last logged as the reason for which the VM cannot be used.
    pub ssh_says: Option<SshReason>,
}

/// The pods that are not ready and stay, oldest first.
pub fn all_unready(pods: &[PodView]) -> impl DoubleEndedIterator<Item = &PodView> {
    pods.iter().filter(|pod| !pod.terminating && !pod.ready)
}

/// Of these the ones of the newest template, for what holds a rollout up is said by them; where it has none, all.
pub fn unready(pods: &[PodView]) -> impl DoubleEndedIterator<Item = &PodView> {
    let newest = newest_revision(pods);
    let of_newest = all_unready(pods).any(|pod| Some(pod.revision.as_str()) == newest);
    all_unready(pods).filter(move |pod| !of_newest || Some(pod.revision.as_str()) == newest)
}

/// The one that came last: of which the oldest pod is the newest, for a pod of an earlier template may be made anew at any time. One that
/// its node ended says nothing of it: it lies there until it is cleared away.
fn newest_revision(pods: &[PodView]) -> Option<&str> {
    let mut revisions: Vec<&str> = Vec::new();
    for pod in pods.iter().filter(|pod| pod.failed.is_none() && !pod.terminating) {
        if !revisions.contains(&pod.revision.as_str()) {
            revisions.push(&pod.revision);
        }
    }
    revisions.pop()
}

/// What the operator's own attempt at the VM showed. Only enumerated reasons and sentences of ours; never a banner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshObservation {
    /// Whether it was good and so was the one before, half a minute earlier: the pod has tried again in between.
    pub confirmed: bool,
    /// The key that the host showed, as known_hosts writes it (type and base64), and its fingerprint.
    pub host_key: Option<ShownHostKey>,
    /// How far it came: signed in, or why not.
    pub outcome: Result<(), SshFailure>,
}

/// A host key that was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownHostKey {
    /// Type and base64.
    pub key: String,
    /// `SHA256:…`.
    pub fingerprint: String,
}

/// Why the VM could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshFailure {
    /// The kind.
    pub reason: SshReason,
    /// One sentence with the remedy.
    pub message: String,
}

impl From<catalyst_ssh::Failure> for SshFailure {
    fn from(failure: catalyst_ssh::Failure) -> SshFailure {
        SshFailure { reason: failure.reason, message: failure.message }
    }
}
